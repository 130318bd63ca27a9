// Package policy says what is backed up, when, and what is kept, has it done,
// and checks whether the rules are kept.
//
// In: policies and classes of data that people write, the clock, what agents
// tell of their jobs, the copies and drills that others know of. Out: jobs for
// agents, the record of every run, alerts about machines without a fresh backup,
// and for each class of data what is missing of 3-2-1-1-0 and of the ministry's
// rule. Always true: every version of a policy, a class and a run is kept, with
// its digest in the ledger; a backup counts only when the agent said that all of
// it was read (job.OK), its repository received it, and nobody called it suspect; what nobody has confirmed is
// "not known", never fulfilled.
package policy

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/ready/asset"
)

// Class is a class of data of a site, as people name it: what is protected
// together, who answers for it, and what losing it may cost.
type Class struct {
	ID      string        `json:"id"`
	Version int           `json:"version"` // from 1; 0: not yet kept
	Site    string        `json:"site"`
	Name    string        `json:"name"`
	Owner   string        `json:"owner"`             // person id of who answers for it
	Data    []string      `json:"data,omitempty"`    // asset.DataClasses that are in it
	Where   string        `json:"where,omitempty"`   // which systems hold it, in words
	Medical bool          `json:"medical"`           // the ministry's rule for records of patients holds for it
	MaxLoss time.Duration `json:"max_loss"`          // how much newest data may be lost; 0: nobody has said
	MaxDown time.Duration `json:"max_down"`          // how long it may be gone; 0: nobody has said
	Order   int           `json:"order"`             // the lowest is shown first
	EndedAt time.Time     `json:"ended_at,omitzero"` // no longer kept apart
	At      time.Time     `json:"at"`
	By      string        `json:"by"`
	Salt    string        `json:"salt"`
}

// Policy is what is backed up, when, and what is kept (方針).
type Policy struct {
	ID      string `json:"id"`
	Version int    `json:"version"` // from 1; 0: not yet kept
	Site    string `json:"site"`
	Class   string `json:"class"` // Class.ID, of the same site
	Name    string `json:"name"`
	Owner   string `json:"owner"` // person id of who is asked when it does not work

	Hosts    []string     `json:"hosts"` // each does all of Sources
	Sources  []job.Source `json:"sources"`
	Hooks    []job.Hook   `json:"hooks,omitempty"`
	Schedule Schedule     `json:"schedule"`
	Upload   int          `json:"upload,omitempty"` // KiB/s towards the hub; 0: no bound
	Keep     Keep         `json:"keep"`
	Targets  []Medium     `json:"targets"` // where copies must be; the hub is always one
	// MaxAge is how old the newest backup of a machine may be before people are
	// told; 0: what the schedule allows (Allowed).
	MaxAge time.Duration `json:"max_age"`

	Paused  bool      `json:"paused"` // nothing begins by itself; people are told all the same when backups get too old
	EndedAt time.Time `json:"ended_at,omitzero"`
	Why     string    `json:"why"` // why it was changed
	At      time.Time `json:"at"`
	By      string    `json:"by"`
	// Since is from when each of Hosts must have backups.
	Since map[string]time.Time `json:"since"`
	Salt  string               `json:"salt"`
}

// Medium is a kind of place where copies are.
type Medium string

// Media.
const (
	AtHub   Medium = "hub"    // the hub's append-only repository
	Second  Medium = "second" // a second repository, on another site
	Objects Medium = "object" // S3 with object lock
	Taken   Medium = "media"  // disks and tapes that are taken out
)

// Media lists all.
func Media() []Medium { return []Medium{AtHub, Second, Objects, Taken} }

// Bounds of what people write.
const (
	maxName    = 100
	maxText    = 1000
	maxHosts   = 500
	maxSources = 50
	maxHooks   = 20
	maxAge     = 400 * 24 * time.Hour
	maxUpload  = 100 << 20 // KiB/s
)

var siteForm = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// Leaf is the line of the ledger that binds the version.
func (c Class) Leaf() (leaf.Leaf, error) { return leaf.Of(leafClass, ref(c.ID, c.Version), c.At, c) }

// Leaf is the line of the ledger that binds the version.
func (p Policy) Leaf() (leaf.Leaf, error) { return leaf.Of(leafPolicy, ref(p.ID, p.Version), p.At, p) }

// Ended says whether the policy makes no backups any more.
func (p Policy) Ended() bool { return !p.EndedAt.IsZero() }

// Allowed is how old the newest backup of a machine may be: what was said, else
// the longest pause of the schedule, its window and two hours for the work.
func (p Policy) Allowed() time.Duration {
	if p.MaxAge > 0 {
		return p.MaxAge
	}
	return p.Schedule.longest() + p.Schedule.window() + 2*time.Hour
}

// Job is what an agent is told for a run.
func (p Policy) Job(r Run) job.Job {
	j := job.Job{ID: r.ID, Host: r.Host, Policy: p.ID, Kind: job.Backup, Sources: p.Sources, Hooks: p.Hooks, Limits: job.Limits{Upload: p.Upload}}
	if p.Schedule.Stop {
		j.Until = r.Until
	}
	return j
}

// tidy cleans what people wrote and refuses what cannot be right.
func (c *Class) tidy() error {
	c.Data = sorted(c.Data)
	switch {
	case !clean(&c.Name, maxName) || c.Name == "":
		return fault.New(fault.Invalid, "protect.policy.name", maxName)
	case !clean(&c.Where, maxText):
		return fault.New(fault.Invalid, "protect.policy.long", maxText)
	case !siteForm.MatchString(c.Site):
		return fault.New(fault.Invalid, "protect.policy.site")
	case slices.ContainsFunc(c.Data, func(d string) bool { return !slices.Contains(asset.DataClasses(), d) }):
		return fault.New(fault.Invalid, "protect.policy.data")
	case !age(c.MaxLoss) || !age(c.MaxDown):
		return fault.New(fault.Invalid, "protect.policy.hours")
	case c.Order < 0 || c.Order > 1000:
		return fault.New(fault.Invalid, "protect.policy.order")
	}
	return nil
}

func (p *Policy) tidy() error {
	p.Hosts = sorted(p.Hosts)
	if err := p.tidyTargets(); err != nil {
		return err
	}
	switch {
	case !clean(&p.Name, maxName) || p.Name == "":
		return fault.New(fault.Invalid, "protect.policy.name", maxName)
	case !clean(&p.Why, maxText):
		return fault.New(fault.Invalid, "protect.policy.long", maxText)
	case p.Version > 0 && p.Why == "":
		return fault.New(fault.Invalid, "protect.policy.why")
	case !siteForm.MatchString(p.Site):
		return fault.New(fault.Invalid, "protect.policy.site")
	case len(p.Hosts) == 0 || len(p.Hosts) > maxHosts:
		return fault.New(fault.Invalid, "protect.policy.hosts", maxHosts)
	case len(p.Sources) == 0 || len(p.Sources) > maxSources || len(p.Hooks) > maxHooks:
		return fault.New(fault.Invalid, "protect.policy.sources", maxSources)
	case p.Upload < 0 || p.Upload > maxUpload:
		return fault.New(fault.Invalid, "protect.policy.upload")
	case !age(p.MaxAge):
		return fault.New(fault.Invalid, "protect.policy.hours")
	}
	if err := p.Schedule.tidy(); err != nil {
		return err
	}
	if err := p.Keep.check(); err != nil {
		return err
	}
	return p.checkJob()
}

func (p *Policy) tidyTargets() error {
	for _, m := range p.Targets {
		if !slices.Contains(Media(), m) {
			return fault.New(fault.Invalid, "protect.policy.target")
		}
	}
	wanted := p.Targets
	p.Targets = slices.DeleteFunc(Media(), func(m Medium) bool { return m != AtHub && !slices.Contains(wanted, m) })
	return nil
}

// checkJob asks what the agent will ask.
func (p *Policy) checkJob() error {
	err := p.Job(Run{ID: "check", Host: "check"}).Check()
	var m *job.Mistake
	if errors.As(err, &m) {
		return fault.New(fault.Invalid, "protect.policy.job", m.Field, m.Reason).With(err)
	}
	return err
}

// age says whether a duration is one that people may allow: whole minutes.
func age(d time.Duration) bool { return d >= 0 && d <= maxAge && d%time.Minute == 0 }

// clean takes out of a text what does not belong there, and says whether it is
// short enough.
func clean(s *string, most int) bool {
	*s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return -1
		}
		return r
	}, strings.ReplaceAll(strings.ToValidUTF8(*s, "\uFFFD"), "\r\n", "\n")))
	return utf8.RuneCountInString(*s) <= most
}

func sorted(all []string) []string {
	out := slices.Clone(all)
	slices.Sort(out)
	return slices.Compact(out)
}
