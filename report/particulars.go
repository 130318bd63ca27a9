package report

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// Particulars are what only documents need to know of an incident, as people
// stated it. Empty means missing.
type Particulars struct {
	DeskName   string  `json:"desk_name"`  // お問い合わせ窓口
	DeskPhone  string  `json:"desk_phone"` //
	DeskHours  string  `json:"desk_hours"` //
	Signatory  string  `json:"signatory"`  // who signs letters; the representative when empty
	Stopped    string  `json:"stopped"`    // 診療への影響: what is stopped
	Continues  string  `json:"continues"`  // what goes on
	Until      string  `json:"until"`      // how long, as far as known
	Advice     string  `json:"advice"`     // what persons can do, where a group has none of its own
	Asked      string  `json:"asked"`      // what is asked of an authority, or of the police
	Indicators string  `json:"indicators"` // one per line: address, name, digest; see ParseIndicators
	Groups     []Group `json:"groups"`
}

// Group is persons of whom the same data is concerned, and who need the same
// advice.
type Group struct {
	ID     string `json:"id"` // stable within the incident; given when empty
	Name   string `json:"name"`
	Count  int    `json:"count"`  // persons; 0: not known
	Data   string `json:"data"`   // which data of theirs
	Advice string `json:"advice"` // what they can do
}

// PlainFields returns the texts of particulars by their JSON names, in the
// order of the form.
func (p *Particulars) plainFields() []struct {
	ID string
	At *string
} {
	return []struct {
		ID string
		At *string
	}{{"desk_name", &p.DeskName}, {"desk_phone", &p.DeskPhone}, {"desk_hours", &p.DeskHours}, {"signatory", &p.Signatory}, {"stopped", &p.Stopped},
		{"continues", &p.Continues}, {"until", &p.Until}, {"advice", &p.Advice}, {"asked", &p.Asked}, {"indicators", &p.Indicators}}
}

// ParticularField is one text of Particulars by its id (the JSON name).
type ParticularField struct{ ID, Value string }

// Fields returns all texts in the order of the form; groups stand apart.
func (p Particulars) Fields() []ParticularField {
	var all []ParticularField
	for _, f := range p.plainFields() {
		all = append(all, ParticularField{f.ID, *f.At})
	}
	return all
}

// Set sets a text by its id; it says whether there is one.
func (p *Particulars) Set(id, value string) bool {
	for _, f := range p.plainFields() {
		if f.ID == id {
			*f.At = value
			return true
		}
	}
	return false
}

// Group finds a group by its id.
func (p Particulars) Group(id string) (Group, bool) {
	i := slices.IndexFunc(p.Groups, func(g Group) bool { return g.ID == id })
	if i < 0 {
		return Group{}, false
	}
	return p.Groups[i], true
}

// Bounds of particulars.
const (
	longestParticular = 4000
	mostGroups        = 20
)

// tidy brings particulars into the one form that is stored.
func (p Particulars) tidy() (Particulars, error) {
	if len(p.Groups) > mostGroups {
		return p, fault.New(fault.Invalid, "report.groups", mostGroups)
	}
	p.Groups = slices.Clone(p.Groups)
	texts := p.plainFields()
	for i := range p.Groups {
		g := &p.Groups[i]
		if g.Count < 0 {
			return p, fault.New(fault.Invalid, "report.group-count")
		}
		texts = append(texts, struct {
			ID string
			At *string
		}{"name", &g.Name}, struct {
			ID string
			At *string
		}{"data", &g.Data}, struct {
			ID string
			At *string
		}{"advice", &g.Advice})
	}
	for _, t := range texts {
		*t.At = lines(*t.At)
		if utf8.RuneCountInString(*t.At) > longestParticular {
			return p, fault.New(fault.Invalid, "report.particular-long", longestParticular)
		}
	}
	if _, err := ParseIndicators(p.Indicators); err != nil {
		return p, err
	}
	return p, p.nameGroups()
}

// nameGroups drops empty groups and gives ids to new ones.
func (p *Particulars) nameGroups() error {
	p.Groups = slices.DeleteFunc(p.Groups, func(g Group) bool { g.ID = ""; return g == Group{} })
	used, next := map[string]bool{}, 1
	for _, g := range p.Groups {
		if g.Name == "" {
			return fault.New(fault.Invalid, "report.group-name")
		}
		if g.ID != "" && (used[g.ID] || !strings.HasPrefix(g.ID, "g") || !digits(g.ID[1:])) {
			return fault.New(fault.Invalid, "report.group-id", g.ID)
		}
		used[g.ID] = true
	}
	for i := range p.Groups {
		for ; p.Groups[i].ID == ""; next++ {
			if id := "g" + strconv.Itoa(next); !used[id] {
				p.Groups[i].ID, used[id] = id, true
			}
		}
	}
	return nil
}

func digits(s string) bool {
	return s != "" && len(s) < 6 && strings.Trim(s, "0123456789") == ""
}

// lines is a text of several lines in the one form that is stored.
func lines(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n")
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if c != '\n' && unicode.IsControl(c) {
			return ' '
		}
		return c
	}, s))
}

// statedParticulars is one version, as the ledger binds it (type
// "particulars", ref "<incident>/<no>").
type statedParticulars struct {
	Incident    string      `json:"incident"`
	No          int         `json:"no"` // from 1, without gaps
	At          time.Time   `json:"at"`
	By          string      `json:"by"` // person id
	Particulars Particulars `json:"particulars"`
	Salt        string      `json:"salt"`
}

func (s statedParticulars) leaf() (leaf.Leaf, error) {
	return leaf.Of("particulars", s.Incident+"/"+strconv.Itoa(s.No), s.At, s)
}

const newestParticulars = `SELECT body FROM document_particulars WHERE incident = $1 ORDER BY no DESC LIMIT 1`

// Particulars returns what was stated last; empty when nothing was.
func (d *Desk) Particulars(ctx context.Context, id string) (Particulars, error) {
	s, err := lastParticulars(d.db.QueryRow(ctx, newestParticulars, id))
	if err != nil {
		return Particulars{}, fmt.Errorf("read particulars of %s: %w", id, err)
	}
	return s.Particulars, nil
}

func lastParticulars(row scanner) (s statedParticulars, err error) {
	var body string
	switch err := row.Scan(&body); {
	case errors.Is(err, sql.ErrNoRows):
		return s, nil
	case err != nil:
		return s, err
	}
	return s, json.Unmarshal([]byte(body), &s)
}

// SetParticulars states them; documents that were made keep what they say.
// Stating the same again changes nothing. Invalid: too long, too many groups,
// or a line of indicators that is none.
func (d *Desk) SetParticulars(ctx context.Context, id string, p Particulars, by auth.Person) error {
	p, err := p.tidy()
	if err != nil {
		return err
	}
	if _, err := d.deps.Incidents.Get(ctx, id); err != nil {
		return fmt.Errorf("set particulars of %s: %w", id, err)
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		last, err := lastParticulars(tx.QueryRowContext(ctx, newestParticulars, id))
		if err != nil || last.No > 0 && reflect.DeepEqual(last.Particulars, p) {
			return err
		}
		s := statedParticulars{Incident: id, No: last.No + 1, At: d.moment(), By: by.ID, Particulars: p, Salt: leaf.Salt()}
		l, err := s.leaf()
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO document_particulars (incident, no, set_at, set_by, body) VALUES ($1, $2, $3, $4, $5)`,
			id, s.No, state.Nanos(s.At), s.By, state.JSON(s)); err != nil {
			return err
		}
		return d.note(ctx, tx, l, Noted{Incident: id, Key: "document.stated", At: s.At, Ref: l.Ref, Args: map[string]string{"by": by.ID}})
	})
	if err != nil {
		return fmt.Errorf("set particulars of %s: %w", id, err)
	}
	return nil
}

func particularsLeaf(columns []any) (leaf.Leaf, error) {
	var s statedParticulars
	unusable := leaf.Leaf{Ref: fmt.Sprintf("%v/%v", columns[1], columns[2])}
	if err := rows.Body(columns[0], &s); err != nil {
		return unusable, err
	}
	if err := rows.Repeat(columns[1:], s.Incident, int64(s.No), state.Nanos(s.At), s.By); err != nil {
		return unusable, err
	}
	return s.leaf()
}
