package witness

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
)

func quiet(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// hubLedger is a hub's ledger with its key.
type hubLedger struct {
	*ledger.Ledger
	dir, signer, verifier string
}

func newKeys(t testing.TB, name string) (signer, verifier string) {
	t.Helper()
	signer, verifier, err := note.GenerateKey(nil, name)
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifier
}

func newLedger(t testing.TB, signer, verifier string, witnesses ...ledger.WitnessKey) hubLedger {
	t.Helper()
	dir := t.TempDir()
	l, err := ledger.Open(t.Context(), filepath.Join(dir, "ledger"), signer, quiet(t), ledger.Witnessed(filepath.Join(dir, "witness"), witnesses...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return hubLedger{l, dir, signer, verifier}
}

// write appends leaves from..to-1 and returns the checkpoint over them.
func (l hubLedger) write(t testing.TB, from, to int) ledger.Checkpoint {
	t.Helper()
	var all sync.WaitGroup
	for n := from; n < to; n++ {
		lf, err := leaf.Of("entry", fmt.Sprintf("in-%06d/1", n), time.Date(2026, 11, 22, 14, 2, 0, n, time.UTC), n)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if _, err := l.Append(t.Context(), lf); err != nil {
				t.Errorf("append %d: %v", n, err)
			}
		})
	}
	all.Wait()
	cp, err := l.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return cp.Bare()
}

// request is the body that asks for cp, coming from old leaves.
func (l hubLedger) request(t testing.TB, old uint64, cp ledger.Checkpoint) []byte {
	t.Helper()
	proof, err := l.Consistency(t.Context(), min(old, cp.Size), cp.Size)
	if err != nil {
		t.Fatal(err)
	}
	return request{old: old, proof: proof, note: []byte(cp.Text)}.format()
}

func openWitness(t testing.TB, dir string, logs ...string) *Witness {
	t.Helper()
	w, err := Open(Config{Dir: dir, Name: "w.example/one", Logs: logs, Log: quiet(t)})
	if err != nil {
		t.Fatalf("open witness: %v", err)
	}
	return w
}

func closed(t testing.TB, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// post sends a body to the witness's handler.
func post(t testing.TB, h http.Handler, body []byte) (status int, kind, answer string) {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/add-checkpoint", strings.NewReader(string(body))))
	return rec.Code, rec.Header().Get("Content-Type"), rec.Body.String()
}

func TestAddCheckpoint(t *testing.T) {
	signer, verifier := newKeys(t, "sonae")
	honest, liar := newLedger(t, signer, verifier), newLedger(t, signer, verifier)
	three, ten := honest.write(t, 0, 3), honest.write(t, 3, 10)
	liarTen, liarMore := liar.write(t, 100, 110), liar.write(t, 110, 130)
	otherName := newLedger(t, first(newKeys(t, "other")), "")
	imposter := newLedger(t, first(newKeys(t, "sonae")), "")
	w := openWitness(t, t.TempDir(), verifier)
	defer w.Close()
	h := w.Handler()
	twelve := honest.write(t, 10, 12)
	withProof := func(old uint64, like, cp ledger.Checkpoint) []byte { // a proof for another pair
		proof, err := honest.Consistency(t.Context(), old, like.Size)
		if err != nil {
			t.Fatal(err)
		}
		return request{old: old, proof: proof, note: []byte(cp.Text)}.format()
	}
	for _, step := range []struct {
		name   string
		body   []byte
		status int
		size   string // of a conflict
	}{
		{"not a request", []byte("hello"), http.StatusBadRequest, ""},
		{"too large", []byte(strings.Repeat("x", maxRequest+1)), http.StatusRequestEntityTooLarge, ""},
		{"another origin", otherName.request(t, 0, otherName.write(t, 0, 1)), http.StatusNotFound, ""},
		{"another key of that name", imposter.request(t, 0, imposter.write(t, 0, 1)), http.StatusForbidden, ""},
		{"not yet that far", honest.request(t, 3, ten), http.StatusConflict, "0\n"},
		{"a proof from nothing", withProof(3, ten, three)[:0], http.StatusBadRequest, ""},
		{"first", honest.request(t, 0, three), http.StatusOK, ""},
		{"again", honest.request(t, 3, three), http.StatusOK, ""},
		{"from nothing again", honest.request(t, 0, ten), http.StatusConflict, "3\n"},
		{"backwards", honest.request(t, 12, ten), http.StatusBadRequest, ""},
		{"without the proof", request{old: 3, note: []byte(ten.Text)}.format(), http.StatusUnprocessableEntity, ""},
		{"with the proof of another pair", withProof(3, twelve, ten), http.StatusUnprocessableEntity, ""},
		{"same size with a proof", withProof(3, ten, three), http.StatusUnprocessableEntity, ""},
		{"further", honest.request(t, 3, ten), http.StatusOK, ""},
		{"backwards from the right size", request{old: 10, note: []byte(three.Text)}.format(), http.StatusBadRequest, ""},
		{"another history as long", request{old: 10, note: []byte(liarTen.Text)}.format(), http.StatusConflict, ""},
		{"another history, longer", liar.request(t, 10, liarMore), http.StatusUnprocessableEntity, ""},
		{"another history, with the honest proof", withProof(10, twelve, liarMore), http.StatusUnprocessableEntity, ""},
		{"another history from its start", liar.request(t, 0, liarMore), http.StatusConflict, "10\n"},
		{"the honest one goes on", honest.request(t, 10, twelve), http.StatusOK, ""},
	} {
		status, kind, answer := post(t, h, step.body)
		if status != step.status || step.size != "" && (kind != typeSize || answer != step.size) || step.size == "" && kind == typeSize {
			t.Errorf("%s: got %d %s %q, want %d %q", step.name, status, kind, answer, step.status, step.size)
		}
		if status == http.StatusOK && !strings.HasPrefix(answer, "— w.example/one ") {
			t.Errorf("%s: answer %q", step.name, answer)
		}
	}
	text, _ := w.Checkpoint("sonae")
	cp, err := ledger.ParseCheckpoint(text, verifier)
	if err != nil || cp.Bare() != twelve {
		t.Errorf("the witness remembers %+v, %v", cp, err)
	}
	if _, err := cp.Cosigned(w.Key()); err != nil {
		t.Error(err)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/checkpoint?origin=sonae", nil))
	if rec.Code != http.StatusOK || rec.Body.String() != text {
		t.Errorf("it shows %d %q", rec.Code, rec.Body)
	}
}

func first(a, _ string) string { return a }

// Of two histories offered at the same time only one is ever cosigned.
func TestOnlyOneHistoryIsCosigned(t *testing.T) {
	signer, verifier := newKeys(t, "sonae")
	dir := t.TempDir()
	w := openWitness(t, dir, verifier)
	h := w.Handler()
	var bodies [2][][]byte
	for side := range bodies {
		l := newLedger(t, signer, verifier)
		old := uint64(0)
		for step := range 5 {
			cp := l.write(t, side*1000+step*3, side*1000+step*3+3)
			bodies[side] = append(bodies[side], l.request(t, old, cp))
			old = cp.Size
		}
	}
	var mu sync.Mutex
	given := [2]int{}
	var all sync.WaitGroup
	for side := range bodies {
		for range 4 {
			all.Go(func() {
				for _, body := range bodies[side] {
					if status, _, _ := post(t, h, body); status == http.StatusOK {
						mu.Lock()
						given[side]++
						mu.Unlock()
					}
				}
			})
		}
	}
	all.Wait()
	if (given[0] == 0) == (given[1] == 0) {
		t.Errorf("cosigned %d of one history and %d of the other", given[0], given[1])
	}
	closed(t, w)
}

func TestWitnessRemembers(t *testing.T) {
	signer, verifier := newKeys(t, "sonae")
	l := newLedger(t, signer, verifier)
	dir := t.TempDir()
	w := openWitness(t, dir, verifier)
	key := w.Key()
	if _, err := Open(Config{Dir: dir, Name: "w", Logs: []string{verifier}, Log: quiet(t)}); err == nil || !strings.Contains(err.Error(), "witness.in-use") {
		t.Errorf("a second one in the same folder: %v", err)
	}
	if status, _, answer := post(t, w.Handler(), l.request(t, 0, l.write(t, 0, 4))); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	closed(t, w)
	w = openWitness(t, dir, verifier)
	if status, _, answer := post(t, w.Handler(), l.request(t, 0, l.write(t, 4, 6))); status != http.StatusConflict || answer != "4\n" || w.Key().String() != key.String() {
		t.Errorf("after a restart: %d %q, key %s", status, answer, w.Key())
	}
	closed(t, w)
	if info, err := os.Stat(filepath.Join(dir, fileKey)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info.Mode(), err)
	}
}

// A name that cannot stand in a key is refused before anything is kept of it,
// and a first start that was interrupted goes on.
func TestFirstStart(t *testing.T) {
	_, verifier := newKeys(t, "sonae")
	dir := t.TempDir()
	for _, name := range []string{"", "two words", "a+b"} {
		if w, err := Open(Config{Dir: dir, Name: name, Logs: []string{verifier}, Log: quiet(t)}); err == nil {
			t.Errorf("name %q was taken", name)
			closed(t, w)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, fileKey+".tmp"), []byte("half a k"), 0o644); err != nil {
		t.Fatal(err)
	}
	w := openWitness(t, dir, verifier)
	if got := w.Key().ID(); !strings.HasPrefix(got, "w.example/one+") {
		t.Errorf("got %s", got)
	}
	closed(t, w)
}

func TestDamagedWitnessDoesNotOpen(t *testing.T) {
	signer, verifier := newKeys(t, "sonae")
	_, other := newKeys(t, "sonae")
	l := newLedger(t, signer, verifier)
	body := l.request(t, 0, l.write(t, 0, 4))
	for name, tt := range map[string]struct {
		harm func(dir string) error
		logs []string
		want string
	}{
		"key lost":             {func(dir string) error { return os.Remove(filepath.Join(dir, fileKey)) }, nil, "witness.lost"},
		"memory lost":          {func(dir string) error { return os.Remove(filepath.Join(dir, fileState)) }, nil, "witness.lost"},
		"memory emptied":       {func(dir string) error { return os.Truncate(filepath.Join(dir, fileState), 0) }, nil, "witness.lost"},
		"memory changed":       {func(dir string) error { return replace(filepath.Join(dir, fileState), `\n4\n`, `\n3\n`) }, nil, "witness.other-key"},
		"key readable":         {func(dir string) error { return os.Chmod(filepath.Join(dir, fileKey), 0o644) }, nil, "can be read by others"},
		"key changed":          {func(dir string) error { return replace(filepath.Join(dir, fileKey), "PRIVATE", "PUBLIC") }, nil, "not a note signer key"},
		"another ledger key":   {nil, []string{other}, "witness.other-key"},
		"two keys of one name": {nil, []string{verifier, other}, "witness.one-key"},
		"no ledger":            {nil, []string{}, "witness.no-key"},
		"no key at all":        {nil, []string{"sonae"}, "ledger key"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w := openWitness(t, dir, verifier)
			if status, _, answer := post(t, w.Handler(), body); status != http.StatusOK {
				t.Fatalf("%d %s", status, answer)
			}
			closed(t, w)
			if tt.logs == nil {
				tt.logs = []string{verifier}
			}
			if tt.harm != nil {
				if err := tt.harm(dir); err != nil {
					t.Fatal(err)
				}
			}
			w, err := Open(Config{Dir: dir, Name: "w", Logs: tt.logs, Log: quiet(t)})
			if err == nil {
				closed(t, w)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func replace(path, old, with string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	changed := strings.Replace(string(b), old, with, 1)
	if changed == string(b) {
		return fmt.Errorf("%s has no %s", path, old)
	}
	return os.WriteFile(path, []byte(changed), 0o600)
}

// A witness whose disk is full gives nothing away.
func TestNothingIsCosignedThatIsNotStored(t *testing.T) {
	signer, verifier := newKeys(t, "sonae")
	l := newLedger(t, signer, verifier)
	dir := t.TempDir()
	w := openWitness(t, dir, verifier)
	defer w.Close()
	block := filepath.Join(dir, fileState+".tmp", "in the way")
	if err := os.MkdirAll(block, 0o700); err != nil {
		t.Fatal(err)
	}
	cp := l.write(t, 0, 2)
	if status, _, answer := post(t, w.Handler(), l.request(t, 0, cp)); status != http.StatusInternalServerError || strings.Contains(answer, "—") {
		t.Errorf("got %d %q", status, answer)
	}
	if err := os.RemoveAll(filepath.Dir(block)); err != nil {
		t.Fatal(err)
	}
	if status, _, answer := post(t, w.Handler(), l.request(t, 0, cp)); status != http.StatusOK {
		t.Errorf("afterwards: %d %q", status, answer)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	_, verifier := newKeys(t, "sonae")
	w := openWitness(t, t.TempDir(), verifier)
	defer w.Close()
	ctx, stop := context.WithCancel(t.Context())
	l := listen(t)
	done := make(chan error, 1)
	go func() { done <- w.Serve(ctx, l) }()
	answer, err := http.Get("http://" + l.Addr().String() + "/checkpoint?origin=sonae")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusNotFound {
		t.Errorf("nothing was cosigned, but: %d", answer.StatusCode)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
