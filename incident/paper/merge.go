package paper

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
	"github.com/sonae/sonae/state"
)

// Kind is how a line of a log stands to the chronology.
type Kind string

// Kinds: 新しい, 同じ, 食い違い.
const (
	Fresh      Kind = "new"
	Same       Kind = "same"
	InConflict Kind = "conflict"
)

// Why a line is in conflict.
const (
	ByNumber = "number" // the log had this number already, with something else
	ByTime   = "time"   // a person wrote something else about the same minute
	ByPerson = "person" // another person wrote about the same thing in the same minute
	Before   = "before" // it lies before the incident was known
	Future   = "future" // it has not happened yet
)

// Proposal is a line with what would become of it.
type Proposal struct {
	Line
	Kind     Kind            `json:"kind"`
	Why      []string        `json:"why,omitempty"`
	Existing *incident.Entry `json:"existing,omitempty"` // the line that it is the same as, or in conflict with
}

// Choices are what a person may decide about a line in conflict.
func (p Proposal) Choices() []Choice {
	if p.Existing != nil && !slices.Contains(p.Why, Future) {
		return []Choice{Leave, Take, Correct}
	}
	return []Choice{Leave, Take}
}

// Choice is what a person decides about a line in conflict.
type Choice string

// Choices: 取り込まない, 別の記録として取り込む, いまの記録の訂正として取り込む.
const (
	Leave   Choice = "leave"
	Take    Choice = "take"
	Correct Choice = "correct"
)

// compare finds for every line of a log whether the chronology has it.
func compare(lines []Line, entries []incident.Entry, known, now time.Time) []Proposal {
	x := index(entries)
	seen := map[string]bool{}
	out := make([]Proposal, len(lines))
	for i, l := range lines {
		p := Proposal{Line: l, Kind: Fresh}
		switch same := x.same(l); {
		case same != nil:
			p.Kind, p.Existing = Same, same
		case seen[l.unique()]: // the log has it twice
			p.Kind = Same
		default:
			p.Existing, p.Why = x.conflict(l)
			if l.At.Before(known.Truncate(time.Minute)) {
				p.Why = append(p.Why, Before)
			}
			if l.At.After(now) {
				p.Why = append(p.Why, Future)
			}
			if len(p.Why) > 0 {
				p.Kind = InConflict
			}
		}
		seen[l.unique()] = true
		out[i] = p
	}
	return out
}

// unique is the same for lines that say the same, whichever file they are in.
func (l Line) unique() string {
	return "sheet/" + digestOf([]byte(strings.Join([]string{l.No, strconv.FormatInt(l.At.Unix(), 10), l.By, l.Source, l.About, l.Text}, "\x00")))[:32]
}

// existing are the lines that people wrote.
type existing struct {
	unique map[string]*incident.Entry
	number map[string]*incident.Entry
	minute map[int64][]*incident.Entry
}

func index(entries []incident.Entry) existing {
	x := existing{unique: map[string]*incident.Entry{}, number: map[string]*incident.Entry{}, minute: map[int64][]*incident.Entry{}}
	for i := range entries {
		e := &entries[i]
		if e.By == incident.System {
			continue
		}
		if e.Unique != "" {
			x.unique[e.Unique] = e
		}
		if no := e.Args["no"]; isLine(*e) && no != "" {
			x.number[no] = e
		}
		if e.Key == "" || isLine(*e) {
			m := e.OccurredAt.Unix() / 60
			x.minute[m] = append(x.minute[m], e)
		}
	}
	return x
}

// isLine says whether an entry came from a log.
func isLine(e incident.Entry) bool { return strings.HasPrefix(e.Key, "paper.line") }

func (x existing) same(l Line) *incident.Entry {
	if e := x.unique[l.unique()]; e != nil {
		return e
	}
	for _, e := range x.minute[l.At.Unix()/60] {
		if e.Key == "" && plain(e.Text) == plain(l.Text) { // somebody typed it in by hand
			return e
		}
	}
	return nil
}

func (x existing) conflict(l Line) (*incident.Entry, []string) {
	if e := x.number[l.No]; l.No != "" && e != nil {
		return e, []string{ByNumber}
	}
	for _, e := range x.minute[l.At.Unix()/60] {
		about := l.About != "" && (plain(e.Args["about"]) == plain(l.About) || e.Key == "" && strings.Contains(plain(e.Text), plain(l.About)))
		switch {
		case about && plain(e.Args["who"]) != plain(l.By):
			return e, []string{ByPerson}
		case about, l.No == "", e.Args["no"] == "" && e.Source == l.Source:
			return e, []string{ByTime}
		}
	}
	return nil, nil
}

// SheetFile is a log as it came.
type SheetFile struct {
	ID       string    `json:"id"`
	Incident string    `json:"incident"`
	File     File      `json:"file"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	TakenAt  time.Time `json:"taken_at"` // zero: only looked at so far
	TakenBy  string    `json:"taken_by"`
	Taken    Taken     `json:"taken"`
}

// Taken is what became of a log.
type Taken struct {
	Added    int   `json:"added"`
	Same     int   `json:"same"`
	Left     []int `json:"left,omitempty"`     // lines of the file that a person left out
	Unusable []int `json:"unusable,omitempty"` // lines of the file that could not be read
}

// Preview is a log beside the chronology.
type Preview struct {
	Sheet     SheetFile  `json:"sheet"`
	Proposals []Proposal `json:"proposals"`
	Problems  []Problem  `json:"problems,omitempty"`
}

// Count is how many lines stand so.
func (p Preview) Count(k Kind) (n int) {
	for _, x := range p.Proposals {
		if x.Kind == k {
			n++
		}
	}
	return n
}

// AddSheet keeps a log and shows what it would add. The same file is kept once.
// Nothing of it stands in the chronology by that.
func (d *Desk) AddSheet(ctx context.Context, in, name string, data []byte, by auth.Person) (Preview, error) {
	if _, err := ReadSheet(data); err != nil {
		return Preview{}, err
	}
	if _, err := d.Room.Get(ctx, in); err != nil {
		return Preview{}, err
	}
	all, err := d.Sheets(ctx, in)
	if err != nil {
		return Preview{}, err
	}
	for _, s := range all {
		if s.File.Digest == digestOf(data) {
			return d.Preview(ctx, in, s.ID)
		}
	}
	if name, err = fileName(name); err != nil {
		return Preview{}, err
	}
	if err := d.keep(ctx, in, data); err != nil {
		return Preview{}, err
	}
	now := d.moment()
	s := SheetFile{ID: clock.ID("csv", now), Incident: in, At: now, By: by.ID, File: File{Name: name, Type: CSV, Size: int64(len(data)), Digest: digestOf(data)}}
	if err := d.db.Tx(ctx, func(tx *state.Tx) error { return d.add(ctx, tx, kindSheet, s.ID, in, by, s) }); err != nil {
		return Preview{}, fmt.Errorf("keep a log in %s: %w", in, err)
	}
	return d.Preview(ctx, in, s.ID)
}

// Sheets returns the logs of an incident, in the order in which they came.
func (d *Desk) Sheets(ctx context.Context, in string) ([]SheetFile, error) {
	return each(ctx, d, kindSheet, in, asIs[SheetFile])
}

// SheetData returns a log as it came.
func (d *Desk) SheetData(ctx context.Context, in, id string) (SheetFile, []byte, error) {
	s, err := one(ctx, d, kindSheet, in, id, asIs[SheetFile])
	if err != nil {
		return s, nil, err
	}
	data, err := d.bytesOf(ctx, in, s.File)
	return s, data, err
}

// Preview shows a log beside the chronology as it is now.
func (d *Desk) Preview(ctx context.Context, in, id string) (Preview, error) {
	s, data, err := d.SheetData(ctx, in, id)
	if err != nil {
		return Preview{}, err
	}
	sheet, err := ReadSheet(data)
	if err != nil {
		return Preview{}, err
	}
	i, err := d.Room.Get(ctx, in)
	if err != nil {
		return Preview{}, err
	}
	entries, err := d.entries(ctx, in)
	if err != nil {
		return Preview{}, err
	}
	return Preview{Sheet: s, Proposals: compare(sheet.Lines, entries, i.KnownAt, d.moment()), Problems: sheet.Problems}, nil
}

func (d *Desk) entries(ctx context.Context, in string) ([]incident.Entry, error) {
	var all []incident.Entry
	for {
		after := 0
		if len(all) > 0 {
			after = all[len(all)-1].No
		}
		some, err := d.Room.Entries(ctx, in, after, 1000)
		if err != nil || len(some) == 0 {
			return all, err
		}
		all = append(all, some...)
	}
}

// tries is how often an import looks again when somebody wrote the same line
// meanwhile.
const tries = 5

// Import takes a log into the chronology: what is new, and of what is in
// conflict what a person chose, by line of the file. All of it or nothing.
// Doing it again adds nothing.
//
// Errors: Invalid "paper.choice" for a line in conflict without a choice, or
// with one that it does not have.
func (d *Desk) Import(ctx context.Context, in, id string, choices map[int]Choice, by auth.Person) (Taken, error) {
	for try := 1; ; try++ {
		p, err := d.Preview(ctx, in, id)
		if err != nil {
			return Taken{}, err
		}
		plan, err := p.plan(choices)
		if err != nil {
			return Taken{}, err
		}
		err = d.db.Tx(ctx, func(tx *state.Tx) error { return d.take(ctx, tx, p, plan, by) })
		if incident.Stands(err) && try < tries {
			continue
		}
		if err != nil {
			return Taken{}, fmt.Errorf("import %s into %s: %w", id, in, err)
		}
		return plan.taken, nil
	}
}

// plan is what an import does.
type plan struct {
	lines []Proposal
	how   map[int]Choice // by line of the file
	taken Taken
}

func (p Preview) plan(choices map[int]Choice) (plan, error) {
	out := plan{how: choices}
	for _, x := range p.Proposals {
		if x.Kind == Same {
			out.taken.Same++
			continue
		}
		if x.Kind == InConflict {
			if !slices.Contains(x.Choices(), choices[x.Row]) {
				return plan{}, fault.New(fault.Invalid, "paper.choice", x.Row)
			}
			if choices[x.Row] == Leave {
				out.taken.Left = append(out.taken.Left, x.Row)
				continue
			}
		}
		out.lines = append(out.lines, x)
	}
	out.taken.Added = len(out.lines)
	for _, b := range p.Problems {
		if !slices.Contains(out.taken.Unusable, b.Row) {
			out.taken.Unusable = append(out.taken.Unusable, b.Row)
		}
	}
	return out, nil
}

func (d *Desk) take(ctx context.Context, tx *state.Tx, p Preview, plan plan, by auth.Person) error {
	s := p.Sheet
	v, err := table.Lock(ctx, tx, s.ID)
	if err != nil {
		return err
	}
	if !s.TakenAt.IsZero() && len(plan.lines) == 0 { // again: nothing to add, nothing to say
		return nil
	}
	for _, x := range plan.lines {
		if _, err := d.Room.Enter(ctx, tx, s.Incident, x.form(s, plan.how[x.Row]), by); err != nil {
			return fmt.Errorf("line %d: %w", x.Row, err)
		}
	}
	t := plan.taken
	n := incident.Note{Key: "paper.sheet", Source: "paper", Ref: s.ID, Args: map[string]string{"file": s.File.Name, "digest": s.File.Digest,
		"added": strconv.Itoa(t.Added), "same": strconv.Itoa(t.Same), "left": strconv.Itoa(len(t.Left)), "unusable": strconv.Itoa(len(t.Unusable))}}
	if _, err := d.Room.Enter(ctx, tx, s.Incident, incident.Form{Note: n}, by); err != nil {
		return err
	}
	s.TakenAt, s.TakenBy, s.Taken = d.moment(), by.ID, t
	v.At, v.By = s.TakenAt, by.ID
	return table.Put(ctx, tx, v, s)
}

// form is the line of the chronology. What lies in the future cannot stand
// there: it is entered now, with the time that was written.
func (x Proposal) form(s SheetFile, how Choice) incident.Form {
	n := incident.Note{Key: "paper.line", OccurredAt: x.At, Source: x.Source, Certainty: x.Certainty, Ref: s.ID, Unique: x.unique(),
		Args: map[string]string{"text": x.Text, "who": x.By, "about": x.About, "no": x.No}}
	if slices.Contains(x.Why, Future) {
		n.Key, n.OccurredAt, n.Certainty = "paper.line-time", time.Time{}, incident.Unconfirmed
		n.Args["written_at"] = x.At.Format(time.RFC3339)
	}
	f := incident.Form{Note: n}
	if how == Correct && x.Kind == InConflict && x.Existing != nil {
		f.Corrects = x.Existing.No
	}
	return f
}
