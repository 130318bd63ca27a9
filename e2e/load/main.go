// Command load is a machine that reports as fast as it is told to: the spool
// and the link of the real agent, with made-up events instead of sensors.
//
// In: an identity that `sonae-agent enroll` made, a rate. Out: batches at the
// hub, and a file that names each batch once it is in the spool, which is the
// promise that it will be in the archive. Always true: a batch that the file
// names was durable before; kill -9 at any time leaves both usable. With
// -drain nothing new is made, and the program ends when the spool is empty.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/agent/spool"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source/agentlink/wire"
)

func main() {
	dir := flag.String("dir", "", "folder with the identity")
	truth := flag.String("truth", "", "file that gets a line for each batch in the spool: id and number of events")
	rate := flag.Int("rate", 400, "events per second")
	drain := flag.Bool("drain", false, "send what waits and end")
	cause := flag.Bool("cause", false, "let one event of each batch be the start of a file sharing program")
	step := flag.String("clock", "", "file with the seconds by which the clock is wrong")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, machine{dir: *dir, truth: *truth, rate: *rate, cause: *cause, now: stepped(*step)}, *drain); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

type machine struct {
	dir, truth string
	rate       int
	cause      bool
	now        clock.Now
	id         link.Identity
	spool      *spool.Spool
}

// stepped is a clock that a file sets wrong.
func stepped(file string) clock.Now {
	return func() time.Time {
		b, _ := os.ReadFile(file) // no file: the clock is right
		seconds, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		return time.Now().Add(time.Duration(seconds) * time.Second)
	}
}

func run(ctx context.Context, m machine, drain bool) (err error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if m.id, err = link.Load(m.dir); err != nil {
		return err
	}
	client, err := link.Dial(m.dir, m.id, log)
	if err != nil {
		return err
	}
	defer client.Close()
	if m.spool, err = spool.Open(spool.Config{Dir: filepath.Join(m.dir, "spool"), Log: log}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.spool.Close()) }()
	sending, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() { defer close(done); client.Drain(sending, m.spool) }()
	if drain {
		err = m.empty(ctx)
	} else {
		err = m.report(ctx)
	}
	stop()
	<-done
	if n := m.spool.Dropped(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d events were given up", n))
	}
	return err
}

// empty waits until the hub has acknowledged everything.
func (m machine) empty(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, waits := m.spool.Peek(); !waits {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// report makes a batch each second until ctx ends.
func (m machine) report(ctx context.Context) error {
	out, err := os.OpenFile(m.truth, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		b := m.batch(n)
		data, err := wire.EncodeBatch(b)
		if err == nil {
			err = m.spool.Append(len(b.Events), data)
		}
		if err != nil {
			return errors.Join(err, out.Close())
		}
		if _, err := fmt.Fprintf(out, "%s %d\n", b.ID, len(b.Events)); err != nil {
			return errors.Join(err, out.Close())
		}
		select {
		case <-ctx.Done():
			return out.Close()
		case <-tick.C:
		}
	}
}

// batch makes events as a busy machine has them: connections, processes and
// lines of a log, about 500 bytes each.
func (m machine) batch(n int) event.Batch {
	now := m.now().UTC()
	b := event.Batch{ID: m.id.Host + "." + clock.ID("ba", now), SentAt: now, Events: make([]event.Event, m.rate)}
	for i := range b.Events {
		e := &b.Events[i]
		*e = event.Event{ID: b.ID + "-" + strconv.Itoa(i), Time: now.Add(time.Duration(i-m.rate) * time.Second / time.Duration(m.rate))}
		k := n*m.rate + i
		switch i % 3 {
		case 0:
			e.Kind, e.Product, e.Category, e.Service = event.KindFlow, "sonae", "network_connection", "flow"
			e.Fields = map[string]string{event.FieldFlowID: strconv.Itoa(k), event.FieldPhase: "end", event.FieldProtocol: "tcp",
				event.FieldSrcIP: "192.168.50.10", event.FieldSrcPort: strconv.Itoa(20000 + k%40000), event.FieldDstIP: fmt.Sprintf("10.%d.%d.%d", k%7, k/7%251, k%253),
				event.FieldDstPort: "443", event.FieldApp: "tls", event.FieldSent: strconv.Itoa(k % 90001), event.FieldReceived: strconv.Itoa(k % 700001),
				event.FieldImage: "/usr/lib/firefox/firefox", event.FieldUser: fmt.Sprintf("user%02d", k%40)}
		case 1:
			e.Kind, e.Product, e.Category = event.KindProcess, "linux", "process_creation"
			e.Fields = map[string]string{event.FieldImage: "/usr/bin/python3", event.FieldCommand: fmt.Sprintf("python3 /opt/jobs/report.py --patient-list %d --out /tmp/r%d", k%977, k),
				"ParentImage": "/usr/sbin/cron", event.FieldPID: strconv.Itoa(1000 + k%60000), event.FieldUser: fmt.Sprintf("user%02d", k%40)}
		default:
			e.Kind, e.Product, e.Service = event.KindLog, "linux", "syslog"
			e.Raw = fmt.Sprintf("%s host app[%d]: request %d from 192.168.50.%d answered 200 in %d ms, 受付番号 %d", now.Format(time.RFC3339), k%60000, k, k%250, k%900, k)
			e.Fields = map[string]string{"Program": "app", "Priority": "6"}
		}
	}
	if m.cause && len(b.Events) > 1 {
		b.Events[1].Fields[event.FieldImage] = "/usr/bin/transmission-cli"
	}
	return b
}
