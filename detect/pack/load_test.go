package pack

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/detect/pack/box"
)

// rule is a rule that finds A in field F of product p.
func rule(id string) string {
	return "title: Rule " + id + "\nid: " + id + "\nlevel: high\nlogsource: {product: p}\ndetection:\n  s: {F: A}\n  condition: s\n"
}

// write puts a file into dir and returns its path.
func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	p := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func zipped(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarred(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRulesAreLoadedFromWhereverTheyLie(t *testing.T) {
	dir := t.TempDir()
	blob, err := box.Encode(map[string][]byte{"d.yml": []byte(rule("d"))})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "folder/deep/a.yml", []byte(rule("a")))
	write(t, dir, "kept/"+Name, blob)
	write(t, dir, "kept/ignored.yml", []byte(rule("x")))
	paths := []string{
		filepath.Join(dir, "folder"),
		write(t, dir, "b.zip", zipped(t, map[string]string{"in/b.yml": rule("b"), "in/readme.md": "x"})),
		write(t, dir, "c.tar.gz", tarred(t, map[string]string{"./in/c.yml": rule("c")})),
		filepath.Join(dir, "kept"),
		write(t, dir, "e.yml", []byte(rule("e"))),
		write(t, dir, "again.yml", []byte(rule("b"))),
	}
	_, report, err := Load(paths)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, l := range report.Loaded {
		got[l.ID] = strings.TrimPrefix(l.File, dir+"/")
	}
	want := map[string]string{"a": "folder/deep/a.yml", "b": "b.zip!in/b.yml", "c": "c.tar.gz!in/c.yml", "d": "kept/rules.pack!d.yml", "e": "e.yml"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if len(report.Rejected) != 1 || !strings.HasSuffix(report.Rejected[0].Reason, "b.zip!in/b.yml") {
		t.Errorf("rejected %+v", report.Rejected)
	}
}

func TestWhatIsNoPackIsRefused(t *testing.T) {
	dir := t.TempDir()
	for name, p := range map[string]string{
		"missing":       filepath.Join(dir, "nowhere"),
		"no pack":       write(t, dir, "x.txt", []byte("hello")),
		"damaged zip":   write(t, dir, "x.zip", []byte("PK\x03\x04")),
		"damaged tar":   write(t, dir, "x.tgz", []byte("\x1f\x8b")),
		"damaged pack":  write(t, dir, "x.pack", []byte("SONAE-RULES-1\nabc")),
		"zip that lies": write(t, dir, "y.zip", zipped(t, map[string]string{})[:10]),
	} {
		if _, _, err := Load([]string{p}); err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("%s: got %v, want an error that names the path", name, err)
		}
	}
}

func TestOwnRulesAreTheDefault(t *testing.T) {
	if _, report, err := Load(nil); err != nil || len(report.Loaded) < 5 || len(report.Rejected) > 0 {
		t.Errorf("%v, %+v", err, report)
	}
}
