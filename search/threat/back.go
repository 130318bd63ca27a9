package threat

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// BackSearch is what the archive held of a list.
type BackSearch struct {
	List    string    `json:"list"`
	By      string    `json:"by"` // person id
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Until   time.Time `json:"until"` // it came so far, the newest day first: From when it is done
	Scanned int64     `json:"scanned"`
	Events  int64     `json:"events"` // that name an indicator
	Found   []Found   `json:"found"`  // by value, those that most events name first
	Failed  bool      `json:"failed,omitempty"`
	Running bool      `json:"-"` // on this hub
}

// Done says whether all of the time was searched.
func (b BackSearch) Done() bool { return !b.Until.After(b.From) }

// Found is an indicator that events of the past name.
type Found struct {
	Kind   ioc.Kind  `json:"kind"`
	Value  string    `json:"value"`
	Events int64     `json:"events"`
	Hosts  []string  `json:"hosts"` // ids, at most maxHosts
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Event  string    `json:"event"` // id of the newest
}

// Bounds of back-searches: they read the archive, which others do, too.
const (
	maxWaiting = 8
	maxFound   = 500
	maxHosts   = 50
	searchFor  = 6 * time.Hour
)

// Search searches the archive for a list in force, in the background.
func (d *Desk) Search(ctx context.Context, list string, days int, by auth.Person) error {
	if days < 1 || days > maxDays {
		return fault.New(fault.Invalid, "threat.days", maxDays)
	}
	if _, err := d.open(ctx, list); err != nil {
		return err
	}
	to := d.moment()
	b := BackSearch{List: list, By: by.ID, From: to.AddDate(0, 0, -days), To: to, Until: to}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[list] {
		return fault.New(fault.Conflict, "threat.searching")
	}
	select {
	case d.queue <- b:
		d.busy[list] = true
	default:
		return fault.New(fault.Busy, "threat.searches")
	}
	return nil
}

// open returns a list that nobody took out of force.
func (d *Desk) open(ctx context.Context, id string) (List, error) {
	list, err := scan(d.db.Query(ctx, present+`AND id = $1 AND open = 1`, id))
	if err != nil {
		return List{}, fmt.Errorf("open threat list: %w", err)
	}
	if len(list) == 0 {
		return List{}, fault.New(fault.Missing, "threat.none")
	}
	return list[0].List, nil
}

// noteEvery is how often hits are written down.
const noteEvery = time.Minute

// Run makes back-searches, one at a time, and writes hits down, until ctx ends.
func (d *Desk) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case b := <-d.queue:
				d.search(ctx, b)
			}
		}
	}()
	t := time.NewTicker(noteEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			d.noteOrSay(ctx)
		case <-ctx.Done():
			<-done
			end, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer stop()
			d.noteOrSay(end)
			return nil
		}
	}
}

func (d *Desk) noteOrSay(ctx context.Context) {
	if err := d.Note(ctx); err != nil {
		d.log.Error("hits of threat lists are not written down", "err", err)
	}
}

func (d *Desk) search(ctx context.Context, b BackSearch) {
	defer d.tell()
	defer func() { d.mu.Lock(); defer d.mu.Unlock(); delete(d.busy, b.List) }()
	ctx, stop := context.WithTimeout(ctx, searchFor)
	defer stop()
	if err := d.days(ctx, &b); err != nil {
		b.Failed = true
		d.log.Error("the archive could not be searched for a threat list", "list", b.List, "err", err)
		end, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer stop()
		if err := d.keep(end, b); err != nil {
			d.log.Error("what was found of a threat list is not written down", "list", b.List, "err", err)
		}
	}
}

// days goes through the archive day by day, the newest first, and writes down
// what was found after each.
func (d *Desk) days(ctx context.Context, b *BackSearch) error {
	l, err := d.open(ctx, b.List)
	if err != nil {
		return err
	}
	held, err := content(ctx, d.db, l)
	if err != nil {
		return err
	}
	for i := range held {
		held[i].Until = time.Time{} // it may have held when the event happened
	}
	f := &finding{set: ioc.NewSet([]ioc.List{{ID: l.ID, Confidence: l.Confidence, Indicators: held}}), b: b, by: map[ioc.Indicator]*Found{}, now: d.now()}
	for b.Until.After(b.From) {
		from := b.Until.Add(-24 * time.Hour)
		if from.Before(b.From) {
			from = b.From
		}
		if err := d.events.Events(ctx, archive.Search{From: from, To: b.Until}, f.take); err != nil {
			return err
		}
		b.Until = from
		b.Found = f.sorted()
		if err := d.keep(ctx, *b); err != nil {
			return err
		}
		d.tell()
	}
	return nil
}

// finding is a back-search under way.
type finding struct {
	set *ioc.Set
	b   *BackSearch
	by  map[ioc.Indicator]*Found
	now time.Time
}

func (f *finding) take(e event.Event) error {
	f.b.Scanned++
	h, ok := f.set.Event(&e, f.now)
	if !ok {
		return nil
	}
	f.b.Events++
	key := ioc.Indicator{Kind: h.Indicator.Kind, Value: h.Indicator.Value}
	one := f.by[key]
	if one == nil {
		if len(f.by) >= maxFound {
			return nil
		}
		one = &Found{Kind: key.Kind, Value: key.Value, First: e.Time, Last: e.Time, Event: e.ID}
		f.by[key] = one
	}
	one.Events++
	if e.Time.Before(one.First) {
		one.First = e.Time
	}
	if e.Time.After(one.Last) {
		one.Last, one.Event = e.Time, e.ID
	}
	if len(one.Hosts) < maxHosts && !slices.Contains(one.Hosts, e.Host) {
		one.Hosts = append(one.Hosts, e.Host)
	}
	return nil
}

func (f *finding) sorted() []Found {
	out := make([]Found, 0, len(f.by))
	for _, one := range f.by {
		out = append(out, *one)
	}
	slices.SortFunc(out, func(a, b Found) int {
		switch {
		case a.Events != b.Events:
			return int(b.Events - a.Events)
		case a.Value < b.Value:
			return -1
		}
		return 1
	})
	return out
}

func (d *Desk) keep(ctx context.Context, b BackSearch) error {
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO ioc_back (list, body) VALUES ($1, $2) ON CONFLICT (list) DO UPDATE SET body = excluded.body`, b.List, state.JSON(b))
		return err
	})
	if err != nil {
		return fmt.Errorf("keep what was found of a threat list: %w", err)
	}
	return nil
}

// searches adds the back-searches of lists.
func (d *Desk) searches(ctx context.Context, at map[string]*Shown) error {
	found, err := d.db.Query(ctx, `SELECT body FROM ioc_back`)
	if err != nil {
		return fmt.Errorf("back-searches of threat lists: %w", err)
	}
	defer found.Close()
	for found.Next() {
		var body string
		var b BackSearch
		err := found.Scan(&body)
		if err == nil {
			err = json.Unmarshal([]byte(body), &b)
		}
		if err != nil {
			return fmt.Errorf("back-searches of threat lists: %w", err)
		}
		if s := at[b.List]; s != nil {
			s.Back = &b
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.busy {
		if s := at[id]; s != nil {
			if s.Back == nil {
				s.Back = &BackSearch{List: id}
			}
			s.Back.Running = true
		}
	}
	return found.Err()
}
