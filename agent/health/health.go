// Package health measures how a machine fares: volumes and when they will be
// full, services, certificates, the clock, backups.
//
// In: Config as the site writes it, /proc, the volumes, other clocks. Out:
// measures that the heartbeat carries and thresholds are compared with, one
// event about them a minute. Always true: it changes nothing; whatever it asks
// may hang or fail without holding up the heartbeat; what cannot be measured is
// left out or says why, it is never a zero.
package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// Names of measures.
const (
	Disk         = "disk"          // share used of a volume, 0–1
	Inodes       = "inodes"        // share used of its inodes, 0–1
	Fills        = "fills"         // hours until it is full as it goes now
	Service      = "service"       // 1: it does not run
	Certificate  = "certificate"   // days until it expires, negative after that
	ClockOffset  = "clock"         // seconds that this clock is away from those that agree
	ClockSpread  = "clock-spread"  // seconds between the clocks, when no two agree
	Backup       = "backup"        // hours since it succeeded last
	BackupFailed = "backup-failed" // 1: it failed, or its state cannot be seen
)

// Config is what is watched beside the volumes.
type Config struct {
	Services     []ServiceConfig     `yaml:"services"`
	Certificates []CertificateConfig `yaml:"certificates"`
	NTP          []string            `yaml:"ntp"` // servers to compare the clock with: host or host:port
	Backups      []BackupConfig      `yaml:"backups"`
}

// Check says what cannot be meant.
func (c Config) Check() error {
	var errs []error
	for i, s := range c.Services {
		if n := given(s.Unit, s.Process, s.TCP); n != 1 {
			errs = append(errs, fmt.Errorf("service %d (%s): exactly one of unit, process and tcp is needed", i+1, s.Name))
		}
	}
	for i, x := range c.Certificates {
		if given(x.File, x.Server) != 1 {
			errs = append(errs, fmt.Errorf("certificate %d (%s): exactly one of file and server is needed", i+1, x.Name))
		}
	}
	for i, b := range c.Backups {
		if (b.Marker == "") == (len(b.Command) == 0) {
			errs = append(errs, fmt.Errorf("backup %d (%s): exactly one of marker and command is needed", i+1, b.Name))
		}
	}
	return errors.Join(errs...)
}

func given(values ...string) (n int) {
	for _, v := range values {
		if v != "" {
			n++
		}
	}
	return n
}

// Deps is what Monitor needs of others.
type Deps struct {
	// Hub is how far the hub's clock is ahead of this one; false: not known.
	Hub func() (time.Duration, bool)
	Now clock.Now
	Log *slog.Logger
}

// Monitor measures in the background. It is safe for concurrent use.
type Monitor struct {
	cfg  Config
	deps Deps

	volumes *volumes
	backups map[string]time.Time // when a command said last that all is well

	mu    sync.Mutex
	parts map[string][]wire.Measure // by what measured
}

// New makes a Monitor.
func New(cfg Config, d Deps) *Monitor {
	return &Monitor{cfg: cfg, deps: d, volumes: newVolumes(), backups: map[string]time.Time{}, parts: map[string][]wire.Measure{}}
}

// Name implements collect.Collector.
func (m *Monitor) Name() string { return "measures" }

// Status implements collect.Collector.
func (m *Monitor) Status() string {
	return fmt.Sprintf("volumes, %d services, %d certificates, %d clocks, %d backups", len(m.cfg.Services), len(m.cfg.Certificates), len(m.cfg.NTP)+2, len(m.cfg.Backups))
}

// task measures one kind of thing again and again.
type task struct {
	name  string
	every time.Duration
	do    func(context.Context) []wire.Measure
}

// Run implements collect.Collector. Each kind is measured on its own, so that a
// server that does not answer keeps none of the others waiting.
func (m *Monitor) Run(ctx context.Context, q *collect.Queue) error {
	var all sync.WaitGroup
	for _, t := range []task{
		{"volumes", 30 * time.Second, m.measureVolumes},
		{"services", 15 * time.Second, m.measureServices},
		{"certificates", time.Hour, m.measureCertificates},
		{"clock", time.Minute, m.measureClock},
		{"backups", 5 * time.Minute, m.measureBackups},
	} {
		all.Go(func() { m.repeat(ctx, t) })
	}
	all.Go(func() { m.tell(ctx, q) })
	all.Wait()
	return nil
}

func (m *Monitor) repeat(ctx context.Context, t task) {
	tick := time.NewTicker(t.every)
	defer tick.Stop()
	for {
		m.put(t.name, t.do(ctx))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (m *Monitor) put(part string, found []wire.Measure) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parts[part] = found
}

// Measures returns the newest of all, those that people configured first: of
// too many, volumes are left out.
func (m *Monitor) Measures() []wire.Measure {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []wire.Measure
	for _, part := range []string{"clock", "backups", "services", "certificates", "volumes"} {
		out = append(out, m.parts[part]...)
	}
	return out[:min(len(out), wire.MaxMeasures)]
}

// tellEvery is how often measures become an event, to look back at.
const tellEvery = time.Minute

func (m *Monitor) tell(ctx context.Context, q *collect.Queue) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, x := range m.Measures() {
			q.Put(event.Event{Time: m.deps.Now().UTC(), Kind: event.KindHealth, Product: "sonae", Service: "measure",
				Fields: map[string]string{"Measure": x.Name, "Object": x.Object, "Value": strconv.FormatFloat(x.Value, 'f', 3, 64), "Detail": x.Detail}})
		}
	}
}
