package agentlink

import (
	"strings"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// Onward says whether a batch that the hub of another site hands on is what
// that hub would have made of its agents' batches: all of it of that site, of
// the host that the subject event.<site>.<host> names, and under its own id. An
// error is fault.Denied: trying again cannot help.
func Onward(site, subject, id string, body []byte) error {
	b, err := wire.DecodeStamped(body)
	if err != nil {
		return fault.New(fault.Denied, "agentlink.onward").With(err)
	}
	host, ok := strings.CutPrefix(subject, "event."+site+".")
	if !ok || b.ID != id || b.Site != site || b.Host != host || !strings.HasPrefix(b.ID, host+".") || len(b.ID) > maxBatchID {
		return fault.New(fault.Denied, "agentlink.onward")
	}
	for i := range b.Events {
		if e := &b.Events[i]; e.Site != site || e.Host != host || !strings.HasPrefix(e.ID, b.ID+"-") {
			return fault.New(fault.Denied, "agentlink.onward")
		}
	}
	return nil
}
