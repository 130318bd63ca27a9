package agentlink

import (
	"testing"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/source/agentlink/wire"
)

func TestOnwardTakesOwnBatchesOnly(t *testing.T) {
	good := func() event.Batch {
		return event.Batch{ID: "ho-1.ba-1", Site: "branch", Host: "ho-1", SentAt: time.Unix(0, 0).UTC(),
			Events: []event.Event{{ID: "ho-1.ba-1-0", Time: time.Unix(0, 0).UTC(), Site: "branch", Host: "ho-1", Kind: event.KindLog}}}
	}
	for name, tt := range map[string]struct {
		change      func(*event.Batch)
		subject, id string
		ok          bool
	}{
		"its own":                  {func(*event.Batch) {}, "event.branch.ho-1", "ho-1.ba-1", true},
		"another site's subject":   {func(*event.Batch) {}, "event.hospital.ho-1", "ho-1.ba-1", false},
		"another host's subject":   {func(*event.Batch) {}, "event.branch.ho-2", "ho-1.ba-1", false},
		"another id":               {func(*event.Batch) {}, "event.branch.ho-1", "ho-1.ba-2", false},
		"another host's batch id":  {func(b *event.Batch) { b.ID = "ho-2.ba-1" }, "event.branch.ho-1", "ho-2.ba-1", false},
		"another site's batch":     {func(b *event.Batch) { b.Site = "hospital" }, "event.branch.ho-1", "ho-1.ba-1", false},
		"another site's event":     {func(b *event.Batch) { b.Events[0].Site = "hospital" }, "event.branch.ho-1", "ho-1.ba-1", false},
		"another host's event":     {func(b *event.Batch) { b.Events[0].Host = "ho-2" }, "event.branch.ho-1", "ho-1.ba-1", false},
		"another batch's event id": {func(b *event.Batch) { b.Events[0].ID = "ho-9.ba-1-0" }, "event.branch.ho-1", "ho-1.ba-1", false},
	} {
		b := good()
		tt.change(&b)
		body, err := wire.EncodeBatch(b)
		if err != nil {
			t.Fatal(err)
		}
		err = Onward("branch", tt.subject, tt.id, body)
		if ok := err == nil; ok != tt.ok || (!ok && fault.Of(err) != fault.Denied) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := Onward("branch", "event.branch.ho-1", "ho-1.ba-1", []byte("no batch")); fault.Of(err) != fault.Denied {
		t.Errorf("what is no batch: got %v", err)
	}
}
