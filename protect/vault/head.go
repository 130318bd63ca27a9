package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Head is what the receive log of a repository was at a time. Once its digest
// stands in the ledger, no line before it can be changed, added or taken out
// unseen.
type Head struct {
	ID     string    `json:"id"`
	Agent  string    `json:"agent"`
	At     time.Time `json:"at"`
	Lines  int       `json:"lines"`
	Digest string    `json:"digest"` // of the log up to that line, hex
}

// bindHead binds the head of a repository's receive log, unless it is the one
// that was bound last.
func (v *Vault) bindHead(ctx context.Context, agent string) error {
	r, err := v.repository(ctx, agent)
	if err != nil {
		return err
	}
	h := Head{Agent: agent, At: v.moment()}
	if h.Lines, h.Digest = r.Head(); h.Lines == 0 {
		return nil
	}
	last, err := v.lastHead(ctx, agent)
	if err != nil || last.Lines == h.Lines && last.Digest == h.Digest {
		return err
	}
	s, _, err := get[settings](ctx, v, kindRepository, agent)
	if err != nil {
		return err
	}
	h.ID = clock.ID("vh", h.At)
	return v.create(ctx, version{ID: h.ID, Kind: kindHead, Agent: agent, Site: s.Site, By: Hub}, h, said{})
}

func (v *Vault) lastHead(ctx context.Context, agent string) (Head, error) {
	all, err := list[Head](ctx, v, kindHead, agent, "", 1)
	if err != nil || len(all) == 0 {
		return Head{}, err
	}
	return all[0], nil
}

// noteStored takes what the service tells; it never blocks. What finds no room
// is found by keep.
func (v *Vault) noteStored(r repository.Receipt) {
	if r.Kind == restic.Snapshots {
		select {
		case v.stored <- r:
		default:
		}
	}
}

// followStored binds the receive log after each snapshot: from then on it is
// proved when it came.
func (v *Vault) followStored(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-v.stored:
			v.try(ctx, r.Agent, "bind receive log", v.bindHead)
		}
	}
}

// VerifyLogs compares the receive logs below dir with the heads that the state
// holds, which VerifyRows compares with the ledger. What came after the last
// head nothing proves yet.
func VerifyLogs(ctx context.Context, db *state.DB, dir string) ([]rows.Difference, error) {
	heads := map[string][]Head{}
	err := rows.Each(ctx, db, `SELECT body FROM vault_record WHERE kind = 'head'`, func(columns []any) {
		var x version
		var h Head
		if rows.Body(columns[0], &x) == nil && json.Unmarshal(x.Body, &h) == nil { // VerifyRows names the others
			heads[h.Agent] = append(heads[h.Agent], h)
		}
	})
	if err != nil {
		return nil, err
	}
	var found []rows.Difference
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && len(heads) > 0 { // a copy of the hub without them
		return nil, nil
	}
	for agent, bound := range heads {
		found = append(found, compareLog(dir, agent, bound)...)
	}
	slices.SortFunc(found, func(a, b rows.Difference) int { return strings.Compare(a.Ref, b.Ref) })
	return found, nil
}

func compareLog(dir, agent string, bound []Head) []rows.Difference {
	at := map[int]string{}
	err := repository.Heads(dir, agent, func(lines int, digest string) { at[lines] = digest })
	ref := "receive log of " + agent
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []rows.Difference{{Kind: rows.RowMissing, Ref: ref, Detail: "the log is gone"}}
	case err != nil:
		return []rows.Difference{{Kind: rows.Changed, Ref: ref, Detail: err.Error()}}
	}
	for _, h := range bound {
		if at[h.Lines] != h.Digest {
			return []rows.Difference{{Kind: rows.Changed, Ref: ref, Detail: fmt.Sprintf("line %d is not what it was on %s", h.Lines, h.At.Format(time.RFC3339))}}
		}
	}
	return nil
}
