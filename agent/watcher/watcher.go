// Package watcher tells people, past the hub, that the hub does not answer.
//
// In: when the hub answered last. Out: one message by mail or to a web hook when
// it has been silent for too long, and one when it is back. Always true: a
// silence is told once, also across restarts of the agent; what could not be
// sent is tried again until something newer is to be said; two silences are
// told at least half an hour apart; mail goes only over TLS to a server whose
// certificate is right.
package watcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
)

// Config is the agent's part in watching the hub. Without a way to tell anybody
// it watches nothing.
type Config struct {
	After time.Duration `yaml:"after"` // silence until it is told; 0 means 5 minutes
	Mail  *Mail         `yaml:"mail"`
	Hook  *Hook         `yaml:"webhook"`
}

// LeastAfter is the shortest silence that can be told: a hub that is restarted
// is silent for that long.
const LeastAfter = time.Minute

// Check says what cannot be meant.
func (c Config) Check() error {
	var errs []error
	if c.After != 0 && c.After < LeastAfter {
		errs = append(errs, fmt.Errorf("watcher: after is at least %v", LeastAfter))
	}
	if m := c.Mail; m != nil {
		if _, _, err := net.SplitHostPort(m.Server); err != nil || m.From == "" || len(m.To) == 0 {
			errs = append(errs, errors.New("watcher: mail needs server (host:port), from and to"))
		}
	}
	if h := c.Hook; h != nil {
		if u, err := url.Parse(h.URL); err != nil || u.Scheme != "https" || u.Host == "" {
			errs = append(errs, errors.New("watcher: the address of a webhook begins with https://"))
		}
	}
	return errors.Join(errs...)
}

// Notice is what is told.
type Notice struct {
	Gone  bool      `json:"gone"` // false: it is back
	Agent string    `json:"agent"`
	Hub   string    `json:"hub"`
	Since time.Time `json:"since"` // of the last answer before the silence
	At    time.Time `json:"at"`
}

// sender tells one notice.
type sender interface {
	name() string
	send(ctx context.Context, n Notice) error
}

// Deps is what a Watcher needs of others.
type Deps struct {
	Dir      string // where is kept what was told
	Agent    string // name of this machine
	Hub      string // as people know it
	Answered func() time.Time
	Now      clock.Now
	Log      *slog.Logger
}

// Watcher implements collect.Collector.
type Watcher struct {
	after   time.Duration
	deps    Deps
	senders []sender
	begun   time.Time
	backAt  time.Time // the first answer after a silence, while its end is not told
	state   told
}

// told is what was said, and what is still to be said to whom.
type told struct {
	Gone    bool               `json:"gone"`
	Since   time.Time          `json:"since"`
	GoneAt  time.Time          `json:"gone_at"` // when a silence was told last
	Pending map[string]*Notice `json:"pending"` // by sender
}

// Times.
const (
	defaultAfter = 5 * time.Minute
	lookEvery    = 5 * time.Second
	retryEvery   = time.Minute
	backFor      = time.Minute      // the hub must answer that long to be back
	apart        = 30 * time.Minute // between two silences that are told
	sendFor      = 30 * time.Second
	stateFile    = "watcher.json"
)

// New makes a Watcher; nil when c names nobody to tell.
func New(c Config, d Deps) *Watcher {
	w := &Watcher{after: c.After, deps: d, begun: d.Now(), state: told{Pending: map[string]*Notice{}}}
	if w.after == 0 {
		w.after = defaultAfter
	}
	if c.Mail != nil {
		w.senders = append(w.senders, c.Mail)
	}
	if c.Hook != nil {
		w.senders = append(w.senders, c.Hook)
	}
	if len(w.senders) == 0 {
		return nil
	}
	if b, err := os.ReadFile(filepath.Join(d.Dir, stateFile)); err == nil {
		if err := json.Unmarshal(b, &w.state); err != nil || w.state.Pending == nil {
			d.Log.Error("what was told of the hub is damaged", "err", err)
			w.state = told{Pending: map[string]*Notice{}}
		}
	}
	return w
}

// Name implements collect.Collector.
func (w *Watcher) Name() string { return "watcher" }

// Status implements collect.Collector.
func (w *Watcher) Status() string {
	return fmt.Sprintf("tells %d when the hub is silent for %v", len(w.senders), w.after)
}

// Run implements collect.Collector.
func (w *Watcher) Run(ctx context.Context, q *collect.Queue) error {
	look, retry := time.NewTicker(lookEvery), time.NewTicker(retryEvery)
	defer look.Stop()
	defer retry.Stop()
	w.deliver(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			if n, ok := w.step(w.deps.Now(), w.deps.Answered()); ok {
				w.say(q, n)
				w.deliver(ctx)
			}
		case <-retry.C:
			w.deliver(ctx)
		}
	}
}

// step says what is to be told now, if anything.
func (w *Watcher) step(now, answered time.Time) (Notice, bool) {
	last := answered
	if last.IsZero() || last.Before(w.begun) {
		last = w.begun // a machine that was off does not know how long the hub has been gone
	}
	silent := now.Sub(last) > w.after
	n := Notice{Agent: w.deps.Agent, Hub: w.deps.Hub, At: now.UTC()}
	switch {
	case !w.state.Gone && silent && now.Sub(w.state.GoneAt).Abs() >= apart:
		w.state.Gone, w.state.Since, w.state.GoneAt = true, last.UTC(), now.UTC()
		n.Gone, n.Since = true, w.state.Since
		return n, true
	case !w.state.Gone:
		return n, false
	case answered.IsZero() || now.Sub(answered) > backFor: // an old answer
		w.backAt = time.Time{}
		return n, false
	case w.backAt.IsZero():
		w.backAt = answered
		return n, false
	case answered.Sub(w.backAt) < backFor:
		return n, false
	}
	n.Since = w.state.Since
	w.state.Gone, w.backAt = false, time.Time{}
	return n, true
}

// say puts a notice before everybody. Who was not yet told of the silence need
// not learn that it is over.
func (w *Watcher) say(q *collect.Queue, n Notice) {
	what := "hub-back"
	if n.Gone {
		what = "hub-gone"
	}
	q.Put(event.Event{Time: n.At, Kind: event.KindHealth, Product: "sonae", Service: "agent", Fields: map[string]string{"Event": what, "Since": n.Since.Format(time.RFC3339)}})
	for _, s := range w.senders {
		if before := w.state.Pending[s.name()]; before != nil && before.Gone && !n.Gone {
			delete(w.state.Pending, s.name())
			continue
		}
		w.state.Pending[s.name()] = &n
	}
	w.save()
}

// deliver sends what is still to be said.
func (w *Watcher) deliver(ctx context.Context) {
	for _, s := range w.senders {
		n := w.state.Pending[s.name()]
		if n == nil {
			continue
		}
		sendCtx, cancel := context.WithTimeout(ctx, sendFor)
		err := s.send(sendCtx, *n)
		cancel()
		if err != nil {
			w.deps.Log.Warn("notice about the hub not sent, it will be tried again", "by", s.name(), "err", err)
			continue
		}
		w.deps.Log.Info("told people about the hub", "by", s.name(), "gone", n.Gone)
		delete(w.state.Pending, s.name())
		w.save()
	}
}

func (w *Watcher) save() {
	b, err := json.Marshal(w.state)
	path := filepath.Join(w.deps.Dir, stateFile)
	if err == nil {
		err = os.WriteFile(path+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		w.deps.Log.Error("what was told of the hub is not stored", "err", err)
	}
}
