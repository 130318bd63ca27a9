package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence/bag"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
)

// chosen are n events of two segments, newest first as a search returns them,
// and where they are kept.
func chosen(n int) (events []event.Event, found []Location) {
	at := time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)
	for i := range n {
		e := event.Event{ID: fmt.Sprintf("ba-1-%d", i), Time: at.Add(-time.Duration(i) * time.Second), Site: "callcentre", Host: "pc", Kind: event.KindFlow,
			Fields: map[string]string{event.FieldDstIP: "203.0.113.7", event.FieldCommand: "a <b> & c"}, Raw: "元の行"}
		events = append(events, e)
		segment := fmt.Sprintf("segments/%d.parquet", i%2)
		found = append(found, Location{ID: e.ID, Segment: segment, Leaf: leaf.Leaf{Type: "segment", Ref: fmt.Sprintf("seg-%d", i%2), Digest: strings.Repeat(fmt.Sprintf("%02x", i%2), 32), At: at}})
	}
	return events, found
}

func TestPickedEventsAreEvidence(t *testing.T) {
	r := newRig(t, nil)
	events, found := chosen(3)
	b, err := r.AddEvents(t.Context(), "in-1", events, found, " 送信の証拠 ", police)
	r.must(err)
	if b.State != Sealed || b.Host != "pc" || b.Site != "callcentre" || b.Incident != "in-1" || b.Kept != 2 || b.OpenedBy != "pe-9" {
		t.Errorf("bag %+v", b)
	}
	folder := filepath.Join(r.dir, "evidence", b.ID)
	r.intact(folder)

	text, err := os.ReadFile(filepath.Join(folder, "data", EventsFile))
	r.must(err)
	var got []event.Event
	for line := range bytes.Lines(text) {
		var e event.Event
		r.must(json.Unmarshal(line, &e))
		got = append(got, e)
	}
	want := []event.Event{events[2], events[1], events[0]}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events -want +got:\n%s", diff)
	}
	if b.Picked == nil || b.Picked.SHA256 != digestOf(text) || b.Picked.Purpose != "送信の証拠" {
		t.Errorf("picked %+v", b.Picked)
	}
	r.provesSegments(filepath.Join(folder, "data", ProofsFile))

	l, ok := b.Line()
	if !ok || l.Key != "evidence.events" || l.Args["ids"] != "ba-1-2, ba-1-1, ba-1-0" || l.Args["segments"] != "seg-0, seg-1" || l.Args["sha256"] != digestOf(text) {
		t.Errorf("line %+v", l)
	}
	diff, err := VerifyRows(t.Context(), r.db, func(kind string) []leaf.Leaf {
		all, err := r.prover.Leaves(t.Context(), 0, 100)
		r.must(err)
		var of []leaf.Leaf
		for _, l := range all {
			if l.Type == kind {
				of = append(of, l)
			}
		}
		return of
	})
	r.must(err)
	if len(diff) != 0 {
		t.Errorf("rows differ: %v", diff)
	}

	out := filepath.Join(t.TempDir(), "bag.zip")
	f, err := os.Create(out)
	r.must(err)
	r.must(errors.Join(r.Zip(t.Context(), b.ID, f, "警察", police), f.Close()))
	r.intact(out)
	text[len(text)/2] ^= 1
	r.must(os.Chmod(filepath.Join(folder, "data", EventsFile), 0o600))
	r.must(os.WriteFile(filepath.Join(folder, "data", EventsFile), text, 0o600))
	rep := r.report(folder)
	if len(rep) != 1 || !strings.Contains(rep[0], "data/"+EventsFile) {
		t.Errorf("a changed event is reported as %v", rep)
	}
}

// provesSegments checks the proofs of a bag with nothing but the ledger's key.
func (r *rig) provesSegments(path string) {
	r.t.Helper()
	text, err := os.ReadFile(path)
	r.must(err)
	var list []SegmentProof
	r.must(json.Unmarshal(text, &list))
	if len(list) != 2 || list[0].Segment != "segments/0.parquet" || !cmp.Equal(list[0].Events, []string{"ba-1-2", "ba-1-0"}) {
		r.t.Errorf("proofs %+v", list)
	}
	for _, s := range list {
		p, err := ledger.ParseProof(s.Proof)
		r.must(err)
		r.must(p.Verify(r.key))
		if p.Leaf.Type != "segment" {
			r.t.Errorf("%s is proved by a leaf of type %s", s.Segment, p.Leaf.Type)
		}
	}
}

func (r *rig) report(folder string) []string {
	r.t.Helper()
	rep, err := bag.Verify(folder, r.key)
	r.must(err)
	var out []string
	for _, d := range rep.Differences {
		out = append(out, d.String())
	}
	return out
}

func TestEventsOfSeveralPlacesBelongToNone(t *testing.T) {
	events, _ := chosen(2)
	events[1].Host, events[1].Site, events[1].Drill = "other", "hospital", true
	if b := bagOf(events, Picked{}); b.Host != "" || b.Site != "" || b.Drill {
		t.Errorf("bag %+v", b)
	}
}

func TestEventsThatCannotBeKept(t *testing.T) {
	r := newRig(t, nil)
	events, found := chosen(2)
	_, err := r.AddEvents(t.Context(), "in-1", events, found, "  ", police)
	wantFault(t, err, fault.Invalid, "evidence.why-kept")
	_, err = r.AddEvents(t.Context(), "in-1", nil, nil, "x", police)
	wantFault(t, err, fault.Invalid, "evidence.events")
	_, err = r.AddEvents(t.Context(), "in-1", events, found[:1], "x", police)
	wantFault(t, err, fault.Conflict, "evidence.event-not-kept")
	if _, n, err := r.List(t.Context(), Filter{}); err != nil || n != 0 {
		t.Errorf("%d bags were opened, %v", n, err)
	}
}

func TestEventsAreSealedAfterTheHubEnded(t *testing.T) {
	r := newRig(t, nil)
	events, found := chosen(2)
	p, err := r.pick(t.Context(), events, found)
	r.must(err)
	b := bagOf(events, p.Picked)
	b.ID, b.Incident, b.OpenedAt, b.OpenedBy = "bag-half", "in-1", time.Now().UTC(), "pe-9"
	r.must(r.openEvents(t.Context(), b))
	r.must(r.put(t.Context(), b.ID, EventsFile, "事象", p.events))
	r.reopen()
	r.must(r.Resume(context.WithoutCancel(t.Context())))
	got, err := r.Get(t.Context(), "bag-half")
	r.must(err)
	if got.State != Broken || got.Kept != 1 {
		t.Errorf("after a restart: %+v", got)
	}
	if l, ok := got.Line(); !ok || l.Key != "evidence.broken" {
		t.Errorf("line %+v", l)
	}
	r.intact(filepath.Join(r.dir, "evidence", "bag-half"))
}
