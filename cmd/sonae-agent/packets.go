package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/forensic"
	"github.com/sonae/sonae/agent/ring"
	"github.com/sonae/sonae/agent/sensor"
	"github.com/sonae/sonae/source/pcap/filter"
)

// captureOptions say which packets are seen and kept.
type captureOptions struct {
	nics        []string
	promiscuous bool
	filter      string
	queues      int
	kernel      int64 // MiB, for each queue
	disk        int64 // MiB; 0: none
	age         time.Duration
	dir         string
	alarm       float64 // percent

	parsed *filter.Filter
}

func (o *captureOptions) flags(f *flag.FlagSet) {
	f.Func("interface", "network interface to watch, may be repeated; all when it is not given", func(s string) error {
		o.nics = append(o.nics, strings.Split(s, ",")...)
		return nil
	})
	f.BoolVar(&o.promiscuous, "promiscuous", false, "also watch other machines' packets, on a mirror port")
	f.StringVar(&o.filter, "filter", "", "watch only what this expression in the language of tcpdump wants")
	f.IntVar(&o.queues, "queues", 1, "goroutines among which connections are spread")
	f.Int64Var(&o.kernel, "kernel-ring", 8, "MiB that the kernel may fill for each queue")
	f.Int64Var(&o.disk, "packets", 0, "MiB of packets kept on disk; 0 keeps none")
	f.DurationVar(&o.age, "packets-age", 24*time.Hour, "how long packets are kept on disk at most")
	f.StringVar(&o.dir, "packets-dir", "", "where; DIR/packets when it is not given")
	f.Float64Var(&o.alarm, "loss-alarm", 1, "percent of the packets within a minute that may be lost without an alarm")
}

func (o *captureOptions) check() error {
	switch {
	case o.queues < 1 || o.queues > 64 || o.kernel < 1 || o.kernel > 1024:
		return errors.New("--queues goes from 1 to 64, --kernel-ring from 1 to 1024")
	case o.disk != 0 && o.disk<<20 < ring.MinBytes:
		return fmt.Errorf("--packets begins at %d", ring.MinBytes>>20)
	case o.age < time.Minute || o.alarm <= 0 || o.alarm > 100:
		return errors.New("--packets-age begins at 1m, --loss-alarm goes from above 0 to 100")
	case o.promiscuous && len(o.nics) == 0:
		return errors.New("--promiscuous needs --interface")
	case o.filter == "":
		return nil
	}
	var err error
	if o.parsed, err = filter.Parse(o.filter); err != nil {
		return fmt.Errorf("--filter: %w", err)
	}
	return nil
}

// packets are what is seen and kept of them.
type packets struct {
	program
	o      options
	recent recent
	disk   *ring.Ring // nil: none
}

// places are where packets lie outside of the agent's folder.
func (o *captureOptions) places() []string {
	if o.dir == "" {
		return nil
	}
	return []string{o.dir}
}

func (p program) openPackets(o options) (*packets, error) {
	k := &packets{program: p, o: o}
	if o.capture.disk == 0 {
		return k, nil
	}
	dir := o.capture.dir
	if dir == "" {
		dir = filepath.Join(o.dir, "packets")
	}
	var err error
	k.disk, err = ring.Open(ring.Config{Dir: dir, Bytes: o.capture.disk << 20, Age: o.capture.age, Lanes: o.capture.queues, Log: p.log})
	return k, err
}

func (k *packets) close() error {
	if k.disk == nil {
		return nil
	}
	return k.disk.Close()
}

// open opens the sensor. What is kept on disk is not kept in memory as well.
func (k *packets) open() (agent.Sensor, error) {
	c := k.o.capture
	conf := sensor.Config{Interfaces: c.nics, Promiscuous: c.promiscuous, Filter: c.parsed, Queues: c.queues, KernelBytes: int(c.kernel << 20),
		RingBytes: k.o.ring << 20, Log: k.log}
	if k.disk != nil {
		conf.RingBytes = -1
		conf.Keep = func(queue int) sensor.Keeper { return k.disk.Lane(queue) }
	}
	s, err := sensor.Open(conf)
	if err != nil {
		return nil, err
	}
	k.recent.now.Store(s)
	return s, nil
}

// evidence adds where packets come from.
func (k *packets) evidence(c forensic.Config) forensic.Config {
	c.Ring = &k.recent
	if k.disk != nil {
		c.Disk = k.disk
	}
	return c
}

// keeping is what the heartbeat tells of; nil when nothing is kept on disk.
func (k *packets) keeping() agent.Keeping {
	if k.disk == nil {
		return nil
	}
	return k.disk
}

// recent gives the packets of the sensor that runs, or of the one that ran last.
type recent struct{ now atomic.Pointer[sensor.Sensor] }

// WriteRing writes the last packets as pcapng.
func (r *recent) WriteRing(ctx context.Context, w io.Writer) (int, error) {
	s := r.now.Load()
	if s == nil {
		return 0, errors.New("packets are not being seen")
	}
	return s.WriteRing(ctx, w)
}
