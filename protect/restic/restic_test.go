package restic_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

func open(t testing.TB, dir string) *restic.Repository {
	t.Helper()
	f, err := restic.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r, err := restic.Open(t.Context(), f, restictest.Password)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func load(t testing.TB, dir string) (*restic.Repository, []restic.Snapshot) {
	t.Helper()
	r := open(t, dir)
	if err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := r.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r, s
}

// versions calls f for each version of restic and of the format, with a
// repository that has just been made.
func versions(t *testing.T, f func(t *testing.T, p restictest.Program, format string)) {
	for _, p := range restictest.All(t) {
		for _, format := range []string{"1", "2"} {
			t.Run("restic "+p.Version+" format "+format, func(t *testing.T) {
				p := p.At(filepath.Join(t.TempDir(), "repo"))
				p.Run(t, "init", "--repository-version", format)
				f(t, p, format)
			})
		}
	}
}

// many is how many small files a repository gets; SONAE_RESTIC_FILES says another
// number for a long proof (make torture: 20,000).
func many(t *testing.T) int {
	more := os.Getenv("SONAE_RESTIC_FILES")
	if more == "" {
		return 500
	}
	n, err := strconv.Atoi(more)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// special adds what only root can make: devices, a socket, attributes beside the
// content, a file that others may run as root.
func special(t *testing.T, dir string) {
	t.Helper()
	for name, node := range map[string]struct {
		mode uint32
		dev  int
	}{"chardev": {unix.S_IFCHR | 0o660, int(unix.Mkdev(1, 3))}, "block": {unix.S_IFBLK | 0o600, int(unix.Mkdev(7, 250))}, "socket": {unix.S_IFSOCK | 0o755, 0}} {
		if err := unix.Mknod(filepath.Join(dir, name), node.mode, node.dev); err != nil {
			t.Fatalf("make %s (needs root): %v", name, err)
		}
	}
	for name, value := range map[string]string{"user.sonae": "所見\x00\n", "user.empty": ""} {
		err := unix.Setxattr(filepath.Join(dir, "text"), name, []byte(value), 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) { // an older tmpfs
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chown(filepath.Join(dir, "one"), 4711, 4712), os.Chmod(filepath.Join(dir, "one"), 0o755|fs.ModeSetuid)); err != nil {
		t.Fatal(err)
	}
}

func TestAgreesWithResticOnEveryFile(t *testing.T) {
	versions(t, func(t *testing.T, p restictest.Program, format string) {
		src := t.TempDir()
		restictest.Odd(t, src)
		special(t, src)
		restictest.Small(t, filepath.Join(src, "many"), many(t))
		p.Run(t, "backup", src)
		restictest.Write(t, filepath.Join(src, "text"), []byte("edited"))
		if err := os.RemoveAll(filepath.Join(src, "many", "000")); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(src, "many", "empty", "in", "empty"), 0o711); err != nil {
			t.Fatal(err)
		}
		p.Run(t, "backup", src)

		r, snapshots := load(t, p.Repo)
		if len(snapshots) != 2 {
			t.Fatalf("%d snapshots, want 2", len(snapshots))
		}
		for _, s := range snapshots {
			sameList(t, p, r, s)
			sameContent(t, p, r, s)
			sameStats(t, p, r, s)
		}
		sameStats(t, p, r, snapshots...)
		report, err := r.Verify(t.Context(), restic.Options{})
		if err != nil || !report.Sound() || len(report.Leftovers) > 0 || report.Unindexed > 0 || !report.Snapshots[0].Sound || !report.Snapshots[1].Sound {
			t.Errorf("verify of a sound repository: %v, damages %v, leftovers %v, not indexed %d", err, report.Damages, report.Leftovers, report.Unindexed)
		}
	})
}

// entry is what restic ls --json says of a file.
type entry struct {
	Name, Type, Path string
	UID, GID         uint32
	Size             uint64
	Mode             fs.FileMode
	ModTime          time.Time `json:"mtime"`
	Changed          time.Time `json:"ctime"`
}

func sameList(t *testing.T, p restictest.Program, r *restic.Repository, s restic.Snapshot) {
	t.Helper()
	want := map[string]entry{}
	lines := bufio.NewScanner(bytes.NewReader(p.Run(t, "ls", "--json", s.ID.String())))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if e.Path != "" {
			want[e.Path] = e
		}
	}
	got := 0
	err := r.Walk(t.Context(), *s.Tree, func(at string, n *restic.Node) error {
		got++
		at, name := asJSON(t, at), asJSON(t, n.Name)
		e := want[at]
		if e.Name != name || e.Type != n.Type || e.UID != n.UID || e.GID != n.GID || e.Mode != n.Mode || e.Size != n.Size || !e.ModTime.Equal(n.ModTime) || !e.Changed.Equal(n.Changed) {
			t.Errorf("%q: reader %+v, restic %+v", at, n, e)
		}
		return nil
	})
	if err != nil || got != len(want) || got < 400 {
		t.Errorf("%d entries, restic has %d: %v", got, len(want), err)
	}
}

// asJSON is s as it comes out of JSON: each byte that is no UTF-8 as U+FFFD.
func asJSON(t *testing.T, s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var out string
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// sameContent compares the content of every file with restic dump.
func sameContent(t *testing.T, p restictest.Program, r *restic.Repository, s restic.Snapshot) {
	t.Helper()
	cmd := p.Command(t.Context(), "dump", "--archive", "tar", s.ID.String(), "/")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	want := map[string]dumped{}
	for tr := tar.NewReader(out); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		d := dumped{kind: h.Typeflag, target: h.Linkname, mode: fs.FileMode(h.Mode).Perm(), uid: uint32(h.Uid), gid: uint32(h.Gid), at: h.ModTime.Round(time.Second)}
		if h.Typeflag == tar.TypeReg {
			sum := sha256.New()
			if _, err := io.Copy(sum, tr); err != nil {
				t.Fatal(err)
			}
			d.sum = [32]byte(sum.Sum(nil))
		}
		want["/"+strings.Trim(h.Name, "/")] = d
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	entries := 0
	err = r.Walk(t.Context(), *s.Tree, func(at string, n *restic.Node) error {
		d := dumped{kind: map[string]byte{"file": tar.TypeReg, "dir": tar.TypeDir, "symlink": tar.TypeSymlink}[n.Type], target: n.Target, mode: n.Mode.Perm(), uid: n.UID, gid: n.GID, at: n.ModTime.Round(time.Second)}
		if d.kind == 0 { // restic dumps no devices, pipes and sockets
			return nil
		}
		entries++
		if n.Type == "file" {
			sum := sha256.New()
			if err := r.Content(t.Context(), n, sum); err != nil {
				return err
			}
			d.sum = [32]byte(sum.Sum(nil))
		}
		if w, ok := want[at]; !ok || !w.as(d) {
			t.Errorf("%q: reader %+v, restic %+v (or nothing: %v)", at, d, w, !ok)
		}
		return nil
	})
	if err != nil || entries != len(want) {
		t.Errorf("%d files, folders and links, restic has %d: %v", entries, len(want), err)
	}
	t.Logf("%d files, folders and links are as restic dumps them", entries)
}

// dumped is what restic dump says of a file, folder or link.
type dumped struct {
	kind     byte // of tar
	sum      [32]byte
	target   string
	mode     fs.FileMode
	uid, gid uint32
	at       time.Time // tar rounds it
}

func (d dumped) as(o dumped) bool {
	same := d.at.Equal(o.at)
	d.at, o.at = time.Time{}, time.Time{}
	return same && d == o
}

// sameStats compares the numbers of all modes of restic stats.
func sameStats(t *testing.T, p restictest.Program, r *restic.Repository, s ...restic.Snapshot) {
	t.Helper()
	got, err := r.Stats(t.Context(), s...)
	if err != nil {
		t.Fatal(err)
	}
	stats := func(mode string) (w struct {
		Size  uint64  `json:"total_size"`
		Plain uint64  `json:"total_uncompressed_size"`
		Ratio float64 `json:"compression_ratio"`
		Files int     `json:"total_file_count"`
		Blobs int     `json:"total_blob_count"`
	}) {
		args := []string{"stats", "--json", "--mode", mode}
		for _, s := range s {
			args = append(args, s.ID.String())
		}
		if err := json.Unmarshal(p.Run(t, args...), &w); err != nil {
			t.Fatal(err)
		}
		return w
	}
	if w := stats("restore-size"); len(s) == 1 && (w.Size != got.Restore || w.Files != got.Entries) {
		t.Errorf("restore-size: %d bytes in %d entries, restic says %+v", got.Restore, got.Entries, w)
	}
	w := stats("raw-data")
	if w.Size != got.Stored || w.Blobs != got.Blobs {
		t.Errorf("raw-data: %d bytes in %d blobs, restic says %+v", got.Stored, got.Blobs, w)
	}
	if w.Plain != 0 && (w.Plain != got.Content+got.Trees+restic.Overhead*uint64(got.Blobs) || math.Abs(w.Ratio-got.Compression()) > 1e-9) {
		t.Errorf("compression: %v, restic says %+v", got.Compression(), w)
	}
}

func TestWrongPasswordAndNoRepositoryAreToldApart(t *testing.T) {
	p := restictest.Newest(t).At(filepath.Join(t.TempDir(), "repo"))
	p.Run(t, "init")
	f, err := restic.OpenFolder(p.Repo)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := restic.Open(t.Context(), f, "another one"); !errors.Is(err, restic.ErrPassword) {
		t.Errorf("another password: %v", err)
	}
	none, err := restic.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := restic.Open(t.Context(), none, "x"); !errors.Is(err, restic.ErrNotRepository) {
		t.Errorf("an empty folder: %v", err)
	}
}

// A second key opens the same repository, and prune leaves indexes that
// replace others.
func TestSecondKeyAndPrunedRepository(t *testing.T) {
	versions(t, func(t *testing.T, p restictest.Program, format string) {
		src := t.TempDir()
		restictest.Small(t, src, 300)
		p.Run(t, "backup", src)
		if err := os.RemoveAll(filepath.Join(src, "000")); err != nil {
			t.Fatal(err)
		}
		p.Run(t, "backup", src)
		pw := filepath.Join(t.TempDir(), "pw")
		restictest.Write(t, pw, []byte("escrow\n"))
		p.Run(t, "key", "add", "--new-password-file", pw)
		p.Run(t, "forget", "--keep-last", "1", "--prune", "--max-unused", "0")

		f, err := restic.OpenFolder(p.Repo)
		if err != nil {
			t.Fatal(err)
		}
		r, err := restic.Open(t.Context(), f, "escrow")
		if err != nil {
			t.Fatal(err)
		}
		report, err := r.Verify(t.Context(), restic.Options{})
		if err != nil || !report.Sound() || len(report.Snapshots) != 1 || !report.Snapshots[0].Sound {
			t.Errorf("%v, %+v", err, report)
		}
	})
}

func TestVerifyTellsProgressAndCanBeCancelled(t *testing.T) {
	p := restictest.Newest(t).At(filepath.Join(t.TempDir(), "repo"))
	src := t.TempDir()
	restictest.Odd(t, src)
	p.Run(t, "init")
	p.Run(t, "backup", src)
	r := open(t, p.Repo)
	var last restic.Progress
	if _, err := r.Verify(t.Context(), restic.Options{Progress: func(p restic.Progress) { last = p }}); err != nil || last.Packs != last.OfPacks || last.Bytes != last.OfBytes || last.Packs < 2 {
		t.Errorf("progress %+v, %v", last, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	report, err := r.Verify(ctx, restic.Options{Workers: 1, Progress: func(restic.Progress) { cancel() }})
	if !errors.Is(err, context.Canceled) || report.Packs != 1 {
		t.Errorf("cancelled after the first pack: %d packs, %v", report.Packs, err)
	}
}
