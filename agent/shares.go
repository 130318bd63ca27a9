package agent

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/agent/guard/shares"
	"github.com/sonae/sonae/event"
)

// Shares stops clients that encrypt the shares of this machine.
type Shares interface {
	// Run watches until ctx ends.
	Run(ctx context.Context) error
	Status() shares.Status
}

// sharesPatience is how long the file of full_audit may be missing before it is
// told of: Samba makes it when the first client comes.
const sharesPatience = time.Minute

// guardShares runs the guard of the shares, and tells once while it is blind.
func (a *Agent) guardShares(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := a.parts.Shares.Run(ctx); err != nil {
			a.log.Error("guard of shares ended", "err", err)
			a.urgent(a.own("guard-off", map[string]string{"Reason": "shares: " + err.Error()}))
		}
	}()
	blind, told := a.now(), false
	for ctx.Err() == nil {
		s := a.parts.Shares.Status()
		if s.Open {
			blind, told = a.now(), false
		} else if !told && a.now().Sub(blind) > sharesPatience {
			told = true
			a.urgent(a.own("guard-off", map[string]string{"Reason": "shares: " + s.Audit + ": " + s.Why}))
		}
		pause(ctx, guardCheck)
	}
	<-done
}

// KeptOut is what keeps a client of the shares out: an action that this machine
// began by itself.
type KeptOut struct {
	Action string // empty: it is not kept out, for the reason in Why
	Lease  time.Duration
	Why    string
}

// ShareEncrypted tells the hub at once of a client that encrypts shares. It
// returns at once, and is safe for concurrent use.
func (a *Agent) ShareEncrypted(f shares.Found, k KeptOut) {
	var files, ja, en []string
	for _, l := range f.Files[:min(len(f.Files), maxTold)] {
		files = append(files, lossName(l))
	}
	for _, r := range f.Reasons {
		ja, en = append(ja, r.JA), append(en, r.EN)
	}
	fields := map[string]string{
		event.FieldRemoteIP: f.Client.String(), event.FieldUser: f.User, "Machine": f.Machine, "Shares": strings.Join(f.Shares, "\n"),
		"FilesLost": strconv.Itoa(f.Lost), "FilesChanged": strconv.Itoa(f.Changed), "Files": strings.Join(files, "\n"), "ReasonsJa": strings.Join(ja, "\n"), "ReasonsEn": strings.Join(en, "\n"),
		"Score": strconv.FormatFloat(f.Score, 'f', -1, 64), "FirstWrite": f.First.Format(time.RFC3339Nano), "Found": f.At.Format(time.RFC3339Nano), "Ended": strconv.FormatBool(f.Ended),
	}
	if f.Server.IsValid() {
		fields[event.FieldLocalIP] = f.Server.String()
	}
	if k.Action != "" {
		fields["Action"], fields["LeaseSeconds"] = k.Action, strconv.Itoa(int(k.Lease.Seconds()))
	}
	if k.Why != "" {
		fields["NotKeptOut"] = k.Why
	}
	a.urgent(a.own("share-encrypted", fields))
	a.beatNow()
}
