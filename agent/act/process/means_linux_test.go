package process

import (
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/actiontest"
	"github.com/sonae/sonae/agent/act/contain"
)

const agentEnv = "SONAE_PROCESS_TEST_AGENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(agentEnv); dir != "" {
		log := slog.New(slog.NewTextHandler(os.Stderr, nil))
		k := New(Config{Dir: dir + "/tree", Now: time.Now, Log: log})
		actiontest.Serve(contain.NewGroup(contain.Config{Dir: dir, Now: actiontest.Now(), Log: log},
			actiontest.Crashing(Freezing{k}), actiontest.Crashing(Killing{k})))
		return
	}
	os.Exit(m.Run())
}

func agentOn(dir string) func() *exec.Cmd {
	return func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), agentEnv+"="+dir)
		return cmd
	}
}

func TestFreezingKeepsTheContract(t *testing.T) {
	actiontest.Run(t, func(t *testing.T) *actiontest.Subject {
		dir, files := t.TempDir(), t.TempDir()
		root := start(t, writers(files))
		eventually(t, "the writers write", func() bool { return grows(t, files) })
		first := func(pid int) order.Order {
			at, err := Start(pid)
			if err != nil {
				t.Fatal(err)
			}
			return order.Order{Kind: order.Freeze, Process: &order.Process{PID: pid, Start: at}}
		}
		gone := order.Order{Kind: order.Freeze, Process: &order.Process{PID: root.PID, Start: root.Start + 1}}
		return &actiontest.Subject{Dir: dir, Command: agentOn(dir), Crash: true, Gone: true, Undo: order.Thaw,
			Apply:    order.Order{Kind: order.Freeze, Process: &order.Process{PID: root.PID, Start: root.Start}},
			InForce:  func() bool { return !grows(t, files) },
			AsBefore: func() bool { return grows(t, files) },
			Reboot: func() {
				all, err := table()
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range tree(all, root) {
					_ = unix.Kill(e.PID, unix.SIGKILL) // it ends with its parent
				}
			},
			Refused: map[string]order.Order{"the first process": first(1), "the agent's parent": first(os.Getpid()), "another process of that number": gone,
				"no process": {Kind: order.Freeze}},
		}
	})
}

// Killing cannot be undone: the rest of the contract holds.
func TestKillingKeepsItsPartOfTheContract(t *testing.T) {
	for _, crash := range []string{"", actiontest.BeforeApply, actiontest.AfterApply} {
		t.Run("killed "+crash, func(t *testing.T) {
			dir, files := t.TempDir(), t.TempDir()
			root := start(t, writers(files))
			o := order.Order{ID: "or-1", Action: "ac-1", Kind: order.Kill, Process: &order.Process{PID: root.PID, Start: root.Start}, ExpiresAt: time.Now().Add(time.Hour)}
			h, err := keeper(t, dir+"/tree").Freeze(t.Context(), root.PID, root.Start) // as the guard does
			if err != nil {
				t.Fatal(err)
			}
			a := actiontest.Start(t, agentOn(dir)())
			if crash != "" {
				a.Crash(agentOn(dir)(), crash, o)
				a = actiontest.Start(t, agentOn(dir)())
				a.Resume()
			}
			if r := a.Do(o); r.Phase != order.Applied || len(r.Checks) != 1 || !r.Checks[0].OK {
				t.Fatalf("%+v", r)
			}
			if Alive(h) != 0 {
				t.Error("part of the tree lives")
			}
			if all, err := keeper(t, dir+"/tree").Held(); err != nil || len(all) > 0 {
				t.Errorf("still held: %+v", all)
			}
			o.ID, o.Action = "or-2", "ac-2"
			if r := a.Do(o); r.Phase != order.Rejected {
				t.Errorf("what is gone: %+v", r)
			}
			at, err := Start(os.Getpid())
			if err != nil {
				t.Fatal(err)
			}
			o.ID, o.Process = "or-3", &order.Process{PID: os.Getpid(), Start: at}
			if r := a.Do(o); r.Phase != order.Rejected {
				t.Errorf("the agent's parent: %+v", r)
			}
		})
	}
}

// What the guard froze before any order is thawed by one.
func TestWhatWasFrozenWithoutAnOrderIsThawedByOne(t *testing.T) {
	dir, files := t.TempDir(), t.TempDir()
	root := start(t, writers(files))
	if _, err := keeper(t, dir+"/tree").Freeze(t.Context(), root.PID, root.Start); err != nil {
		t.Fatal(err)
	}
	a := actiontest.Start(t, agentOn(dir)())
	r := a.Do(order.Order{ID: "or-1", Action: "ac-1", Kind: order.Thaw, Process: &order.Process{PID: root.PID, Start: root.Start}, ExpiresAt: time.Now().Add(time.Hour)})
	if r.Phase != order.Released || r.Detail != "" {
		t.Fatalf("%+v", r)
	}
	eventually(t, "it runs", func() bool { return grows(t, files) })
}

func TestWrongCodesAreLimited(t *testing.T) {
	root := start(t, `echo ready; exec sleep 1000`)
	a := actiontest.Start(t, agentOn(t.TempDir())())
	if e := a.Release(actiontest.Code); e != contain.ErrNothing.Error() {
		t.Errorf("nothing is in force: %q", e)
	}
	o := order.Order{ID: "or-1", Action: "ac-1", Kind: order.Freeze, Lease: time.Hour, ExpiresAt: time.Now().Add(time.Hour), CodeHash: order.CodeHash(actiontest.Code),
		Process: &order.Process{PID: root.PID, Start: root.Start}}
	if r := a.Do(o); r.Phase != order.Applied {
		t.Fatalf("%+v", r)
	}
	for range 5 {
		if e := a.Release("0000-0000-0000-0000"); e != contain.ErrWrongCode.Error() {
			t.Errorf("a wrong code: %q", e)
		}
	}
	if e := a.Release(actiontest.Code); e != contain.ErrTooMany.Error() || !stopped(root.PID) {
		t.Errorf("after five wrong codes: %q", e)
	}
}

// A person knows the number and the program; the start is found by the agent,
// and another program of that number is refused.
func TestAProcessIsNamedByNumberAndProgramToo(t *testing.T) {
	root := start(t, `echo ready; exec sleep 1000`)
	a := actiontest.Start(t, agentOn(t.TempDir())())
	o := order.Order{ID: "or-1", Action: "ac-1", Kind: order.Freeze, Lease: time.Hour, ExpiresAt: time.Now().Add(time.Hour), Process: &order.Process{PID: root.PID, Image: "/usr/bin/nginx"}}
	if r := a.Do(o); r.Phase != order.Rejected {
		t.Fatalf("another program: %+v", r)
	}
	eventually(t, "sleep runs", func() bool { return runs(root.PID, "sleep") })
	o.ID, o.Process = "or-2", &order.Process{PID: root.PID, Image: "sleep"}
	if r := a.Do(o); r.Phase != order.Applied || !r.Checks[0].OK || !stopped(root.PID) {
		t.Fatalf("%+v", r)
	}
	o.ID, o.Kind = "or-3", order.Thaw
	if r := a.Do(o); r.Phase != order.Released || r.Detail != "" {
		t.Fatalf("%+v", r)
	}
	eventually(t, "it runs", func() bool { return !stopped(root.PID) })
}

// A tree that was frozen by order and then killed is not reported as frozen.
func TestAKilledTreeIsNotFrozenAnyMore(t *testing.T) {
	dir := t.TempDir()
	root := start(t, writers(t.TempDir()))
	a := actiontest.Start(t, agentOn(dir)())
	o := order.Order{ID: "or-1", Action: "ac-1", Kind: order.Freeze, Lease: time.Hour, Process: &order.Process{PID: root.PID, Start: root.Start}, ExpiresAt: time.Now().Add(time.Hour)}
	if r := a.Do(o); r.Phase != order.Applied {
		t.Fatalf("%+v", r)
	}
	o.ID, o.Action, o.Kind = "or-2", "ac-2", order.Kill
	if r := a.Do(o); r.Phase != order.Applied {
		t.Fatalf("%+v", r)
	}
	if got := a.Resume(); !slices.ContainsFunc(got, func(r order.Result) bool { return r.Action == "ac-1" && r.Phase == order.Released && r.Cause == "gone" }) {
		t.Errorf("resumed with %+v", got)
	}
}
