package restore

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/evidence/antivirus"
	"github.com/sonae/sonae/evidence/antivirus/clamdtest"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/protect/anomaly"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

var (
	anna = auth.Person{ID: "pe-1", Name: "佐藤"}
	ben  = auth.Person{ID: "pe-2", Name: "田中"}
)

// stock is a repository that stock restic made of a tree with two states. It is
// made once for all tests.
type stock struct {
	dir, src string
	ids      []string // of the snapshots, the older first
	key      *restic.Key
}

var made = sync.OnceValues(func() (*stock, error) {
	dir, err := os.MkdirTemp("", "restore-test-")
	return &stock{dir: filepath.Join(dir, "repo"), src: filepath.Join(dir, "src")}, err
})

// signature is what the scanner of the tests calls malware.
const signature = "X5O!P%@AP-not-really"

func repository(t *testing.T) *stock {
	s, err := made()
	if err != nil {
		t.Fatal(err)
	}
	if s.ids != nil {
		return s
	}
	p := restictest.Newest(t).At(s.dir)
	p.Run(t, "init")
	restictest.Odd(t, s.src)
	restictest.Small(t, filepath.Join(s.src, "charts"), 230)
	restictest.Write(t, filepath.Join(s.src, "bad", "letter.doc"), []byte("Dear "+signature+" "+clamdtest.Marker))
	if err := os.Chmod(filepath.Join(s.src, "one"), 0o711|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	old := time.Date(2019, 5, 1, 3, 4, 5, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(s.src, "one"), old, old); err != nil {
		t.Fatal(err)
	}
	p.Run(t, "backup", "--host", "emr-1", "--time", "2026-11-20 01:00:00", s.src)
	restictest.Write(t, filepath.Join(s.src, "text"), []byte("changed"))
	restictest.Write(t, filepath.Join(s.src, "new folder", "new"), []byte("new"))
	if err := errors.Join(os.Remove(filepath.Join(s.src, "empty")), os.Chmod(filepath.Join(s.src, "random"), 0o600)); err != nil {
		t.Fatal(err)
	}
	p.Run(t, "backup", "--host", "emr-1", "--time", "2026-11-21 01:00:00", s.src)
	s.open(t, 2)
	return s
}

// open notes the key of a repository and its snapshots.
func (s *stock) open(t *testing.T, snapshots int) {
	t.Helper()
	f, err := restic.OpenFolder(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	repo, err := restic.Open(t.Context(), f, restictest.Password)
	if err != nil {
		t.Fatal(err)
	}
	s.key = repo.Key()
	all, err := repo.Snapshots(t.Context())
	if err != nil || len(all) != snapshots {
		t.Fatal(len(all), err)
	}
	slices.SortFunc(all, func(a, b restic.Snapshot) int { return a.Time.Compare(b.Time) })
	s.ids = nil
	for _, one := range all {
		s.ids = append(s.ids, one.ID.String())
	}
}

type house struct {
	*Desk
	*stock
	t     *testing.T
	sent  []job.Job
	no    error // of the sender
	ahead time.Duration
	stops int
}

func (h *house) Agents(context.Context, string) ([]string, error) { return []string{"emr-1"}, nil }

func (h *house) Reader(ctx context.Context, agent string, _ time.Time) (*restic.Repository, error) {
	if agent != "emr-1" {
		return nil, fault.New(fault.Missing, "protect.agent")
	}
	f, err := restic.OpenFolder(h.dir)
	if err != nil {
		return nil, err
	}
	h.t.Cleanup(func() { _ = f.Close() })
	repo := restic.OpenWith(f, h.key)
	return repo, repo.Load(ctx)
}

func (h *house) Send(_ context.Context, r Request) error {
	if h.no == nil {
		h.sent = append(h.sent, r.Job())
	}
	return h.no
}

// stopper takes orders back; a house has another Stop.
type stopper struct{ *house }

func (h stopper) Stop(context.Context, Request) error { h.stops++; return nil }

// Scan makes it a Scanner that knows one signature.
func (h *house) Scan(_ context.Context, _ string, r io.Reader) (string, error) {
	text, err := io.ReadAll(r)
	if bytes.Contains(text, []byte(signature)) {
		return "Test.Signature", err
	}
	return "", err
}

func start(t *testing.T) *house { return startOn(t, repository(t)) }

func startOn(t *testing.T, s *stock) *house {
	h := &house{t: t, stock: s}
	h.Desk = New(statetest.Open(t), Deps{Source: h, Scanners: []Scanner{h}, Sender: stopper{h}, Now: func() time.Time { return time.Now().Add(h.ahead) }, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Clean: func(context.Context, string) ([]anomaly.Point, error) {
			return []anomaly.Point{{Series: "sr-1", Snapshot: h.ids[0], Later: []string{h.ids[1]}}}, nil
		}})
	return h
}

func (h *house) where(i int) Where { return Where{Agent: "emr-1", Snapshot: h.ids[i]} }

func (h *house) taking(i int, at string) Taking {
	return Taking{Where: h.where(i), Path: at, By: anna}
}

// despite takes what the tests' scanner would stop.
func (h *house) despite(i int, at string) Taking {
	t := h.taking(i, at)
	t.Despite = "evidence"
	return t
}

func TestSnapshotsAreListedWithTheCleanOne(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the repository")
	h := start(t)
	first, err := h.Snapshots(t.Context(), "emr-1", time.Time{}, "", 1)
	if err != nil || len(first.Items) != 1 || first.Items[0].ID != h.ids[1] || !first.Items[0].Later || first.Items[0].Clean || first.Next != h.ids[1] {
		t.Fatalf("first page: %+v, %v", first, err)
	}
	second, err := h.Snapshots(t.Context(), "emr-1", time.Time{}, first.Next, 1)
	if err != nil || len(second.Items) != 1 || !second.Items[0].Clean || second.Items[0].Later || second.Next != "" {
		t.Errorf("second page: %+v, %v", second, err)
	}
	if _, err := h.Snapshots(t.Context(), "nobody", time.Time{}, "", 1); fault.Of(err) != fault.Missing {
		t.Errorf("another machine: %v", err)
	}
	if _, err := h.Snapshot(t.Context(), Where{Agent: "emr-1", Snapshot: "../x"}); fault.Of(err) != fault.Missing {
		t.Errorf("another snapshot: %v", err)
	}
}

func TestEveryFileIsThereWhenLeafedThrough(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the repository")
	h := start(t)
	want := map[string]string{}
	err := filepath.WalkDir(h.src, func(at string, d fs.DirEntry, err error) error {
		if err == nil {
			want[at] = "dir"
			if d.Type().IsRegular() {
				want[at] = "file"
			} else if !d.IsDir() {
				want[at] = "other"
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	var walk func(dir string)
	walk = func(dir string) {
		after := ""
		for {
			page, err := h.Folder(t.Context(), h.where(1), dir, after, 7)
			if err != nil {
				t.Fatalf("%q: %v", dir, err)
			}
			for _, e := range page.Items {
				kind, ok := want[e.Path]
				if strings.HasPrefix(e.Path, h.src) {
					seen++
					if !ok || kind == "file" && e.Type != "file" {
						t.Errorf("%q is a %s, want %s", e.Path, e.Type, kind)
					}
				}
				if e.Type == "dir" {
					walk(e.Path)
				}
			}
			if after = page.Next; after == "" {
				return
			}
		}
	}
	walk("/")
	if seen != len(want) {
		t.Errorf("saw %d entries, want %d", seen, len(want))
	}
	for at, kind := range map[string]fault.Kind{h.src + "/nothing": fault.Missing, h.src + "/one/two": fault.Missing, h.src + "/one": fault.Invalid, "a\x00b": fault.Invalid} {
		if _, err := h.Folder(t.Context(), h.where(0), at, "", 0); fault.Of(err) != kind {
			t.Errorf("folder %q: got %v, want %s", at, err, kind)
		}
	}
	if e, err := h.Entry(t.Context(), h.where(0), "../../"+h.src+"/./one"); err != nil || e.Mode != "urwx--x--x" || e.ModTime.Year() != 2019 {
		t.Errorf("one: %+v, %v", e, err)
	}
}

func TestAFileComesBackByteByByte(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the repository")
	h := start(t)
	for _, name := range []string{"random", "not utf8 \xff\xfe\x80", "sparse", "日本語/カルテ.txt", "one"} {
		want, err := os.ReadFile(filepath.Join(h.src, name))
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		begun := 0
		if err := h.Download(t.Context(), h.taking(1, h.src+"/"+name), func(e Entry) { begun = int(e.Size) }, &got); err != nil || !bytes.Equal(got.Bytes(), want) || begun != len(want) {
			t.Errorf("%q: %d bytes, %v; want %d", name, got.Len(), err, len(want))
		}
	}
	for _, name := range []string{"fifo", "dangling", "日本語"} {
		if err := h.Download(t.Context(), h.taking(1, h.src+"/"+name), func(Entry) { t.Error("begun") }, io.Discard); fault.Of(err) != fault.Invalid {
			t.Errorf("%q: got %v, want invalid", name, err)
		}
	}
}

func TestAFolderComesBackWithRightsTimesAndLinks(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the repository")
	h := start(t)
	var out bytes.Buffer
	if err := h.Archive(t.Context(), h.despite(1, h.src), TarZst, func() {}, &out); err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(&out)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files, links := 0, 0
	for r := tar.NewReader(z); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(filepath.Dir(h.src), head.Name)
		info, err := os.Lstat(at)
		if err != nil {
			t.Fatal(err)
		}
		if head.Typeflag != tar.TypeLink && (head.FileInfo().Mode() != info.Mode() || !head.ModTime.Equal(info.ModTime())) {
			t.Errorf("%q: %s %s, want %s %s", head.Name, head.FileInfo().Mode(), head.ModTime, info.Mode(), info.ModTime())
		}
		switch head.Typeflag {
		case tar.TypeSymlink:
			if to, _ := os.Readlink(at); to != head.Linkname && utf8.ValidString(to) { // restic 0.14 keeps no others
				t.Errorf("%q leads to %q, want %q", head.Name, head.Linkname, to)
			}
		case tar.TypeLink:
			links++
		case tar.TypeReg:
			files++
			got, err := io.ReadAll(r)
			if want, _ := os.ReadFile(at); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%q: %d bytes, %v; want %d", head.Name, len(got), err, len(want))
			}
		}
	}
	if files < 240 || links != 1 {
		t.Errorf("%d files, %d hard links", files, links)
	}
}

func TestAFolderAsZip(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the repository")
	h := start(t)
	var out bytes.Buffer
	if err := h.Archive(t.Context(), h.taking(1, h.src+"/charts"), Zip, func() {}, &out); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, f := range z.File {
		if f.Mode().IsDir() {
			continue
		}
		files++
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		info, _ := os.Stat(filepath.Join(h.src, f.Name))
		want, _ := os.ReadFile(filepath.Join(h.src, f.Name))
		if err != nil || !bytes.Equal(got, want) || f.Mode() != info.Mode() || f.Modified.Unix() != info.ModTime().Unix() {
			t.Errorf("%s: %d bytes %s %s, %v", f.Name, len(got), f.Mode(), f.Modified, err)
		}
	}
	if files != 230 {
		t.Errorf("%d files, want 230", files)
	}
	if err := h.Archive(t.Context(), h.taking(1, h.src), "rar", func() { t.Error("begun") }, io.Discard); fault.Of(err) != fault.Invalid {
		t.Errorf("an unknown format: %v", err)
	}
}

func TestNamesAreFound(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the repository")
	h := start(t)
	found, more, err := h.Search(t.Context(), h.where(1), "/", "RECORD-0010", 0)
	if err != nil || more || len(found) != 10 || path.Base(found[0].Path) != "record-00100.txt" {
		t.Errorf("got %d, %v, %v", len(found), more, err)
	}
	if found, more, err = h.Search(t.Context(), h.where(1), h.src+"/charts", "record", 5); err != nil || !more || len(found) != 5 {
		t.Errorf("bounded: %d, %v, %v", len(found), more, err)
	}
	if found, _, err = h.Search(t.Context(), h.where(1), "/", "カルテ", 0); err != nil || len(found) != 1 {
		t.Errorf("in Japanese: %+v, %v", found, err)
	}
	if _, _, err = h.Search(t.Context(), h.where(1), "/", "  ", 0); fault.Of(err) != fault.Invalid {
		t.Errorf("nothing to look for: %v", err)
	}
}

func TestTwoSnapshotsAreCompared(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the repository")
	h := start(t)
	d, err := h.Compare(t.Context(), h.where(0), h.ids[1], h.src, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range d.Changes {
		got[strings.TrimPrefix(c.Path, h.src+"/")] = c.What
	}
	for name, what := range map[string]string{"text": "content", "new folder": "added", "new folder/new": "added", "empty": "removed", "random": "meta"} {
		if got[name] != what {
			t.Errorf("%s: got %q, want %q", name, got[name], what)
		}
	}
	if d.Added != 2 || d.Removed != 1 || d.More { // the hard link of text changed too
		t.Errorf("%+v", d)
	}
	back, err := h.Compare(t.Context(), h.where(1), h.ids[0], h.src, 1)
	if err != nil || back.Added != d.Removed || back.Removed != d.Added || back.Content != d.Content || len(back.Changes) != 1 || !back.More {
		t.Errorf("the other way: %+v, %v", back, err)
	}
	if same, err := h.Compare(t.Context(), h.where(0), h.ids[0], "/", 0); err != nil || len(same.Changes) > 0 {
		t.Errorf("with itself: %+v, %v", same, err)
	}
}

func (h *house) ask(paths ...string) Request {
	h.t.Helper()
	r, err := h.Ask(h.t.Context(), NewRequest{Site: "hq", From: h.where(0), Paths: paths, Target: "/srv/back", Reason: "a folder was lost"}, anna)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

func (h *house) is(id string, want State) Request {
	h.t.Helper()
	r, err := h.Request(h.t.Context(), id)
	if err != nil || r.State != want {
		h.t.Fatalf("request is %s, %v; want %s: %+v", r.State, err, want, r)
	}
	return r
}

func (h *house) works() {
	h.t.Helper()
	if err := errors.Join(h.sendAll(h.t.Context()), h.scanAll(h.t.Context())); err != nil {
		h.t.Fatal(err)
	}
}

func TestARestoreTakesTwoPeopleAndAScan(t *testing.T) {
	h := start(t)
	r := h.ask(h.src+"/charts", h.src+"/one", h.src+"/one")
	h.works()
	if len(h.sent) > 0 {
		t.Fatal("an order went out that nobody approved")
	}
	if _, err := h.Approve(t.Context(), r.ID, anna); fault.Of(err) != fault.Denied {
		t.Errorf("who asked approves: %v", err)
	}
	if _, err := h.Approve(t.Context(), r.ID, ben); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Approve(t.Context(), r.ID, ben); fault.Of(err) != fault.Conflict {
		t.Errorf("approved twice: %v", err)
	}
	h.works()
	if got := h.is(r.ID, Ordered); !got.Scan.Clean() || got.Scan.Files != 231 {
		t.Errorf("scan: %+v", got.Scan)
	}
	h.works() // sends
	h.works() // and only once
	if len(h.sent) != 1 || h.sent[0].Restore.Snapshot != h.ids[0] || len(h.sent[0].Restore.Include) != 2 || !h.sent[0].Restore.Verify || h.sent[0].Check() != nil {
		t.Fatalf("sent %+v", h.sent)
	}
	if err := h.Heard(t.Context(), "another", job.Progress{Job: r.ID}); fault.Of(err) != fault.Denied {
		t.Errorf("another machine tells: %v", err)
	}
	if err := h.Heard(t.Context(), "emr-1", job.Progress{Job: r.ID, Step: "restore", Files: 3}); err != nil {
		t.Fatal(err)
	}
	h.is(r.ID, Running)
	if far, err := h.Far(t.Context(), r.ID); err != nil || far.Files != 3 {
		t.Errorf("%+v, %v", far, err)
	}
	done := job.Result{Job: r.ID, Kind: job.Restore, State: job.OK, Restore: &job.Restored{Target: "/srv/back", Files: 231, Verified: 231}}
	for range 2 { // told again after an answer was lost
		if err := h.Ended(t.Context(), "emr-1", done); err != nil {
			t.Fatal(err)
		}
	}
	h.is(r.ID, Restored)
	if _, err := h.Release(t.Context(), r.ID, ben); err != nil {
		t.Fatal(err)
	}
	h.is(r.ID, Released)
	if all, err := h.Versions(t.Context(), r.ID); err != nil || len(all) != 7 {
		t.Errorf("%d versions, %v; want every step", len(all), err)
	}
	if found, err := VerifyRows(t.Context(), h.db, func(string) []leaf.Leaf { return nil }); err != nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
	statetest.Loose(t, h.db, "restore_record")
	if err := h.db.Tx(t.Context(), func(tx *state.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE restore_record SET body = REPLACE(body, 'pe-2', 'pe-1') WHERE no = 2`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if found, err := VerifyRows(t.Context(), h.db, func(string) []leaf.Leaf { return nil }); err != nil || len(found) != 1 {
		t.Errorf("who approved was changed: %v, %v", found, err)
	}
}

func TestMalwareIsHeldBeforeItReachesAMachine(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the repository")
	h := start(t)
	r := h.ask(h.src)
	if _, err := h.Approve(t.Context(), r.ID, ben); err != nil {
		t.Fatal(err)
	}
	h.works()
	h.works()
	got := h.is(r.ID, Held)
	if len(h.sent) > 0 || got.Scan.Finds != 1 || !strings.HasSuffix(got.Scan.Found[0].Path, "/bad/letter.doc") {
		t.Fatalf("sent %d; %+v", len(h.sent), got.Scan)
	}
	if _, err := h.Pass(t.Context(), r.ID, "I want it", anna); fault.Of(err) != fault.Denied {
		t.Errorf("who asked lets it pass: %v", err)
	}
	if _, err := h.Pass(t.Context(), r.ID, " ", ben); fault.Of(err) != fault.Invalid {
		t.Errorf("without a reason: %v", err)
	}
	if _, err := h.Pass(t.Context(), r.ID, "for the laboratory", ben); err != nil {
		t.Fatal(err)
	}
	h.works()
	if len(h.sent) != 1 {
		t.Errorf("%d orders", len(h.sent))
	}
	if _, err := h.Desk.Stop(t.Context(), r.ID, "the wrong machine", anna); err != nil || h.stops != 1 {
		t.Errorf("stopped %d times, %v", h.stops, err)
	}
	h.is(r.ID, Failure)
}

func TestWhatCannotBeScannedIsHeld(t *testing.T) {
	h := start(t)
	h.Scanners = nil
	r := h.ask(h.src + "/one")
	if _, err := h.Approve(t.Context(), r.ID, ben); err != nil {
		t.Fatal(err)
	}
	h.works()
	if got := h.is(r.ID, Held); got.Scan.Clean() {
		t.Errorf("%+v", got.Scan)
	}
	if _, err := h.Refuse(t.Context(), r.ID, "nobody looked at it", ben); err != nil {
		t.Fatal(err)
	}
	h.is(r.ID, Refused)
}

func TestAResultIsNoSuccessUnlessItWasCompared(t *testing.T) {
	h := start(t)
	for name, result := range map[string]job.Result{
		"partial":      {State: job.Partial, Restore: &job.Restored{Files: 2, Verified: 2}},
		"no result":    {State: job.OK},
		"not compared": {State: job.OK, Restore: &job.Restored{Files: 2}},
		"differs":      {State: job.OK, Restore: &job.Restored{Files: 2, Verified: 1, Wrong: 1}},
	} {
		r := h.ask(h.src + "/one")
		if _, err := h.Approve(t.Context(), r.ID, ben); err != nil {
			t.Fatal(err)
		}
		h.works()
		result.Job = r.ID
		if err := h.Ended(t.Context(), "emr-1", result); err != nil {
			t.Fatal(err)
		}
		if got := h.is(r.ID, Failure); got.Why == "" {
			t.Errorf("%s: no reason", name)
		}
	}
}

func TestRequestsThatCannotBe(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the repository")
	h := start(t)
	good := func() NewRequest {
		return NewRequest{Site: "hq", From: h.where(0), Paths: []string{h.src + "/one"}, Reason: "lost"}
	}
	for name, tt := range map[string]struct {
		change func(*NewRequest)
		want   fault.Kind
	}{
		"no reason":         {func(n *NewRequest) { n.Reason = " " }, fault.Invalid},
		"no such file":      {func(n *NewRequest) { n.Paths = []string{"/nothing"} }, fault.Missing},
		"no such snapshot":  {func(n *NewRequest) { n.From.Snapshot = strings.Repeat("0", 64) }, fault.Missing},
		"a relative target": {func(n *NewRequest) { n.Target = "srv" }, fault.Invalid},
		"a target upwards":  {func(n *NewRequest) { n.Target = "/srv/../etc" }, fault.Invalid},
		"a bound below 0":   {func(n *NewRequest) { n.Download = -1 }, fault.Invalid},
		"many paths":        {func(n *NewRequest) { n.Paths = make([]string, maxPaths+1) }, fault.Invalid},
	} {
		n := good()
		tt.change(&n)
		if _, err := h.Ask(t.Context(), n, anna); fault.Of(err) != tt.want {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
	r, err := h.Ask(t.Context(), good(), anna)
	if err != nil || !r.Original() {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestClamdLooksAtWhatIsBroughtBack(t *testing.T) {
	statetest.OnlySQLite(t, "it has no rows")
	c := clamdtest.Start(t)
	client, err := antivirus.New(c.Address)
	if err != nil {
		t.Fatal(err)
	}
	s := Clamd(client)
	if found, err := s.Scan(t.Context(), "a", strings.NewReader("nothing")); err != nil || found != "" {
		t.Errorf("a clean file: %q, %v", found, err)
	}
	if found, err := s.Scan(t.Context(), "b", strings.NewReader("before "+clamdtest.Marker)); err != nil || !strings.Contains(found, clamdtest.Signature) {
		t.Errorf("a virus: %q, %v", found, err)
	}
	if _, err := s.Scan(t.Context(), "c", bytes.NewReader(make([]byte, clamdtest.MaxStream+1))); err == nil {
		t.Error("a file that clamd does not take counts as clean")
	}
	c.Stop()
	if _, err := s.Scan(t.Context(), "d", strings.NewReader("nothing")); err == nil {
		t.Error("without clamd a file counts as clean")
	}
}
