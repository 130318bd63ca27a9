package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/hub"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/ledger/witness"
	"github.com/sonae/sonae/secret"
)

// TestWitnessScripts runs a witness beside ledgers that a script grows with
// `record DIR FROM TO [SAID]`, all signed with one hub's key. SAID is what a
// witness printed; then the leaves are cosigned too. Scripts find the hub's
// public key in key.txt, and in $COSIGNED the name of the cosigned checkpoint.
func TestWitnessScripts(t *testing.T) {
	t.Parallel()
	signer, verifier, err := note.GenerateKey(nil, "sonae")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/witness",
		Setup: func(env *testscript.Env) error {
			for _, dir := range []string{"hub", "other", "short"} {
				if err := os.Mkdir(filepath.Join(env.WorkDir, dir), 0o700); err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(env.WorkDir, dir, keyFile), []byte(verifier+"\n"), 0o600); err != nil {
					return err
				}
			}
			return os.WriteFile(filepath.Join(env.WorkDir, "key.txt"), []byte(verifier+"\n"), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "flip": flip, "await": awaitText,
			"record": func(ts *testscript.TestScript, neg bool, args []string) { record(ts, neg, args, signer) }},
	})
}

// awaitText waits until a file that a program writes holds a text.
func awaitText(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE TEXT")
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && strings.Contains(string(b), args[1]) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s never said %q", args[0], args[1])
		}
	}
}

// said returns what follows a label in what a witness printed.
func said(path, label string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, label+": "); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("%s does not say %s", path, label)
}

func record(ts *testscript.TestScript, neg bool, args []string, signer string) {
	if len(args) != 3 && len(args) != 4 {
		ts.Fatalf("usage: record DIR FROM TO [SAID]")
	}
	from, err := strconv.Atoi(args[1])
	ts.Check(err)
	to, err := strconv.Atoi(args[2])
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	var peers []witness.Peer
	var keys []ledger.WitnessKey
	if len(args) == 4 {
		url, err := said(ts.MkAbs(args[3]), "listening")
		ts.Check(err)
		key, err := said(ts.MkAbs(args[3]), "witness-key")
		ts.Check(err)
		p, err := witness.ParsePeer(url, key)
		ts.Check(err)
		peers, keys = append(peers, p), append(keys, p.Key)
		ts.Setenv("COSIGNED", "checkpoint-"+strings.Split(key, "+")[1])
	}
	where := filepath.Join(filepath.Dir(dir), cosignedDir)
	if neg { // the liar has taken away what binds the ledger
		ts.Check(os.RemoveAll(where))
	}
	l, err := ledger.Open(context.Background(), dir, signer, slog.New(slog.DiscardHandler), ledger.Witnessed(where, keys...))
	ts.Check(err)
	defer l.Close()
	for n := from; n < to; n++ {
		lf, err := leaf.Of("entry", fmt.Sprintf("in-%06d/1", n), time.Unix(int64(n), 0), n)
		ts.Check(err)
		_, err = l.Append(context.Background(), lf)
		ts.Check(err)
	}
	if len(peers) == 0 {
		return
	}
	cp, err := l.Checkpoint(context.Background())
	ts.Check(err)
	if heard, cosigned := asked(l, peers, cp.Size); cosigned == neg {
		ts.Fatalf("cosigned: %v\n%s", cosigned, heard)
	}
}

// asked asks a witness until it cosigns so many leaves or refuses.
func asked(l *ledger.Ledger, peers []witness.Peer, size uint64) (heard string, cosigned bool) {
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	var out heardLog
	done := make(chan error, 1)
	go func() {
		done <- witness.NewAsker(l, peers, time.Now, slog.New(slog.NewTextHandler(&out, nil))).Run(ctx)
	}()
	defer func() { stop(); <-done }()
	for ctx.Err() == nil {
		if cp, _, ok := l.Cosigned(peers[0].Key); ok && cp.Size >= size {
			return out.String(), true
		}
		if strings.Contains(out.String(), "no cosignature") {
			return out.String(), false
		}
		time.Sleep(5 * time.Millisecond)
	}
	return "nothing", false
}

// heardLog keeps what is logged.
type heardLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (h *heardLog) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

func (h *heardLog) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// TestKilledWitnessForgetsNothing kills a witness again and again while a hub
// asks it. It must always know at least what it answered.
func TestKilledWitnessForgetsNothing(t *testing.T) {
	t.Parallel()
	signer, verifier, err := note.GenerateKey(nil, "sonae")
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir, honest := t.TempDir(), t.TempDir()
	written, answered := 0, uint64(0)
	for range 12 {
		p, kill := witnessProcess(t, dir, verifier)
		l, err := ledger.Open(t.Context(), filepath.Join(honest, "ledger"), signer, hubtest.Log(t), ledger.Witnessed(filepath.Join(honest, "witness"), p.Key))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = witness.NewAsker(l, []witness.Peer{p}, time.Now, slog.New(slog.DiscardHandler)).Run(ctx) })
		for range 3 {
			lf, err := leaf.Of("entry", fmt.Sprintf("in-%06d/1", written), time.Unix(int64(written), 0), written)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.Append(t.Context(), lf); err != nil {
				t.Fatal(err)
			}
			written++
		}
		time.Sleep(time.Duration(random.IntN(40)) * time.Millisecond) // an unlucky moment
		kill()
		stop()
		all.Wait()
		if cp, _, ok := l.Cosigned(p.Key); ok {
			answered = cp.Size
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		w, err := witness.Open(witness.Config{Dir: dir, Logs: []string{verifier}, Log: hubtest.Log(t)})
		if err != nil {
			t.Fatalf("after the kill: %v", err)
		}
		text, _ := w.Checkpoint("sonae")
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var remembered uint64
		if text != "" {
			cp, err := ledger.ParseCheckpoint(text, verifier)
			if err != nil {
				t.Fatal(err)
			}
			remembered = cp.Size
		}
		if remembered < answered {
			t.Fatalf("the witness answered for %d leaves and remembers %d", answered, remembered)
		}
	}
	if answered == 0 {
		t.Error("nothing was ever cosigned")
	}
	if code, text := verified("--key", verifier, "--witness-key", filepath.Join(dir, "witness-key.txt"), filepath.Join(honest, "ledger")); code != intact {
		t.Errorf("verify: %d\n%s", code, text)
	}
}

// witnessProcess starts `sonae witness` on a folder.
func witnessProcess(t *testing.T, dir, verifier string) (p witness.Peer, kill func()) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "said")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := program(t, "witness", "--dir", dir, "--listen", "127.0.0.1:0", "--ledger-key", verifier)
	cmd.Stdout, cmd.Stderr = f, t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // "signal: killed"
	})
	t.Cleanup(kill)
	hubtest.Await(t, "the witness to say where it is", func() bool { _, err := said(out, "listening"); return err == nil })
	url, err := said(out, "listening")
	if err != nil {
		t.Fatal(err)
	}
	key, err := said(out, "witness-key")
	if err != nil {
		t.Fatal(err)
	}
	if p, err = witness.ParsePeer(url, key); err != nil {
		t.Fatal(err)
	}
	return p, kill
}

// TestWitnessedHub lets a whole hub be watched, then plays its operator, who
// has every key of the hub and writes its history anew.
func TestWitnessedHub(t *testing.T) {
	t.Parallel()
	dir := hubtest.Folder(t)
	h := hubtest.Start(t, hubtest.Dir(dir)) // its ledger key is made here
	key := h.Key()
	h.Stop()
	w, err := witness.Open(witness.Config{Dir: t.TempDir(), Name: "w", Logs: []string{key}, Log: hubtest.Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s := httptest.NewServer(w.Handler())
	defer s.Close()
	p, err := witness.ParsePeer(s.URL, w.Key().String())
	if err != nil {
		t.Fatal(err)
	}
	h = hubtest.Start(t, hubtest.Dir(dir), func(c *hub.Config) { c.Witnesses = []witness.Peer{p} })
	c := h.Drill()
	admin := c.Requester
	h.Idle()
	h.Await("a cosignature over what was recorded", func() bool {
		var cp struct{ Text string }
		admin.Must(http.MethodGet, "/ledger/checkpoint", nil, &cp)
		got, err := ledger.ParseCheckpoint(cp.Text, key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = got.Cosigned(p.Key)
		return err == nil && got.Size > 0
	})
	answer, err := http.Get(h.Local + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil || !strings.Contains(string(metrics), `sonae_ledger_cosignature_age_seconds{witness="`+p.Key.ID()+`"}`) {
		t.Errorf("the age of the cosignature is not among the metrics: %v", err)
	}
	var page []byte
	admin.Must(http.MethodGet, "/incidents/"+c.Incident.ID+"/reports/"+c.Document+"/html?lang=ja", nil, &page)
	if !strings.Contains(string(page), "— w ") {
		t.Error("the report does not carry the cosignature")
	}
	report := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(report, page, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, text := verified("--key", key, report); code != intact {
		t.Errorf("a report with a cosignature: %d\n%s", code, text)
	}
	h.Stop()
	if code, text := verified("--witness-key", p.Key.String(), dir); code != intact || !strings.Contains(text, "cosigned") {
		t.Fatalf("an honest hub: %d\n%s", code, text)
	}
	text, _ := w.Checkpoint("sonae")
	shown := filepath.Join(t.TempDir(), "checkpoint")
	if err := os.WriteFile(shown, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rewrite(t, dir)
	if code, text := verified("--witness-key", p.Key.String(), filepath.Join(dir, "ledger")); code != differs || !strings.Contains(text, "rewritten") {
		t.Errorf("a rewritten ledger: %d\n%s", code, text)
	}
	cfg := hubtest.Config(t, hubtest.Dir(dir))
	if again, err := hub.New(t.Context(), cfg, hubtest.Log(t)); err == nil || !strings.Contains(err.Error(), "ledger.rewritten") {
		t.Errorf("a hub on a rewritten ledger: %v", err)
		if err == nil {
			_ = again.Close()
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, cosignedDir)); err != nil { // so the operator hides it
		t.Fatal(err)
	}
	if code, text := verified("--witness-key", p.Key.String(), filepath.Join(dir, "ledger")); code != differs || !strings.Contains(text, "no checkpoint that it cosigned") {
		t.Errorf("without the cosigned checkpoint: %d\n%s", code, text)
	}
	if code, text := verified("--witness-key", p.Key.String(), "--against", shown, filepath.Join(dir, "ledger")); code != differs || !strings.Contains(text, "rewritten") {
		t.Errorf("against what the witness shows: %d\n%s", code, text)
	}
}

// rewrite replaces a hub's ledger by a longer one, signed with its own key.
func rewrite(t *testing.T, dir string) {
	t.Helper()
	before, err := ledger.Scan(filepath.Join(dir, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := secret.Open(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "ledger")); err != nil {
		t.Fatal(err)
	}
	signer, _ := keys.Note()
	l, err := ledger.Open(t.Context(), filepath.Join(dir, "ledger"), signer, hubtest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	extra, err := leaf.Of("entry", "in-000001/1", time.Unix(1, 0), "what never happened")
	if err != nil {
		t.Fatal(err)
	}
	for _, lf := range append([]leaf.Leaf{extra}, before...) {
		if _, err := l.Append(t.Context(), lf); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
