package copy

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/state"
)

// Times of the work.
const (
	lookEvery  = 2 * time.Second
	sayEvery   = time.Second
	retryAfter = 15 * time.Minute // after a cycle that ended early
)

// Now is what is being done at a place.
type Now struct {
	PlaceID string    `json:"place"`
	Agent   string    `json:"agent"`
	Step    string    `json:"step"` // copy | lock | verify | eject; empty: it waits for its turn
	Began   time.Time `json:"began"`
	Files   int       `json:"files"`
	OfFiles int       `json:"of_files"`
	Bytes   int64     `json:"bytes"`
	OfBytes int64     `json:"of_bytes"`
	Stop    bool      `json:"stop"` // somebody asked to stop it
}

// Asked is what a person asked for.
type Asked struct {
	PlaceID  string `json:"place"`
	MediumID string `json:"medium,omitempty"`
	What     string `json:"what"` // run | stop
}

// Run asks for a cycle at a place now; for media it says onto which.
func (d *Desk) Run(ctx context.Context, place, medium string, by auth.Person) error {
	p, err := d.Place(ctx, place)
	if err != nil {
		return err
	}
	if p.Ended {
		return fault.New(fault.Conflict, "protect.copy.ended")
	}
	if (p.Kind == Media) != (medium != "") {
		return wrong("medium")
	}
	if medium != "" {
		m, err := d.Medium(ctx, medium)
		if err != nil {
			return err
		}
		if m.PlaceID != place || m.Offline() {
			return fault.New(fault.Conflict, "protect.copy.medium-away")
		}
	}
	return d.ask(ctx, p, Asked{place, medium, "run"}, by)
}

// Stop asks to end the cycle that runs at a place. The next one goes on.
func (d *Desk) Stop(ctx context.Context, place string, by auth.Person) error {
	p, err := d.Place(ctx, place)
	if err != nil {
		return err
	}
	return d.ask(ctx, p, Asked{place, "", "stop"}, by)
}

func (d *Desk) ask(ctx context.Context, p Place, a Asked, by auth.Person) error {
	id := clock.ID("ca", d.Now())
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		asked, stop := state.Nanos(d.moment()), int64(0)
		if a.What == "stop" {
			asked, stop = 0, 1
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO copy_work (place, asked, medium, stop, body) VALUES ($1, $2, $3, $4, '')
			ON CONFLICT (place) DO UPDATE SET asked = excluded.asked, medium = excluded.medium, stop = excluded.stop`, p.ID, asked, a.MediumID, stop)
		if err != nil {
			return err
		}
		if err := table.Put(ctx, tx, record.Version{ID: id, Kind: kindAsked, At: d.moment(), By: by.ID}, a); err != nil {
			return err
		}
		return tx.Emit(ctx, Changed, Changed+":"+id, struct{ Site string }{p.Site})
	})
	if err != nil {
		return fmt.Errorf("%s at place %s: %w", a.What, p.ID, err)
	}
	return nil
}

// Running tells what is being done, by place. What waits for its turn has no
// step.
func (d *Desk) Running(ctx context.Context) (map[string]Now, error) {
	all, err := d.db.Query(ctx, `SELECT place, asked, stop, body FROM copy_work WHERE body <> '' OR asked > 0`)
	if err != nil {
		return nil, err
	}
	defer all.Close()
	out := map[string]Now{}
	for all.Next() {
		var n Now
		var place, body string
		var asked, stop int64
		if err := all.Scan(&place, &asked, &stop, &body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(body), &n); body != "" && err != nil {
			return nil, err
		}
		n.PlaceID, n.Stop = place, stop != 0
		if n.Step != "" || asked > 0 {
			out[place] = n
		}
	}
	return out, all.Err()
}

// Work makes copies as they are due, until ctx ends. One hub of all does so.
func (d *Desk) Work(ctx context.Context) error {
	if err := d.clear(ctx); err != nil { // what the hub before this one was at
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	var mu sync.Mutex
	busy, said := map[string]bool{}, ""
	for {
		due, err := d.due(ctx)
		if err != nil && ctx.Err() == nil && err.Error() != said { // the same would be said every two seconds
			d.Log.Error("copies that are due are not known", "err", err)
		}
		if said = ""; err != nil {
			said = err.Error()
		}
		for _, w := range due {
			mu.Lock()
			started := busy[w.place.ID]
			busy[w.place.ID] = true
			mu.Unlock()
			if started {
				continue
			}
			wg.Go(func() {
				d.visit(ctx, w)
				mu.Lock()
				defer mu.Unlock()
				delete(busy, w.place.ID)
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookEvery):
		}
	}
}

func (d *Desk) clear(ctx context.Context) error {
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE copy_work SET body = '', stop = 0 WHERE asked = 0`)
		return err
	})
}

// visit is what is due at one place.
type visit struct {
	place  Place
	agents []string
	medium string
}

// due tells where something has to be done.
func (d *Desk) due(ctx context.Context) ([]visit, error) {
	places, err := d.Places(ctx, false)
	if err != nil {
		return nil, err
	}
	states, err := d.States(ctx)
	if err != nil {
		return nil, err
	}
	var out []visit
	var errs []error
	for _, p := range places {
		medium, asked, err := d.asked(ctx, p.ID)
		if err != nil {
			return nil, err
		}
		if !asked && p.Every == 0 {
			continue
		}
		agents, err := d.agents(ctx, p)
		if err != nil { // another place may be well; of what is known here it is told that it cannot be copied
			errs = append(errs, err)
			agents = knownAt(p, states)
		}
		w := visit{place: p, medium: medium}
		for _, agent := range agents {
			if asked || d.dueFor(p, agent, states) {
				w.agents = append(w.agents, agent)
			}
		}
		if asked || len(w.agents) > 0 {
			out = append(out, w)
		}
	}
	return out, errors.Join(errs...)
}

// knownAt are the agents of which something lies at a place.
func knownAt(p Place, states []State) (agents []string) {
	for _, s := range states {
		if s.PlaceID == p.ID {
			agents = append(agents, s.Agent)
		}
	}
	return agents
}

func (d *Desk) dueFor(p Place, agent string, states []State) bool {
	for _, s := range states {
		if s.PlaceID != p.ID || s.Agent != agent {
			continue
		}
		wait := time.Duration(p.Every) * time.Hour
		if s.At.Before(s.Ended) && !s.Stopped { // it ended early, by itself
			wait = min(wait, retryAfter)
		}
		return !d.Now().Before(s.Began.Add(wait))
	}
	return true
}

// asked says whether somebody asked for a cycle, and onto which medium.
func (d *Desk) asked(ctx context.Context, place string) (medium string, asked bool, err error) {
	var at int64
	err = d.db.QueryRow(ctx, `SELECT asked, medium FROM copy_work WHERE place = $1`, place).Scan(&at, &medium)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return medium, at > 0, err
}

// agents are those whose repositories are copied to a place.
func (d *Desk) agents(ctx context.Context, p Place) ([]string, error) {
	if p.Kind != Pull {
		return d.Source.Agents(ctx, p.Site)
	}
	entries, err := os.ReadDir(p.From)
	if err != nil {
		return nil, fault.New(fault.Busy, "protect.copy.no-folder", p.From).With(err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() && restic.IsRepository(filepath.Join(p.From, e.Name(), repositoryDir)) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// repositoryDir is where below an agent's folder a hub keeps the repository
// itself, see protect/repository.
const repositoryDir = "repository"

// source opens what is copied.
func (d *Desk) source(ctx context.Context, p Place, agent string) (restic.Backend, []string, func() error, error) {
	if p.Kind != Pull {
		b, passwords, err := d.Source.Repository(ctx, agent)
		return b, passwords, func() error { return nil }, err
	}
	f, err := restic.OpenFolder(filepath.Join(p.From, agent, repositoryDir))
	if err != nil {
		return nil, nil, nil, fault.New(fault.Busy, "protect.copy.no-folder", p.From).With(err)
	}
	return f, nil, f.Close, nil
}

// visit does what is due at one place, agent by agent.
func (d *Desk) visit(outer context.Context, w visit) {
	ctx, cancel := context.WithCancel(outer) // ends when a person stops it
	defer cancel()
	say := &speaker{d: d, now: Now{PlaceID: w.place.ID, Began: d.moment(), Step: "copy"}, cancel: cancel}
	say.begin(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { say.run(ctx) })
	defer func() { cancel(); wg.Wait(); say.end(context.WithoutCancel(outer)) }()
	if w.medium != "" {
		if err := d.recognise(ctx, w); err != nil {
			d.fail(ctx, w, err)
			return
		}
	}
	sound := true
	for _, agent := range w.agents {
		say.agent(agent)
		r, err := d.once(ctx, w, agent, say.say)
		if outer.Err() != nil {
			return
		}
		if ctx.Err() != nil {
			d.stopped(outer, w, agent)
			continue
		}
		if err != nil {
			d.Log.Error("a copy could not be made", "place", w.place.ID, "agent", agent, "err", err)
		}
		sound = sound && err == nil && r.Problem == ""
	}
	if w.medium != "" && sound && ctx.Err() == nil {
		say.say("eject", 0, 0, 0, 0)
		if err := d.written(ctx, w); err != nil {
			d.Log.Error("a medium that was written could not be ejected", "place", w.place.ID, "err", err)
		}
	}
}

// fail notes for all agents of a visit that it could not even begin.
func (d *Desk) fail(ctx context.Context, w visit, cause error) {
	problem := problemOf(cause)
	for _, agent := range w.agents {
		last, err := d.last(ctx, w.place.ID, agent)
		if err != nil {
			d.Log.Error("what a copy was before cannot be read", "err", err)
		}
		r := Result{PlaceID: w.place.ID, Agent: agent, MediumID: w.medium, Began: d.moment(), Ended: d.moment(), Problem: problem, Tampered: tampering(problem, last.Proven), Why: cause.Error()}
		if err := d.keep(ctx, w, r); err != nil {
			d.Log.Error("a failed copy is not on record", "err", err)
		}
	}
}

// stopped notes that a person ended a cycle. What came over stays; the next
// cycle goes on.
func (d *Desk) stopped(ctx context.Context, w visit, agent string) {
	r, err := d.last(ctx, w.place.ID, agent)
	if err == nil {
		r.PlaceID, r.Agent, r.MediumID, r.Stopped, r.Files, r.Bytes = w.place.ID, agent, w.medium, true, 0, 0
		r.Began, r.Ended = d.moment(), d.moment()
		err = put(ctx, d, kindCopy, copyID(r.PlaceID, r.Agent), "sonae", w.place.Site, func(last *Result, _ bool) error { *last = r; return nil })
	}
	if err != nil {
		d.Log.Error("a copy that was stopped is not on record", "err", err)
	}
}

// once makes one copy and keeps what came of it.
func (d *Desk) once(ctx context.Context, w visit, agent string, progress func(string, int, int, int64, int64)) (Result, error) {
	r := Result{PlaceID: w.place.ID, Agent: agent}
	last, err := d.last(ctx, w.place.ID, agent)
	if err != nil {
		return r, err
	}
	if last.MediumID == w.medium { // else it is another copy
		r.At, r.AllFiles, r.AllBytes, r.Snapshots, r.Newest = last.At, last.AllFiles, last.AllBytes, last.Snapshots, last.Newest
		r.ReadAt, r.Sound, r.LockedUntil, r.Proven = last.ReadAt, last.Sound, last.LockedUntil, last.Proven
	}
	r.MediumID, r.Began = w.medium, d.moment()
	held := r.Proven
	err = d.cycle(ctx, w, agent, &r, progress)
	if ctx.Err() != nil { // somebody stopped it, or the hub ends: the next cycle goes on
		return r, ctx.Err()
	}
	r.Ended = d.moment()
	if err == nil {
		r.At = r.Ended
	} else if r.Problem == "" {
		r.Problem, r.Why = problemOf(err), err.Error()
		r.Tampered = tampering(r.Problem, held)
		r.Sound = r.Sound && r.Problem == Failed // not reached is not damaged
	}
	return r, errors.Join(err, d.keep(ctx, w, r))
}

func (d *Desk) cycle(ctx context.Context, w visit, agent string, r *Result, progress func(string, int, int, int64, int64)) (err error) {
	src, passwords, closeSource, err := d.source(ctx, w.place, agent)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	to, err := d.open(ctx, w.place, agent)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	old := r.ReadAt.Add(time.Duration(w.place.Reread) * 24 * time.Hour)
	c := &cycle{src: src, passwords: passwords, to: to, limit: limiter(w.place.Rate), now: d.moment(), progress: progress, res: r, held: r.Proven,
		reread: !r.Sound || r.ReadAt.IsZero() || !d.Now().Before(old) || w.medium != ""}
	return c.run(ctx)
}

// problemOf says which words fit to an error.
func problemOf(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		switch f.Key {
		case Damage, SourceDamaged:
			return f.Key
		case "blob.no-lock", "blob.lock-lost":
			return LockLost
		}
	}
	return Failed
}

func (d *Desk) last(ctx context.Context, place, agent string) (Result, error) {
	var r Result
	v, err := table.Get(ctx, d.db, copyID(place, agent))
	if fault.Of(err) == fault.Missing {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(v.Body, &r)
}

// keep puts a result on record, and tells of what is wrong with it.
func (d *Desk) keep(ctx context.Context, w visit, r Result) error {
	r.Why = short(r.Why)
	if r.Problem != "" {
		if err := d.tell(ctx, w.place, r); err != nil {
			return err
		}
	}
	return put(ctx, d, kindCopy, copyID(r.PlaceID, r.Agent), "sonae", w.place.Site, func(last *Result, _ bool) error {
		*last = r
		return nil
	})
}

func short(s string) string {
	if len(s) > maxText {
		return s[:maxText]
	}
	return s
}

func (d *Desk) tell(ctx context.Context, p Place, r Result) error {
	t := Trouble{Place: p, Result: r}
	return d.db.Tx(ctx, func(tx *state.Tx) error {
		return tx.Emit(ctx, Harmed, fmt.Sprintf("%s:%s/%d", Harmed, copyID(r.PlaceID, r.Agent), state.Nanos(r.Began)), t)
	})
}

// speaker says every second how far a visit is, and hears whether somebody
// asked to stop it.
type speaker struct {
	d      *Desk
	cancel func()
	mu     sync.Mutex
	now    Now
}

func (s *speaker) run(ctx context.Context) {
	tick := time.NewTicker(sayEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		now := s.now
		s.mu.Unlock()
		s.write(ctx, `UPDATE copy_work SET body = $2 WHERE place = $1`, now.PlaceID, state.JSON(now))
		var stop int64
		if err := s.d.db.QueryRow(ctx, `SELECT stop FROM copy_work WHERE place = $1`, now.PlaceID).Scan(&stop); err == nil && stop != 0 {
			s.cancel()
		}
	}
}

func (s *speaker) begin(ctx context.Context) {
	s.write(ctx, `INSERT INTO copy_work (place, asked, medium, stop, body) VALUES ($1, 0, '', 0, $2) ON CONFLICT (place) DO UPDATE SET asked = 0, stop = 0, body = excluded.body`,
		s.now.PlaceID, state.JSON(s.now))
}

func (s *speaker) end(ctx context.Context) {
	s.write(ctx, `UPDATE copy_work SET body = '', stop = 0 WHERE place = $1 AND asked = 0`, s.now.PlaceID)
}

func (s *speaker) write(ctx context.Context, query string, args ...any) {
	err := s.d.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
	if err != nil && ctx.Err() == nil {
		s.d.Log.Error("how far a copy is cannot be said", "err", err)
	}
}

func (s *speaker) agent(agent string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Agent = agent
}

func (s *speaker) say(step string, files, ofFiles int, bytes, ofBytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Step, s.now.Files, s.now.OfFiles, s.now.Bytes, s.now.OfBytes = step, files, ofFiles, bytes, ofBytes
}
