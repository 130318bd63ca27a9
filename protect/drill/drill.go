// Package drill proves that what was backed up can be used: it restores and
// tries it, by itself, and keeps what that took (復元訓練).
//
// In: definitions of drills, an opener of repositories, the machine's own
// programs (restic, PostgreSQL, MariaDB, pgBackRest, qemu). Out: runs with their phases,
// what was wrong, measured rates, when something was last proved. Always true: a
// run passed only if everything it was to look at was looked at and was right;
// one that could not run says so and why, and never passed; what was restored
// runs as an account without rights, without a network, in namespaces of its
// own, and ends with the hub, whatever ends it; its folder is wiped; every
// version of definitions and runs stays and has its digest in the ledger.
package drill

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
)

// Level is how far a drill goes.
type Level string

// Levels, from the weakest proof to the strongest. An object's own hash, level
// 0, is compared when it comes in.
const (
	Bytes    Level = "bytes"    // L1: every byte of the repository is read and checked
	Files    Level = "files"    // L2: files are restored and compared
	Database Level = "database" // L3: PostgreSQL starts on its restored cluster and is checked
	Dump     Level = "dump"     // L3: dumps are loaded into an empty PostgreSQL or MariaDB, which is checked
	Moment   Level = "moment"   // L3: PostgreSQL at a moment, from a repository of pgBackRest
	Machine  Level = "machine"  // L4: a machine boots from its restored disk and answers
	Whole    Level = "whole"    // L5: other drills in the order in which services depend on each other
)

// Levels lists all.
func Levels() []Level { return []Level{Bytes, Files, Database, Dump, Moment, Machine, Whole} }

// Number is the level's place on the scale from 1 to 5.
func (l Level) Number() int {
	switch l {
	case Bytes:
		return 1
	case Files:
		return 2
	case Machine:
		return 4
	case Whole:
		return 5
	}
	return 3
}

// State is how far a run is.
type State string

// States of a run. The last three are final.
const (
	Waiting    State = "waiting"
	Running    State = "running"
	Passed     State = "passed"
	Failed     State = "failed"        // it ran, and what was restored is not right
	Impossible State = "could-not-run" // nothing is known about the backup
)

// Over says whether a run has ended.
func (s State) Over() bool { return s == Passed || s == Failed || s == Impossible }

// How a snapshot is picked.
const (
	Newest = "newest"
	Clean  = "clean" // the last clean point
	AsOf   = "as-of" // the newest that was received by a time
)

// Pick says which snapshot is tried.
type Pick struct {
	How  string    `json:"how" enum:"newest,clean,as-of"`
	AsOf time.Time `json:"as_of,omitzero"` // receive time at the hub, by the hub's clock
}

// Query is one question to a restored database that yields one value.
type Query struct {
	Database string `json:"database" maxLength:"63"`
	SQL      string `json:"sql" maxLength:"4000"`
}

// Check is a question and what its answer must be: a number between Min and Max
// where one of them is set, else the text Is.
type Check struct {
	Query
	Min *float64 `json:"min,omitempty"`
	Max *float64 `json:"max,omitempty"`
	Is  string   `json:"is,omitempty" maxLength:"1000"`
}

// Server is how a restored database is checked.
type Server struct {
	User   string  `json:"user,omitempty" maxLength:"63"` // a superuser of the restored cluster; postgres when empty. A dump comes into a server of our own
	Checks []Check `json:"checks,omitempty" maxItems:"100" nullable:"false"`
	// Last yields the time of the newest record, from which the age of the data
	// is known. Its SQL may be empty.
	Last Query `json:"last,omitzero"`
}

// Point is the moment to which a database is brought back.
type Point struct {
	Stanza string    `json:"stanza" maxLength:"100"` // of pgBackRest; empty: from a base backup and WAL that an agent gathered
	Target time.Time `json:"target,omitzero"`        // the moment; zero: Before the snapshot
	Before int       `json:"before,omitempty"`       // seconds before the time of the snapshot
}

// Guest is how a machine is booted and what it must say.
type Guest struct {
	Memory int `json:"memory,omitempty" minimum:"0" maximum:"65536"` // MiB; 512 when 0
	// Kernel, Initrd are paths in the snapshot, for a guest without a boot loader;
	// empty: it boots by its own.
	Kernel string   `json:"kernel,omitempty" maxLength:"1000"`
	Initrd string   `json:"initrd,omitempty" maxLength:"1000"`
	Append string   `json:"append,omitempty" maxLength:"1000"`              // the kernel's arguments
	Marks  []string `json:"marks,omitempty" maxItems:"20" nullable:"false"` // parts of lines on the first serial port, which come in this order
	Port   int      `json:"port,omitempty" minimum:"0" maximum:"65535"`     // TCP port of the guest that must accept after the marks; 0: none
	Mount  bool     `json:"mount,omitempty"`                                // boot from the mounted repository: nothing is restored first
	Limit  int      `json:"limit,omitempty" minimum:"0" maximum:"7200" doc:"seconds until everything must have come; 600 when 0"`
}

// Definition says what is tried, how and when.
type Definition struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Service string `json:"service,omitempty"` // what people call it, as in the restore plan
	Class   string `json:"class,omitempty"`   // data class
	Site    string `json:"site"`
	Host    string `json:"host,omitempty"`
	Level   Level  `json:"level"`
	Pick    Pick   `json:"pick"`
	// Paths in the snapshot: what is restored (Files; none: all), the cluster's
	// folder or the tar of a base backup, and then its tablespaces (Database), dumps
	// of one server, or folders whose newest file is one (Dump), the repository of
	// pgBackRest, or the tar of a base backup and the folder of gathered WAL (Moment),
	// the disk image (Machine).
	Paths  []string `json:"paths,omitempty"`
	Every  int      `json:"every,omitempty"` // each n-th file is compared by hash; 1: all of them
	Server Server   `json:"server,omitzero"`
	Point  Point    `json:"point,omitzero"`
	Guest  Guest    `json:"guest,omitzero"`
	Parts  []string `json:"parts,omitempty"` // Whole: ids of other drills, in order
	// It begins every Days days at Hour o'clock in Japan; 0 days: only when a
	// person wants it.
	Days    int       `json:"days,omitempty"`
	Hour    int       `json:"hour,omitempty"`
	Minutes int       `json:"minutes,omitempty"` // after which it is ended; 240 when 0
	Retired string    `json:"retired,omitempty"` // why it is not run any more
	At      time.Time `json:"at"`                // when this version was made
	By      string    `json:"by"`
}

// Bounds of a definition.
const (
	maxName    = 100
	maxPath    = 1000
	maxPaths   = 50
	maxParts   = 30
	maxDays    = 400
	maxMinutes = 48 * 60
)

func refuse(key string, args ...any) error { return fault.New(fault.Invalid, key, args...) }

// check makes a definition sound, or says what is wrong with it.
func (d *Definition) check() error {
	d.Name, d.Service, d.Class = strings.TrimSpace(d.Name), strings.TrimSpace(d.Service), strings.TrimSpace(d.Class)
	for _, s := range []string{d.Name, d.Service, d.Class} {
		if utf8.RuneCountInString(s) > maxName || strings.ContainsFunc(s, control) {
			return refuse("protect.drill.name")
		}
	}
	switch {
	case d.Name == "":
		return refuse("protect.drill.name")
	case !slices.Contains(Levels(), d.Level):
		return refuse("protect.drill.level")
	case d.Host == "" && d.Level != Whole:
		return refuse("protect.drill.host")
	case d.Days < 0 || d.Days > maxDays || d.Hour < 0 || d.Hour > 23 || d.Minutes < 0 || d.Minutes > maxMinutes:
		return refuse("protect.drill.schedule")
	case d.Every < 0 || d.Every > 1_000_000:
		return refuse("protect.drill.every")
	}
	if err := d.Pick.check(); err != nil {
		return err
	}
	if err := checkPaths(d.Paths); err != nil {
		return err
	}
	return d.checkLevel()
}

func (p *Pick) check() error {
	if p.How == "" {
		p.How = Newest
	}
	if !slices.Contains([]string{Newest, Clean, AsOf}, p.How) || (p.How == AsOf) != !p.AsOf.IsZero() {
		return refuse("protect.drill.pick")
	}
	return nil
}

// checkPaths wants absolute paths as a snapshot has them: "/" between names,
// also those of Windows ("/C/Users").
func checkPaths(all []string) error {
	if len(all) > maxPaths {
		return refuse("protect.drill.paths", maxPaths)
	}
	for _, p := range all {
		if !soundPath(p) {
			return refuse("protect.drill.path", p)
		}
	}
	return nil
}

func soundPath(p string) bool {
	return len(p) > 1 && len(p) <= maxPath && strings.HasPrefix(p, "/") && !strings.HasSuffix(p, "/") && !strings.ContainsFunc(p, control) &&
		!slices.ContainsFunc(strings.Split(p[1:], "/"), func(s string) bool { return s == "" || s == "." || s == ".." })
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// checkLevel checks what only some levels need.
func (d *Definition) checkLevel() error {
	switch d.Level {
	case Database:
		if len(d.Paths) == 0 {
			return refuse("protect.drill.one-path")
		}
		return d.Server.check()
	case Dump:
		if len(d.Paths) == 0 {
			return refuse("protect.drill.dump-path")
		}
		return d.Server.check()
	case Moment:
		if d.gathered() != (len(d.Paths) == 2) || len(d.Paths) == 0 || len(d.Paths) > 2 {
			return refuse("protect.drill.one-path")
		}
		if from := d.Paths[len(d.Paths)-1]; !plain(from) { // PostgreSQL hands it to a shell
			return refuse("protect.drill.path", from)
		}
		if !d.gathered() && !word(d.Point.Stanza) || d.Point.Before < 0 || d.Point.Target.IsZero() == (d.Point.Before == 0) {
			return refuse("protect.drill.point")
		}
		return d.Server.check()
	case Machine:
		if len(d.Paths) != 1 {
			return refuse("protect.drill.one-path")
		}
		return d.Guest.check()
	case Whole:
		if len(d.Parts) == 0 || len(d.Parts) > maxParts {
			return refuse("protect.drill.parts", maxParts)
		}
	}
	return nil
}

// gathered says whether a drill of the level Moment is about a base backup and
// the WAL that an agent gathered; else it is about pgBackRest.
func (d *Definition) gathered() bool { return d.Level == Moment && d.Point.Stanza == "" }

func (s *Server) check() error {
	if s.User == "" {
		s.User = "postgres"
	}
	if !soundName(s.User) {
		return refuse("protect.drill.user")
	}
	for _, c := range s.Checks {
		if !soundName(c.Database) || !soundSQL(c.SQL) || c.SQL == "" {
			return refuse("protect.drill.sql", c.SQL)
		}
		if c.Min == nil && c.Max == nil && c.Is == "" || c.Min != nil && c.Max != nil && *c.Min > *c.Max {
			return refuse("protect.drill.expected", c.SQL)
		}
	}
	if s.Last.SQL != "" && (!soundName(s.Last.Database) || !soundSQL(s.Last.SQL)) {
		return refuse("protect.drill.sql", s.Last.SQL)
	}
	return nil
}

func soundName(s string) bool {
	return s != "" && len(s) <= 63 && !strings.HasPrefix(s, "-") && !strings.ContainsFunc(s, control) && !strings.ContainsAny(s, "=:/'\"\\")
}

// soundSQL keeps out what psql itself would obey.
func soundSQL(s string) bool {
	return len(s) <= 4000 && !strings.ContainsAny(s, "\x00\\") && utf8.ValidString(s)
}

func word(s string) bool {
	return s != "" && len(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

// plain says whether a path means itself wherever it stands.
func plain(p string) bool {
	return !strings.ContainsFunc(p, func(r rune) bool { return r != '/' && r != '.' && !word(string(r)) })
}

func (g *Guest) check() error {
	for _, p := range []string{g.Kernel, g.Initrd} {
		if p != "" && !soundPath(p) {
			return refuse("protect.drill.path", p)
		}
	}
	if g.Kernel == "" && (g.Initrd != "" || g.Append != "") || strings.ContainsFunc(g.Append, control) {
		return refuse("protect.drill.kernel")
	}
	for _, m := range g.Marks {
		if strings.TrimSpace(m) == "" || len(m) > 200 || strings.ContainsFunc(m, control) {
			return refuse("protect.drill.marks")
		}
	}
	if len(g.Marks) == 0 && g.Port == 0 || len(g.Marks) > 20 {
		return refuse("protect.drill.marks")
	}
	if g.Port < 0 || g.Port > 65535 || g.Memory < 0 || g.Memory > 65536 || g.Limit < 0 || g.Limit > 7200 {
		return refuse("protect.drill.guest")
	}
	return nil
}

// limit is how long a run may last.
func (d Definition) limit() time.Duration {
	if d.Minutes == 0 {
		return 4 * time.Hour
	}
	return time.Duration(d.Minutes) * time.Minute
}

// Phase is one part of a run.
type Phase struct {
	Name    string  `json:"name"` // key of "protect.drill.phase.…"
	Seconds float64 `json:"seconds"`
	Bytes   int64   `json:"bytes,omitempty"`
	Files   int64   `json:"files,omitempty"`
	Note    string  `json:"note,omitempty"` // what a program said of itself, in English
}

// Answer is what came of a check.
type Answer struct {
	What string `json:"what"`
	Want string `json:"want"`
	Got  string `json:"got"`
	OK   bool   `json:"ok"`
}

// Problem is something that is not right with what was restored.
type Problem struct {
	Phase string `json:"phase"`
	Text  string `json:"text"` // as the program that found it says it
}

// Reason is why a run could not run: a sentence of the catalogue, "fault.<Key>",
// with its arguments.
type Reason struct {
	Key    string   `json:"key"`
	Args   []string `json:"args,omitempty"`
	Detail string   `json:"detail,omitempty"`
}

// Taken is the snapshot that was tried.
type Taken struct {
	ID   restic.ID `json:"id"`
	Time time.Time `json:"time"`           // by the clock of the machine that made it
	AsOf time.Time `json:"as_of,omitzero"` // what the view was limited to
	Of   []Thing   `json:"of,omitempty"`   // what it, and the WAL that was restored with it, say they are of
	Part []Thing   `json:"part,omitempty"` // those of Of of which the same backup holds dumps that are not tried: it proves none of them
}

// Human is a step that people took, which no machine measures: fetching a tape,
// a key from the safe, a decision.
type Human struct {
	What  string    `json:"what"`
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	By    string    `json:"by"` // who wrote it down
	At    time.Time `json:"at"`
}

// Run is one drill, held.
type Run struct {
	ID         string     `json:"id"`
	Site       string     `json:"site"`
	Definition Definition `json:"definition"` // as it was
	State      State      `json:"state"`
	AskedAt    time.Time  `json:"asked_at"`
	AskedBy    string     `json:"asked_by"` // person id; Schedule
	BeganAt    time.Time  `json:"began_at,omitzero"`
	EndedAt    time.Time  `json:"ended_at,omitzero"`
	Snapshot   *Taken     `json:"snapshot,omitempty"`
	Phases     []Phase    `json:"phases,omitempty"`
	Answers    []Answer   `json:"answers,omitempty"`
	Problems   []Problem  `json:"problems,omitempty"`
	More       int        `json:"more,omitempty"` // problems above those, which are only counted
	Why        *Reason    `json:"why,omitempty"`  // it could not run
	Bytes      int64      `json:"bytes"`          // restored, or read
	Files      int64      `json:"files"`
	Compared   int64      `json:"compared"`           // files by their hash
	Streams    int        `json:"streams"`            // at the same time
	DataAge    *float64   `json:"data_age,omitempty"` // seconds from the newest record to the time of the snapshot
	Versions   []string   `json:"versions,omitempty"` // of the programs that did it
	Human      []Human    `json:"human,omitempty"`
	Parts      []string   `json:"parts,omitempty"`     // Whole: runs of its parts
	Cancelled  string     `json:"cancelled,omitempty"` // person id
}

// Schedule asks for runs that are due.
const Schedule = "sonae"

// automatic is who asks when nobody does.
func automatic() auth.Person { return auth.Person{ID: Schedule} }

// maxProblems bounds what a run keeps of what is wrong.
const maxProblems = 50

// problem notes something that is wrong.
func (r *Run) problem(phase, text string) {
	text = clean(text, 500)
	for _, p := range r.Problems {
		if p.Text == text {
			return
		}
	}
	if len(r.Problems) >= maxProblems {
		r.More++
		return
	}
	r.Problems = append(r.Problems, Problem{phase, text})
}

// clean makes text of a program fit for a page: one line of valid UTF-8.
func clean(s string, most int) string {
	s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if control(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)), " ")
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

// Phase returns a phase of a run.
func (r Run) Phase(name string) (Phase, bool) {
	i := slices.IndexFunc(r.Phases, func(p Phase) bool { return p.Name == name })
	if i < 0 {
		return Phase{}, false
	}
	return r.Phases[i], true
}

// seconds is how long these phases took.
func (r Run) seconds(names ...string) (sum float64) {
	for _, p := range r.Phases {
		if slices.Contains(names, p.Name) {
			sum += p.Seconds
		}
	}
	return sum
}

// HumanSeconds is how long people took, overlaps counted once.
func (r Run) HumanSeconds() float64 {
	all := slices.SortedFunc(slices.Values(r.Human), func(a, b Human) int { return a.From.Compare(b.From) })
	var sum time.Duration
	var end time.Time
	for _, h := range all {
		from := h.From
		if from.Before(end) {
			from = end
		}
		if h.Until.After(from) {
			sum += h.Until.Sub(from)
			end = h.Until
		}
	}
	return sum.Seconds()
}

// Took is how long the machine worked.
func (r Run) Took() time.Duration {
	if r.EndedAt.IsZero() || r.BeganAt.IsZero() {
		return 0
	}
	return r.EndedAt.Sub(r.BeganAt)
}
