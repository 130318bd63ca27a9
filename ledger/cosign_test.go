package ledger

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/fault"
)

// eyewitness signs whatever it is shown.
type eyewitness struct {
	signer note.Signer
	key    WitnessKey
}

func newEyewitness(t testing.TB, name string) eyewitness {
	t.Helper()
	private, _, err := note.GenerateKey(nil, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, key, err := WitnessSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return eyewitness{signer, key}
}

func (e eyewitness) line(t testing.TB, cp Checkpoint) string {
	t.Helper()
	text, _, _ := strings.Cut(cp.Text, "\n\n")
	signed, err := note.Sign(&note.Note{Text: text + "\n"}, e.signer)
	if err != nil {
		t.Fatal(err)
	}
	return string(signed[len(text)+2:])
}

// see has the newest checkpoint cosigned.
func (e eyewitness) see(t testing.TB, l *Ledger) Checkpoint {
	t.Helper()
	cp := checkpointOf(t, l)
	if err := l.Cosign(cp, e.line(t, cp), e.key); err != nil {
		t.Fatalf("cosign: %v", err)
	}
	return cp
}

func checkpointOf(t testing.TB, l *Ledger) Checkpoint {
	t.Helper()
	cp, err := l.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

func openWitnessed(t testing.TB, dir, signer string, keys ...WitnessKey) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), filepath.Join(dir, "ledger"), signer, quiet(t), Witnessed(filepath.Join(dir, "witness"), keys...))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestCosignaturesTravelWithCheckpointsAndProofs(t *testing.T) {
	signer, verifier := newKeys(t)
	one, two, stranger := newEyewitness(t, "one.example/w"), newEyewitness(t, "two"), newEyewitness(t, "two")
	dir := t.TempDir()
	l := openWitnessed(t, dir, signer, one.key, two.key)
	fill(t, l, 0, 5)
	bare := checkpointOf(t, l)
	one.see(t, l)
	two.see(t, l)
	check := func(l *Ledger) {
		t.Helper()
		cp := checkpointOf(t, l)
		if again, err := ParseCheckpoint(cp.Text, verifier); err != nil || again != cp || cp.Bare() != bare {
			t.Errorf("checkpoint: %+v, %v", again, err)
		}
		p, err := l.Prove(t.Context(), leafOf(t, 3))
		if err != nil || len(p.Witnesses) != 2 || p.Verify(verifier) != nil {
			t.Fatalf("proof: %+v, %v", p, err)
		}
		in, err := ParseCheckpoint(p.Checkpoint, verifier)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range []eyewitness{one, two} {
			if at, err := in.Cosigned(w.key); err != nil || time.Since(at).Abs() > time.Hour {
				t.Errorf("%s: %v, %v", w.key.ID(), at, err)
			}
		}
		if _, err := in.Cosigned(stranger.key); err == nil {
			t.Error("a stranger's cosignature was found")
		}
	}
	check(l)
	closed(t, l)
	l = openWitnessed(t, dir, signer, one.key, two.key) // it was stored
	check(l)
	if ages := l.CosignatureAge(time.Now()); len(ages) != 2 || ages[one.key.ID()] < 0 || ages[one.key.ID()] > time.Hour {
		t.Errorf("ages: %v", ages)
	}

	fill(t, l, 5, 300) // the witnesses are behind now
	if p, err := l.Prove(t.Context(), leafOf(t, 3)); err != nil || len(p.Witnesses) != 2 || p.Verify(verifier) != nil {
		t.Errorf("an old leaf: proof with %d witnesses, %v", len(p.Witnesses), err)
	}
	if p, err := l.Prove(t.Context(), leafOf(t, 200)); err != nil || len(p.Witnesses) != 0 || p.Verify(verifier) != nil {
		t.Errorf("a new leaf: proof with %d witnesses, %v", len(p.Witnesses), err)
	}
	if cp := checkpointOf(t, l); len(cp.lines()) != 0 || cp.Size != 300 {
		t.Errorf("newest checkpoint: %d leaves, %d cosignatures", cp.Size, len(cp.lines()))
	}
}

func TestCosignTakesOnlyItsWitnesses(t *testing.T) {
	signer, _ := newKeys(t)
	known, stranger := newEyewitness(t, "w"), newEyewitness(t, "w")
	l := openWitnessed(t, t.TempDir(), signer, known.key)
	fill(t, l, 0, 2)
	cp := checkpointOf(t, l)
	forged, foreign := cp, cp
	forged.Text = strings.Replace(cp.Text, "\n2\n", "\n3\n", 1)
	other := openWitnessed(t, t.TempDir(), func() string { s, _ := newKeys(t); return s }(), known.key)
	fill(t, other, 0, 2)
	foreign = checkpointOf(t, other)
	for name, tt := range map[string]struct {
		cp    Checkpoint
		lines string
		by    WitnessKey
	}{
		"a stranger":                    {cp, stranger.line(t, cp), stranger.key},
		"a stranger for the witness":    {cp, stranger.line(t, cp), known.key},
		"nothing":                       {cp, "", known.key},
		"no signature":                  {cp, "— w bm90aGluZw==\n", known.key},
		"a changed checkpoint":          {forged, known.line(t, forged), known.key},
		"another ledger's":              {foreign, known.line(t, foreign), known.key},
		"a signature over another text": {cp, "\n\nsonae\n9\n" + known.line(t, forged), known.key},
	} {
		if err := l.Cosign(tt.cp, tt.lines, tt.by); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
	if err := l.Cosign(cp, stranger.line(t, cp)+known.line(t, cp), known.key); err != nil {
		t.Errorf("the right line among others: %v", err)
	}
	if got := checkpointOf(t, l); len(got.lines()) != 1 {
		t.Errorf("got %d lines, want 1", len(got.lines()))
	}
}

// Whoever has the hub's key can write any history. What a witness cosigned
// shows it, whichever way it was done.
func TestRewrittenLedgerIsFound(t *testing.T) {
	signer, verifier := newKeys(t)
	w := newEyewitness(t, "w")
	for name, leaves := range map[string][2]int{"shorter": {100, 103}, "as long": {100, 105}, "longer": {100, 120}, "empty": {100, 100}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := openWitnessed(t, dir, signer, w.key)
			fill(t, l, 0, 5)
			cp := w.see(t, l)
			closed(t, l)
			if r, err := Verify(t.Context(), filepath.Join(dir, "ledger"), verifier, Earlier{File: "printed", Checkpoint: cp}); err != nil || len(r.Contradictions)+len(r.Differences) > 0 {
				t.Errorf("honest ledger: %v, %v", r, err)
			}
			if err := os.RemoveAll(filepath.Join(dir, "ledger")); err != nil {
				t.Fatal(err)
			}
			other, err := Open(t.Context(), filepath.Join(dir, "ledger"), signer, quiet(t))
			if err != nil {
				t.Fatal(err)
			}
			fill(t, other, leaves[0], leaves[1])
			closed(t, other)
			r, err := Verify(t.Context(), filepath.Join(dir, "ledger"), verifier)
			if err != nil || len(r.Differences)+len(r.Contradictions) > 0 {
				t.Fatalf("alone it looks sound, but: %v, %v", r, err)
			}
			r, err = Verify(t.Context(), filepath.Join(dir, "ledger"), verifier, Earlier{File: "printed", Checkpoint: cp})
			if err != nil || len(r.Contradictions) != 1 || r.Contradictions[0].File != "printed" {
				t.Errorf("against the cosigned checkpoint: %v, %v", r, err)
			}
			for _, keys := range [][]WitnessKey{{w.key}, nil} {
				_, err = Open(t.Context(), filepath.Join(dir, "ledger"), signer, quiet(t), Witnessed(filepath.Join(dir, "witness"), keys...))
				if fault.Of(err) != fault.Conflict || !strings.Contains(err.Error(), "ledger.rewritten") {
					t.Errorf("open with %d witnesses: got %v, want ledger.rewritten", len(keys), err)
				}
			}
		})
	}
}

// One changed byte in an exported proof or in what lies beside the ledger is
// named without knowing the witness.
func TestChangedCosignaturesAreNamed(t *testing.T) {
	signer, verifier := newKeys(t)
	w := newEyewitness(t, "w")
	dir := t.TempDir()
	l := openWitnessed(t, dir, signer, w.key)
	fill(t, l, 0, 3)
	w.see(t, l)
	p, err := l.Prove(t.Context(), leafOf(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Bytes()
	if err != nil || !bytes.Contains(b, []byte(`"witnesses":["w+`)) {
		t.Fatalf("proof: %s, %v", b, err)
	}
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 1
		if p, err := ParseProof(c); err == nil && p.Verify(verifier) == nil {
			t.Errorf("byte %d of the proof was changed: %s", i, c)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "witness", "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files: %v, %v", files, err)
	}
	for _, file := range files {
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			c := bytes.Clone(whole)
			c[i] ^= 1
			if err := os.WriteFile(file, c, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, d, err := ReadCosigned(filepath.Join(dir, "witness"), verifier); err != nil || len(d) == 0 {
				t.Errorf("byte %d of %s was changed: %v, %v", i, filepath.Base(file), d, err)
			}
		}
		if err := os.WriteFile(file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	closed(t, l)
	if err := os.Truncate(filepath.Join(dir, "witness", "checkpoint-"+w.key.ID()[len("w+"):]), 20); err != nil {
		t.Fatal(err)
	}
	l = openWitnessed(t, dir, signer, w.key) // no reason to stop: the witness knows better
	if _, _, ok := l.Cosigned(w.key); ok {
		t.Error("a damaged checkpoint was taken")
	}
	w.see(t, l)
	if found, d, err := ReadCosigned(filepath.Join(dir, "witness"), verifier); err != nil || len(d) > 0 || len(found) != 1 {
		t.Errorf("cosigned anew: %v, %v, %v", found, d, err)
	}
}

func TestConsistencyHoldsBetweenPublishedSizes(t *testing.T) {
	signer, _ := newKeys(t)
	l := open(t, t.TempDir(), signer)
	published := []Checkpoint{}
	for _, n := range []int{1, 2, 7, 255, 256, 257, 600} {
		from := 0
		if len(published) > 0 {
			from = int(published[len(published)-1].Size)
		}
		fill(t, l, from, n)
		published = append(published, checkpointOf(t, l))
	}
	for i, older := range published {
		for _, newer := range published[i:] {
			hashes, err := l.Consistency(t.Context(), older.Size, newer.Size)
			if err == nil {
				err = proof.VerifyConsistency(rfc6962.DefaultHasher, older.Size, newer.Size, hashes, older.root(), newer.root())
			}
			if err != nil {
				t.Errorf("from %d to %d: %v", older.Size, newer.Size, err)
			}
		}
	}
	if _, err := l.Consistency(t.Context(), 600, 7); err == nil {
		t.Error("a proof for a ledger that shrinks")
	}
}

func TestParseWitnessKey(t *testing.T) {
	private, plain, err := note.GenerateKey(nil, "w")
	if err != nil {
		t.Fatal(err)
	}
	_, k, err := WitnessSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"as printed": k.String(), "with line end": k.String() + "\n", "plain": plain} {
		if got, err := ParseWitnessKey(text); err != nil || got.String() != k.String() {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	good := k.String()
	for name, text := range map[string]string{
		"empty": "", "private": private, "other name": "x" + good, "other hash": strings.Replace(good, "+", "+0", 1),
		"short": good[:len(good)-4], "not base64": good[:len(good)-4] + "!!!!", "no key": "w+00000000+BA==", "two": good + good,
	} {
		if got, err := ParseWitnessKey(text); err == nil {
			t.Errorf("%s: taken as %v", name, got)
		}
	}
}

// FuzzCosigned: whatever opens is spelled in one way, and so is what remains
// without its cosignatures.
func FuzzCosigned(f *testing.F) {
	private, _ := newKeys(f)
	signer, v, err := keys(private)
	if err != nil {
		f.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: "sonae\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"}, signer)
	if err != nil {
		f.Fatal(err)
	}
	w := newEyewitness(f, "w")
	cosigned, _, err := Checkpoint{Text: string(signed)}.with(w.line(f, Checkpoint{Text: string(signed)}), w.key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(signed))
	f.Add(cosigned.Text)
	f.Add(cosigned.Text + cosigned.Text[len(signed):])
	f.Fuzz(func(t *testing.T, text string) {
		raw := Checkpoint{Text: text}
		_, _ = raw.Cosigned(w.key)
		_, _ = raw.Bare(), raw.lines()
		cp, err := openCheckpoint(text, v)
		if err != nil {
			return
		}
		bare, err := openOwn(cp.Bare().Text, v)
		if err != nil || bare.Text+strings.Join(cp.lines(), "") != text || bare != cp.Bare() {
			t.Errorf("%q: %q, %v", text, bare.Text, err)
		}
	})
}
