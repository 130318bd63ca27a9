package evidence

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/evidence/bag"
	"github.com/sonae/sonae/evidence/stamp"
	"github.com/sonae/sonae/evidence/stamp/stamptest"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

const childEnv = "SONAE_EVIDENCE_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		childMain(dir, os.Getenv(childEnv+"_STATE"))
		return
	}
	os.Exit(statetest.Main(m))
}

// prover joins the ledger as the hub does.
type prover struct {
	*ledger.Ledger
	mu   sync.Mutex
	fail error // what the ledger answers instead
}

func (p *prover) Prove(ctx context.Context, l leaf.Leaf) ([]byte, error) {
	p.mu.Lock()
	err := p.fail
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if _, err := p.Append(ctx, l); err != nil {
		return nil, err
	}
	proof, err := p.Ledger.Prove(ctx, l)
	if err != nil {
		return nil, err
	}
	return proof.Bytes()
}

// rig is a Vault with a real ledger and a real database.
type rig struct {
	*Vault
	t      *testing.T
	dir    string
	at     string // where the state is
	db     *state.DB
	prover *prover
	key    string // verifier key
	stamp  Stamper
	store  blob.Store // nil: the folder is all there is
}

func newRig(t *testing.T, stamper Stamper) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), at: statetest.Address(t), stamp: stamper}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	signer, verifier, err := note.GenerateKey(nil, "sonae")
	r.must(err)
	l, err := ledger.Open(t.Context(), filepath.Join(t.TempDir(), "ledger"), signer, log)
	r.must(err)
	t.Cleanup(func() { _ = l.Close() })
	r.prover, r.key = &prover{Ledger: l}, verifier
	if inStore {
		r.store, err = blob.OpenFolder(t.TempDir())
		r.must(err)
	}
	r.reopen()
	return r
}

// reopen is what the hub does after a crash.
func (r *rig) reopen() {
	r.t.Helper()
	if r.db != nil {
		r.must(r.db.Close())
	}
	log := slog.New(slog.NewTextHandler(r.t.Output(), nil))
	r.db = statetest.OpenAt(r.t, r.at)
	var err error
	r.Vault, err = New(r.db, filepath.Join(r.dir, "evidence"), Deps{Ledger: r.prover, Key: r.key, Stamp: r.stamp, Store: r.store, MaxItem: 1 << 20, MaxBag: 4 << 20, Now: time.Now, Log: log})
	r.must(err)
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

var preserve = action.Action{ID: "ac-1", Kind: action.Preserve, State: action.Approved, Incident: "in-1", Host: "pc", Site: "callcentre",
	Reason: "ファイル共有", RequestedBy: "pe-1", Bag: "bag-1"}

var police = auth.Person{ID: "pe-9"}

func item(path string) NewItem {
	return NewItem{Bag: "bag-1", Path: path, Title: "題", Method: "read /proc", StartedAt: time.Now()}
}

func sums(b []byte) func() (string, string) {
	return func() (string, string) {
		s, l := sha256.Sum256(b), sha512.Sum512(b)
		return hex.EncodeToString(s[:]), hex.EncodeToString(l[:])
	}
}

func (r *rig) send(n NewItem, b []byte) error {
	return r.Receive(r.t.Context(), "pc", n, bytes.NewReader(b), sums(b))
}

// full makes a sealed bag like a real one.
func (r *rig) full() {
	r.t.Helper()
	r.must(r.OpenBag(r.t.Context(), preserve))
	random := make([]byte, 50_000)
	rnd := rand.NewChaCha8([32]byte{1})
	_, _ = rnd.Read(random)
	for path, b := range map[string][]byte{"clock.json": []byte(`{"wall":"2026-07-01T00:00:00Z"}`), "process/77/cmdline": []byte("aria2c\x00--seed\x00"),
		"process/77/exe": random, "network/最後の通信.pcapng": random[:9000], "empty": {}} {
		r.must(r.send(item(path), b))
	}
	missing := item("network/nft.json")
	missing.Error = "nft: not found"
	r.must(r.send(missing, nil))
	r.must(r.Seal(r.t.Context(), "bag-1", false))
}

func (r *rig) folder() string { return filepath.Join(r.dir, "evidence", "bag-1") }

func (r *rig) intact(path string) bag.Report {
	r.t.Helper()
	rep, err := bag.Verify(path, r.key)
	r.must(err)
	if !rep.Intact() {
		r.t.Fatalf("not intact: %v", rep.Differences)
	}
	return rep
}

func wantFault(t *testing.T, err error, kind fault.Kind, key string) {
	t.Helper()
	if fault.Of(err) != kind || !strings.Contains(fmt.Sprint(err), ": "+key) {
		t.Errorf("got %v, want %s: %s", err, kind, key)
	}
}

func TestSealedBagIsCheckedByStrangers(t *testing.T) {
	tsa := stamptest.Start(t)
	c, err := stamp.New(stamp.Config{URL: tsa.URL, Roots: tsa.Roots})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, c)
	r.full()
	rep := r.intact(r.folder())
	if rep.Bag != "bag-1" || rep.Files != 5 || !rep.Stamped || rep.OwnKey || rep.LoggedAt.IsZero() {
		t.Errorf("report %+v", rep)
	}
	for _, m := range []string{"manifest-sha256.txt", "tagmanifest-sha256.txt"} {
		r.run(r.folder(), "sha256sum", "--strict", "-c", m)
	}
	r.run(r.folder(), "sha512sum", "--strict", "-c", "manifest-sha512.txt")
	r.must(os.WriteFile(filepath.Join(r.dir, "root.pem"), tsa.Roots, 0o600))
	r.run(r.folder(), "openssl", "ts", "-verify", "-data", bag.Manifest256, "-in", bag.Stamp, "-token_in", "-CAfile", filepath.Join(r.dir, "root.pem"))

	b, err := r.Get(t.Context(), "bag-1")
	r.must(err)
	if b.State != Sealed || !b.Stamped || len(b.Items) != 6 || b.Bytes == 0 || b.Digest == "" || b.SealedAt.IsZero() {
		t.Errorf("bag %+v", b)
	}
	cs, err := r.Custody(t.Context(), "bag-1")
	r.must(err)
	if len(cs) != 8 || cs[0].What != "ordered" || cs[7].What != "sealed" {
		t.Errorf("custody %+v", cs)
	}
	r.must(r.Seal(t.Context(), "bag-1", true)) // again: nothing changes
	if again, _ := r.Get(t.Context(), "bag-1"); again.Digest != b.Digest || again.State != Sealed {
		t.Error("a sealed bag was sealed again")
	}
	list, n, err := r.List(t.Context(), Filter{Incident: "in-1", Host: "pc"})
	if err != nil || n != 1 || list[0].Bytes != b.Bytes || len(list[0].Items) != len(b.Items) {
		t.Errorf("list %v %d %v", list, n, err)
	}
}

func (r *rig) run(dir, name string, args ...string) {
	r.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Errorf("%s %v: %v: %s", name, args, err, out)
	}
}

func (r *rig) zip(purpose string) []byte {
	r.t.Helper()
	var b bytes.Buffer
	r.must(r.Zip(r.t.Context(), "bag-1", &b, purpose, police))
	return b.Bytes()
}

// unzip unpacks a zip as anybody would.
func (r *rig) unzip(from, to string) {
	r.t.Helper()
	z, err := zip.OpenReader(filepath.Join(r.dir, from))
	r.must(err)
	defer z.Close()
	r.must(os.CopyFS(filepath.Join(r.dir, to), z))
}

func TestExportCarriesItsOwnCustody(t *testing.T) {
	r := newRig(t, nil)
	r.full()
	r.must(r.Viewed(t.Context(), "bag-1", police))
	r.must(r.HandOver(t.Context(), "bag-1", "県警 サイバー課", "捜査", "総務課長", police))
	z := r.zip("警察への提出")
	path := filepath.Join(r.dir, "out.zip")
	r.must(os.WriteFile(path, z, 0o600))
	rep := r.intact(path)
	if !rep.Exported || rep.Stamped {
		t.Errorf("report %+v", rep)
	}
	r.unzip("out.zip", "there")
	r.intact(filepath.Join(r.dir, "there", "bag-1"))
	after, err := os.ReadFile(filepath.Join(r.dir, "there", "bag-1", bag.After))
	r.must(err)
	for _, want := range []string{`"what":"viewed"`, `"what":"handed-over"`, "総務課長", `"what":"exported"`, "警察への提出"} {
		if !bytes.Contains(after, []byte(want)) {
			t.Errorf("custody after sealing lacks %s", want)
		}
	}
	r.intact(r.folder()) // exporting changes nothing in the bag
	if rep, err := bag.Verify(path, ""); err != nil || !rep.Intact() || !rep.OwnKey {
		t.Errorf("with its own key: %+v, %v", rep, err)
	}
	_, other, err := note.GenerateKey(nil, "sonae")
	r.must(err)
	if rep, err := bag.Verify(path, other); err != nil || rep.Intact() || rep.Differences[0].File != bag.Key {
		t.Errorf("with another hub's key: %+v, %v", rep, err)
	}
	wantFault(t, r.Zip(t.Context(), "bag-1", io.Discard, " ", police), fault.Invalid, "evidence.purpose")
	wantFault(t, r.Zip(t.Context(), "bag-x", io.Discard, "x", police), fault.Missing, "evidence.unknown")
	wantFault(t, r.HandOver(t.Context(), "bag-1", "", "x", "", police), fault.Invalid, "evidence.receiver")
}

func TestEveryChangedByteIsNamed(t *testing.T) {
	tsa := stamptest.Start(t)
	c, err := stamp.New(stamp.Config{URL: tsa.URL, Roots: tsa.Roots})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, c)
	r.full()
	zipped := r.zip("x")
	r.must(os.WriteFile(filepath.Join(r.dir, "out.zip"), zipped, 0o600))
	r.unzip("out.zip", "there")
	root := filepath.Join(r.dir, "there", "bag-1")
	r.intact(root)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	files := tree(t, root)
	for n := range 200 {
		name := files[n%len(files)] // every file often enough, small ones too
		p := filepath.Join(root, name)
		was, err := os.ReadFile(p)
		r.must(err)
		if len(was) == 0 {
			continue
		}
		bad := bytes.Clone(was)
		at := rnd.IntN(len(bad))
		bad[at] ^= byte(1 + rnd.IntN(255))
		r.overwrite(p, bad)
		rep, err := bag.Verify(root, r.key)
		if err != nil || rep.Intact() || rep.Differences[0].File != name {
			t.Errorf("seed %d: byte %d of %s: %v %v", seed, at, name, rep.Differences, err)
		}
		r.overwrite(p, was)
	}
	r.intact(root)

	for range 200 { // the zip: also the bytes between the files
		bad := bytes.Clone(zipped)
		at := rnd.IntN(len(bad))
		bad[at] ^= byte(1 + rnd.IntN(255))
		p := filepath.Join(r.dir, "bad.zip")
		r.must(os.WriteFile(p, bad, 0o600))
		rep, err := bag.Verify(p, r.key)
		if err == nil && rep.Intact() {
			t.Errorf("seed %d: byte %d of the zip is not noticed", seed, at)
		}
	}
}

func (r *rig) overwrite(p string, b []byte) {
	r.t.Helper()
	r.must(os.Chmod(p, 0o600))
	r.must(os.WriteFile(p, b, 0o600))
}

func tree(t *testing.T, root string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(root, p)
			out = append(out, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAddedRemovedAndRenamedFilesAreNamed(t *testing.T) {
	r := newRig(t, nil)
	r.full()
	for name, tt := range map[string]struct {
		do   func(root string) error
		want string
	}{
		"added item":       {func(root string) error { return os.WriteFile(root+"/data/planted", []byte("x"), 0o600) }, "data/planted"},
		"added tag file":   {func(root string) error { return os.WriteFile(root+"/note.txt", []byte("x"), 0o600) }, "note.txt"},
		"removed item":     {func(root string) error { return os.Remove(root + "/data/clock.json") }, "data/clock.json"},
		"removed custody":  {func(root string) error { return os.Remove(root + "/custody.jsonl") }, "custody.jsonl"},
		"removed proof":    {func(root string) error { return os.Remove(root + "/proof.json") }, "proof.json"},
		"removed manifest": {func(root string) error { return os.Remove(root + "/manifest-sha512.txt") }, "manifest-sha512.txt"},
		"removed tags":     {func(root string) error { return os.Remove(root + "/tagmanifest-sha256.txt") }, "tagmanifest-sha256.txt"},
		"renamed item":     {func(root string) error { return os.Rename(root+"/data/empty", root+"/data/other") }, "data/empty"},
		"a link instead":   {func(root string) error { return os.Symlink("/etc/passwd", root+"/data/link") }, "data/link"},
		"item and manifests changed together": {func(root string) error {
			return errors.Join(os.WriteFile(root+"/data/planted", nil, 0o600), appendLine(root, bag.Manifest256, "data/planted", sha256.New().Sum(nil)),
				appendLine(root, bag.Manifest512, "data/planted", sha512.New().Sum(nil)))
		}, bag.Manifest256},
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "b")
			r.run(r.dir, "cp", "-r", r.folder(), root)
			if err := tt.do(root); err != nil {
				t.Fatal(err)
			}
			rep, err := bag.Verify(root, r.key)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, d := range rep.Differences {
				found = found || d.File == tt.want
			}
			if !found {
				t.Errorf("named %v, want %s", rep.Differences, tt.want)
			}
		})
	}
	if _, err := bag.Verify(t.TempDir(), r.key); !errors.Is(err, bag.ErrNotABag) {
		t.Errorf("an empty folder: %v", err)
	}
}

func appendLine(root, manifest, path string, sum []byte) error {
	p := filepath.Join(root, manifest)
	b, err := os.ReadFile(p)
	if err != nil {
		return err
	}
	return errors.Join(os.Chmod(p, 0o600), os.WriteFile(p, append(b, []byte(hex.EncodeToString(sum)+"  "+path+"\n")...), 0o600))
}

func TestWhatIsNotReceived(t *testing.T) {
	r := newRig(t, nil)
	ctx := t.Context()
	wantFault(t, r.send(item("a"), nil), fault.Missing, "evidence.unknown")
	r.must(r.OpenBag(ctx, preserve))
	r.must(r.OpenBag(ctx, preserve))
	iso := preserve
	iso.Kind = action.Isolate
	wantFault(t, r.OpenBag(ctx, iso), fault.Invalid, "evidence.not-preserve")
	out := preserve
	out.Bag = "../x"
	wantFault(t, r.OpenBag(ctx, out), fault.Invalid, "evidence.not-preserve")

	wantFault(t, r.Receive(ctx, "other", item("a"), strings.NewReader("a"), sums([]byte("a"))), fault.Denied, "evidence.other-host")
	for _, p := range []string{"", "/etc/passwd", "../x", "a/../../x", `a\b`, "a\nb", "a%0Ab", "a//b", ".", "a/./b", "x ", "a~2", "a/b.", "日\u202e本", strings.Repeat("x", 600), strings.Repeat("a/", 20) + "a"} {
		wantFault(t, r.send(item(p), []byte("x")), fault.Invalid, "evidence.item")
	}
	long := item("a")
	long.Method = strings.Repeat("x", maxMethod+1)
	wantFault(t, r.send(long, []byte("x")), fault.Invalid, "evidence.item")
	wantFault(t, r.send(item("big"), make([]byte, 1<<20+1)), fault.Invalid, "evidence.too-large")
	wantFault(t, r.Receive(ctx, "pc", item("a"), strings.NewReader("a"), sums([]byte("b"))), fault.Invalid, "evidence.hash-mismatch")
	wantFault(t, r.Receive(ctx, "pc", item("a"), strings.NewReader("a"), func() (string, string) { s, _ := sums([]byte("a"))(); return s, "" }),
		fault.Invalid, "evidence.hash-mismatch")
	broken := io.MultiReader(strings.NewReader("half"), iotestErr{})
	if err := r.Receive(ctx, "pc", item("a"), broken, sums([]byte("half"))); err == nil {
		t.Error("a body that broke off was kept")
	}
	if got := tree(t, filepath.Join(r.dir, "evidence")); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	cs, err := r.Custody(ctx, "bag-1")
	r.must(err)
	if len(cs) != 3 || cs[1].What != "refused" || cs[1].Item != "a" {
		t.Errorf("a mismatch is not on record: %+v", cs)
	}
	for i := range 4 {
		r.must(r.send(item(fmt.Sprint("part", i)), bytes.Repeat([]byte{byte(i)}, 1<<20)))
	}
	wantFault(t, r.send(item("one-more"), []byte("x")), fault.Busy, "evidence.bag-full")
	wantFault(t, r.Zip(ctx, "bag-1", io.Discard, "x", police), fault.Conflict, "evidence.not-sealed")
	wantFault(t, r.Viewed(ctx, "bag-1", police), fault.Conflict, "evidence.not-sealed")
	r.must(r.Seal(ctx, "bag-1", true))
	wantFault(t, r.send(item("late"), []byte("x")), fault.Conflict, "evidence.sealed")
	r.must(r.send(item("part1"), bytes.Repeat([]byte{1}, 1<<20))) // a retry whose answer was lost
	if b, _ := r.Get(ctx, "bag-1"); b.State != Broken {
		t.Errorf("bag is %s, want broken", b.State)
	}
	r.intact(r.folder())
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestSendingAgain(t *testing.T) {
	r := newRig(t, nil)
	ctx := t.Context()
	r.must(r.OpenBag(ctx, preserve))
	r.must(r.send(item("ps.txt"), []byte("one")))
	r.must(r.send(item("ps.txt"), []byte("one"))) // the same
	r.must(r.send(item("ps.txt"), []byte("two"))) // the agent was restarted and looked again
	r.must(r.send(item("ps.txt"), []byte("two")))
	gone := item("nft")
	gone.Error = "not found"
	r.must(r.send(gone, nil))
	r.must(r.send(gone, nil))
	r.must(r.send(item("nft"), []byte("{}"))) // a second try worked
	r.must(r.send(gone, nil))
	partial := item("log")
	partial.Error = "cut at 1 MiB"
	r.must(r.send(partial, []byte("half a log")))
	b, err := r.Get(ctx, "bag-1")
	r.must(err)
	got := map[string]string{}
	for _, it := range b.Items {
		got[it.Path] = it.Error
	}
	if d := cmp.Diff(map[string]string{"ps.txt": "", "ps~2.txt": "", "nft": "", "log": "cut at 1 MiB"}, got); d != "" {
		t.Error(d)
	}
	r.must(r.Seal(ctx, "bag-1", false))
	if rep := r.intact(r.folder()); rep.Files != 4 {
		t.Errorf("%d files", rep.Files)
	}
}

func TestManySendersAtOnce(t *testing.T) {
	r := newRig(t, nil)
	r.must(r.OpenBag(t.Context(), preserve))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if err := r.send(item(fmt.Sprintf("d%d/f", i%8)), fmt.Appendf(nil, "content %d", i%8)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b, err := r.Get(t.Context(), "bag-1")
	r.must(err)
	if len(b.Items) != 8 {
		t.Errorf("%d items, want 8", len(b.Items))
	}
	r.must(r.Seal(t.Context(), "bag-1", false))
	r.intact(r.folder())
}

func TestSealingGoesOnAfterACrash(t *testing.T) {
	tsa := stamptest.Start(t)
	c, err := stamp.New(stamp.Config{URL: tsa.URL, Roots: tsa.Roots})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, c)
	ctx := t.Context()
	r.must(r.OpenBag(ctx, preserve))
	r.must(r.send(item("a"), []byte("a")))
	r.prover.fail = errors.New("ledger is full")
	if err := r.Seal(ctx, "bag-1", true); err == nil {
		t.Fatal("sealed without a ledger")
	}
	wantFault(t, r.send(item("b"), []byte("b")), fault.Conflict, "evidence.sealed")
	token, err := os.ReadFile(filepath.Join(r.folder(), bag.Stamp))
	r.must(err)
	r.must(os.WriteFile(filepath.Join(r.folder(), ".new-123"), []byte("half"), 0o600)) // as a crash leaves it
	r.must(os.WriteFile(filepath.Join(r.folder(), "data", "unknown"), []byte("x"), 0o600))
	r.prover.fail = nil
	r.reopen()
	r.must(r.Resume(ctx))
	b, err := r.Get(ctx, "bag-1")
	r.must(err)
	if b.State != Broken || !b.Stamped {
		t.Errorf("bag %+v", b)
	}
	r.intact(r.folder())
	if again, _ := os.ReadFile(filepath.Join(r.folder(), bag.Stamp)); !bytes.Equal(token, again) {
		t.Error("a second time stamp was asked for")
	}
	r.must(r.Resume(ctx))
}

func TestBagIsSealedWhenTheTimeStampAuthorityIsSilent(t *testing.T) {
	tsa := stamptest.Start(t)
	c, err := stamp.New(stamp.Config{URL: "http://127.0.0.1:1/", Roots: tsa.Roots, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, c)
	r.full()
	if rep := r.intact(r.folder()); rep.Stamped {
		t.Error("stamped by nobody")
	}
	info, err := os.ReadFile(filepath.Join(r.folder(), bag.Info))
	r.must(err)
	if !bytes.Contains(info, []byte("Sonae-Time-Stamp: none (the authority did not answer)\n")) {
		t.Errorf("bag-info.txt does not say so:\n%s", info)
	}
}

func TestDamageOnTheDiskBeforeSealingIsNotSealed(t *testing.T) {
	r := newRig(t, nil)
	r.must(r.OpenBag(t.Context(), preserve))
	r.must(r.send(item("a"), []byte("abc")))
	r.overwrite(filepath.Join(r.folder(), "data", "a"), []byte("abd"))
	err := r.Seal(t.Context(), "bag-1", false)
	wantFault(t, err, fault.Conflict, "evidence.damaged")
	if !strings.Contains(err.Error(), "data/a") {
		t.Errorf("got %v", err)
	}
	r.reopen()
	if err := r.Resume(t.Context()); err != nil {
		t.Errorf("one damaged bag keeps the hub from starting: %v", err)
	}
}

// A bag may have more items than one message carries.
func TestSealedMessageIsSmallHoweverManyItemsThereAre(t *testing.T) {
	r := newRig(t, nil)
	r.must(r.OpenBag(t.Context(), preserve))
	for i := range 40 {
		n := item(fmt.Sprint("m/", i))
		n.Error, n.Method = strings.Repeat("x", 1000), strings.Repeat("y", 4000)
		r.must(r.send(n, nil))
	}
	r.must(r.send(item("a"), []byte("abc")))
	r.must(r.Seal(t.Context(), "bag-1", false))
	var size int
	r.must(r.db.QueryRow(t.Context(), `SELECT LENGTH(body) FROM outbox WHERE subject = 'evidence.sealed'`).Scan(&size))
	if size > 4<<10 {
		t.Errorf("the message has %d bytes", size)
	}
	b, err := r.Get(t.Context(), "bag-1")
	r.must(err)
	if l, ok := b.Line(); !ok || l.Args["count"] != "1" {
		t.Errorf("line %+v", l)
	}
}

func TestNothingIsReceivedOntoAFullDisk(t *testing.T) {
	r := newRig(t, nil)
	r.must(r.OpenBag(t.Context(), preserve))
	r.deps.Room = func() error { return fault.New(fault.Busy, "bus.disk") }
	wantFault(t, r.send(item("a"), []byte("abc")), fault.Busy, "bus.disk")
	r.deps.Room = func() error { return nil }
	r.must(r.send(item("a"), []byte("abc")))
}

func TestBagsOfASiteAreSelectedBeforePaging(t *testing.T) {
	r := newRig(t, nil)
	for i, site := range []string{"hospital", "callcentre", "hospital"} {
		a := preserve
		a.Bag, a.Site = fmt.Sprint("bag-", i), site
		r.must(r.OpenBag(t.Context(), a))
	}
	list, n, err := r.List(t.Context(), Filter{Site: "callcentre", Limit: 1})
	r.must(err)
	if n != 1 || len(list) != 1 || list[0].Site != "callcentre" {
		t.Errorf("%d of %d: %+v", len(list), n, list)
	}
}

func TestVerifyNamesChangedCustodyAndMissingBags(t *testing.T) {
	for change, want := range map[string]string{
		`SELECT 1`: "",
		`DELETE FROM evidence_custody WHERE body LIKE '%exported%'`:                 "missing",
		`UPDATE evidence_custody SET body = REPLACE(body, 'police', 'nobody')`:      "changed",
		`DELETE FROM evidence_bag`:                                                  "missing",
		`UPDATE evidence_bag SET body = REPLACE(body, '"digest":"', '"digest":"0')`: "changed",
		`UPDATE evidence_bag SET host = 'other'`:                                    "unreadable",
		`UPDATE evidence_bag SET state = 'collecting', sealing = 'sealed'`:          "",
		`UPDATE evidence_bag SET state = 'collecting', sealing = ''`:                "missing",
	} {
		t.Run(change, func(t *testing.T) {
			r := newRig(t, nil)
			r.full()
			_ = r.zip("police")
			r.must(r.db.Tx(t.Context(), func(tx *state.Tx) error { _, err := tx.ExecContext(t.Context(), change); return err }))
			all, err := r.prover.Leaves(t.Context(), 0, 1000)
			r.must(err)
			found, err := VerifyRows(t.Context(), r.db, func(kind string) (out []leaf.Leaf) {
				for _, l := range all {
					if l.Type == kind {
						out = append(out, l)
					}
				}
				return out
			})
			r.must(err)
			if want == "" && len(found) != 0 || want != "" && !strings.Contains(fmt.Sprint(found), want) {
				t.Errorf("found %v, want %q", found, want)
			}
		})
	}
}

// childMain receives one item from its standard input, until it is killed.
func childMain(dir, at string) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	db, err := state.Open(context.Background(), at, log)
	if err != nil {
		panic(err)
	}
	v, err := New(db, filepath.Join(dir, "evidence"), Deps{Now: time.Now, Log: log})
	if err != nil {
		panic(err)
	}
	fmt.Println("ready")
	err = v.Receive(context.Background(), "pc", item("big"), os.Stdin, func() (string, string) { return "", "" })
	panic(fmt.Sprint("not killed: ", err))
}

func TestHubKilledWhileReceiving(t *testing.T) {
	r := newRig(t, nil)
	r.must(r.OpenBag(t.Context(), preserve))
	r.must(r.send(item("kept"), []byte("kept")))
	self, err := os.Executable()
	r.must(err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+r.dir, childEnv+"_STATE="+r.at)
	in, err := cmd.StdinPipe()
	r.must(err)
	out, err := cmd.StdoutPipe()
	r.must(err)
	r.must(cmd.Start())
	_, err = out.Read(make([]byte, 6))
	r.must(err)
	_, err = in.Write(make([]byte, 200_000))
	r.must(err)
	half := func() bool { return len(tree(t, filepath.Join(r.dir, "evidence", incoming))) == 1 }
	for end := time.Now().Add(5 * time.Second); !half(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing is being received")
		}
	}
	r.must(cmd.Process.Kill())
	_ = cmd.Wait()
	r.reopen()
	if half() {
		t.Error("the half item is still there")
	}
	r.must(r.send(item("big"), []byte("big"))) // the agent asks again
	r.must(r.Seal(t.Context(), "bag-1", false))
	if rep := r.intact(r.folder()); rep.Files != 2 {
		t.Errorf("%d files, want 2", rep.Files)
	}
}
