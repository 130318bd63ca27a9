package task

import (
	"bytes"
	_ "embed"
	"fmt"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/sonae/sonae/detect"
)

// Commander is the role that only handing over, or taking over, gives.
const Commander = "commander"

// Role is a part that somebody plays in an incident (役割).
type Role struct {
	ID    string      `json:"id" yaml:"id"`
	Under string      `json:"under" yaml:"under"` // role to which it reports, "" at the top
	Name  detect.Text `json:"name" yaml:"name"`   // by language
	Duty  detect.Text `json:"duty" yaml:"duty"`   // what it is for, by language
}

// Post is that somebody holds a role, from when to when. Exactly one of Person
// and Name is set: not everybody who helps has a log-in.
type Post struct {
	ID       string    `json:"id"`
	Incident string    `json:"incident"`
	Role     string    `json:"role"`
	Person   string    `json:"person"`  // id
	Name     string    `json:"name"`    // of somebody without a log-in
	Contact  string    `json:"contact"` // how to reach them, as typed
	Deputy   bool      `json:"deputy"`
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"` // zero: still
}

// Holds says whether somebody holds the role at a moment.
func (p Post) Holds(at time.Time) bool {
	return !at.Before(p.From) && (p.Until.IsZero() || at.Before(p.Until))
}

// Seat is a role in the chart of the organisation, with who holds it now.
type Seat struct {
	Role  Role
	Posts []Post // holders first, then deputies
	Under []Seat
}

//go:embed roles.yaml
var roles []byte

// ownRoles reads Sonae's own roles.
func ownRoles() ([]Role, error) {
	var file struct {
		Roles []Role `yaml:"roles"`
	}
	d := yaml.NewDecoder(bytes.NewReader(roles))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("roles.yaml: %w", err)
	}
	seen := map[string]bool{"": true}
	for i, r := range file.Roles {
		if r.ID == "" || seen[r.ID] || !seen[r.Under] || (r.Under == "") != (i == 0) || r.Name["ja"] == "" || r.Name["en"] == "" {
			return nil, fmt.Errorf("roles.yaml: role %q is not usable", r.ID)
		}
		seen[r.ID] = true
	}
	return file.Roles, nil
}

// Chart makes the chart of the organisation (体制図) as it is at a moment. roles
// begin with the one at the top, and name a role before those under it.
func Chart(roles []Role, posts []Post, at time.Time) Seat {
	return seat(roles, posts, at, roles[0])
}

func seat(roles []Role, posts []Post, at time.Time, r Role) Seat {
	s := Seat{Role: r}
	for _, deputies := range []bool{false, true} {
		for _, p := range posts {
			if p.Role == r.ID && p.Deputy == deputies && p.Holds(at) {
				s.Posts = append(s.Posts, p)
			}
		}
	}
	for _, o := range roles {
		if o.Under == r.ID {
			s.Under = append(s.Under, seat(roles, posts, at, o))
		}
	}
	return s
}
