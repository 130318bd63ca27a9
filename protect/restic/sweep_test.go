package restic_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// TestWhatIsCopiedIsWhatResticReads copies what the newest snapshot needs into
// packs and an index of ours. restic finds every byte of it sound, and nothing
// of the snapshot before.
func TestWhatIsCopiedIsWhatResticReads(t *testing.T) {
	p, src := restictest.Newest(t).At(filepath.Join(t.TempDir(), "made")), t.TempDir()
	restictest.Odd(t, src)
	restictest.Write(t, filepath.Join(src, "goes"), restictest.Noise(3<<20))
	p.Run(t, "init")
	p.Run(t, "backup", src)
	if err := os.Remove(filepath.Join(src, "goes")); err != nil {
		t.Fatal(err)
	}
	p.Run(t, "backup", src)
	folder, err := restic.OpenFolder(p.Repo)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	r, err := restic.Open(t.Context(), folder, restictest.Password)
	if err == nil {
		err = r.Load(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.Snapshots(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatalf("%d snapshots: %v", len(all), err)
	}
	older, newer := all[0], all[1]
	if newer.Time.Before(older.Time) {
		older, newer = newer, older
	}
	uses, err := r.Uses(t.Context(), newer)
	if err != nil {
		t.Fatal(err)
	}
	var made []restic.PackBlobs
	freed := int64(0)
	for _, u := range uses {
		freed += u.Total - u.Bytes
		if len(u.Blobs) == 0 {
			continue
		}
		var b bytes.Buffer
		w := r.NewPack(&b)
		for _, blob := range u.Blobs {
			if err := w.Add(t.Context(), u.Pack, blob); err != nil {
				t.Fatal(err)
			}
		}
		pack, err := w.Close()
		if err != nil || pack.Pack != restic.Sum(b.Bytes()) {
			t.Fatalf("pack %s of %d bytes: %v", pack.Pack, b.Len(), err)
		}
		made = append(made, pack)
		restictest.Write(t, filepath.Join(p.Repo, filepath.FromSlash(restic.Data.Path(pack.Pack.String()))), b.Bytes())
	}
	if freed < 3<<20 {
		t.Errorf("%d bytes are not needed, want more than what was removed", freed)
	}
	index, err := r.Key().SealIndex(made)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths(t, p.Repo, "index/*"), append(packsOf(t, p.Repo, uses), filepath.Join(p.Repo, "snapshots", older.ID.String()))...) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	restictest.Write(t, filepath.Join(p.Repo, "index", restic.Sum(index).String()), index)

	for _, program := range restictest.All(t) {
		program.At(p.Repo).Run(t, "check", "--read-data")
	}
	target := t.TempDir()
	p.Run(t, "restore", "latest", "--target", target)
	report, err := r.Verify(t.Context(), restic.Options{})
	if err != nil || !report.Sound() || report.Unindexed != 0 || len(report.Snapshots) != 1 || !report.Snapshots[0].Sound {
		t.Errorf("our reader: %v %+v", err, report)
	}
	if err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Complete(t.Context(), newer); err != nil {
		t.Errorf("what stays: %v", err)
	}
	if err := r.Complete(t.Context(), older); err == nil {
		t.Error("what went is called complete")
	}
}

func paths(t *testing.T, dir, pattern string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func packsOf(t *testing.T, dir string, uses []restic.Use) (out []string) {
	t.Helper()
	for _, u := range uses {
		out = append(out, filepath.Join(dir, filepath.FromSlash(restic.Data.Path(u.Pack.String()))))
	}
	return out
}
