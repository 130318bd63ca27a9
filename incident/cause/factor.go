package cause

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
)

// Categories of factors (特性要因): 人, 設備, 方法, 管理, 環境, 委託先.
func Categories() []string {
	return []string{"man", "machine", "method", "management", "environment", "contractor"}
}

// Kinds of evidence that a why can name.
const (
	LinkEntry = "entry" // number of a line of the chronology
	LinkAlert = "alert"
	LinkBag   = "bag"
	LinkEvent = "event" // "<id>@<RFC 3339>"
)

// Link is evidence of a why.
type Link struct {
	Kind string `json:"kind"`
	Ref  string `json:"ref"`
}

// Factor is one why: an answer to why its parent happened.
type Factor struct {
	ID        string    `json:"id"`
	Incident  string    `json:"incident"`
	Parent    string    `json:"parent"` // id of what it explains; "": the incident itself
	Category  string    `json:"category"`
	Text      string    `json:"text"`
	Evidence  []Link    `json:"evidence"`
	Estimate  bool      `json:"estimate"` // 推定: nothing proves it yet
	Root      bool      `json:"root"`     // judged to be a root cause
	Withdrawn string    `json:"withdrawn"`
	At        time.Time `json:"at"`
	By        string    `json:"by"`
}

// NewFactor is what people say about a why.
type NewFactor struct {
	Parent   string
	Category string
	Text     string // at most 1000 characters
	Evidence []Link // at most 20
	Estimate bool
	Root     bool
}

// Bounds of a tree of whys.
const (
	maxFactors = 500
	maxDepth   = 12
	maxLinks   = 20
)

// AddFactor adds a why.
//
// Errors: Invalid for one without text, or with neither evidence nor the mark
// that it is an estimate, or whose evidence is not of this incident; Missing for
// an unknown incident or parent; Conflict for a parent that was withdrawn.
func (d *Desk) AddFactor(ctx context.Context, in string, n NewFactor, by auth.Person) (Factor, error) {
	if err := d.check(ctx, in, &n); err != nil {
		return Factor{}, err
	}
	all, err := d.Factors(ctx, in)
	if err != nil {
		return Factor{}, err
	}
	if len(all) >= maxFactors {
		return Factor{}, fault.New(fault.Invalid, "cause.too-many", maxFactors)
	}
	if err := under(all, n.Parent); err != nil {
		return Factor{}, err
	}
	now := d.moment()
	f := Factor{ID: clock.ID("fa", now), Incident: in, Parent: n.Parent, At: now, By: by.ID}
	f.take(n)
	return f, d.create(ctx, kindFactor, f.ID, in, f, f.note("cause.factor"), by)
}

// under refuses a parent that cannot have another why.
func under(all []Factor, parent string) error {
	for depth := 1; parent != ""; depth++ {
		i := slices.IndexFunc(all, func(f Factor) bool { return f.ID == parent })
		switch {
		case i < 0:
			return fault.New(fault.Missing, "cause.factor-missing")
		case depth == 1 && all[i].Withdrawn != "":
			return fault.New(fault.Conflict, "cause.withdrawn")
		case depth >= maxDepth:
			return fault.New(fault.Invalid, "cause.too-deep", maxDepth)
		}
		parent = all[i].Parent
	}
	return nil
}

func (f *Factor) take(n NewFactor) {
	f.Category, f.Text, f.Evidence, f.Estimate, f.Root = n.Category, n.Text, n.Evidence, n.Estimate, n.Root
}

func (f Factor) note(key string) incident.Note {
	n := incident.Note{Key: key, Args: map[string]string{"text": f.Text, "category_key": "cause.category." + f.Category}}
	if f.Estimate {
		n.Certainty = incident.Estimate
	}
	return n
}

// check cleans what people say and looks up all evidence.
func (d *Desk) check(ctx context.Context, in string, n *NewFactor) error {
	if err := clean(text{"text", &n.Text, 1000, true}); err != nil {
		return err
	}
	if err := known("cause.category-unknown", n.Category, Categories()...); err != nil {
		return err
	}
	if len(n.Evidence) > maxLinks {
		return fault.New(fault.Invalid, "cause.too-many-links", maxLinks)
	}
	if len(n.Evidence) == 0 {
		n.Evidence = nil
		if !n.Estimate { // a why that nothing proves must say so
			return fault.New(fault.Invalid, "cause.no-evidence")
		}
	}
	for _, l := range n.Evidence {
		ok, err := d.has(ctx, in, l)
		if err != nil {
			return err
		}
		if !ok {
			return fault.New(fault.Invalid, "cause.link", l.Ref)
		}
	}
	return nil
}

// has says whether evidence is of the incident.
func (d *Desk) has(ctx context.Context, in string, l Link) (bool, error) {
	switch l.Kind {
	case LinkEntry:
		no, err := strconv.Atoi(l.Ref)
		if err != nil || no < 1 {
			return false, nil
		}
		some, err := d.Room.Entries(ctx, in, no-1, 1)
		return len(some) == 1 && some[0].No == no, err
	case LinkAlert:
		a, err := d.Alerts.Get(ctx, l.Ref)
		return a.Incident == in, missing(err)
	case LinkBag:
		b, err := d.Bags.Get(ctx, l.Ref)
		return b.Incident == in, missing(err)
	case LinkEvent:
		id, at, ok := strings.Cut(l.Ref, "@")
		_, err := time.Parse(time.RFC3339, at)
		return ok && id != "" && len(id) <= 200 && err == nil, nil
	}
	return false, nil
}

func missing(err error) error {
	if fault.Of(err) == fault.Missing {
		return nil
	}
	return err
}

// ParseLink reads evidence as people write it: "12" or "#12" is a line of the
// chronology, what begins with "al-" an alert, with "bag-" a bag; an event is
// "<id>@<time>".
func ParseLink(s string) Link {
	s = strings.TrimSpace(s)
	switch {
	case strings.HasPrefix(s, "al-"):
		return Link{LinkAlert, s}
	case strings.HasPrefix(s, "bag-"):
		return Link{LinkBag, s}
	case strings.Contains(s, "@"):
		return Link{LinkEvent, s}
	}
	return Link{LinkEntry, strings.TrimLeft(s, "#＃")}
}

// ReviseFactor says a why anew; its place in the tree stays.
func (d *Desk) ReviseFactor(ctx context.Context, in, id string, n NewFactor, by auth.Person) error {
	if err := d.check(ctx, in, &n); err != nil {
		return err
	}
	return alter(ctx, d, kindFactor, in, id, by, func(f *Factor) (incident.Note, error) {
		if f.Withdrawn != "" {
			return incident.Note{}, fault.New(fault.Conflict, "cause.withdrawn")
		}
		f.take(n)
		return f.note("cause.factor-revised"), nil
	})
}

// WithdrawFactor takes a why back; it stays to be read, with the reason.
func (d *Desk) WithdrawFactor(ctx context.Context, in, id, reason string, by auth.Person) error {
	if err := clean(text{"reason", &reason, 1000, true}); err != nil {
		return err
	}
	return alter(ctx, d, kindFactor, in, id, by, func(f *Factor) (incident.Note, error) {
		if f.Withdrawn != "" {
			return incident.Note{}, fault.New(fault.Conflict, "cause.withdrawn")
		}
		f.Withdrawn = reason
		return incident.Note{Key: "cause.factor-withdrawn", Args: map[string]string{"text": f.Text, "reason": reason}}, nil
	})
}

// Factors returns the whys of an incident, in the order in which they were
// found.
func (d *Desk) Factors(ctx context.Context, in string) ([]Factor, error) {
	return list[Factor](ctx, d, kindFactor, in)
}

// Why is a factor with its place in the tree.
type Why struct {
	Factor
	Depth  int    // 1: why it happened
	Number string // "1.2.1"
}

// Tree orders factors as a reader follows them: each why before its own.
func Tree(all []Factor) []Why {
	by := map[string][]Factor{}
	for _, f := range all {
		by[f.Parent] = append(by[f.Parent], f)
	}
	var out []Why
	var walk func(parent, number string, depth int)
	walk = func(parent, number string, depth int) {
		for i, f := range by[parent] {
			n := fmt.Sprintf("%s%d", number, i+1)
			out = append(out, Why{f, depth, n})
			if depth < maxDepth {
				walk(f.ID, n+".", depth+1)
			}
		}
	}
	walk("", "", 1)
	return out
}
