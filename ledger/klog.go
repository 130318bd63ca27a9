package ledger

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"

	"k8s.io/klog/v2"
)

// Tessera logs through klog, which has one destination for the whole process:
// standard error, unless told otherwise. engineLogs receives its lines and
// hands them to the logger of a ledger that is open, so that no library talks
// past the hub's own log. What comes when no ledger is open any more is from
// goroutines of Tessera that end a little later, and is dropped.
type engineLogs struct {
	once sync.Once
	mu   sync.Mutex
	open []*slog.Logger
}

var engines engineLogs

// follow takes log into use until the returned function is called.
func (e *engineLogs) follow(log *slog.Logger) (leave func()) {
	e.once.Do(e.redirect)
	log = log.With("engine", "tessera")
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open = append(e.open, log)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.open = slices.DeleteFunc(e.open, func(l *slog.Logger) bool { return l == log })
	}
}

// redirect sends each severity of klog here. It runs before Tessera starts for
// the first time.
func (e *engineLogs) redirect() {
	flags := flag.NewFlagSet("klog", flag.PanicOnError)
	klog.InitFlags(flags)
	for name, value := range map[string]string{
		"logtostderr": "false", "stderrthreshold": "FATAL", "one_output": "true", "skip_headers": "true",
	} {
		if err := flags.Set(name, value); err != nil {
			panic(fmt.Sprintf("ledger: klog has no option %s: %v", name, err)) // a changed library, seen by every test
		}
	}
	for name, level := range map[string]slog.Level{
		"INFO": slog.LevelDebug, "WARNING": slog.LevelWarn, "ERROR": slog.LevelError, "FATAL": slog.LevelError,
	} {
		klog.SetOutputBySeverity(name, engineLevel{e, level})
	}
}

// engineLevel writes lines at one level.
type engineLevel struct {
	logs  *engineLogs
	level slog.Level
}

var _ io.Writer = engineLevel{}

// Write hands one line to the newest open ledger: lines do not say which of
// several they are about.
func (w engineLevel) Write(line []byte) (int, error) {
	w.logs.mu.Lock()
	defer w.logs.mu.Unlock() // held while logging, so that nothing is logged after leave
	if n := len(w.logs.open); n > 0 {
		w.logs.open[n-1].Log(context.Background(), w.level, string(bytes.TrimSpace(line)))
	}
	return len(line), nil
}
