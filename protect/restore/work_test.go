package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/state/statetest"
)

// approved is a restore that the machine may get.
func (h *house) approved(paths ...string) Request {
	h.t.Helper()
	r := h.ask(paths...)
	if _, err := h.Approve(h.t.Context(), r.ID, ben); err != nil {
		h.t.Fatal(err)
	}
	h.works()
	return r
}

// A restore that goes on is sent again by a hub that was restarted, and from time
// to time, so that its machine may read on; what ends is sent no more.
func TestARestoreThatGoesOnIsSentAgain(t *testing.T) {
	h := start(t)
	r := h.approved(h.src + "/one")
	h.works()
	h.works()
	if len(h.sent) != 1 {
		t.Fatalf("sent %d times", len(h.sent))
	}
	if got := h.is(r.ID, Ordered); !got.Seen().Equal(got.AskedAt) || got.OrderedAt.IsZero() {
		t.Errorf("it sees what came after it was asked for: %+v", got)
	}
	h.Desk = New(h.db, h.Deps)
	h.works()
	if len(h.sent) != 2 {
		t.Errorf("after a restart it was sent %d times", len(h.sent))
	}
	h.ahead += sendEvery
	h.works()
	if len(h.sent) != 3 {
		t.Errorf("when its pass would end it was sent %d times", len(h.sent))
	}
	done := job.Result{Job: r.ID, Kind: job.Restore, State: job.OK, Restore: &job.Restored{Files: 1, Verified: 1}}
	if err := h.Ended(t.Context(), "emr-1", done); err != nil {
		t.Fatal(err)
	}
	if got := h.is(r.ID, Restored); got.BegunAt.IsZero() {
		t.Errorf("nothing says when it began: %+v", got)
	}
	h.ahead += sendEvery
	h.works()
	if len(h.sent) != 3 {
		t.Errorf("what has ended was sent %d times", len(h.sent))
	}
	if err := h.Heard(t.Context(), "emr-1", job.Progress{Job: r.ID, Step: "restore"}); err != nil {
		t.Errorf("a late word: %v", err)
	}
	if err := errors.Join(h.Heard(t.Context(), "emr-1", job.Progress{Job: "br-1"}), h.Ended(t.Context(), "emr-1", job.Result{Job: "br-1"})); err != nil {
		t.Errorf("a job of somebody else: %v", err)
	}
}

// What the hub cannot send ever, and a machine that is not heard any more, end a
// restore with the reason; what may work later is tried again.
func TestARestoreThatCannotGoOnEnds(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the work")
	h := start(t)
	r := h.ask(h.src + "/one")
	if _, err := h.Approve(t.Context(), r.ID, ben); err != nil {
		t.Fatal(err)
	}
	if err := h.scanAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.no = errors.New("the database is away")
	if err := h.sendAll(t.Context()); err == nil {
		t.Error("it is not said that it waits")
	}
	h.is(r.ID, Ordered)
	h.no = fault.New(fault.Conflict, "vault.pass-over")
	h.works()
	if got := h.is(r.ID, Failure); !strings.Contains(got.Why, "vault.pass-over") {
		t.Errorf("%+v", got)
	}
	h.no = nil
	r = h.approved(h.src + "/one")
	h.works()
	if err := h.Heard(t.Context(), "emr-1", job.Progress{Job: r.ID, Step: "restore", Files: 1}); err != nil {
		t.Fatal(err)
	}
	h.ahead = silent - time.Minute
	h.works()
	h.is(r.ID, Running)
	h.ahead = silent + sendEvery
	h.works()
	if got := h.is(r.ID, Failure); h.stops != 1 || got.Why == "" {
		t.Errorf("stopped %d times: %+v", h.stops, got)
	}
}

// What a person stops while it is being sent is taken back.
func TestAnOrderThatCrossesAStopIsTakenBack(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the work")
	h := start(t)
	r := h.ask(h.src + "/one")
	if _, err := h.Approve(t.Context(), r.ID, ben); err != nil {
		t.Fatal(err)
	}
	if err := h.scanAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := h.is(r.ID, Ordered)
	if _, err := h.Desk.Stop(t.Context(), r.ID, "the wrong machine", anna); err != nil || h.stops != 1 {
		t.Fatalf("stopped %d times, %v", h.stops, err)
	}
	if err := h.send(t.Context(), seen); err != nil || len(h.sent) != 1 || h.stops != 2 {
		t.Errorf("sent %d times, stopped %d times, %v", len(h.sent), h.stops, err)
	}
	h.is(r.ID, Failure)
}

// large does not take what is not small.
type large struct{}

func (large) Scan(_ context.Context, _ string, r io.Reader) (string, error) {
	if raw, err := io.ReadAll(io.LimitReader(r, 100)); err != nil || len(raw) == 100 {
		return "", errors.Join(err, ErrTooLarge)
	}
	return "", nil
}

// A file that the scanner does not take holds the restore and keeps nothing else
// from being looked at; a threat list knows it all the same.
func TestAFileThatIsTooLargeIsKnownByItsHash(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the repository")
	h := start(t)
	h.Scanners = []Scanner{large{}}
	r := h.approved(h.src+"/random", h.src+"/bad")
	got := h.is(r.ID, Held)
	if got.Scan.Files != 2 || got.Scan.Skips != 1 || got.Scan.Skipped[0].Path != h.src+"/random" || got.Scan.Finds > 0 || got.Scan.Unread != "" || got.Scan.Clean() {
		t.Fatalf("%+v", got.Scan)
	}
	sum := sha256.New()
	if err := h.Download(t.Context(), h.despite(0, h.src+"/random"), func(Entry) {}, sum); err != nil {
		t.Fatal(err)
	}
	known := hex.EncodeToString(sum.Sum(nil))
	h.Listed = func(hashes ...string) string {
		if len(hashes) == 3 && slices.Contains(hashes, known) {
			return "JPCERT 2026-11"
		}
		return ""
	}
	for name, scanners := range map[string][]Scanner{"beside a scanner": {large{}}, "with none": nil, "that reads all": {h}} {
		h.Scanners = scanners
		r := h.approved(h.src + "/random")
		if got := h.is(r.ID, Held); got.Scan.Finds != 1 || got.Scan.Found[0].What != "JPCERT 2026-11" {
			t.Errorf("%s: %+v", name, got.Scan)
		}
	}
}

func TestADatabaseIsLoadedFromOneFile(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the request")
	h := start(t)
	load := &job.Loading{Kind: job.PostgreSQL, Database: "emr_before"}
	good := NewRequest{Site: "hq", From: h.where(0), Paths: []string{h.src + "/one"}, Target: "/srv/back", Load: load, Reason: "lost"}
	if r, err := h.Ask(t.Context(), good, anna); err != nil || r.Job().Restore.Load.Database != "emr_before" {
		t.Errorf("%+v, %v", r, err)
	}
	for name, change := range map[string]func(*NewRequest){
		"where it was": func(n *NewRequest) { n.Target = "" },
		"two files":    func(n *NewRequest) { n.Paths = append(n.Paths, h.src+"/text") },
		"no name":      func(n *NewRequest) { n.Load = &job.Loading{Kind: job.PostgreSQL} },
		"an option":    func(n *NewRequest) { n.Load = &job.Loading{Kind: job.PostgreSQL, Database: "--host=x"} },
		"a connection": func(n *NewRequest) { n.Load = &job.Loading{Kind: job.PostgreSQL, Database: "host=x"} },
		"of MariaDB":   func(n *NewRequest) { n.Load = &job.Loading{Kind: job.MariaDB, Database: "x"} },
	} {
		n := good
		n.Paths = slices.Clone(good.Paths)
		change(&n)
		if _, err := h.Ask(t.Context(), n, anna); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
