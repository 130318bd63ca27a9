package guard

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// errRefused says that the kernel does not let a backend work.
var errRefused = errors.New("refused by the kernel")

// watch runs the backend that is wanted, or the best that works.
func (g *Guard) watch(ctx context.Context, ready func(Status)) error {
	if g.cfg.Backend == BackendFanotify {
		return g.fanotify(ctx, ready, nil)
	}
	err := g.ebpf(ctx, ready)
	if g.cfg.Backend == BackendEBPF || !errors.Is(err, errRefused) {
		return err
	}
	g.log.Warn("eBPF is refused, the guard goes on through fanotify", "err", err)
	return g.fanotify(ctx, ready, err)
}

func isReadOnly(err error) bool { return errors.Is(err, unix.EROFS) }

// court is what both backends share: who did it, what counts, and the stop.
type court struct {
	g      *Guard
	tasks  *tasks
	judge  *judge
	frozen map[int]time.Time // when
	done   map[proc]int      // what frozen roots did
	now    func() time.Time
}

func newCourt(g *Guard) *court {
	c := &court{g: g, tasks: newTasks(g.allow, g.cfg.Protect), frozen: map[int]time.Time{}, done: map[proc]int{}, now: time.Now}
	c.judge = newJudge(
		func(p proc) (proc, bool) { return c.tasks.up(p, c.now()) },
		func(p proc) int { return c.usual(p) })
	c.judge.whole = whole
	return c
}

// usual is what the program of a process usually turns. The sum of a program
// takes a while, so that it is asked for only when it decides.
func (c *court) usual(p proc) int {
	k := c.tasks.all[p.pid]
	if k == nil || c.judge.turned(p) < limit-1 || interpreters.MatchString(shown(k.image)) || len(c.g.usual.max) == 0 {
		return 0
	}
	sum, err := c.tasks.digest(k)
	if err != nil {
		return 0
	}
	return c.g.usual.extra(sum)
}

// decide stops the tree of p when it is time. It says whether p stands still.
func (c *court) decide(p proc) bool {
	v, ok := c.judge.decide(p, c.now())
	if !ok {
		return false
	}
	c.freeze(p, v)
	return true
}

// stillOf is how long a process that was told to stop may still ask.
const stillOf = 200 * time.Millisecond

// still says whether what pid did at some time came before it stood still.
func (c *court) still(pid int, did time.Time) bool {
	at, ok := c.frozen[pid]
	return ok && did.Before(at.Add(stillOf))
}

// maxFrozen bounds how many frozen processes are remembered.
const maxFrozen = 65536

// freeze stops the tree and tells of it. Who acts is stopped before anything
// else, whoever started it.
func (c *court) freeze(p proc, v verdict) {
	_ = stopAll(p.pid) // and again below, with the rest of the tree
	keep := func(pid int) bool {
		k := c.tasks.get(pid, c.now())
		return k != nil && k.keep
	}
	v.root = c.origin(v.root)
	pids, err := c.g.cfg.Freezer.Freeze(v.root.pid, keep)
	at := c.now()
	if len(c.frozen) > maxFrozen {
		clear(c.frozen)
	}
	for _, pid := range pids {
		c.frozen[pid] = at
	}
	f := Frozen{PID: v.root.pid, PIDs: pids, Start: startTime(v.root.start, at), Ticks: v.root.start, User: userOf(v.root.pid), Score: v.score, Lost: v.lost,
		Files: v.losses, Reasons: v.reasons, Stopped: at.UTC(), Command: strings.Join(commandLine(v.root.pid), " ")}
	if k := c.tasks.all[v.root.pid]; k != nil {
		f.Image = k.image
	}
	if len(v.losses) > 0 {
		f.FirstWrite = v.losses[0].At.UTC()
	}
	if len(c.done) >= maxCulprits {
		clear(c.done)
	}
	c.done[v.root] = v.lost
	if err != nil {
		f.Incomplete = err.Error()
	}
	c.g.mu.Lock()
	c.g.st.Frozen++
	c.g.mu.Unlock()
	c.g.log.Warn("process tree frozen", "pid", f.PID, "image", f.Image, "lost", f.Lost, "processes", len(pids), "err", err)
	if c.g.cfg.OnFreeze != nil {
		c.g.cfg.OnFreeze(f)
	}
}

// pardon lets the tree of pid change files from now on, and learns that its
// program does so.
func (c *court) pardon(pid int) []*task {
	k := c.tasks.fresh(pid, c.now())
	if k == nil {
		return nil
	}
	if n := c.done[k.proc]; n > 0 {
		if sum, err := c.tasks.digest(k); err == nil {
			c.g.usual.learn(sum, k.image, n)
		}
	}
	var free []*task
	in := map[int]bool{pid: true}
	for range maxLooks {
		news := descendants(in)
		for _, child := range news {
			in[child] = true
		}
		if len(news) == 0 {
			break
		}
	}
	for pid := range in {
		if k := c.tasks.get(pid, c.now()); k != nil {
			k.free = true
			c.judge.forget(k.proc)
			delete(c.frozen, pid)
			free = append(free, k)
		}
	}
	return free
}

// learn notes what processes did that have ended without being stopped. Their
// programs are summed up while they run, and never while one must be stopped.
func (c *court) learn() {
	for p, cu := range c.judge.all {
		k := c.tasks.all[p.pid]
		if cu.learned || len(cu.losses) == 0 || k == nil || k.proc != p {
			continue
		}
		if s, ok := readStat(p.pid); ok && s.start == p.start {
			_, _ = c.tasks.digest(k) // of a program that cannot be read nothing is learned
			continue
		}
		cu.learned = true
		c.g.usual.learn(k.sum, k.image, len(cu.losses))
	}
}
