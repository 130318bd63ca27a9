package pack

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ids(entries []Entry) string {
	var all []string
	for _, e := range entries {
		all = append(all, e.ID)
	}
	return strings.Join(all, " ")
}

func loadedIDs(t *testing.T, dir string) string {
	t.Helper()
	_, report, err := Load([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, l := range report.Loaded {
		all = append(all, l.ID)
	}
	return strings.Join(all, " ")
}

func TestUpdateShowsWhatChangesAndKeepsTheOneBefore(t *testing.T) {
	tmp := t.TempDir()
	dir := filepath.Join(tmp, "kept")
	first := write(t, tmp, "1.zip", zipped(t, map[string]string{"sigma/a.yml": rule("a"), "sigma/b.yml": rule("b"), "sigma/LICENSE": "DRL", "sigma/notes.md": "x"}))
	u, err := Prepare(dir, first, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if ids(u.New) != "a b" || exists(dir) {
		t.Errorf("new %q; nothing may change before Apply: %v", ids(u.New), exists(dir))
	}
	if err := u.Apply(); err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(tmp, "two")
	write(t, second, "b.yml", []byte(strings.Replace(rule("b"), "high", "low", 1)))
	write(t, second, "c.yml", []byte(rule("c")))
	write(t, second, "bad.yml", []byte("title: x\nid: bad\n"))
	if u, err = Prepare(dir, second, "", ""); err != nil {
		t.Fatal(err)
	}
	got := []string{ids(u.New), ids(u.Changed), ids(u.Removed), ids(u.Rejected)}
	if diff := cmp.Diff([]string{"c", "b", "a", "bad"}, got); diff != "" {
		t.Errorf("new, changed, removed, rejected (-want +got):\n%s", diff)
	}
	if u.Rejected[0].File != "bad.yml:1" || u.Rejected[0].Reason == "" || u.Rules != 2 {
		t.Errorf("rejected %+v, %d rules", u.Rejected, u.Rules)
	}
	if err := u.Apply(); err != nil {
		t.Fatal(err)
	}
	if got := loadedIDs(t, dir); got != "b c" {
		t.Errorf("loaded %q", got)
	}
	if err := Back(dir); err != nil {
		t.Fatal(err)
	}
	if got := loadedIDs(t, dir); got != "a b" {
		t.Errorf("after going back: %q", got)
	}
	if err := Back(dir); err != nil || loadedIDs(t, dir) != "b c" {
		t.Errorf("back and forth: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".sonae-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind %v", left)
	}
}

func TestSignedPack(t *testing.T) {
	tmp := t.TempDir()
	signer, verifier, err := NewKey("hospital.example")
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := NewKey("hospital.example")
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(tmp, "src")
	write(t, src, "a.yml", []byte(rule("a")))
	signed, err := Make(src, signer)
	if err != nil {
		t.Fatal(err)
	}
	unsigned, err := Make(src, "")
	if err != nil {
		t.Fatal(err)
	}
	good, plain := write(t, tmp, "good.pack", signed), write(t, tmp, "plain.pack", unsigned)
	dir := filepath.Join(tmp, "kept")
	for name, c := range map[string]struct {
		from, key string
		want      error
	}{
		"another key":  {good, other, ErrSignature},
		"no signature": {plain, verifier, ErrSignature},
	} {
		if _, err := Prepare(dir, c.from, "", c.key); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	u, err := Prepare(dir, good, fmt.Sprintf("%x", sha256.Sum256(signed)), verifier)
	if err != nil || u.SignedBy != "hospital.example" {
		t.Fatalf("%v, %+v", err, u)
	}
	if err := u.Apply(); err != nil {
		t.Fatal(err)
	}
	if _, err := Prepare(dir, plain, "", ""); !errors.Is(err, ErrSignature) {
		t.Errorf("the folder knows a key, yet a pack without signature was taken: %v", err)
	}
	if _, err := Prepare(dir, good, strings.Repeat("0", 64), ""); err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("a wrong digest was taken: %v", err)
	}
}

func TestManifestIsCompared(t *testing.T) {
	sum := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	a := rule("a")
	for name, c := range map[string]struct {
		files map[string]string
		want  string // part of the error, "" for none
	}{
		"as sha256sum writes it": {map[string]string{"a.yml": a, Manifest: sum(a) + "  a.yml\n"}, ""},
		"with a point before":    {map[string]string{"a.yml": a, Manifest: sum(a) + "  ./a.yml\n"}, ""},
		"changed":                {map[string]string{"a.yml": a + "#", Manifest: sum(a) + "  a.yml\n"}, "a.yml differs"},
		"added":                  {map[string]string{"a.yml": a, "b.yml": rule("b"), Manifest: sum(a) + "  a.yml\n"}, "b.yml is not in it"},
		"taken away":             {map[string]string{"a.yml": a, Manifest: sum(a) + "  a.yml\n" + sum("x") + "  b.yml\n"}, "b.yml is missing"},
		"nonsense":               {map[string]string{"a.yml": a, Manifest: "hello\n"}, `a line "hello"`},
	} {
		tmp := t.TempDir()
		_, err := Prepare(filepath.Join(tmp, "kept"), write(t, tmp, "p.zip", zipped(t, c.files)), "", "")
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrManifest) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestPackWithoutRulesIsRefused(t *testing.T) {
	tmp := t.TempDir()
	p := write(t, tmp, "p.zip", zipped(t, map[string]string{"readme": "x"}))
	if _, err := Prepare(filepath.Join(tmp, "kept"), p, "", ""); err == nil {
		t.Error("it would replace all rules by none")
	}
}

func TestSamePackAgain(t *testing.T) {
	tmp := t.TempDir()
	dir := filepath.Join(tmp, "kept")
	p := write(t, tmp, "p.zip", zipped(t, map[string]string{"a.yml": rule("a")}))
	for i := range 2 {
		u, err := Prepare(dir, p, "", "")
		if err != nil || u.Same() != (i == 1) {
			t.Fatalf("round %d: %v, %+v", i, err, u)
		}
		if err := u.Apply(); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, Name))
	if err != nil || bytes.Contains(b, []byte("detection")) {
		t.Errorf("the pack at rest can be read by antivirus: %v", err)
	}
}
