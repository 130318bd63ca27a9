package restore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/state"
)

// Subjects: every step of a request (Request), and that one got further (Moved).
const (
	Subject         = "restore.changed"
	SubjectProgress = "restore.progress"
)

// Moved says that there is more to see of a restore.
type Moved struct {
	ID   string `json:"id"`
	Site string `json:"site"`
}

const kindRestore = "restore"

// State is how far a request is.
type State string

// States of a request, in the order in which they are gone through.
const (
	AskedFor State = "asked"    // waits for a second person
	Scanning State = "scanning" // approved; the files are looked at in the repository
	Held     State = "held"     // malware was found, or it could not be looked for: waits for a person
	Ordered  State = "ordered"  // the machine has its order
	Running  State = "running"
	Restored State = "restored" // waits to be released for use
	Released State = "released"
	Refused  State = "refused"
	Failure  State = "failed"
)

// Over says whether nothing more happens.
func (s State) Over() bool { return s == Released || s == Refused || s == Failure }

// Request is something that a person wants back.
type Request struct {
	ID       string   `json:"id"`
	Site     string   `json:"site"`
	Incident string   `json:"incident,omitempty"`
	From     Where    `json:"from"`
	Paths    []string `json:"paths"`           // none: all of the snapshot
	Host     string   `json:"host"`            // machine that gets it
	Target   string   `json:"target"`          // absolute folder there; "/": where everything was
	Over     bool     `json:"over"`            // files that are there and differ are replaced; else they stay
	Every    int      `json:"every,omitempty"` // only every n-th file is compared by its hashes; 0: all
	// Load: what the machine's database server makes of the one file that is
	// brought back.
	Load     *job.Loading `json:"load,omitempty"`
	Download int          `json:"download,omitempty"` // KiB/s that the machine takes of the line; 0: no bound
	Reason   string       `json:"reason"`

	State      State      `json:"state"`
	At         time.Time  `json:"at"` // of this state
	AskedBy    string     `json:"asked_by"`
	AskedAt    time.Time  `json:"asked_at"`
	ApprovedBy string     `json:"approved_by,omitempty"`
	ApprovedAt time.Time  `json:"approved_at,omitzero"`
	Scan       Scan       `json:"scan"`
	PassedBy   string     `json:"passed_by,omitempty"` // who let it through although the scan held it
	PassedWhy  string     `json:"passed_why,omitempty"`
	OrderedAt  time.Time  `json:"ordered_at,omitzero"`
	BegunAt    time.Time  `json:"begun_at,omitzero"` // when the machine was first heard of it
	Result     job.Result `json:"result,omitzero"`
	EndedBy    string     `json:"ended_by,omitempty"` // who released or refused it
	Why        string     `json:"why,omitempty"`      // of a refusal or failure
}

// Original says whether the data goes back to where it was.
func (r Request) Original() bool { return r.Target == "/" && r.Host == r.From.Agent }

// WAL is the folder of WAL that leads to the moment that is asked for; nil: none is.
func (r Request) WAL() *job.WAL {
	if r.Load == nil {
		return nil
	}
	return r.Load.WAL
}

// Latest is the snapshot of those that are read which was saved last.
func (r Request) Latest() string {
	if wal := r.WAL(); wal != nil {
		return wal.Snapshot
	}
	return r.From.Snapshot
}

// Seen is the time as of which the machine sees the repository: nothing that came
// after somebody asked for the restore can be in it.
func (r Request) Seen() time.Time {
	if r.From.AsOf.IsZero() {
		return r.AskedAt
	}
	return r.From.AsOf
}

// Args are what the line of a chronology says of a request: ids and numbers,
// never what the files are called.
func (r Request) Args() map[string]string {
	return map[string]string{"agent": r.From.Agent, "host": r.Host, "asker": r.AskedBy, "approver": r.ApprovedBy, "ender": r.EndedBy, "passer": r.PassedBy,
		"files": strconv.FormatInt(r.files(), 10), "finds": strconv.Itoa(r.Scan.Finds)}
}

// Took is how long the machine worked; zero while it does.
func (r Request) Took() time.Duration {
	if r.Result.End.IsZero() {
		return 0
	}
	return r.Result.End.Sub(r.Result.Start)
}

// Rate is how many bytes came back in a second, with all that belongs to it.
func (r Request) Rate() float64 {
	if r.Result.Restore == nil || r.Took() <= 0 {
		return 0
	}
	return float64(r.Result.Restore.Bytes) / r.Took().Seconds()
}

// files is how many files are meant, as far as it is known.
func (r Request) files() int64 {
	if r.Result.Restore != nil {
		return r.Result.Restore.Files
	}
	return int64(r.Scan.Files)
}

// Scan is what was looked at before the order.
type Scan struct {
	At      time.Time `json:"at,omitzero"` // end; zero: not yet
	Files   int       `json:"files"`
	Bytes   int64     `json:"bytes"`
	Found   []Found   `json:"found,omitempty"`   // the first of them
	Finds   int       `json:"finds"`             // all of them
	Skipped []Found   `json:"skipped,omitempty"` // files that a scanner does not take, the first of them
	Skips   int       `json:"skips,omitempty"`   // all of them
	Unread  string    `json:"unread,omitempty"`  // why it could not be finished
	Scanner bool      `json:"scanner"`           // there was one that could look
}

// Found is one file that is not clean.
type Found struct {
	Path string `json:"path"`
	What string `json:"what"`
}

// Clean says whether everything was looked at and nothing found.
func (s Scan) Clean() bool {
	return !s.At.IsZero() && s.Scanner && s.Finds+s.Skips == 0 && s.Unread == ""
}

// NewRequest is what a person asks for.
type NewRequest struct {
	Site     string
	Incident string
	From     Where
	Paths    []string
	Host     string // empty: the machine itself
	Target   string // empty: where everything was
	Over     bool
	Every    int // only every n-th file is compared by its hashes; 0: all
	// Load: what the machine's database server makes of the one file; nil: nothing.
	// With a moment, the WAL that leads there is found; WAL.Path says in which
	// folder it is looked for, where there are several.
	Load     *job.Loading
	Download int // KiB/s that the machine takes of the line; 0: no bound
	Reason   string
}

// Bounds of a request.
const (
	maxPaths = 500
	maxText  = 1000
	maxEvery = 1000
	maxSpeed = 1 << 30 // KiB/s
)

func (n *NewRequest) fill() error {
	if n.Host == "" {
		n.Host = n.From.Agent
	}
	if n.Target == "" {
		n.Target = "/"
	}
	n.Reason = strings.TrimSpace(n.Reason)
	switch {
	case n.Reason == "" || len(n.Reason) > maxText:
		return fault.New(fault.Invalid, "protect.restore.reason")
	case len(n.Paths) > maxPaths:
		return fault.New(fault.Invalid, "protect.restore.paths", maxPaths)
	case n.Every < 0 || n.Every > maxEvery:
		return fault.New(fault.Invalid, "protect.restore.every", maxEvery)
	case n.Download < 0 || n.Download > maxSpeed:
		return fault.New(fault.Invalid, "protect.restore.download")
	case !job.Absolute(n.Target):
		return fault.New(fault.Invalid, "protect.restore.target")
	}
	paths := make([]string, 0, len(n.Paths))
	for _, p := range n.Paths {
		p, err := clean(p)
		if err != nil {
			return err
		}
		if !utf8.ValidString(p) { // it could not be told to the machine as it is: the folder above can
			return fault.New(fault.Invalid, "protect.restore.path-bytes")
		}
		if p == "/" { // everything
			n.Paths = nil
			return nil
		}
		paths = append(paths, p)
	}
	slices.Sort(paths)
	n.Paths = slices.Compact(paths)
	return nil
}

// Ask asks for a restore. What is asked for must be there.
func (d *Desk) Ask(ctx context.Context, n NewRequest, by auth.Person) (Request, error) {
	if err := n.fill(); err != nil {
		return Request{}, err
	}
	if _, err := d.Snapshot(ctx, n.From); err != nil {
		return Request{}, err
	}
	for _, p := range n.Paths {
		if _, err := d.Entry(ctx, n.From, p); err != nil {
			return Request{}, err
		}
	}
	if err := d.lead(ctx, &n); err != nil {
		return Request{}, err
	}
	r := Request{ID: clock.ID("rs", d.Now()), Site: n.Site, Incident: n.Incident, From: n.From, Paths: n.Paths, Host: n.Host, Target: n.Target, Over: n.Over, Every: n.Every, Load: n.Load,
		Download: n.Download, Reason: n.Reason, State: AskedFor, At: d.moment(), AskedBy: by.ID, AskedAt: d.moment()}
	if err := r.Job().Check(); err != nil {
		key := "protect.restore.target"
		if n.Load != nil {
			key = "protect.restore.load"
		}
		return Request{}, fault.New(fault.Invalid, key).With(err)
	}
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		return d.write(ctx, tx, record.Version{ID: r.ID, Kind: kindRestore, Incident: r.Incident, By: by.ID}, r)
	})
	if err != nil {
		return Request{}, fmt.Errorf("ask for a restore: %w", err)
	}
	return r, nil
}

func (d *Desk) write(ctx context.Context, tx *state.Tx, v record.Version, r Request) error {
	v.At = d.moment()
	if err := table.Put(ctx, tx, v, r); err != nil {
		return err
	}
	return tx.Emit(ctx, Subject, fmt.Sprintf("%s:%s/%d", Subject, r.ID, v.No+1), r)
}

// Job is what the machine is told.
func (r Request) Job() job.Job {
	over := job.Never
	if r.Over {
		over = job.Always
	}
	return job.Job{ID: r.ID, Host: r.Host, Kind: job.Restore, Limits: job.Limits{Download: r.Download},
		Restore: &job.Restoring{Snapshot: r.From.Snapshot, Include: r.Paths, Target: r.Target, Overwrite: over, Verify: true, Every: r.Every, Load: r.Load}}
}

// Request returns one request.
func (d *Desk) Request(ctx context.Context, id string) (Request, error) {
	var r Request
	v, err := table.Get(ctx, d.db, id)
	if fault.Of(err) == fault.Missing || err == nil && v.Kind != kindRestore {
		return r, fault.New(fault.Missing, "protect.restore.unknown")
	}
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(v.Body, &r)
}

// Requests lists all requests, the newest first.
func (d *Desk) Requests(ctx context.Context) ([]Request, error) {
	all, err := table.Newest(ctx, d.db, kindRestore, "")
	if err != nil {
		return nil, err
	}
	out := make([]Request, len(all))
	for i, v := range all {
		if err := json.Unmarshal(v.Body, &out[i]); err != nil {
			return nil, fmt.Errorf("read restore %s: %w", v.ID, err)
		}
	}
	slices.SortFunc(out, func(a, b Request) int { return b.AskedAt.Compare(a.AskedAt) })
	return out, nil
}

// Versions returns every version of a request, the first one first.
func (d *Desk) Versions(ctx context.Context, id string) ([]Request, error) {
	all, err := table.Versions(ctx, d.db, id)
	if err != nil {
		return nil, err
	}
	out := make([]Request, len(all))
	for i, v := range all {
		if err := json.Unmarshal(v.Body, &out[i]); err != nil {
			return nil, fmt.Errorf("read restore %s: %w", v.ID, err)
		}
	}
	return out, nil
}

// change makes the next version of a request that is in one of the states.
func (d *Desk) change(ctx context.Context, id, by string, in []State, f func(*Request) error) (Request, error) {
	var r Request
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		v, err := table.Lock(ctx, tx, id)
		if fault.Of(err) == fault.Missing || err == nil && v.Kind != kindRestore {
			return fault.New(fault.Missing, "protect.restore.unknown")
		}
		if err != nil {
			return err
		}
		r = Request{}
		if err := json.Unmarshal(v.Body, &r); err != nil {
			return err
		}
		if !slices.Contains(in, r.State) {
			return fault.New(fault.Conflict, "protect.restore.state", string(r.State))
		}
		if err := f(&r); err != nil {
			return err
		}
		r.At = d.moment()
		v.By = by
		return d.write(ctx, tx, v, r)
	})
	if err != nil {
		return r, fmt.Errorf("restore %s: %w", id, err)
	}
	return r, nil
}

// Approve lets a second person agree. Who asked cannot.
func (d *Desk) Approve(ctx context.Context, id string, by auth.Person) (Request, error) {
	return d.change(ctx, id, by.ID, []State{AskedFor}, func(r *Request) error {
		if by.ID == r.AskedBy {
			return fault.New(fault.Denied, "protect.restore.two-people")
		}
		r.State, r.ApprovedBy, r.ApprovedAt = Scanning, by.ID, d.moment()
		return nil
	})
}

// Refuse ends a request that has not become an order. Who asked may take it
// back.
func (d *Desk) Refuse(ctx context.Context, id, why string, by auth.Person) (Request, error) {
	return d.change(ctx, id, by.ID, []State{AskedFor, Scanning, Held}, func(r *Request) error {
		if why = strings.TrimSpace(why); why == "" || len(why) > maxText {
			return fault.New(fault.Invalid, "protect.restore.reason")
		}
		r.State, r.EndedBy, r.Why = Refused, by.ID, why
		return nil
	})
}

// Pass lets a request through that the scan holds, on the word of a person who
// did not ask for it.
func (d *Desk) Pass(ctx context.Context, id, why string, by auth.Person) (Request, error) {
	return d.change(ctx, id, by.ID, []State{Held}, func(r *Request) error {
		if by.ID == r.AskedBy {
			return fault.New(fault.Denied, "protect.restore.two-people")
		}
		if why = strings.TrimSpace(why); why == "" || len(why) > maxText {
			return fault.New(fault.Invalid, "protect.restore.reason")
		}
		r.State, r.PassedBy, r.PassedWhy = Ordered, by.ID, why
		return nil
	})
}

// Release says that what was restored may be used.
func (d *Desk) Release(ctx context.Context, id string, by auth.Person) (Request, error) {
	return d.change(ctx, id, by.ID, []State{Restored}, func(r *Request) error {
		r.State, r.EndedBy = Released, by.ID
		return nil
	})
}

// Stop ends a restore that is ordered or running. What came back already stays.
func (d *Desk) Stop(ctx context.Context, id, why string, by auth.Person) (Request, error) {
	r, err := d.change(ctx, id, by.ID, []State{Ordered, Running}, func(r *Request) error {
		if why = strings.TrimSpace(why); why == "" || len(why) > maxText {
			return fault.New(fault.Invalid, "protect.restore.reason")
		}
		r.State, r.EndedBy, r.Why = Failure, by.ID, why
		return nil
	})
	if err != nil || d.Sender == nil {
		return r, err
	}
	return r, d.Sender.Stop(ctx, r)
}
