package agent

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/agent/guard"
	"github.com/sonae/sonae/event"
)

// Guard stops processes that encrypt files.
type Guard interface {
	// Run watches until ctx ends; ready is called when it does.
	Run(ctx context.Context, ready func(guard.Status)) error
	Status() guard.Status
	// Pardon lets a frozen process change files from now on; it returns at once.
	Pardon(pid int)
}

const (
	guardRetry = 15 * time.Second // a volume may be mounted later
	guardCheck = 5 * time.Second  // between two looks at what was dropped
)

// guardFiles runs the guard, again and again when it ends.
func (a *Agent) guardFiles(ctx context.Context) {
	for said := ""; ctx.Err() == nil; pause(ctx, guardRetry) {
		err := a.guardOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		why := "the guard ended"
		if err != nil {
			why = err.Error()
		}
		if why != said {
			said = why
			a.log.Error("guard is off: ransomware is not stopped", "err", why)
			a.urgent(a.own("guard-off", map[string]string{"Reason": why}))
		}
	}
}

func (a *Agent) guardOnce(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		a.countGuard(ctx)
	}()
	err := a.parts.Guard.Run(ctx, func(s guard.Status) {
		a.log.Info("guard is on", "backend", s.Backend, "folders", strings.Join(s.Watch, ", "), "why", s.Why)
		a.urgent(a.own("guard-on", map[string]string{"Backend": s.Backend, "Reason": s.Why, "Folders": strings.Join(s.Watch, "\n"), "Decoys": strings.Join(s.Decoys, "\n")}))
	})
	cancel()
	<-counted
	return err
}

// countGuard tells of operations that the guard could not look at.
func (a *Agent) countGuard(ctx context.Context) {
	var dropped uint64
	for ctx.Err() == nil {
		if d := a.parts.Guard.Status().Dropped; d > dropped {
			a.plain.queue.Put(a.own("guard-dropped", map[string]string{"Dropped": strconv.FormatUint(d, 10), "New": strconv.FormatUint(d-dropped, 10)}))
			dropped = d
		}
		pause(ctx, guardCheck)
	}
}

// maxTold bounds the files that an event names.
const maxTold = 100

// lossName says which file it was, and what it is called now.
func lossName(l guard.Loss) string {
	name := l.Path
	if l.Now != "" {
		name += " → " + l.Now
	}
	if l.Canary {
		name += " (canary)"
	}
	return name
}

// Frozen tells the hub at once that a process tree was stopped. It returns at
// once, and is safe for concurrent use.
func (a *Agent) Frozen(f guard.Frozen) {
	var files []string
	for _, l := range f.Files[:min(len(f.Files), maxTold)] {
		files = append(files, lossName(l))
	}
	var ja, en []string
	for _, r := range f.Reasons {
		ja, en = append(ja, r.JA), append(en, r.EN)
	}
	fields := map[string]string{
		event.FieldPID: strconv.Itoa(f.PID), event.FieldImage: f.Image, event.FieldCommand: f.Command, event.FieldUser: f.User,
		"ProcessStart": f.Start.Format(time.RFC3339Nano), "ProcessTicks": strconv.FormatUint(f.Ticks, 10), "Processes": strconv.Itoa(len(f.PIDs)),
		"FilesLost": strconv.Itoa(f.Lost), "Files": strings.Join(files, "\n"), "ReasonsJa": strings.Join(ja, "\n"), "ReasonsEn": strings.Join(en, "\n"),
		"Score": strconv.FormatFloat(f.Score, 'f', -1, 64), "FirstWrite": f.FirstWrite.Format(time.RFC3339Nano), "Stopped": f.Stopped.Format(time.RFC3339Nano),
	}
	if f.Incomplete != "" {
		fields["Incomplete"] = f.Incomplete
	}
	a.urgent(a.own("frozen", fields))
	a.beatNow()
}

// FreezeOver tells the hub at once that what was frozen without an order stands
// still no more without one. Start is in clock ticks since boot; cause is gone
// or code. It returns at once, and is safe for concurrent use.
func (a *Agent) FreezeOver(pid int, start uint64, image, cause string) {
	a.log.Warn("a freeze is over without an order", "pid", pid, "image", image, "cause", cause)
	a.urgent(a.own("frozen-ended", map[string]string{event.FieldPID: strconv.Itoa(pid), "ProcessTicks": strconv.FormatUint(start, 10), event.FieldImage: image, "Cause": cause}))
	a.beatNow()
}

// Thawed tells of a process that the kernel had stopped for a moment.
func (a *Agent) Thawed(t guard.Thawed) {
	a.plain.queue.Put(a.own("thawed", map[string]string{event.FieldPID: strconv.Itoa(t.PID), event.FieldImage: t.Image, "Stood": t.Stood.String(), "Reason": t.Why}))
}
