package hub

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/protect/anomaly"
	restoredrill "github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/protect/policy"
)

// scored are the repositories with what runs and drills tell of their
// snapshots.
type scored struct {
	repositories
	*Hub
}

// Facts adds to what the keeper knows how the runs ended that made snapshots.
func (s scored) Facts(ctx context.Context, agent string) (func(string) anomaly.Facts, error) {
	kept, err := s.repositories.Facts(ctx, agent)
	if err != nil {
		return nil, err
	}
	runs, _, err := s.backups.Runs(ctx, policy.Filter{Host: agent, Limit: 200})
	if err != nil {
		return nil, err
	}
	made := map[string]policy.Run{}
	for _, r := range runs {
		for _, id := range r.Made() {
			made[id] = r
		}
	}
	return func(id string) anomaly.Facts {
		f, r := kept(id), made[policy.Short(id)]
		f.Partial, f.Suspect, f.Class = r.State == policy.Partial, r.State == policy.Suspect, r.Class
		return f
	}, nil
}

// Proven is when a drill of the machine passed with each snapshot.
func (s scored) Proven(ctx context.Context, agent string) (func(string) time.Time, error) {
	all, err := s.drills.Runs(ctx, "", 200, 0)
	if err != nil {
		return nil, err
	}
	proven := map[string]time.Time{}
	for _, r := range all {
		if r.State == restoredrill.Passed && r.Definition.Level != restoredrill.Bytes && r.Definition.Host == agent && r.Snapshot != nil && r.EndedAt.After(proven[r.Snapshot.ID.String()]) {
			proven[r.Snapshot.ID.String()] = r.EndedAt
		}
	}
	return func(id string) time.Time { return proven[id] }, nil
}

// decoysOf are the decoys that the guard of a machine has told of when it began.
// What it told before stays one: whoever owns the machine now can take none away.
func (h *Hub) decoysOf(ctx context.Context, host string) ([]string, error) {
	told, err := h.archive.Query(ctx, archive.Query{Host: host, Kind: event.KindHealth, Text: "guard-on", Limit: 20})
	var all []string
	for _, e := range told {
		all = slices.AppendSeq(all, strings.FieldsFuncSeq(e.Fields["Decoys"], func(r rune) bool { return r == '\n' }))
	}
	return all, err
}
