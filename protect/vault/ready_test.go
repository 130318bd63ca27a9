package vault

import (
	"testing"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// Before the first backup the hub makes the repository: restic only backs up, with
// a password that takes it no work. A path that is cut keeps it from that, and no
// agent from its password; a stranger gets none.
func TestARepositoryIsReadyBeforeItsFirstBackup(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	password, err := w.Ready(ctx, "ho-1")
	w.ok(err)
	if again, err := w.Ready(ctx, "ho-1"); err != nil || again != password {
		t.Errorf("another password, %v", err)
	}
	p := w.agent("ho-1")
	p.Run(t, "backup", "--host", "ho-1", src)
	r, err := w.Repository(ctx, "ho-1")
	w.ok(err)
	folder := restictest.Newest(t).At(r.Folder(), "--no-lock")
	folder.Env = p.Env
	folder.Run(t, "check", "--read-data")
	if _, err := p.Try(ctx, "init"); err == nil {
		t.Error("the agent makes it again")
	}

	_, err = w.CutPath(ctx, "callcentre", "", "理由", anna)
	w.ok(err)
	if password, err := w.Ready(ctx, "ho-2"); err != nil || password == "" {
		t.Errorf("%q, %v", password, err)
	}
	r, err = w.Repository(ctx, "ho-2")
	if w.ok(err); r.Begun() {
		t.Error("it was made behind a cut")
	}
	if _, err := w.Ready(ctx, "ho-9"); fault.Of(err) != fault.Denied {
		t.Errorf("a stranger: %v", err)
	}
}
