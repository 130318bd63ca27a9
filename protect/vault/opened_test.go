package vault

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// The pass of a restore is opened for two people, one repository, one machine and
// one time; it lives as long as the restore, and no restart changes its token.
func TestARestoreHasAPassOfItsOwn(t *testing.T) {
	w, ctx, src := newWorld(t), t.Context(), tree(t)
	p := w.agent("ho-1")
	p.Run(t, "init")
	p.Run(t, "backup", "--host", "ho-1", src)
	first, before := w.one("ho-1", "snapshots"), w.Now()
	restictest.Write(t, filepath.Join(src, "later.txt"), []byte("after the time as of which it is restored"))
	p.Run(t, "backup", "--host", "ho-1", src)
	files, err := os.ReadDir(filepath.Join(w.Dir, "ho-1", "repository", "snapshots"))
	if w.ok(err); len(files) != 2 {
		t.Fatalf("%d snapshots", len(files))
	}
	later := files[0].Name()
	if later == first {
		later = files[1].Name()
	}

	o := Opening{For: "rs-7", Agent: "ho-1", Host: "ho-2", Why: "診療記録の復元", AsOf: before, AskedBy: anna.ID, ApprovedBy: anna.ID}
	_, err = w.OpenPass(ctx, o)
	w.is(err, fault.Denied, "vault.own")
	o.ApprovedBy = ben.ID
	token, err := w.OpenPass(ctx, o)
	w.ok(err)
	if again, err := w.OpenPass(ctx, o); err != nil || again != token {
		t.Errorf("another token, %v", err)
	}
	pass, err := w.Reader(ctx, "ho-2", token)
	if w.ok(err); pass.AskedBy != anna.ID || pass.DecidedBy != ben.ID || pass.Agent != "ho-1" || pass.Restore != "rs-7" || !pass.AsOf.Equal(before) {
		t.Errorf("%+v", pass)
	}
	for name, host := range map[string]string{"without a certificate": "", "with that of another machine": "ho-1"} {
		if _, err := w.Reader(ctx, host, token); keyOf(err) != "vault.token" {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = w.TakeToken(ctx, pass.ID, anna)
	w.is(err, fault.Denied, "vault.pass-restore")
	all, err := w.Passes(ctx, "ho-1", "")
	if w.ok(err); len(all) != 1 || all[0].State != PassHolds {
		t.Errorf("%+v", all)
	}

	w.ahead.Store(int64(openLasts - openLeft/2)) // half an hour is left
	if _, err := w.OpenPass(ctx, o); err != nil {
		t.Fatal(err)
	}
	w.ahead.Store(int64(openLasts + openLeft))
	if _, err := w.Reader(ctx, "ho-2", token); err != nil {
		t.Errorf("the pass of a restore that goes on: %v", err)
	}
	w.ahead.Store(int64(3 * openLasts))
	if _, err := w.Reader(ctx, "ho-2", token); keyOf(err) != "vault.token" {
		t.Errorf("a pass that nobody needs holds on: %v", err)
	}
	if _, err := w.OpenPass(ctx, o); err != nil { // the hub was away
		t.Error(err)
	}
	if _, err := w.Reader(ctx, "ho-2", token); err != nil {
		t.Error(err)
	}
	w.ok(w.ClosePass(ctx, "rs-7"))
	w.ok(w.ClosePass(ctx, "rs-7"))
	w.ok(w.ClosePass(ctx, "rs-8")) // there is none
	if _, err := w.Reader(ctx, "ho-2", token); keyOf(err) != "vault.token" {
		t.Errorf("a pass that was ended: %v", err)
	}
	_, err = w.OpenPass(ctx, o)
	w.is(err, fault.Conflict, "vault.pass-over")
	lines := emitted[Changed](w, Subject)
	said := map[string]int{}
	for _, c := range lines {
		said[c.Key]++
	}
	if said["vault.pass-opened"] != 1 || said["vault.pass-closed"] != 1 {
		t.Errorf("%v", said)
	}
	if found, err := VerifyRows(ctx, w.db, w.leaves); err != nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}

	// what came later cannot be seen, not even with the snapshot's own id
	w.ahead.Store(0)
	o.For, o.Host = "rs-9", "ho-1"
	token, err = w.OpenPass(ctx, o)
	w.ok(err)
	status, _ := w.sendBoth("ho-1", token, "GET", "ho-1/snapshots/"+later, "")
	if status != 404 {
		t.Errorf("a later snapshot: %d", status)
	}
	if status, _ := w.sendBoth("ho-1", token, "GET", "ho-1/config", ""); status != 200 {
		t.Errorf("%d", status)
	}
}
