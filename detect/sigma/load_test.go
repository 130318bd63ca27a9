package sigma

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// corpusFiles returns all public rules as files.
func corpusFiles(t testing.TB) []File {
	t.Helper()
	var files []File
	for r := tar.NewReader(unzip(t, shared(t, "sigmahq-rules.tar.gz"))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(h.Name, ".yml") {
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, File{h.Name, data})
		}
	}
}

func TestTheCacheGivesWhatTheFilesGive(t *testing.T) {
	files := append(corpusFiles(t), filterFile("any", "not selection"), File{"bad.yml", []byte("title: t\n---\n[")},
		File{"own.yml", []byte("threshold: {count: 3, window: 5m, by: [F]}\nsonae: {what: {ja: あ, en: a}, propose: isolate}\n" + rule("s: {F: a}\ncondition: s"))})
	path := filepath.Join(t.TempDir(), "rules.cache")
	for round, want := range []int{0, len(files)} {
		c, err := OpenCache(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			got, hit := c.read(f)
			if hit != (want > 0) {
				t.Fatalf("round %d: %s: from the cache: %v", round, f.Name, hit)
			}
			if diff := cmp.Diff(Read(f.Name, f.Data), got); diff != "" {
				t.Fatal(diff)
			}
		}
		if err := c.Save(); err != nil {
			t.Fatal(err)
		}
	}
	c, err := OpenCache(path)
	if err != nil {
		t.Fatal(err)
	}
	l := Load(files, Options{Cache: c, Workers: 3})
	plain := Load(files, Options{})
	if l.Cached != len(files) || len(l.Rules) != len(plain.Rules) || len(l.Rules) < 3700 || len(l.Rejected) != len(plain.Rejected) {
		t.Errorf("%d of %d files from the cache, %d rules and %d rejected; without it %d and %d", l.Cached, len(files), len(l.Rules), len(l.Rejected), len(plain.Rules), len(plain.Rejected))
	}
}

func TestADamagedCacheIsNotUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.cache")
	f := File{"t.yml", []byte(rule("s: {F: a}\ncondition: s"))}
	c, err := OpenCache(path)
	if err != nil {
		t.Fatal(err)
	}
	Load([]File{f}, Options{Cache: c})
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"a changed byte":  func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"cut off":         func(b []byte) []byte { return b[:len(b)-5] },
		"empty":           func([]byte) []byte { return nil },
		"another version": func(b []byte) []byte { return bytes.Replace(b, []byte("rules 1"), []byte("rules 0"), 1) },
	} {
		if err := os.WriteFile(path, damage(bytes.Clone(good)), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := OpenCache(path)
		if err == nil || !strings.Contains(err.Error(), "is not used: ") {
			t.Errorf("%s: got %v", name, err)
		}
		l := Load([]File{f}, Options{Cache: c})
		if len(l.Rules) != 1 || l.Cached != 0 {
			t.Errorf("%s: got %d rules, %d from the cache", name, len(l.Rules), l.Cached)
		}
		if err := c.Save(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := OpenCache(path); err != nil {
			t.Errorf("%s: not written anew: %v", name, err)
		}
	}
}

// TestTheCacheKnowsItsVersion fails when Read or the encoding changed: raise
// the number in cacheMagic, then change the digest here.
func TestTheCacheKnowsItsVersion(t *testing.T) {
	const want = "sonae rules 1\nb092fc9f"
	c := Read("t.yml", []byte("name: n\nrelated: [{id: o, type: similar}]\nthreshold: {count: 3, window: 5m, by: [F]}\nsonae: {what: {ja: あ, en: a}}\n"+
		rule("s: [{F|contains: [a, 1, 1.50, 0x10, true, null]}, foo, [b]]\nt: {G|re|i: x, H: ''}\ncondition: [s and 1 of t*, t]")+"---\n"+filterText+"---\ntitle: 1\n"))
	sum := sha256.Sum256([]byte(encodeContent(c)))
	if got := cacheMagic + hex.EncodeToString(sum[:4]); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzCache(f *testing.F) {
	f.Add(encodeContent(Read("t.yml", []byte(rule("s: [{F|contains: [a, b]}, c]\ncondition: s")+"---\n"+filterText))))
	f.Add("\x02\x00")
	f.Fuzz(func(t *testing.T, entry string) {
		c, ok := decodeContent(entry, "t.yml")
		if !ok {
			return
		}
		for _, d := range c.Drafts {
			_, _ = d.Compile(nil) // a checksum stands before this, but it must not panic
		}
		if again, ok := decodeContent(encodeContent(c), "t.yml"); !ok || !cmp.Equal(c, again) {
			t.Error("what was read is written otherwise")
		}
	})
}

// BenchmarkLoadCorpus reads and compiles all public rules on one core.
func BenchmarkLoadCorpus(b *testing.B) {
	files := corpusFiles(b)
	bytes := 0
	for _, f := range files {
		bytes += len(f.Data)
	}
	b.SetBytes(int64(bytes))
	before := cpuTime(b)
	for b.Loop() {
		if l := Load(files, Options{Workers: 1}); len(l.Rules) < 3700 {
			b.Fatal(len(l.Rules))
		}
	}
	b.ReportMetric((cpuTime(b)-before)/float64(b.N), "cpu-ms/op")
}

// BenchmarkLoadCorpusCached opens the cache and compiles all public rules on
// one core.
func BenchmarkLoadCorpusCached(b *testing.B) {
	files := corpusFiles(b)
	path := filepath.Join(b.TempDir(), "rules.cache")
	c, err := OpenCache(path)
	if err != nil {
		b.Fatal(err)
	}
	Load(files, Options{Cache: c})
	if err := c.Save(); err != nil {
		b.Fatal(err)
	}
	before := cpuTime(b)
	for b.Loop() {
		c, err := OpenCache(path)
		if err != nil {
			b.Fatal(err)
		}
		if l := Load(files, Options{Workers: 1, Cache: c}); l.Cached != len(files) {
			b.Fatal(l.Cached)
		}
	}
	b.ReportMetric((cpuTime(b)-before)/float64(b.N), "cpu-ms/op")
}
