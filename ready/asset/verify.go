package asset

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// VerifyRows compares every version of sites, hosts and tokens with the leaves
// of type "asset", and the register as it is now with the newest version of
// each: what was changed, added or is gone is named. What heartbeats say is not
// compared. Of a site or host that was last changed before versions were kept
// only the number of its version is, with the leaves of the types "site" and
// "host". It writes nothing.
func VerifyRows(ctx context.Context, db *state.DB, leaves func(kind string) []leaf.Leaf) ([]rows.Difference, error) {
	found, err := rows.Verify(ctx, db, rows.Table{Type: LeafAsset, Query: `SELECT body, ref, at FROM asset_record`, Leaf: recordLeaf}, leaves)
	if err != nil {
		return nil, err
	}
	for _, p := range registers() {
		some, err := p.verify(ctx, db, leaves)
		if err != nil {
			return nil, fmt.Errorf("verify the register: %w", err)
		}
		found = append(found, some...)
	}
	return found, nil
}

// present is a table of the register as it is now.
type present struct {
	kind  string
	query string // id, version, and what people decided
	// want tells what the latter must be.
	want func(body string) ([]any, error)
}

func registers() []present {
	return []present{
		{"site", `SELECT id, version, name, kind, principal, contact, drill, salt FROM asset_site`, func(body string) ([]any, error) {
			var r siteRecord
			err := json.Unmarshal([]byte(body), &r)
			return []any{r.Site.Name, string(r.Site.Kind), r.Site.Principal, r.Site.Contact, int64(flag(r.Site.Drill)), r.Salt}, err
		}},
		{"host", `SELECT id, version, name, site, class, services, keep, removed_at, drill, salt FROM asset_host`, func(body string) ([]any, error) {
			var r hostRecord
			err := json.Unmarshal([]byte(body), &r)
			return []any{r.Name, r.Site, r.Class, state.JSON(r.Services), r.Keep, r.RemovedAt, int64(flag(r.Drill)), r.Salt}, err
		}},
	}
}

// versions are those of the records of one kind.
type versions struct {
	bodies map[string]string // by id and number; those from before they were kept are not there
	newest map[string]int64  // by id
}

func (v versions) add(ref string) {
	id, no, _ := strings.Cut(ref, "/")
	n, err := strconv.ParseInt(no, 10, 64)
	if err == nil { // else it is named as what it is: never recorded
		v.newest[id] = max(v.newest[id], n)
	}
}

func (p present) versions(ctx context.Context, db *state.DB, leaves func(string) []leaf.Leaf) (versions, error) {
	v := versions{map[string]string{}, map[string]int64{}}
	old, err := rows.Recorded(ctx, db, p.kind, leaves)
	if err != nil {
		return v, err
	}
	for ref := range old {
		v.add(ref)
	}
	found, err := db.Query(ctx, `SELECT ref, body FROM asset_record`)
	if err != nil {
		return v, err
	}
	defer found.Close()
	for found.Next() {
		var ref, body string
		if err := found.Scan(&ref, &body); err != nil {
			return v, err
		}
		if ref, ok := strings.CutPrefix(ref, p.kind+"/"); ok {
			v.bodies[ref] = body
			v.add(ref)
		}
	}
	return v, found.Err()
}

func (p present) verify(ctx context.Context, db *state.DB, leaves func(string) []leaf.Leaf) ([]rows.Difference, error) {
	v, err := p.versions(ctx, db, leaves)
	if err != nil {
		return nil, err
	}
	var found []rows.Difference
	err = rows.Each(ctx, db, p.query, func(columns []any) {
		id := fmt.Sprint(columns[0])
		if kind, detail := p.compare(v, id, columns); kind != "" {
			found = append(found, rows.Difference{Kind: kind, Ref: p.kind + "/" + id, Detail: detail})
		}
		delete(v.newest, id)
	})
	for id := range v.newest {
		found = append(found, rows.Difference{Kind: rows.RowMissing, Ref: p.kind + "/" + id, Detail: "the ledger knows it, the register does not"})
	}
	slices.SortFunc(found, func(a, b rows.Difference) int { return strings.Compare(a.Ref, b.Ref) })
	return found, err
}

// compare holds a row of the register against its newest version.
func (p present) compare(v versions, id string, columns []any) (kind, detail string) {
	no, known := v.newest[id]
	if !known {
		return rows.NotInLedger, "the ledger has no version of it"
	}
	if columns[1] != no {
		return rows.Changed, fmt.Sprintf("it is version %v, the newest one is %d", columns[1], no)
	}
	body, kept := v.bodies[fmt.Sprintf("%s/%d", id, no)]
	if !kept { // from before versions were kept
		return "", ""
	}
	want, err := p.want(body)
	if err == nil {
		err = rows.Repeat(columns[2:], want...)
	}
	if err != nil {
		return rows.Changed, fmt.Sprintf("it is not what version %d says", no)
	}
	return "", ""
}
