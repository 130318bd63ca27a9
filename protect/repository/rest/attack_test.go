package rest_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// attacked is a repository with one backup, and what a thief has: the agent's
// credentials and, if he needs it, the repository's password.
type attacked struct {
	*hub
	t     *testing.T
	p     restictest.Program // over HTTPS, with the agent's credentials
	src   string
	files map[string][]byte // of the repository before the attack
}

func attack(t *testing.T, agent string) *attacked {
	h := start(t, filepath.Join(t.TempDir(), "hub"))
	a := &attacked{hub: h, t: t, p: h.restic(restictest.Newest(t), agent), src: t.TempDir()}
	restictest.Small(t, a.src, 50)
	restictest.Write(t, filepath.Join(a.src, "noise"), restictest.Noise(1<<20))
	a.p.Run(t, "init")
	a.p.Run(t, "backup", "--host", "emr-1", a.src)
	a.told("")
	a.files = read(t, h.folder(agent))
	return a
}

func read(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			all[rel], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// one returns the name of a file of a kind.
func (a *attacked) one(kind string) string {
	for rel := range a.files {
		if strings.HasPrefix(rel, kind+"/") {
			return filepath.Base(rel)
		}
	}
	a.t.Fatalf("no file of %s", kind)
	return ""
}

// refusedAs wants a status from 400 to 599 and a report; nothing may have
// changed, and every program must still work.
func (a *attacked) refusedAs(key string, status int, body string) {
	a.t.Helper()
	if status < 400 || !strings.Contains(body, key) {
		a.t.Errorf("answer %d %q, want a refusal with %s", status, body, key)
	}
	if !a.told(key) {
		a.t.Errorf("%s was not told", key)
	}
}

// unharmed checks that all files are as they were.
func (a *attacked) unharmed(agent string) {
	a.t.Helper()
	now := read(a.t, a.folder(agent))
	for rel, before := range a.files {
		if !bytes.Equal(now[rel], before) {
			a.t.Errorf("%s was changed or removed", rel)
		}
	}
	if len(now) != len(a.files) {
		a.t.Errorf("%d files became %d", len(a.files), len(now))
	}
	a.p.Run(a.t, "check", "--read-data")
	a.p.Run(a.t, "backup", "--host", "emr-1", a.src)
	verify(a.t, a.folder(agent))
}

func TestNothingCanBeRemovedOrReplaced(t *testing.T) {
	a := attack(t, "emr-1")
	for _, kind := range []string{"data", "keys", "snapshots", "index"} {
		name := a.one(kind)
		status, body := a.send("emr-1", "DELETE", "emr-1/"+kind+"/"+name, nil)
		a.refusedAs("protect.append-only", status, body)
		status, body = a.send("emr-1", "POST", "emr-1/"+kind+"/"+name, []byte("encrypted by a thief, longer than an IV and a MAC"))
		a.refusedAs("protect.name", status, body)
	}
	status, body := a.send("emr-1", "DELETE", "emr-1/config", nil)
	a.refusedAs("protect.append-only", status, body)
	status, body = a.send("emr-1", "DELETE", "emr-1/", nil)
	if status != 403 {
		t.Errorf("removal of the repository: %d %s", status, body)
	}
	// restic takes back what was refused to it: that is no attack
	if status, body = a.send("emr-1", "DELETE", "emr-1/snapshots/"+strings.Repeat("0", 64), nil); status != 200 {
		t.Errorf("removal of what never came: %d %s", status, body)
	}
	for _, args := range [][]string{{"forget", "--keep-last", "1", "--prune", a.one("snapshots")}, {"key", "remove", a.one("keys")}} {
		if out, err := a.p.Try(t.Context(), args...); err == nil && len(read(t, a.folder("emr-1"))) != len(a.files) {
			t.Errorf("restic %v: %s", args, out)
		}
	}
	a.told("")
	a.unharmed("emr-1")
}

func TestAnotherConfigIsRefused(t *testing.T) {
	a := attack(t, "emr-1")
	status, body := a.send("emr-1", "POST", "emr-1/config", bytes.Repeat([]byte("x"), 155))
	a.refusedAs("protect.exists", status, body)
	if status, body = a.send("emr-1", "POST", "emr-1/config", a.files["config"]); status != 200 {
		t.Errorf("the same config again: %d %s", status, body)
	}
	a.unharmed("emr-1")
}

func TestJunkIsRefused(t *testing.T) {
	a := attack(t, "emr-1")
	for _, kind := range []string{"index", "snapshots", "locks", "keys", "data"} {
		for _, junk := range [][]byte{{}, []byte("junk"), bytes.Repeat([]byte("j"), 31), bytes.Repeat([]byte("j"), 32), bytes.Repeat([]byte("j"), 100), []byte(`{"packs":[]}`), restictest.Noise(70_000)} {
			status, body := a.send("emr-1", "POST", "emr-1/"+kind+"/"+restic.Sum(junk).String(), junk)
			if kind == "locks" || kind == "keys" {
				if status < 400 || len(junk) < 1000 && !a.told("protect.") {
					t.Errorf("%d bytes as %s: %d %s", len(junk), kind, status, body)
				}
				continue
			}
			a.refusedAs("protect.junk", status, body)
		}
	}
	a.told("")
	// a file of one kind under another, and of another repository
	index := a.files["index/"+a.one("index")]
	for _, kind := range []string{"snapshots", "locks", "data", "keys"} {
		if status, body := a.send("emr-1", "POST", "emr-1/"+kind+"/"+restic.Sum(index).String(), index); status != 400 && status != 403 {
			t.Errorf("an index as %s: %d %s", kind, status, body)
		}
	}
	other := a.restic(restictest.Newest(t), "other-1")
	other.Run(t, "init")
	other.Run(t, "backup", a.src)
	for rel, b := range read(t, a.folder("other-1")) {
		kind, _, _ := strings.Cut(rel, "/")
		if kind == "config" {
			continue
		}
		if status, body := a.send("emr-1", "POST", "emr-1/"+kind+"/"+filepath.Base(rel), b); status != 400 && status != 403 {
			t.Errorf("%s of another repository: %d %s", kind, status, body)
		}
	}
	a.unharmed("emr-1")
}

// A thief with the repository's password makes sound files with another
// program and sends them.
func TestSnapshotsFromTheFutureAndOfOtherHostsAreRefused(t *testing.T) {
	a := attack(t, "named-1")
	future := time.Now().Add(48 * time.Hour).Format("2006-01-02 15:04:05")
	out, err := a.p.Try(t.Context(), "backup", "--host", "emr-1", "--time", future, a.src)
	if err == nil {
		t.Errorf("a snapshot of the future was taken: %s", out)
	}
	if !a.told("protect.snapshot") {
		t.Errorf("the future was not told: %v", err)
	}
	if out, err := a.p.Try(t.Context(), "backup", "--host", "somebody", a.src); err == nil {
		t.Errorf("a snapshot of another host was taken: %s", out)
	}
	a.told("")
	a.p.Run(t, "backup", "--host", "emr-1", "--time", "2001-01-01 00:00:00", a.src) // a clock that is behind costs no backup
	if !a.told("protect.snapshot-old") {
		t.Error("a snapshot of the past was not told")
	}
	if n := len(verify(t, a.folder("named-1")).Snapshots); n != 2 {
		t.Errorf("%d snapshots, want the first and the old one", n)
	}
}

// A thief who has the key makes an index that says where nothing lies.
func TestPoisonedIndexIsRefused(t *testing.T) {
	a := attack(t, "emr-1")
	stolen := filepath.Join(t.TempDir(), "stolen")
	if err := os.CopyFS(stolen, os.DirFS(a.folder("emr-1"))); err != nil {
		t.Fatal(err)
	}
	p := restictest.Newest(t).At(stolen)
	more := t.TempDir()
	restictest.Write(t, filepath.Join(more, "noise"), restictest.Noise(600_001))
	p.Run(t, "backup", more) // sound in itself, but its packs are never sent
	sent := 0
	for rel, b := range read(t, stolen) {
		kind, _, _ := strings.Cut(rel, "/")
		if _, known := a.files[rel]; known || kind != "index" && kind != "snapshots" {
			continue
		}
		sent++
		status, body := a.send("emr-1", "POST", "emr-1/"+kind+"/"+filepath.Base(rel), b)
		a.refusedAs("protect.junk", status, body)
	}
	if sent != 2 {
		t.Errorf("%d files were sent, want an index and a snapshot", sent)
	}
	a.unharmed("emr-1")
}

// An index about packs that are there is compared with what these say of themselves,
// blob by blob: every client would read nonsense else.
func TestAnIndexThatPointsElsewhereIsRefused(t *testing.T) {
	a := attack(t, "emr-1")
	folder, err := restic.OpenFolder(a.folder("emr-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	repo, err := restic.Open(t.Context(), folder, restictest.Password)
	if err != nil {
		t.Fatal(err)
	}
	send := func(change func(*restic.PackBlobs)) (int, string) {
		t.Helper()
		var packs []restic.PackBlobs
		raw := bytes.Clone(a.files["index/"+a.one("index")])
		if _, err := repo.Key().Index(raw, func(p restic.PackBlobs) error { packs = append(packs, p); return nil }); err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(packs, func(p restic.PackBlobs) bool { return len(p.Blobs) > 1 })
		change(&packs[i])
		sealed, err := repo.Key().SealIndex(packs)
		if err != nil {
			t.Fatal(err)
		}
		return a.send("emr-1", "POST", "emr-1/index/"+restic.Sum(sealed).String(), sealed)
	}
	for name, change := range map[string]func(p *restic.PackBlobs){
		"an offset":                func(p *restic.PackBlobs) { p.Blobs[1].Offset++ },
		"a length":                 func(p *restic.PackBlobs) { p.Blobs[1].Length-- },
		"a decompressed length":    func(p *restic.PackBlobs) { p.Blobs[1].Plain++ },
		"two ids":                  func(p *restic.PackBlobs) { p.Blobs[0].ID, p.Blobs[1].ID = p.Blobs[1].ID, p.Blobs[0].ID },
		"a blob that is not there": func(p *restic.PackBlobs) { p.Blobs[1].ID[0] ^= 1 },
		"another kind":             func(p *restic.PackBlobs) { p.Blobs[1].Kind ^= 1 },
		"past the end of the pack": func(p *restic.PackBlobs) { p.Blobs[1].Offset = 1 << 30 },
		"a blob more":              func(p *restic.PackBlobs) { b := p.Blobs[0]; b.ID[0] ^= 1; p.Blobs = append(p.Blobs, b) },
	} {
		t.Run(name, func(t *testing.T) {
			status, body := send(change)
			a.refusedAs("protect.junk", status, body)
			if !strings.Contains(body, "has no") {
				t.Errorf("refused for another reason: %s", body)
			}
		})
	}
	a.told("")
	a.unharmed("emr-1")
	if status, body := send(func(*restic.PackBlobs) {}); status != 200 { // sealed in the same way, and true
		t.Errorf("a true index: %d %s", status, body)
	}
}

func TestKeysThatTheHubCannotOpenAreRefused(t *testing.T) {
	a := attack(t, "emr-1")
	pw := filepath.Join(t.TempDir(), "pw")
	restictest.Write(t, pw, []byte("the thief's\n"))
	if out, err := a.p.Try(t.Context(), "key", "add", "--new-password-file", pw); err == nil {
		t.Errorf("a key was added: %s", out)
	}
	if !a.told("protect.key") {
		t.Error("the key was not told")
	}
	restictest.Write(t, pw, []byte("escrow\n"))
	a.p.Run(t, "key", "add", "--new-password-file", pw) // the hub knows this one
	if out, err := a.p.Try(t.Context(), "key", "list"); err != nil || bytes.Count(out, []byte("\n")) < 3 {
		t.Errorf("keys: %s, %v", out, err)
	}
}

// Locks that somebody else left or forged stop nobody, and nobody removes
// another one's.
func TestForeignLocks(t *testing.T) {
	a := attack(t, "emr-1")
	stolen := filepath.Join(t.TempDir(), "stolen")
	if err := os.CopyFS(stolen, os.DirFS(a.folder("emr-1"))); err != nil {
		t.Fatal(err)
	}
	lock := exclusive(t, restictest.Newest(t).At(stolen))
	name := restic.Sum(lock).String()
	if status, body := a.send("emr-1.other", "POST", "emr-1/locks/"+name, lock); status != 200 {
		t.Fatalf("a lock: %d %s", status, body)
	}
	repo, err := a.s.Repository(t.Context(), "emr-1")
	if err != nil || !repo.Working() {
		t.Errorf("the hub does not know that somebody works: %v", err)
	}
	status, body := a.send("emr-1", "DELETE", "emr-1/locks/"+name, nil)
	a.refusedAs("protect.lock", status, body)
	a.unharmed("emr-1")
	a.setClock(time.Hour)
	if repo.Working() {
		t.Error("a lock of an hour ago counts")
	}
}

// exclusive catches the exclusive lock of a check.
func exclusive(t *testing.T, p restictest.Program) []byte {
	t.Helper()
	cmd := p.Command(t.Context(), "check", "--read-data")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		locks, _ := filepath.Glob(filepath.Join(p.Repo, "locks", "*"))
		for _, path := range locks {
			if b, err := os.ReadFile(path); err == nil && restic.Sum(b).String() == filepath.Base(path) {
				return b
			}
		}
	}
	t.Fatal("restic made no lock")
	return nil
}

func TestAnotherAgentsRepositoryIsOutOfReach(t *testing.T) {
	a := attack(t, "emr-1")
	for _, path := range []string{"emr-1/config", "emr-1/data/", "emr-1/data/" + a.one("data"), "emr-1/asof/2030-01-01T00:00:00Z/keys/", "../emr-1/config", "emr-2/../emr-1/config", "%2e%2e/emr-1/config"} {
		if status, body := a.send("emr-2", "GET", path, nil); status < 400 {
			t.Errorf("GET %s by another agent: %d %.80q", path, status, body)
		}
	}
	if status, _ := a.send("emr-2", "POST", "emr-1/locks/"+strings.Repeat("0", 64), nil); status != 403 {
		t.Errorf("a lock by another agent: %d", status)
	}
	if status, _ := a.send("stranger-1", "POST", "stranger-1/?create=true", nil); status != 404 {
		t.Errorf("an agent that the hub does not know: %d", status)
	}
	a.unharmed("emr-1")
}

// Stolen credentials of an agent that only backs up do not read the contents.
func TestBackingUpNeedsNoContents(t *testing.T) {
	a := attack(t, "emr-1")
	backup := a.restic(restictest.Newest(t), "emr-1.backup")
	restictest.Write(t, filepath.Join(a.src, "later"), []byte("later"))
	backup.Run(t, "backup", a.src)
	if out, err := backup.Try(t.Context(), "dump", "latest", filepath.Join(a.src, "later")); err == nil {
		t.Errorf("contents were read: %s", out)
	}
	if status, _ := a.send("emr-1.backup", "GET", "emr-1/asof/2030-01-01T00:00:00Z/config", nil); status != 403 {
		t.Errorf("the past was read: %d", status)
	}
	restore := a.restic(restictest.Newest(t), "emr-1.restore")
	same(t, a.src, restored(t, restore, a.src, "latest"))
	if out, err := restore.Try(t.Context(), "backup", a.src); err == nil {
		t.Errorf("the right to restore wrote: %s", out)
	}
}

func TestQuotaNeverMakesRoom(t *testing.T) {
	a := attack(t, "small-1")
	big := t.TempDir()
	restictest.Write(t, filepath.Join(big, "noise"), restictest.Noise(8<<20))
	body := restictest.Noise(4 << 20)
	status, said := a.send("small-1", "POST", "small-1/data/"+restic.Sum(body).String(), body)
	a.refusedAs("protect.quota", status, said)
	if status != 507 {
		t.Errorf("status %d, want 507", status)
	}
	a.unharmed("small-1")
}

// TestWhoWritesToTheEndHearsTheReason: a client that reads its answer only after it
// has sent everything, slower than a server closes, is told why all the same.
func TestWhoWritesToTheEndHearsTheReason(t *testing.T) {
	a := attack(t, "small-1")
	body := restictest.Noise(4 << 20)
	conn, err := tls.Dial("tcp", a.server.Listener.Addr().String(), a.server.Client().Transport.(*http.Transport).TLSClientConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	req, err := http.NewRequestWithContext(t.Context(), "POST", a.server.URL+"/restic/small-1/data/"+restic.Sum(body).String(), &slow{body, 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = int64(len(body))
	req.SetBasicAuth("small-1", "pw-small-1")
	if err := req.Write(conn); err != nil {
		t.Fatalf("the connection ended first: %v", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	said, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a.refusedAs("protect.quota", res.StatusCode, string(said))
	a.unharmed("small-1")
}

// slow gives its first half, waits, and gives the rest.
type slow struct {
	left  []byte
	pause time.Duration
}

func (s *slow) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	if len(s.left) <= 2<<20 {
		time.Sleep(s.pause)
		s.pause = 0
	}
	n := copy(p[:min(len(p), 64<<10)], s.left)
	s.left = s.left[n:]
	return n, nil
}

// An upload that breaks off is never seen, and the next one works.
func TestHalfAnUploadIsNotSeen(t *testing.T) {
	a := attack(t, "emr-1")
	r, err := a.s.Repository(t.Context(), "emr-1")
	if err != nil {
		t.Fatal(err)
	}
	body := restictest.Noise(1 << 20)
	name := restic.Sum(body).String()
	if err := r.Put(t.Context(), "emr-1", restic.Data, name, int64(len(body)), bytes.NewReader(body[:1<<19])); err == nil {
		t.Error("half a file was taken")
	}
	if status, _ := a.send("emr-1", "HEAD", "emr-1/data/"+name, nil); status != 404 {
		t.Errorf("half a file is seen: %d", status)
	}
	a.told("")
	a.unharmed("emr-1")
}
