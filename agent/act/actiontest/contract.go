package actiontest

import (
	"cmp"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
)

// Subject is one action on a machine that the test made for it.
type Subject struct {
	// Dir is where the agent keeps its state.
	Dir string
	// Command starts the agent's process, which must call Serve.
	Command func() *exec.Cmd
	// Apply is the order of the action; Kind, and what it is about, are its.
	Apply order.Order
	// Undo is the kind of the order that undoes it.
	Undo order.Kind
	// InForce looks from outside whether the action is in force.
	InForce func() bool
	// AsBefore looks from outside whether everything is as it was.
	AsBefore func() bool
	// Reboot does to the machine what a reboot does, while no agent runs.
	Reboot func()
	// Gone says that after a reboot there is nothing to contain.
	Gone bool
	// Refused are orders that would lock out the owners of the machine, or
	// cannot be done, and so must change nothing.
	Refused map[string]order.Order
	// Crash says that the process can kill itself between the steps of the
	// action (see Crashing), and knows release codes and renewals.
	Crash bool
	// Short is the lease of tests that wait for its end, 2 s when it is 0: longer
	// where looking whether the action is in force takes that long.
	Short time.Duration
}

// patience is for a crowded machine; nothing is measured by it.
const patience = 30 * time.Second

// Code is the release code of all orders.
const Code = "7K3M-0A1B-CDEF-GH1J"

type contract struct {
	t     *testing.T
	s     *Subject
	clock string
	n     int
}

// Run holds an action to its contract. fresh makes a new machine.
func Run(t *testing.T, fresh func(t *testing.T) *Subject) {
	for name, test := range map[string]func(*contract){
		"undone by order":                             (*contract).undone,
		"idempotent":                                  (*contract).idempotent,
		"goes on after kill -9":                       (*contract).restart,
		"killed while applying":                       (*contract).killedApplying,
		"killed while undoing":                        (*contract).killedUndoing,
		"goes on after a reboot":                      (*contract).reboot,
		"lease ends though the clock is set back":     (*contract).clockBack,
		"lease does not end when the clock is put on": (*contract).clockOn,
		"lease ends while no agent runs":              (*contract).leaseAlone,
		"lease and reboot":                            (*contract).leaseReboot,
		"refused":                                     (*contract).refused,
		"released with the code":                      (*contract).code,
		"renewed by another action":                   (*contract).renewed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of a test is waiting
			s := fresh(t)
			c := &contract{t: t, s: s, clock: filepath.Join(t.TempDir(), "clock")}
			if s.InForce() || !s.AsBefore() {
				t.Fatal("in force before anything was done: this proves nothing")
			}
			test(c)
		})
	}
}

func (c *contract) short() time.Duration { return cmp.Or(c.s.Short, 2*time.Second) }

func (c *contract) agent(env ...string) *Agent {
	c.t.Helper()
	cmd := c.s.Command()
	if cmd.Env == nil {
		cmd.Env = cmd.Environ()
	}
	cmd.Env = append(append(cmd.Env, clockEnv+"="+c.clock), env...)
	return Start(c.t, cmd)
}

func (c *contract) apply(lease time.Duration) order.Order {
	c.n++
	o := c.s.Apply
	o.ID, o.Action, o.Lease = numbered("or-apply", c.n), numbered("ac", c.n), lease
	o.Host, o.CodeHash = "h1", order.CodeHash(Code)
	o.IssuedAt, o.ExpiresAt = time.Now(), time.Now().Add(time.Hour)
	return o
}

func (c *contract) undo(of order.Order) order.Order {
	c.n++
	o := c.s.Apply
	o.ID, o.Action, o.Kind, o.Lease = numbered("or-undo", c.n), of.Action, c.s.Undo, 0
	o.IssuedAt, o.ExpiresAt = time.Now(), time.Now().Add(time.Hour)
	return o
}

func (c *contract) want(r order.Result, p order.Phase) {
	c.t.Helper()
	if r.Phase != p {
		c.t.Fatalf("answered %+v, want %s", r, p)
	}
	for _, k := range r.Checks {
		if !k.OK {
			c.t.Errorf("check %s of %s: %s", k.Name, k.Target, k.Detail)
		}
	}
}

func (c *contract) eventually(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("not in time: %s", what)
		}
	}
}

func (c *contract) inForce() {
	c.t.Helper()
	if !c.s.InForce() {
		c.t.Fatal("not in force")
	}
}

func (c *contract) asBefore() {
	c.t.Helper()
	c.eventually("everything is as before", func() bool { return c.s.AsBefore() && !c.s.InForce() })
}

// inForceNow applies the action with an agent that lives on.
func (c *contract) inForceNow(lease time.Duration) (*Agent, order.Order) {
	c.t.Helper()
	a, o := c.agent(), c.apply(lease)
	r := a.Do(o)
	c.want(r, order.Applied)
	if len(r.Checks) == 0 {
		c.t.Error("nothing was verified")
	}
	c.inForce()
	return a, o
}

func (c *contract) undone() {
	a, o := c.inForceNow(time.Hour)
	c.want(a.Do(c.undo(o)), order.Released)
	c.asBefore()
}

func (c *contract) idempotent() {
	a, o := c.inForceNow(time.Hour)
	first := a.Do(o)
	c.want(first, order.Applied)
	c.inForce()
	u := c.undo(o)
	c.want(a.Do(u), order.Released)
	c.want(a.Do(u), order.Released)
	c.want(a.Do(c.undo(o)), order.Released)
	c.asBefore()
	if again := a.Do(o); again.Order != o.ID || c.s.InForce() {
		c.t.Errorf("an order that was undone was carried out again: %+v", again)
	}
	other := c.apply(time.Hour)
	c.want(a.Do(c.undo(other)), order.Released) // never applied: a success, and no change
	c.asBefore()
}

func (c *contract) restart() {
	a, o := c.inForceNow(time.Hour)
	a.Kill()
	c.inForce()
	a = c.agent()
	got := a.Resume()
	if len(got) != 1 || got[0].Phase != order.Applied || got[0].Action != o.Action || got[0].Order != o.ID {
		c.t.Fatalf("resumed with %+v, want the action in force", got)
	}
	c.inForce()
	c.want(a.Do(c.undo(o)), order.Released)
	c.asBefore()
}

// settle starts an agent after a kill in the middle; the hub sends the order again.
func (c *contract) settle(o order.Order) {
	c.t.Helper()
	a := c.agent()
	a.Resume()
	if r := a.Do(o); r.Phase != order.Applied {
		c.t.Fatalf("after the kill: %+v", r)
	}
	c.inForce()
	c.want(a.Do(c.undo(o)), order.Released)
	c.asBefore()
	a.Kill()
}

func (c *contract) killedApplying() {
	for _, d := range []time.Duration{0, 2 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond} {
		a, o := c.agent(), c.apply(time.Hour)
		a.send(request{Do: &o})
		time.Sleep(d)
		a.Kill()
		c.settle(o)
	}
	if !c.s.Crash {
		return
	}
	for _, at := range []string{BeforeApply, AfterApply} {
		a, o := c.agent(crashEnv+"="+at), c.apply(time.Hour)
		a.send(request{Do: &o})
		a.killed()
		c.settle(o)
	}
}

func (c *contract) killedUndoing() {
	undone := func(u order.Order) {
		c.t.Helper()
		a := c.agent()
		a.Resume()
		c.want(a.Do(u), order.Released)
		c.asBefore()
		a.Kill()
	}
	for _, d := range []time.Duration{0, 2 * time.Millisecond, 10 * time.Millisecond} {
		a, o := c.inForceNow(time.Hour)
		u := c.undo(o)
		a.send(request{Do: &u})
		time.Sleep(d)
		a.Kill()
		undone(u)
	}
	if !c.s.Crash {
		return
	}
	for _, at := range []string{BeforeUndo, AfterUndo} {
		a, o := c.inForceNow(time.Hour)
		a.Kill()
		u := c.undo(o)
		a = c.agent(crashEnv + "=" + at)
		a.send(request{Do: &u})
		a.killed()
		undone(u)
	}
}

// rebooted starts an agent after a reboot, with what it resumed.
func (c *contract) rebooted(a *Agent) (*Agent, []order.Result) {
	c.t.Helper()
	a.Kill()
	if c.s.Reboot != nil {
		c.s.Reboot()
	}
	otherBoot(c.t, c.s.Dir)
	a = c.agent()
	return a, a.Resume()
}

func (c *contract) reboot() {
	a, o := c.inForceNow(time.Hour)
	a, got := c.rebooted(a)
	a.ask(request{Run: true})
	if c.s.Gone {
		if len(got) != 1 || got[0].Phase != order.Released {
			c.t.Errorf("resumed with %+v, want the end of what is gone", got)
		}
		return
	}
	c.eventually("in force again", c.s.InForce)
	if len(got) == 0 || got[len(got)-1].Phase != order.Applied {
		c.t.Errorf("resumed with %+v, want the action in force", got)
	}
	c.want(a.Do(c.undo(o)), order.Released)
	c.asBefore()
}

func (c *contract) leaseReboot() {
	a, _ := c.inForceNow(10 * time.Minute)
	step(c.t, c.clock, 11*time.Minute) // the machine was off for so long
	_, got := c.rebooted(a)
	c.released(got)
	if !c.s.Gone {
		c.asBefore()
	}
}

func (c *contract) released(got []order.Result) {
	c.t.Helper()
	if !slices.ContainsFunc(got, func(r order.Result) bool { return r.Phase == order.Released && (r.Cause == "lease" || c.s.Gone) }) {
		c.t.Errorf("reported %+v, want the end of the lease", got)
	}
}

func (c *contract) clockBack() {
	a, _ := c.inForceNow(c.short())
	a.ask(request{Run: true})
	step(c.t, c.clock, -365*24*time.Hour)
	c.asBefore()
	var got []order.Result
	c.eventually("the end of the lease is reported", func() bool {
		got = append(got, a.ask(request{Reports: true}).Results...)
		return len(got) > 0
	})
	c.released(got)
}

func (c *contract) clockOn() {
	a, o := c.inForceNow(time.Hour)
	a.ask(request{Run: true})
	step(c.t, c.clock, 10*365*24*time.Hour)
	time.Sleep(1500 * time.Millisecond) // three looks at the lease
	c.inForce()
	c.want(a.Do(c.undo(o)), order.Released)
	c.asBefore()
}

func (c *contract) leaseAlone() {
	a, o := c.inForceNow(c.short())
	a.Kill()
	time.Sleep(c.short() + 100*time.Millisecond)
	a = c.agent()
	c.released(a.Resume())
	c.asBefore()
	if again := a.Resume(); len(again) > 0 {
		c.t.Errorf("reported a second time: %+v", again)
	}
	c.want(a.Do(c.undo(o)), order.Released)
}

func (c *contract) refused() {
	a := c.agent()
	bad := map[string]order.Order{}
	for name, o := range c.s.Refused {
		with := c.apply(time.Hour)
		o.ID, o.Action, o.Lease, o.ExpiresAt = with.ID, with.Action, with.Lease, with.ExpiresAt
		bad[name] = o
	}
	bad["no lease"], bad["a lease of a year"] = c.apply(0), c.apply(365*24*time.Hour)
	late := c.apply(time.Hour)
	late.ExpiresAt = time.Now().Add(-time.Minute)
	bad["expired"] = late
	for name, o := range bad {
		if r := a.Do(o); r.Phase != order.Rejected || r.Detail == "" {
			c.t.Errorf("%s: answered %+v, want rejected", name, r)
		}
		if c.s.InForce() || !c.s.AsBefore() {
			c.t.Errorf("%s: changed something", name)
		}
	}
}

func (c *contract) code() {
	if !c.s.Crash {
		c.t.Skip("tested in the package of the action")
	}
	a, o := c.inForceNow(time.Hour)
	console := c.agent() // `sonae-agent release` is a process of its own
	if e := console.Release("0000-0000-0000-0000"); e == "" {
		c.t.Error("a wrong code was taken")
	}
	c.inForce()
	if e := console.Release(Code); e != "" {
		c.t.Fatalf("the right code: %s", e)
	}
	c.asBefore()
	got := a.Resume()
	if len(got) != 1 || got[0].Phase != order.Released || got[0].Cause != "code" || got[0].Order != o.ID {
		c.t.Errorf("reported %+v, want the release", got)
	}
}

func (c *contract) renewed() {
	if !c.s.Crash {
		c.t.Skip("tested in the package of the action")
	}
	a, first := c.inForceNow(time.Hour)
	second := c.apply(2 * time.Hour)
	c.want(a.Do(second), order.Applied)
	c.want(a.Do(c.undo(first)), order.Released)
	c.inForce()
	c.want(a.Do(c.undo(second)), order.Released)
	c.asBefore()
}
