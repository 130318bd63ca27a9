package vault

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
)

// TestOneHubOfSeveralKeepsTheRepositories: two hubs with one state and a folder
// each. The first that asks has the repositories; the other one refuses and says
// where they are, and takes them over only when all of them were copied to it.
func TestOneHubOfSeveralKeepsTheRepositories(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	w.Hub = "hub-a"
	deps := w.Deps
	deps.Hub, deps.Dir = "hub-b", filepath.Join(w.dir, "second")
	second, err := New(w.db, deps)
	w.ok(err)
	defer second.Close()

	p := w.agent("ho-1")
	p.Run(t, "init")
	p.Run(t, "backup", "--host", "ho-1", src)
	w.ok(w.bindHead(ctx, "ho-1"))
	elsewhere := func(err error) { t.Helper(); w.is(err, fault.Busy, "vault.elsewhere") }
	_, err = second.Repository(ctx, "ho-1")
	elsewhere(err)
	_, err = second.ReaderOf(ctx, "ho-1", time.Time{})
	elsewhere(err)
	if r, err := second.Get(ctx, "ho-1"); err != nil || r.Elsewhere != "hub-a" || r.Trouble != "" {
		t.Errorf("%+v %v", r, err)
	}
	if left, err := os.ReadDir(deps.Dir); err != nil || len(left) > 0 {
		t.Errorf("the second hub made %v %v", left, err)
	}

	// an alarm that the second hub handles holds at the first one
	repo, err := w.Repository(ctx, "ho-1")
	w.ok(err)
	c, _, err := second.Alarm(ctx, frozen("ho-1", "hospital"))
	w.ok(err)
	for _, m := range emitted[Changed](w, Subject) {
		w.ok(w.Follow(ctx, m))
		w.ok(second.Follow(ctx, m))
	}
	if err := repo.Put(ctx, "ho-1", "data", "", 0, nil); fault.Of(err) != fault.Invalid { // no name
		t.Errorf("%v", err)
	}
	w.denied("protect.cut", "ho-1", "POST", "ho-1/config", "")
	w.ok(second.Release(ctx, c.ID, "誤報", anna))

	// work that needs them is done where they are
	works := make(chan string, 10)
	working, stop := context.WithCancel(ctx)
	ended := make(chan error, 2)
	for name, v := range map[string]*Vault{"hub-a": w.Vault, "hub-b": second} {
		go func() {
			ended <- v.AtHome(working, func(ctx context.Context) error { works <- name; <-ctx.Done(); return nil })
		}()
	}
	if first := <-works; first != "hub-a" {
		t.Errorf("%s works", first)
	}
	stop()
	w.ok(errors.Join(<-ended, <-ended))
	if len(works) > 0 {
		t.Errorf("%s works too", <-works)
	}

	w.is(w.TakeHome(ctx, "移設", anna), fault.Conflict, "vault.home-here")
	w.is(second.TakeHome(ctx, "移設", anna), fault.Conflict, "vault.home-incomplete")
	w.ok(os.CopyFS(filepath.Join(deps.Dir, "ho-1"), os.DirFS(filepath.Join(w.Dir, "ho-1"))))
	w.ok(second.TakeHome(ctx, "移設", anna))
	_, err = w.Repository(ctx, "ho-1")
	w.is(err, fault.Busy, "vault.elsewhere")
	if r, err := second.Get(ctx, "ho-1"); err != nil || r.Snapshots != 1 || r.Elsewhere != "" {
		t.Errorf("%+v %v", r, err)
	}
	if h, err := second.Home(ctx); err != nil || h.Hub != "hub-b" || h.By != anna.ID {
		t.Errorf("%+v %v", h, err)
	}
	status, answer := w.send("ho-1", "GET", "ho-1/config", "")
	if status != 503 {
		t.Errorf("the first hub answers %d %s", status, answer)
	}
	w.recorded()
}
