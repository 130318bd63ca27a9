package report

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/incident/task"
	"github.com/sonae/sonae/notify"
)

// Caller is somebody of this side who calls, and where they are called back.
type Caller struct {
	Role   Text   `json:"role"`
	Name   string `json:"name"`
	Phone  string `json:"phone"` // empty: nobody wrote it down
	Deputy bool   `json:"deputy"`
}

// Callee is whom to call outside.
type Callee struct {
	Name      Text      `json:"name"`
	Phone     string    `json:"phone"` // empty: nobody wrote it down
	Note      string    `json:"note"`  // office, person, hours
	CheckedAt time.Time `json:"checked_at"`
	CheckedBy string    `json:"checked_by"` // name
	Verify    bool      `json:"verify"`     // nobody checked the number, or too long ago
}

// Bounds of the lists on a sheet for calls.
const (
	mostCallers = 30
	mostCallees = 40
)

// PhoneBook is where telephone numbers come from; a part that is nil knows
// none.
type PhoneBook struct {
	Tasks interface { // who plays which part
		Roles(ctx context.Context) ([]task.Role, error)
		Posts(ctx context.Context, incident string) ([]task.Post, error)
	}
	People interface { // how people are reached
		Contacts(ctx context.Context) ([]notify.Contact, error)
	}
	Authorities interface {
		Contacts(ctx context.Context) ([]duty.Authority, error)
	}
}

// callers are those who hold a role of the incident now, from the top down.
func (b PhoneBook) callers(ctx context.Context, in string, names map[string]string, now time.Time) ([]Caller, error) {
	if b.Tasks == nil || b.People == nil {
		return nil, nil
	}
	roles, err := b.Tasks.Roles(ctx)
	if err != nil {
		return nil, fmt.Errorf("roles: %w", err)
	}
	posts, err := b.Tasks.Posts(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("who holds a role: %w", err)
	}
	contacts, err := b.People.Contacts(ctx)
	if err != nil {
		return nil, fmt.Errorf("telephone numbers: %w", err)
	}
	phones := map[string]string{}
	for _, c := range contacts {
		phones[c.Person] = c.Phone
	}
	return seated(task.Chart(roles, posts, now), names, phones, nil), nil
}

// seated lists a seat and those under it.
func seated(s task.Seat, names, phones map[string]string, all []Caller) []Caller {
	for _, p := range s.Posts {
		if len(all) < mostCallers {
			all = append(all, Caller{Role: Text{JA: s.Role.Name.In("ja"), EN: s.Role.Name.In("en")}, Name: cmp.Or(p.Name, names[p.Person], p.Person),
				Phone: cmp.Or(p.Contact, phones[p.Person]), Deputy: p.Deputy})
		}
	}
	for _, u := range s.Under {
		all = seated(u, names, phones, all)
	}
	return all
}

// first are those who are called first, whatever the order of the data: the
// vendor at once, then who must know on the same day.
var first = []string{"vendor", "mhlw", "mhlw_first_response", "prefecture", "health_center", "police", "ppc_main", "ppc_consult"}

// byForm are told with a form, never by telephone.
var byForm = []string{"nco"}

// callees are those of the house's list of authorities.
func (b PhoneBook) callees(ctx context.Context, names map[string]string, now time.Time) ([]Callee, error) {
	if b.Authorities == nil {
		return nil, nil
	}
	all, err := b.Authorities.Contacts(ctx)
	if err != nil {
		return nil, fmt.Errorf("authorities: %w", err)
	}
	rank := func(a duty.Authority) int {
		if i := slices.Index(first, a.ID); i >= 0 {
			return i
		}
		return len(first)
	}
	slices.SortStableFunc(all, func(x, y duty.Authority) int { return cmp.Compare(rank(x), rank(y)) })
	var out []Callee
	for _, a := range all {
		if slices.Contains(byForm, a.ID) || len(out) == mostCallees {
			continue
		}
		c := Callee{Name: Plain(a.Name), Phone: a.Phone, Note: a.Note, CheckedAt: a.VerifiedAt, Verify: a.Stale(now)}
		if a.VerifiedBy != "" {
			c.CheckedBy = cmp.Or(names[a.VerifiedBy], a.VerifiedBy)
		}
		if !a.Own {
			c.Name = Word("duty.contact."+a.ID, nil)
		}
		out = append(out, c)
	}
	return out, nil
}

// phones adds the telephone numbers to a sheet that is read into a telephone;
// others have no need of them.
func (d *Desk) phones(ctx context.Context, k known, data *Data) (err error) {
	if data.Kind != "first-call" {
		return nil
	}
	if data.Callers, err = d.deps.PhoneBook.callers(ctx, k.in.ID, k.names, data.MadeAt); err != nil {
		return fmt.Errorf("draft report of %s: %w", k.in.ID, err)
	}
	if data.Callees, err = d.deps.PhoneBook.callees(ctx, k.names, data.MadeAt); err != nil {
		return fmt.Errorf("draft report of %s: %w", k.in.ID, err)
	}
	return nil
}
