package duty

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Authority is whom to call outside, as far as the site knows: what comes with
// Sonae must be checked at installation, because numbers change.
type Authority struct {
	ID         string    `json:"id"`
	Name       string    `json:"name,omitempty"` // of the site's own ones; others have catalogue key "duty.contact.<id>"
	Phone      string    `json:"phone"`
	Mail       string    `json:"mail"`
	Web        string    `json:"web"`
	Note       string    `json:"note"`  // office, person, hours
	AsOf       time.Time `json:"as_of"` // of what comes with Sonae
	Source     string    `json:"source"`
	Confidence string    `json:"confidence"`
	Own        bool      `json:"own"`         // added by the site
	VerifiedAt time.Time `json:"verified_at"` // zero: nobody checked it as it is now
	VerifiedBy string    `json:"verified_by"` // person id
	ChangedAt  time.Time `json:"changed_at"`  // zero: as it comes with Sonae
	ChangedBy  string    `json:"changed_by"`
}

// NewContact is what a person writes about an authority.
type NewContact struct {
	Name     string `json:"name,omitempty"` // for the site's own ones
	Phone    string `json:"phone,omitempty"`
	Mail     string `json:"mail,omitempty"`
	Web      string `json:"web,omitempty"`
	Note     string `json:"note,omitempty"`
	Verified bool   `json:"verified,omitempty"` // checked just now: called, or compared with the authority's page
	Removed  bool   `json:"removed,omitempty"`  // not of use here
}

// ContactChange is one version of an authority's contact. It is what the
// ledger binds (type "authority", ref "<id>/<no>").
type ContactChange struct {
	ID string `json:"id"`
	No int    `json:"no"`
	NewContact
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	Salt string    `json:"salt"`
}

// Leaf is the line of the ledger that binds the change.
func (c ContactChange) Leaf() (leaf.Leaf, error) {
	return leaf.Of("authority", fmt.Sprintf("%s/%d", c.ID, c.No), c.At, c)
}

// staleAfter is how long a check of a contact holds.
const staleAfter = 365 * 24 * time.Hour

// Stale says that a contact was never checked, or too long ago.
func (a Authority) Stale(now time.Time) bool {
	return a.VerifiedAt.IsZero() || now.Sub(a.VerifiedAt) > staleAfter
}

// Contacts returns the authorities in the order of the rules, then the site's
// own ones.
func (d *Desk) Contacts(ctx context.Context) ([]Authority, error) {
	last := map[string]ContactChange{}
	var own []string
	err := each(ctx, d.db.Query, func(row scanner) error {
		var body string
		var c ContactChange
		err := errors.Join(row.Scan(&body), json.Unmarshal([]byte(body), &c))
		if _, seen := last[c.ID]; !seen && d.rules.contact(c.ID) == nil {
			own = append(own, c.ID)
		}
		last[c.ID] = c
		return err
	}, `SELECT body FROM duty_contact ORDER BY id, no`)
	if err != nil {
		return nil, fmt.Errorf("contacts of authorities: %w", err)
	}
	all := []Authority{}
	for _, c := range d.rules.Contacts {
		all = add(all, Authority{ID: c.ID, Phone: c.Phone, Mail: c.Mail, AsOf: c.AsOf.Time, Source: c.Source, Confidence: c.Confidence}, last)
	}
	for _, id := range own {
		all = add(all, Authority{ID: id, Own: true}, last)
	}
	return all, nil
}

func add(all []Authority, a Authority, last map[string]ContactChange) []Authority {
	c, changed := last[a.ID]
	if !changed {
		return append(all, a)
	}
	if c.Removed {
		return all
	}
	a.Name, a.Phone, a.Mail, a.Web, a.Note, a.ChangedAt, a.ChangedBy = c.Name, c.Phone, c.Mail, c.Web, c.Note, c.At, c.By
	if c.Verified {
		a.VerifiedAt, a.VerifiedBy = c.At, c.By
	}
	return append(all, a)
}

func (r Rules) contact(id string) *Contact {
	i := slices.IndexFunc(r.Contacts, func(c Contact) bool { return c.ID == id })
	if i < 0 {
		return nil
	}
	return &r.Contacts[i]
}

// SaveContact writes what the site knows about an authority; id is one of the
// rules, of the site's own ones, or "new".
//
// Errors: Invalid for what cannot be right, Missing for an unknown id.
func (d *Desk) SaveContact(ctx context.Context, id string, n NewContact, by auth.Person) error {
	for _, p := range []*string{&n.Name, &n.Phone, &n.Mail, &n.Web, &n.Note} {
		*p = tidyText(*p)
	}
	now := state.Time(state.Nanos(d.now()))
	own, fresh := d.rules.contact(id) == nil, id == "new"
	if fresh {
		id = clock.ID("au", now)
	}
	if err := n.check(own); err != nil {
		return err
	}
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		var no int
		if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(no), 0) FROM duty_contact WHERE id = $1`, id).Scan(&no); err != nil {
			return err
		}
		if own && no == 0 && !fresh {
			return fault.New(fault.Missing, "duty.contact-missing")
		}
		c := ContactChange{ID: id, No: no + 1, NewContact: n, At: now, By: by.ID, Salt: leaf.Salt()}
		l, err := c.Leaf()
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO duty_contact (id, no, body) VALUES ($1, $2, $3)`, c.ID, c.No, state.JSON(c)); err != nil {
			return err
		}
		return tx.Emit(ctx, "record.authority", "record.authority:"+l.Ref, l)
	})
	if err != nil {
		return fmt.Errorf("save contact %s: %w", id, err)
	}
	return nil
}

var (
	phoneNumber = regexp.MustCompile(`^[0-9+#*() ./～~ー−-]{3,60}$`)
	mailAddress = regexp.MustCompile(`^[^\s@<>"]{1,64}@[^\s@<>"]{1,190}$`)
	webAddress  = regexp.MustCompile(`^https?://[^\s<>"]{1,500}$`)
)

func (n NewContact) check(own bool) error {
	switch {
	case own && !n.Removed && n.Name == "", utf8.RuneCountInString(n.Name) > 100, strings.Contains(n.Name, "\n"):
		return fault.New(fault.Invalid, "duty.contact-name")
	case n.Phone != "" && !phoneNumber.MatchString(n.Phone):
		return fault.New(fault.Invalid, "duty.contact-phone")
	case n.Mail != "" && !mailAddress.MatchString(n.Mail):
		return fault.New(fault.Invalid, "duty.contact-mail")
	case n.Web != "" && !webAddress.MatchString(n.Web):
		return fault.New(fault.Invalid, "duty.contact-web")
	case utf8.RuneCountInString(n.Note) > 1000:
		return fault.New(fault.Invalid, "duty.too-long", "note", 1000)
	case n.Verified && n.Phone == "" && n.Mail == "" && n.Web == "" && n.Note == "":
		return fault.New(fault.Invalid, "duty.contact-empty")
	}
	return nil
}
