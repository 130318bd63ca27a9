//go:build e2e

package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// grown is a tree of files as a department has them: texts, tables, packed
// documents, links, files of several people.
type grown struct {
	dir     string // absolute
	files   []string
	folders []string // all entries are below dir, with "/"
}

// leaf is what must come back of a file, a folder or a link.
type leaf struct {
	Mode     fs.FileMode
	UID, GID uint32
	Size     int64             // 0 of a folder
	Changed  time.Time         // to the nanosecond; zero of a link
	Sum      [sha256.Size]byte // of the content, or of where a link leads
}

const (
	treeFiles  = 20_000
	folderSize = 100
)

// grow makes the tree in a folder that is not there yet. The same seed makes the
// same files.
func grow(t *testing.T, dir string, seed uint64) *grown {
	t.Helper()
	g, r := &grown{dir: dir}, rand.New(rand.NewPCG(seed, 20_000))
	for i := range treeFiles {
		if i%folderSize == 0 {
			g.folder(t, fmt.Sprintf("部門%02d/%03d", i/folderSize%20, i/folderSize), r)
		}
		g.plant(t, g.folders[len(g.folders)-1], i, r)
	}
	at := g.folders[len(g.folders)-1]
	for name, target := range map[string]string{"最新の一覧": filepath.Base(g.files[len(g.files)-1]), "よそ": "/nowhere/of/this machine"} {
		must(t, os.Symlink(target, filepath.Join(dir, at, name)))
		g.files = append(g.files, filepath.Join(at, name))
	}
	must(t, os.Link(filepath.Join(dir, g.files[0]), filepath.Join(dir, at, "同じ中身")))
	g.files = append(g.files, filepath.Join(at, "同じ中身"))
	g.folder(t, "空のフォルダー", r)
	for _, name := range g.folders { // at last: what comes into a folder changes its time
		g.date(t, name, r)
	}
	return g
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (g *grown) folder(t *testing.T, name string, r *rand.Rand) {
	t.Helper()
	at := filepath.Join(g.dir, name)
	must(t, os.MkdirAll(at, 0o755))
	must(t, os.Chmod(at, []fs.FileMode{0o755, 0o750, 0o700, 0o775 | fs.ModeSetgid}[r.IntN(4)]))
	g.folders = append(g.folders, name)
}

// plant writes one file with its owner, rights and time.
func (g *grown) plant(t *testing.T, folder string, i int, r *rand.Rand) {
	t.Helper()
	ending, body := record(t, i, r)
	name := filepath.Join(folder, fmt.Sprintf("%05d-%08x.%s", i, r.Uint32(), ending))
	at := filepath.Join(g.dir, name)
	must(t, os.WriteFile(at, body, 0o600))
	must(t, os.Chown(at, 2000+r.IntN(7), 3000+r.IntN(3)))
	must(t, os.Chmod(at, []fs.FileMode{0o644, 0o640, 0o600, 0o755, 0o444}[r.IntN(5)]))
	g.files = append(g.files, name)
	g.date(t, name, r)
}

// date gives a time of the last three years.
func (g *grown) date(t *testing.T, name string, r *rand.Rand) {
	t.Helper()
	at := time.Now().Add(-time.Duration(r.Int64N(int64(3 * 365 * 24 * time.Hour))))
	must(t, os.Chtimes(filepath.Join(g.dir, name), at, at))
}

// record is what the i-th file holds: 1 to 12 KiB.
func record(t *testing.T, i int, r *rand.Rand) (ending string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	for most := 1<<10 + r.IntN(11<<10); b.Len() < most; {
		fmt.Fprintf(&b, "%05d,2026-%02d-%02d,%s,%d/%d,%.1f,%s\n", i, 1+r.IntN(12), 1+r.IntN(28), []string{"内科", "外科", "小児科", "検査"}[r.IntN(4)],
			90+r.IntN(70), 50+r.IntN(40), 35+4*r.Float64(), strings.Repeat([]string{"経過観察。", "次回予約済み。", "処方変更なし。"}[r.IntN(3)], 1+r.IntN(3)))
	}
	switch i % 10 {
	case 0, 1, 2, 3:
		return "csv", b.Bytes()
	case 9:
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, err := w.Write(b.Bytes())
		must(t, errors.Join(err, w.Close()))
		return "csv.gz", z.Bytes()
	}
	return "txt", b.Bytes()
}

// work is an ordinary day: some files change, some come, some go.
func (g *grown) work(t *testing.T) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	for i := 0; i < 200; i++ {
		name := g.files[100*i+3] // a table
		f, err := os.OpenFile(filepath.Join(g.dir, name), os.O_APPEND|os.O_WRONLY, 0)
		must(t, err)
		_, err = fmt.Fprintf(f, "%05d,2026-12-01,内科,118/72,36.4,経過観察。\n", i)
		must(t, errors.Join(err, f.Close()))
	}
	for i := range 50 {
		gone := g.files[200*i+7]
		must(t, os.Remove(filepath.Join(g.dir, gone)))
		g.files = slices.DeleteFunc(g.files, func(n string) bool { return n == gone })
		g.plant(t, g.folders[i], treeFiles+i, r)
	}
}

// state is what there is of the tree below a folder.
func (g *grown) state(t *testing.T, dir string) map[string]leaf {
	t.Helper()
	out := make(map[string]leaf, len(g.files)+len(g.folders))
	for _, name := range slices.Concat(g.files, g.folders) {
		l, err := look(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		must(t, err)
		out[name] = l
	}
	return out
}

func look(path string) (l leaf, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return l, err
	}
	st := info.Sys().(*syscall.Stat_t)
	l = leaf{Mode: info.Mode(), UID: st.Uid, GID: st.Gid}
	switch {
	case info.IsDir():
		l.Changed = info.ModTime()
		return l, nil
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		l.Sum = sha256.Sum256([]byte(target))
		return l, err
	}
	b, err := os.ReadFile(path)
	l.Size, l.Changed, l.Sum = int64(len(b)), info.ModTime(), sha256.Sum256(b)
	return l, err
}

// different lists what is not as it was.
func different(was, is map[string]leaf) (names []string) {
	for name, l := range was {
		if now, ok := is[name]; !ok || now.Mode != l.Mode || now.UID != l.UID || now.GID != l.GID || now.Size != l.Size || !now.Changed.Equal(l.Changed) || now.Sum != l.Sum {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// unlike lists the files whose bytes are not what they were.
func unlike(was, is map[string]leaf) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if l := was[name]; l.Mode.IsRegular() && is[name].Sum != l.Sum {
			names = append(names, name)
		}
	}
	return names
}

// back wants every byte, right, owner and time of the tree in a folder.
func (g *grown) back(t *testing.T, was map[string]leaf, dir string) {
	t.Helper()
	is := g.state(t, dir)
	wrong := different(was, is)
	for _, name := range wrong[:min(len(wrong), 10)] {
		t.Errorf("%s: was %+v, is %+v", name, was[name], is[name])
	}
	files := 0
	for _, l := range is {
		if !l.Mode.IsDir() {
			files++
		}
	}
	if len(wrong) > 0 || files < treeFiles {
		t.Fatalf("in %s: %d of %d entries are not as they were; %d files", dir, len(wrong), len(was), files)
	}
	t.Logf("%d files and %d folders compared by SHA-256, size, rights, owners and times: all as they were", files, len(is)-files)
}
