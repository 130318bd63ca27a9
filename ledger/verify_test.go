package ledger

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"

	"github.com/sonae/sonae/fault"
)

const fixtureLeaves = 640 // two full bundles and a partial one

// fixture writes a closed ledger that has every kind of file: full and partial
// bundles, tiles of two levels, superseded partial files and the mark of
// Tessera's clean-up.
func fixture(t *testing.T) (dir, signer, verifier string) {
	t.Helper()
	signer, verifier = newKeys(t)
	dir = t.TempDir()
	l := open(t, dir, signer)
	fill(t, l, 0, 256)
	closed(t, l)
	collect(t, dir, l)
	l = open(t, dir, signer)
	for _, to := range []int{256, 300, 420, 600, fixtureLeaves} {
		l2, err := l.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fill(t, l, int(l2.Size), to)
	}
	closed(t, l)
	return dir, signer, verifier
}

// collect lets Tessera remove superseded partial files, as it does every
// minute in a running hub.
func collect(t *testing.T, dir string, l *Ledger) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	_, _, _, err = tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().WithCheckpointSigner(l.signer).
		WithCheckpointRepublishInterval(0).WithGarbageCollectionInterval(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	for tick := time.Tick(5 * time.Millisecond); ; {
		if _, err := os.Stat(filepath.Join(dir, fileGCState)); err == nil {
			return
		}
		select {
		case <-tick:
		case <-ctx.Done():
			t.Fatal("clean-up did not run")
		}
	}
}

func filesOf(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			files = append(files, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func verified(t *testing.T, dir, verifier string) Report {
	t.Helper()
	r, err := Verify(t.Context(), dir, verifier)
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	return r
}

// named returns the files that r names, each once.
func named(r Report) []string {
	var files []string
	for _, d := range r.Differences {
		files = append(files, d.File)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

func put(t *testing.T, dir, file string, b []byte) {
	t.Helper()
	path := filepath.Join(dir, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, dir, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVerifyNamesEveryChange(t *testing.T) {
	dir, _, verifier := fixture(t)
	if r := verified(t, dir, verifier); len(r.Differences)+len(r.Leftovers) > 0 || r.Checked.Leaves != fixtureLeaves {
		t.Fatalf("untouched ledger: %+v", r)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 1))
	files := slices.DeleteFunc(filesOf(t, dir), func(f string) bool { return len(get(t, dir, f)) == 0 })

	t.Run("one byte", func(t *testing.T) {
		for i := range 200 + len(files) {
			file := files[dice.IntN(len(files))]
			if i >= 200 {
				file = files[i-200] // and each file at least once
			}
			flip(t, dir, verifier, file, dice)
		}
	})
	t.Run("every byte of the small files", func(t *testing.T) {
		for _, file := range []string{"checkpoint", fileTreeState, fileGCState, fileVersion} {
			good := get(t, dir, file)
			for at := range good {
				bad := bytes.Clone(good)
				bad[at] ^= byte(1 + dice.IntN(255))
				put(t, dir, file, bad)
				if got := named(verified(t, dir, verifier)); !slices.Equal(got, []string{file}) {
					t.Errorf("%s, byte %d %q → %q: named %v", file, at, good[at], bad[at], got)
				}
			}
			put(t, dir, file, good)
		}
	})
	t.Run("a number that begins with a zero", func(t *testing.T) {
		good := get(t, dir, fileGCState)
		bad := bytes.Clone(good)
		bad[len(`{"fromSize":`)] = '0'
		if bytes.Equal(good, bad) {
			t.Fatal("nothing was removed in this ledger")
		}
		put(t, dir, fileGCState, bad)
		if r := verified(t, dir, verifier); len(r.Differences) != 1 || r.Differences[0].Offset != int64(len(`{"fromSize":`)) {
			t.Errorf("%q: %+v", bad, r.Differences)
		}
		put(t, dir, fileGCState, good)
	})
	t.Run("cut and longer", func(t *testing.T) {
		for _, file := range files {
			good := get(t, dir, file)
			for _, bad := range [][]byte{good[:dice.IntN(len(good))], append(bytes.Clone(good), 0), append(bytes.Clone(good), good...)} {
				put(t, dir, file, bad)
				if got := named(verified(t, dir, verifier)); !slices.Equal(got, []string{file}) {
					t.Errorf("%s, %d bytes instead of %d: named %v", file, len(bad), len(good), got)
				}
			}
			put(t, dir, file, good)
		}
	})
	t.Run("many at once", func(t *testing.T) { flipMany(t, dir, verifier, files, dice) })
	if r := verified(t, dir, verifier); len(r.Differences) > 0 {
		t.Fatalf("restored ledger: %+v", r)
	}
}

func flip(t *testing.T, dir, verifier, file string, dice *rand.Rand) {
	t.Helper()
	good := get(t, dir, file)
	at := dice.IntN(len(good))
	bad := bytes.Clone(good)
	bad[at] ^= byte(1 + dice.IntN(255))
	put(t, dir, file, bad)
	r := verified(t, dir, verifier)
	if got := named(r); !slices.Equal(got, []string{file}) {
		t.Errorf("%s, byte %d %#x → %#x: named %v", file, at, good[at], bad[at], got)
	} else if o := r.Differences[0].Offset; o > int64(at) {
		t.Errorf("%s, byte %d: named offset %d", file, at, o)
	}
	put(t, dir, file, good)
}

// flipMany changes a byte in ten files at once; intact files may be named
// besides when nothing is left that fits the signature, changed ones must be.
func flipMany(t *testing.T, dir, verifier string, files []string, dice *rand.Rand) {
	for range 20 {
		good := map[string][]byte{}
		for range 10 {
			file := files[dice.IntN(len(files))]
			if _, twice := good[file]; twice {
				continue
			}
			good[file] = get(t, dir, file)
			bad := bytes.Clone(good[file])
			bad[dice.IntN(len(bad))] ^= byte(1 + dice.IntN(255))
			put(t, dir, file, bad)
		}
		got := named(verified(t, dir, verifier))
		for file, b := range good {
			if !slices.Contains(got, file) {
				t.Errorf("%s was changed with %d others and is not named: %v", file, len(good)-1, got)
			}
			put(t, dir, file, b)
		}
	}
}

func TestVerifyNamesMissingAndForeignFiles(t *testing.T) {
	dir, _, verifier := fixture(t)
	must := map[string]bool{"checkpoint": true, fileTreeState: true, fileVersion: true}
	for _, p := range required(fixtureLeaves) {
		must[p.file()] = true
	}
	for _, file := range filesOf(t, dir) {
		good := get(t, dir, file)
		if err := os.Remove(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
		var want []string
		if must[file] { // superseded partial files and lock files may go at any time
			want = []string{file}
		}
		if got := named(verified(t, dir, verifier)); !slices.Equal(got, want) {
			t.Errorf("%s removed: named %v", file, got)
		}
		put(t, dir, file, good)
	}
	for _, file := range []string{
		"note.txt", ".state/other", "tile/entries/009", "tile/entries/x000/000", "tile/0/003", "tile/1/001", "tile/5/000",
		"tile/entries/002.p/0200", "tile/0/002.p/256", "tile/entries/002.p/200x", "tile/64/000", "checkpoint.old", "note.tmp", "tile/64/000.tmp",
	} {
		content := get(t, dir, "tile/0/000")
		put(t, dir, file, content)
		r := verified(t, dir, verifier)
		if got := named(r); !slices.Equal(got, []string{file}) && (len(r.Leftovers) != 1 || r.Leftovers[0].File != file) {
			t.Errorf("%s added: named %v, leftovers %v", file, got, r.Leftovers)
		}
		if err := os.Remove(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("checkpoint", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if got := named(verified(t, dir, verifier)); !slices.Equal(got, []string{"link"}) {
		t.Errorf("symbolic link: named %v", got)
	}
}

func TestVerifyKnowsAForgedLog(t *testing.T) {
	dir, _, verifier := fixture(t)
	forger, _ := newKeys(t)
	forged := t.TempDir()
	l := open(t, forged, forger)
	fill(t, l, 1000, 1020)
	closed(t, l)
	if got := named(verified(t, forged, verifier)); !slices.Contains(got, "checkpoint") {
		t.Errorf("signed by another: named %v", got)
	}
	put(t, forged, "checkpoint", get(t, dir, "checkpoint")) // a real signature over other leaves
	if got := named(verified(t, forged, verifier)); len(got) == 0 {
		t.Error("foreign checkpoint: nothing named")
	}
}

func TestVerifySaysWhatIsNoLedger(t *testing.T) {
	_, verifier := newKeys(t)
	if _, err := Verify(t.Context(), t.TempDir(), verifier); fault.Of(err) != fault.Invalid {
		t.Errorf("empty folder: %v", err)
	}
	if _, err := Verify(t.Context(), filepath.Join(t.TempDir(), "none"), verifier); err == nil {
		t.Error("no folder: no error")
	}
	if _, err := Verify(t.Context(), t.TempDir(), "sonae+0+AA"); err == nil {
		t.Error("no key: no error")
	}
}

func TestInterruptedWriteIsCleanedUp(t *testing.T) {
	dir, signer, verifier := fixture(t)
	last := fmt.Sprintf("tile/entries/002.p/%d", fixtureLeaves%256)
	ahead := append(get(t, dir, last), "\x00\x03abc"...)
	left := map[string][]byte{
		fmt.Sprintf("tile/entries/002.p/%d", fixtureLeaves%256+1): ahead,
		"tile/entries/002.p/12812345":                             []byte("half"),
		"tile/entries/00299":                                      nil,
		"tile/entries/002.p/7.tmp":                                []byte("half"),
		"tile/0/003.tmp":                                          nil,
		"checkpoint.tmp":                                          []byte("sonae"),
		"checkpoint77123":                                         []byte("sonae"),
		".state/treeState1":                                       []byte("{"),
	}
	var want []string
	for file, b := range left {
		put(t, dir, file, b)
		want = append(want, file)
	}
	slices.Sort(want)
	r := verified(t, dir, verifier)
	var got []string
	for _, d := range r.Leftovers {
		got = append(got, d.File)
	}
	if diff := cmp.Diff(want, got); diff != "" || len(r.Differences) > 0 {
		t.Fatalf("differences %v, leftovers:\n%s", r.Differences, diff)
	}
	closed(t, open(t, dir, signer))
	if r := verified(t, dir, verifier); len(r.Leftovers)+len(r.Differences) > 0 || r.Checked.Leaves != fixtureLeaves {
		t.Errorf("after opening: %+v", r)
	}
}
