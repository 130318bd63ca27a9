package rest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/repository"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// grown is a repository with four backups of a tree of which some goes and some
// comes each time, and one of something else.
type grown struct {
	*hub
	r     restictest.Program
	repo  *repository.Repository
	src   string
	ids   []string    // of the four, the oldest first
	at    []time.Time // just after each of them was received
	saved []string    // copies of the tree
}

func grow(t *testing.T) *grown {
	t.Helper()
	g := &grown{hub: start(t, filepath.Join(t.TempDir(), "hub")), src: filepath.Join(t.TempDir(), "src")}
	g.r = g.restic(restictest.Newest(t), "emr-1")
	g.r.Run(t, "init")
	for i := range 4 {
		if i > 0 {
			for _, name := range []string{fmt.Sprint("gone-", i-1), fmt.Sprint("dir-", i-1)} {
				if err := os.RemoveAll(filepath.Join(g.src, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		restictest.Write(t, filepath.Join(g.src, fmt.Sprint("gone-", i)), restictest.Noise(3<<20+i))
		restictest.Write(t, filepath.Join(g.src, fmt.Sprint("dir-", i), "small"), restictest.Noise(5000+i))
		restictest.Write(t, filepath.Join(g.src, fmt.Sprint("stays-", i)), restictest.Noise(700_000+i))
		g.r.Run(t, "backup", "--pack-size", "4", g.src)
		g.saved = append(g.saved, filepath.Join(t.TempDir(), "saved"))
		if err := os.CopyFS(g.saved[i], os.DirFS(g.src)); err != nil {
			t.Fatal(err)
		}
		g.at = append(g.at, g.clock())
		for _, x := range g.receipts(restic.Snapshots) {
			if !slices.Contains(g.ids, x.Name) {
				g.ids = append(g.ids, x.Name)
			}
		}
	}
	if len(g.ids) != 4 {
		t.Fatalf("snapshots %v", g.ids)
	}
	return g
}

func (g *grown) receipts(kind restic.Kind) (out []repository.Receipt) {
	g.t.Helper()
	var err error
	if g.repo, err = g.s.Repository(g.t.Context(), "emr-1"); err != nil {
		g.t.Fatal(err)
	}
	for _, r := range g.repo.Receipts() {
		if r.Kind == kind {
			out = append(out, r)
		}
	}
	return out
}

// later lets the hub's clock run on, so that locks from before count no more.
func (g *grown) later() { g.setClock(g.ahead + time.Hour) }

// sound checks a folder with restic and with our reader.
func sound(t *testing.T, dir string, snapshots int) {
	t.Helper()
	restictest.Newest(t).At(dir).Run(t, "check", "--read-data")
	if n := len(verify(t, dir).Snapshots); n != snapshots {
		t.Errorf("%d snapshots instead of %d", n, snapshots)
	}
}

// TestWhatNobodyNeedsGoes: two of four snapshots go. What stays is restored byte by
// byte, views of earlier times lose these two and nothing else, room is freed, the
// log binds it all, and the next backup goes on.
func TestWhatNobodyNeedsGoes(t *testing.T) {
	g := grow(t)
	used := g.repo.Used()
	before, err := g.repo.AsOf(time.Time{}).Reader(t.Context()) // somebody who restores has read the indexes
	if err == nil {
		err = before.Load(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	kept, err := before.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g.later()
	did, err := g.repo.Prune(t.Context(), "vg-1", []string{g.ids[0], g.ids[2]})
	if err != nil {
		t.Fatal(err)
	}
	if did.Snapshots != 2 || did.Packs == 0 || did.Rewritten == 0 || did.Freed < 5<<20 || g.repo.Used() > used-did.Freed+1024 {
		t.Errorf("it did %+v; %d bytes of %d are used", did, g.repo.Used(), used)
	}
	if again, err := g.repo.Prune(t.Context(), "vg-1", []string{g.ids[1]}); err != nil || again != did {
		t.Errorf("the same decision again: %+v, %v", again, err)
	}
	sound(t, g.folder("emr-1"), 2)
	for _, i := range []int{1, 3} {
		same(t, g.saved[i], restored(t, g.r, g.src, g.ids[i]))
	}
	for _, s := range kept { // with the indexes of before
		if id := s.ID.String(); id == g.ids[1] || id == g.ids[3] {
			if err := before.Complete(t.Context(), s); err != nil {
				t.Errorf("snapshot %s with the indexes of before: %v", id, err)
			}
		}
	}
	g.views(map[int][]string{0: nil, 1: {g.ids[1]}, 2: {g.ids[1]}, 3: {g.ids[1], g.ids[3]}})

	if err := g.repo.Clear(t.Context(), "vg-1"); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(g.dir, "emr-1", "pruned", "vg-1")); err != nil || len(left) != 1 {
		t.Errorf("what is left of the pruning: %v %v", left, err)
	}
	sound(t, g.folder("emr-1"), 2)
	g.r.Run(t, "backup", g.src)
	g.restarted()
	g.views(map[int][]string{0: nil, 1: {g.ids[1]}, 2: {g.ids[1]}, 3: {g.ids[1], g.ids[3]}})
	sound(t, g.folder("emr-1"), 3)
}

// TestPruningLeavesTheHubItsRoom: what is written anew needs room before any is freed.
// Without it nothing goes, and with it the same decision is carried out.
func TestPruningLeavesTheHubItsRoom(t *testing.T) {
	g := grow(t)
	g.server.Close()
	if err := g.s.Close(); err != nil {
		t.Fatal(err)
	}
	prune := func(least int64) error {
		c, later := config(g.dir, g.note, g.clock), time.Hour
		c.MinFree = least
		c.Now = func() time.Time { later += time.Hour; return time.Now().Add(later) }
		s, err := repository.New(c)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r, err := s.Repository(t.Context(), "emr-1")
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Prune(t.Context(), "vg-1", []string{g.ids[0], g.ids[2]})
		return err
	}
	if err := prune(1 << 60); err == nil || fault.Of(err) == fault.Busy || !strings.Contains(err.Error(), "room") { // busy: it would be tried again in silence
		t.Errorf("without room: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(g.dir, "emr-1", "pruned")); err != nil || len(left) > 0 {
		t.Errorf("what is left of it: %v, %v", left, err)
	}
	sound(t, g.folder("emr-1"), 4)
	if err := prune(1 << 20); err != nil {
		t.Errorf("with room: %v", err)
	}
	sound(t, g.folder("emr-1"), 2)
}

// views compares what was there just after each backup with what should be, and
// reads all of it with our reader.
func (g *grown) views(want map[int][]string) {
	g.t.Helper()
	gone := []int{1, 1, 2, 2}
	for i, ids := range want {
		v := g.repo.AsOf(g.at[i])
		r, err := v.Reader(g.t.Context())
		if err != nil {
			g.t.Fatal(err)
		}
		report, err := r.Verify(g.t.Context(), restic.Options{})
		if err != nil || !report.Sound() {
			g.t.Errorf("view %d: %v %v", i, err, report.Damages)
		}
		var got []string
		for _, s := range report.Snapshots {
			if got = append(got, s.ID.String()); !s.Sound {
				g.t.Errorf("view %d: snapshot %s is not whole", i, s.ID)
			}
		}
		slices.Sort(got)
		if slices.Sort(ids); !slices.Equal(got, ids) {
			g.t.Errorf("view %d holds %v instead of %v", i, got, ids)
		}
		all := v.Gone()
		if len(all) != gone[i] || all[0].Decision != "vg-1" || all[0].Received.After(g.at[i]) || all[0].At.IsZero() {
			g.t.Errorf("view %d says that these went: %+v", i, all)
		}
	}
}

// restarted opens the folder anew.
func (g *grown) restarted() {
	g.t.Helper()
	if err := g.s.Close(); err != nil {
		g.t.Fatal(err)
	}
	last := ""
	if err := repository.Heads(g.dir, "emr-1", func(_ int, digest string) { last = digest }); err != nil {
		g.t.Error(err)
	}
	g.receipts(restic.Keys)
	if _, digest := g.repo.Head(); digest != last {
		g.t.Errorf("head %s instead of %s", digest, last)
	}
	if g.told("protect.lost") {
		g.t.Error("something is called lost")
	}
}

// A plan that somebody changed later is a log that was changed.
func TestAChangedPlanIsNamed(t *testing.T) {
	g := grow(t)
	g.later()
	if _, err := g.repo.Prune(t.Context(), "vg-1", g.ids[:1]); err != nil {
		t.Fatal(err)
	}
	if err := g.s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(g.dir, "emr-1", "pruned", "vg-1", "plan.json")
	b, err := os.ReadFile(path)
	if err == nil {
		err = errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, bytes.Replace(b, []byte(g.ids[0]), []byte(g.ids[1]), 1), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := repository.Heads(g.dir, "emr-1", func(int, string) {}); fault.Of(err) != fault.Conflict {
		t.Errorf("heads: %v", err)
	}
	if _, err := g.s.Repository(t.Context(), "emr-1"); fault.Of(err) != fault.Conflict {
		t.Errorf("opened: %v", err)
	}
}

// TestNothingGoesUnderAClient: not while somebody works or did a moment ago, not
// behind a cut, not when something is damaged; and what was built on what went is
// not let in.
func TestNothingGoesUnderAClient(t *testing.T) {
	g := grow(t)
	refused := func(what string, kind fault.Kind) {
		t.Helper()
		if _, err := g.repo.Prune(t.Context(), "vg-1", g.ids[:1]); err == nil || fault.Of(err) != kind {
			t.Errorf("%s: %v", what, err)
		}
		if left, err := os.ReadDir(filepath.Join(g.dir, "emr-1", "pruned")); err != nil || len(left) > 0 {
			t.Errorf("%s: it left %v %v", what, left, err)
		}
	}
	refused("just opened", fault.Busy)
	g.later()
	lock := exclusive(t, restictest.Newest(t).At(copied(t, g.folder("emr-1"))))
	name := restic.Sum(lock).String()
	if err := g.repo.Put(t.Context(), "emr-1", restic.Locks, name, -1, bytes.NewReader(lock)); err != nil {
		t.Fatal(err)
	}
	refused("somebody works", fault.Busy)
	if err := g.repo.Remove(t.Context(), "emr-1", restic.Locks, name); err != nil {
		t.Fatal(err)
	}
	first := g.receipts(restic.Snapshots)[0].At
	sums := map[string][]byte{}
	for _, x := range g.receipts(restic.Data) {
		path := filepath.Join(g.folder("emr-1"), filepath.FromSlash(restic.Data.Path(x.Name)))
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if x.At.Before(first) {
			sums[path] = b
			overwrite(t, path, bytes.Repeat([]byte("damage"), len(b)/6+1)[:len(b)])
		}
	}
	refused("something is damaged", "")
	for path, b := range sums {
		overwrite(t, path, b)
	}

	// a client that loaded the indexes before, and comes back without its lock
	aside := restictest.Newest(t).At(copied(t, g.folder("emr-1")))
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(g.saved[0])); err != nil {
		t.Fatal(err)
	}
	restictest.Write(t, filepath.Join(old, "new"), []byte("new"))
	before := map[string]bool{}
	for _, kind := range []restic.Kind{restic.Data, restic.Index, restic.Snapshots} {
		for _, path := range list(t, aside.Repo, kind) {
			before[filepath.Base(path)] = true
		}
	}
	aside.Run(t, "backup", old)
	if _, err := g.repo.Prune(t.Context(), "vg-1", g.ids[:1]); err != nil {
		t.Fatal(err)
	}
	send := func(kind restic.Kind, dir string) (last error) {
		for _, path := range list(t, dir, kind) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if before[filepath.Base(path)] { // it sends what it made
				continue
			}
			if err := g.repo.Put(t.Context(), "emr-1", kind, filepath.Base(path), -1, bytes.NewReader(b)); err != nil {
				last = err
			}
		}
		return last
	}
	if err := errors.Join(send(restic.Data, aside.Repo), send(restic.Index, aside.Repo)); err != nil {
		t.Error(err)
	}
	if err := send(restic.Snapshots, aside.Repo); fault.Of(err) != fault.Invalid {
		t.Errorf("a snapshot that needs what went: %v", err)
	}
	if n := len(g.receipts(restic.Snapshots)); n != 3 {
		t.Errorf("%d snapshots", n)
	}
	if err := g.repo.Put(t.Context(), "emr-1", restic.Snapshots, g.ids[0], -1, strings.NewReader("x")); !strings.Contains(fmt.Sprint(err), "protect.gone") {
		t.Errorf("a snapshot that went comes back: %v", err)
	}
	sound(t, g.folder("emr-1"), 3)
}

func overwrite(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, b, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, dir string, kind restic.Kind) []string {
	t.Helper()
	pattern := string(kind) + "/*"
	if kind == restic.Data {
		pattern = "data/*/*"
	}
	all, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(all) == 0 {
		t.Fatalf("no %s: %v", kind, err)
	}
	return all
}

func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// pruneEnv makes the test program one that prunes a repository: FOLDER SNAPSHOT….
const pruneEnv = "SONAE_TEST_PRUNE"

// prune lets snapshots go, until it is done or killed.
func prune(args string) int {
	dir, ids, _ := strings.Cut(args, " ")
	ahead := time.Duration(0)
	s, err := repository.New(config(dir, func(repository.Refusal) {}, func() time.Time { return time.Now().Add(ahead) }))
	if err == nil {
		var r *repository.Repository
		if r, err = s.Repository(context.Background(), "emr-1"); err == nil {
			ahead = time.Hour
			_, err = r.Prune(context.Background(), "vg-1", strings.Fields(ids))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestPruningKilledAtEveryStep kills a pruning with SIGKILL before and after each
// of its steps. Each time the folder is a repository that restic and our reader
// find sound as it lies there, and once more when the service opened it: then it
// was carried out or nothing happened.
func TestPruningKilledAtEveryStep(t *testing.T) {
	g := grow(t)
	if err := g.s.Close(); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join("emr-1", "pruned", "vg-1")
	some := func(pattern string) func(dir string) bool {
		return func(dir string) bool {
			all, _ := filepath.Glob(filepath.Join(dir, pattern))
			return len(all) > 0
		}
	}
	undone, done, middle := 0, 0, 0
	for what, when := range map[string]func(dir string) bool{
		"it begins":            some(at),
		"a pack was written":   some(filepath.Join(at, "new", "data", "*", "*")),
		"an index was written": some(filepath.Join(at, "new", "index", "*")),
		"the plan was written": some(filepath.Join(at, "plan.json")),
		"a snapshot went":      some(filepath.Join(at, "old", "snapshots", "*")),
		"an index went":        some(filepath.Join(at, "old", "index", "*")),
		"a pack went":          some(filepath.Join(at, "old", "data", "*", "*")),
		"what was new is removed": func(dir string) bool {
			_, err := os.Lstat(filepath.Join(dir, at, "new"))
			return some(at)(dir) && errors.Is(err, fs.ErrNotExist)
		},
	} {
		dir := copied(t, g.dir)
		cmd := exec.Command(os.Args[0])
		cmd.Env, cmd.Stderr = append(os.Environ(), pruneEnv+"="+dir+" "+g.ids[0]+" "+g.ids[2]), os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(time.Minute); !when(dir); {
			if time.Now().After(end) {
				t.Fatalf("%s: never", what)
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		folder := filepath.Join(dir, "emr-1", "repository")
		as := len(list(t, folder, restic.Snapshots)) // as it lies there
		sound(t, folder, as)
		s, err := repository.New(config(dir, func(r repository.Refusal) { t.Errorf("%s: told %v", what, r.Err) }, time.Now))
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Repository(t.Context(), "emr-1")
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		after := len(list(t, folder, restic.Snapshots))
		switch {
		case after == 4 && len(r.AsOf(time.Time{}).Gone()) == 0:
			undone++
		case after == 2 && len(r.AsOf(time.Time{}).Gone()) == 2:
			done++
			if as != after {
				middle++
			}
		default:
			t.Errorf("%s: %d snapshots, gone %v", what, after, r.AsOf(time.Time{}).Gone())
		}
		if n := len(verify(t, folder).Snapshots); n != after {
			t.Errorf("%s: %d snapshots instead of %d", what, n, after)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if undone == 0 || done == 0 {
		t.Errorf("%d were undone, %d done", undone, done)
	}
	t.Logf("killed: %d undone, %d carried out when opened again, %d of these with snapshots half gone", undone, done, middle)
}
