package action

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Stage is a group of paths that are cut together.
type Stage string

// Stages, in the order of the 厚生労働省 (サイバー攻撃を想定したBCP): what the
// copies come over first, because without copies nothing can be brought back.
const (
	BackupPath   Stage = "backup"
	ExternalLine Stage = "external"
	Border       Stage = "border"
)

// Stages are all of them, in the order in which they are cut.
func Stages() []Stage { return []Stage{BackupPath, ExternalLine, Border} }

// Section is one path that is cut, and who cuts it.
type Section struct {
	Stage     Stage    `json:"stage"`
	Name      string   `json:"name"`                // what people call it
	Stops     string   `json:"stops"`               // what stops with it in the wards
	Kind      Kind     `json:"kind"`                // block | block-peer | isolate
	Via       string   `json:"via"`                 // gateway or device (block), else the host
	Targets   []string `json:"targets,omitempty"`   // of block, also "line:IFACE" of a gateway, and of block-peer
	Forbidden string   `json:"forbidden,omitempty"` // of isolate: ip:port that must not answer afterwards
}

// Cut is how a site is cut from the rest, written down beforehand.
type Cut struct {
	Site     string    `json:"site"`
	Sections []Section `json:"sections"` // in the order of Stages
	SetBy    string    `json:"set_by"`
	SetAt    time.Time `json:"set_at"`
	Version  int       `json:"version"`
	Salt     string    `json:"salt"`
}

const maxSections = 60

// Cut returns how a site is cut; one for which nothing was written has no
// sections.
func (d *Desk) Cut(ctx context.Context, site string) (Cut, error) {
	c := Cut{Site: site, Sections: []Section{}}
	var body string
	err := d.db.QueryRow(ctx, `SELECT body FROM site_cut WHERE site = $1 ORDER BY version DESC LIMIT 1`, site).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &c)
	}
	if err != nil {
		return c, fmt.Errorf("cut of %s: %w", site, err)
	}
	return c, nil
}

// SetCut replaces how a site is cut. What could not be carried out as things
// are now is refused: the night in which it is needed is too late.
func (d *Desk) SetCut(ctx context.Context, c Cut, by auth.Person) error {
	if len(c.Sections) > maxSections {
		return fault.New(fault.Invalid, "cut.many", maxSections)
	}
	c.Sections = slices.Clone(c.Sections)
	for i := range c.Sections {
		s := &c.Sections[i]
		if err := s.tidy(); err != nil {
			return err
		}
		a, err := d.Plan(ctx, s.request(NewRequest{Lease: DefaultLease}))
		if err != nil {
			return fmt.Errorf("section %s: %w", s.Name, err)
		}
		if a.Site != c.Site {
			return fault.New(fault.Conflict, "cut.other-site", s.Name)
		}
		s.Targets = a.Targets
	}
	slices.SortStableFunc(c.Sections, func(a, b Section) int { return slices.Index(Stages(), a.Stage) - slices.Index(Stages(), b.Stage) })
	c.SetBy, c.SetAt, c.Salt = by.ID, d.now().UTC(), leaf.Salt()
	return d.db.Tx(ctx, func(tx *state.Tx) error { return d.putCut(ctx, tx, c) })
}

// tidy checks what people entered and writes it in one form.
func (s *Section) tidy() error {
	s.Name, s.Stops, s.Via = strings.TrimSpace(s.Name), strings.TrimSpace(s.Stops), strings.TrimSpace(s.Via)
	switch {
	case !slices.Contains(Stages(), s.Stage):
		return fault.New(fault.Invalid, "cut.stage", string(s.Stage))
	case s.Name == "" || utf8.RuneCountInString(s.Name) > maxWhy || utf8.RuneCountInString(s.Stops) > maxWhy:
		return fault.New(fault.Invalid, "cut.name", maxWhy)
	case s.Kind != Block && s.Kind != BlockPeer && s.Kind != Isolate:
		return fault.New(fault.Invalid, "cut.kind", s.Name)
	case s.Kind == Isolate && s.Forbidden == "":
		return fault.New(fault.Invalid, "action.forbidden-missing")
	}
	return nil
}

// request is a section as a request, with what it shares with the others.
func (s Section) request(q NewRequest) NewRequest {
	q.Kind, q.Targets, q.Forbidden = s.Kind, s.Targets, s.Forbidden
	if s.Kind == Block {
		q.Via = s.Via
	} else {
		q.Host = s.Via
	}
	return q
}

// putCut adds a version: the earlier ones stay, for the verifier.
func (d *Desk) putCut(ctx context.Context, tx *state.Tx, c Cut) error {
	err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) + 1 FROM site_cut WHERE site = $1`, c.Site).Scan(&c.Version)
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT INTO site_cut (site, version, body) VALUES ($1, $2, $3)`, c.Site, c.Version, state.JSON(c))
	}
	if err != nil {
		return fmt.Errorf("cut of %s: %w", c.Site, err)
	}
	lf, err := c.leaf()
	if err != nil {
		return err
	}
	return tx.Emit(ctx, "record."+leafCut, leafCut+":"+lf.Ref, lf)
}

// leafCut is the type of the leaves that bind how a site is cut, each version.
const leafCut = "site-cut"

func (c Cut) leaf() (leaf.Leaf, error) {
	return leaf.Of(leafCut, fmt.Sprintf("%s/%d", c.Site, c.Version), c.SetAt, c)
}
