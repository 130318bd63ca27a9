package scan_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/scan"
)

func zipped(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, data := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(data)
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

func tarred(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, data := range files {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR})
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpacked unpacks an archive of the developers' data.
func unpacked(t testing.TB, name string) string {
	t.Helper()
	f, err := os.Open(filepath.Join(shared(t, filepath.Dir(name)), filepath.Base(name)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg || !fs.ValidPath(h.Name) {
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		put(t, dir, h.Name, b)
	}
}

func TestPackedFilesAreRead(t *testing.T) {
	log := []byte(line("root", "h", noon))
	for _, c := range []struct {
		name, file string
		data       []byte
		paths      []string // of the findings
		damaged    string   // path and reason
	}{
		{"gzip", "a.gz", gz(t, log), []string{"a.gz"}, ""},
		{"two gzip streams one after the other", "a.gz", append(gz(t, log), gz(t, log)...), []string{"a.gz", "a.gz"}, ""},
		{"zstd", "a.zst", zst(t, log), []string{"a.zst"}, ""},
		{"zip with two members", "a.zip", zipped(t, map[string][]byte{"x/1.jsonl": log, "notes.txt": []byte("hello\n")}), []string{"a.zip!x/1.jsonl"}, ""},
		{"tar", "a.tar", tarred(t, map[string][]byte{"1.jsonl": log}), []string{"a.tar!1.jsonl"}, ""},
		{"tar in gzip", "a.tgz", gz(t, tarred(t, map[string][]byte{"1.jsonl": log})), []string{"a.tgz!1.jsonl"}, ""},
		{"gzip in zip", "a.zip", zipped(t, map[string][]byte{"1.gz": gz(t, log)}), []string{"a.zip!1.gz"}, ""},
		{"zip in zip", "a.zip", zipped(t, map[string][]byte{"b.zip": zipped(t, map[string][]byte{"1": log})}), []string{"a.zip!b.zip!1"}, ""},
		{"zip in zip in zip", "a.zip", zipped(t, map[string][]byte{"b.zip": zipped(t, map[string][]byte{"c.zip": zipped(t, map[string][]byte{"1": log})})}), nil, "a.zip!b.zip!c.zip: packed too deep"},
		{"a log that names itself zip", "a.zip", log, []string{"a.zip"}, ""},
		{"cut zip", "a.zip", zipped(t, map[string][]byte{"1": log})[:60], nil, "a.zip: zip: "},
		{"cut gzip", "a.gz", gz(t, bytes.Repeat(log, 3))[:40], nil, "a.gz: "},
	} {
		dir := t.TempDir()
		put(t, dir, c.file, c.data)
		found, r := scanned(t, scan.Options{Paths: []string{dir}, Engine: rules(t, rootRule)})
		var paths []string
		for _, f := range found {
			paths = append(paths, strings.TrimPrefix(f.Source.Path, dir+"/"))
		}
		if diff := cmp.Diff(c.paths, paths); diff != "" {
			t.Errorf("%s: findings (-want +got):\n%s", c.name, diff)
		}
		got := ""
		for _, p := range r.Damaged {
			got += strings.TrimPrefix(p.Path, dir+"/") + ": " + p.Err.Error() + "\n"
		}
		if (got == "") != (c.damaged == "") || !strings.HasPrefix(got, c.damaged) {
			t.Errorf("%s: damaged %q, want %q", c.name, got, c.damaged)
		}
	}
}

func TestOneDamagedMemberDoesNotHideTheOthers(t *testing.T) {
	dir := t.TempDir()
	log := []byte(line("root", "h", noon))
	put(t, dir, "a.zip", zipped(t, map[string][]byte{"1.gz": gz(t, log)[:20], "2.jsonl": log, "3.zip": []byte("PK\x03\x04broken")}))
	found, r := scanned(t, scan.Options{Paths: []string{dir}, Engine: rules(t, rootRule)})
	if len(found) != 1 || len(r.Damaged) != 2 {
		t.Errorf("%d findings, damaged %v", len(found), r.Damaged)
	}
}

func TestBombsAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	log := bytes.Repeat([]byte(line("me", "h", noon)), 50000) // 4 MB of one line
	put(t, dir, "1.gz", gz(t, log))
	put(t, dir, "2.zip", zipped(t, map[string][]byte{"a": log, "b": log}))
	put(t, dir, "3.zst", zst(t, log))
	put(t, dir, "4.jsonl", []byte(line("root", "h", noon)))
	limits := scan.Limits{Ratio: 20, Free: 100 << 10, Total: 1 << 40}
	found, r := scanned(t, scan.Options{Paths: []string{dir}, Engine: rules(t, rootRule), Limits: limits})
	if len(found) != 1 || len(r.Damaged) != 3 {
		t.Fatalf("%d findings, damaged %v", len(found), r.Damaged)
	}
	for _, p := range r.Damaged {
		if !strings.Contains(p.Err.Error(), "unpacks to far more") {
			t.Errorf("%s: %v", p.Path, p.Err)
		}
	}
	if r.Stats.Events > 20000 {
		t.Errorf("%d events were read before it stopped", r.Stats.Events)
	}
}

func TestEncryptedMemberIsNamed(t *testing.T) {
	b := zipped(t, map[string][]byte{"secret.jsonl": []byte("{}\n")})
	for i := range len(b) - 4 { // the flag stands in both headers
		switch string(b[i : i+4]) {
		case "PK\x03\x04":
			b[i+6] |= 1
		case "PK\x01\x02":
			b[i+8] |= 1
		}
	}
	dir := t.TempDir()
	put(t, dir, "a.zip", b)
	_, r := scanned(t, scan.Options{Paths: []string{dir}})
	if len(r.Damaged) != 1 || !strings.Contains(r.Damaged[0].Err.Error(), "encrypted") {
		t.Errorf("damaged %v", r.Damaged)
	}
}

func TestLinksAndSpecialFilesAreLeftOut(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	real := put(t, outside, "a.jsonl", []byte(line("root", "h", noon)))
	if err := os.Symlink(real, filepath.Join(dir, "link.jsonl")); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "folder")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	found, r := scanned(t, scan.Options{Paths: []string{dir}, Engine: rules(t, rootRule)})
	if len(found) != 0 || len(r.LeftOut) != 3 || r.Failed() {
		t.Errorf("%d findings, left out %v, damaged %v", len(found), r.LeftOut, r.Damaged)
	}
	named, _ := scanned(t, scan.Options{Paths: []string{filepath.Join(dir, "link.jsonl")}, Engine: rules(t, rootRule)})
	if len(named) != 1 {
		t.Errorf("a link that is named must be followed: %d findings", len(named))
	}
}

// FuzzScan wants no panic and no hang, whatever a file holds.
func FuzzScan(f *testing.F) {
	log := []byte(line("root", "h", noon))
	for _, seed := range [][]byte{log, gz(f, log), zst(f, log), zipped(f, map[string][]byte{"a": log}), tarred(f, map[string][]byte{"a": log}), []byte("ElfFile\x00"), {0xd4, 0xc3, 0xb2, 0xa1}} {
		f.Add(seed)
	}
	engine := rules(f, rootRule)
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		put(t, dir, "x", data)
		r, err := scan.Run(t.Context(), scan.Options{Paths: []string{dir}, Engine: engine, Limits: scan.Limits{Ratio: 100, Free: 1 << 20, Total: 8 << 20}})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range r.Damaged {
			if strings.Contains(p.Err.Error(), "a mistake of Sonae") {
				t.Error(p.Err)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}
