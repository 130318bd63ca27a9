package collect

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source/feed"
	"github.com/sonae/sonae/source/tail"
)

// Sensors reads what Suricata and Zeek on this machine write.
type Sensors struct {
	cfg  Config
	pos  *tail.Marks
	feed atomic.Pointer[feed.Feed] // nil before Run
}

// NewSensors reads cfg.Sensors; nil when there are none.
func NewSensors(cfg Config) *Sensors {
	if cfg.Sensors.Empty() {
		return nil
	}
	return &Sensors{cfg: cfg, pos: tail.OpenMarks(cfg.Dir, "sensors.json")}
}

// Name implements Collector.
func (s *Sensors) Name() string { return "sensors" }

// Status implements Collector.
func (s *Sensors) Status() string {
	f := s.feed.Load()
	if f == nil {
		return "not started"
	}
	st := f.Stats()
	return fmt.Sprintf("%d files and %d connections of other sensors, %d events, %d left out, %d places unreadable", st.Files, st.Peers, st.Events, st.Dropped, st.Damaged)
}

// Run implements Collector.
func (s *Sensors) Run(ctx context.Context, q *Queue) error {
	c := s.cfg.Sensors
	c.Mark, c.Keep = s.pos.Get, s.pos.Set
	c.Emit = func(ctx context.Context, e event.Event) bool { return q.Wait(ctx, e) }
	c.Now, c.Log = s.cfg.Now, s.cfg.Log
	f := feed.New(c)
	s.feed.Store(f)
	saved := make(chan struct{})
	go func() {
		defer close(saved)
		for pause(ctx, time.Second) {
			if err := s.pos.Save(s.cfg.Now()); err != nil {
				s.cfg.Log.Error("log position", "err", err)
			}
		}
	}()
	err := f.Run(ctx)
	<-saved
	if err != nil {
		return err
	}
	return s.pos.Close()
}
