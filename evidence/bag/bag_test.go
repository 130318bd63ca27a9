package bag

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var aSum = strings.Repeat("ab", 32)

func TestManifest(t *testing.T) {
	var b bytes.Buffer
	in := []Entry{{"data/日本 語.txt", aSum}, {"data/a", aSum}, {"data/a/b", aSum}}
	if err := WriteManifest(&b, in); err != nil {
		t.Fatal(err)
	}
	got, err := ParseManifest(b.Bytes(), sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Entry{{"data/a", aSum}, {"data/a/b", aSum}, {"data/日本 語.txt", aSum}}, got); d != "" {
		t.Error(d)
	}
	for name, text := range map[string]string{
		"one space":        aSum + " data/a\n",
		"short digest":     aSum[2:] + "  data/a\n",
		"capital digest":   strings.ToUpper(aSum) + "  data/a\n",
		"no end of line":   aSum + "  data/a",
		"empty line":       "\n",
		"twice":            aSum + "  data/a\n" + aSum + "  data/a\n",
		"not sorted":       aSum + "  data/b\n" + aSum + "  data/a\n",
		"way out":          aSum + "  data/../../etc/passwd\n",
		"absolute":         aSum + "  /etc/passwd\n",
		"carriage return":  aSum + "  data/a\r\n",
		"sha256sum binary": aSum + " *data/a\n",
	} {
		if _, err := ParseManifest([]byte(text), sha256.Size); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(aSum + "  data/a\n"))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := ParseManifest(b, sha256.Size)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := WriteManifest(&again, entries); err != nil || !bytes.Equal(again.Bytes(), b) {
			t.Fatalf("accepted what is not written so: %q", b)
		}
	})
}

func zipOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	err := Zip(&b, "bag-1", names, func(n string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(files[n])), nil })
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHostileZips(t *testing.T) {
	raw := func(f func(z *zip.Writer)) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		f(z)
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	add := func(z *zip.Writer, name string, method uint16, text string) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		zip  []byte
		want string
	}{
		"way out":   {raw(func(z *zip.Writer) { add(z, "b/bagit.txt", zip.Store, "x"); add(z, "b/../../x", zip.Store, "x") }), "b/../../x"},
		"twice":     {raw(func(z *zip.Writer) { add(z, "b/bagit.txt", zip.Store, "x"); add(z, "b/bagit.txt", zip.Store, "y") }), "bagit.txt"},
		"two roots": {raw(func(z *zip.Writer) { add(z, "b/bagit.txt", zip.Store, "x"); add(z, "c/x", zip.Store, "y") }), "c/x"},
		"zip bomb": {raw(func(z *zip.Writer) {
			add(z, "b/bagit.txt", zip.Store, "x")
			add(z, "b/data/x", zip.Deflate, strings.Repeat("0", 1<<20))
		}), "data/x"},
		"incomplete": {zipOf(t, map[string]string{"bagit.txt": DeclarationText}), "proof.json"},
	} {
		t.Run(name, func(t *testing.T) {
			src, err := openZip(bytes.NewReader(tt.zip), int64(len(tt.zip)))
			if err != nil {
				t.Fatal(err)
			}
			rep, err := verify(src, "")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(fmt.Sprint(rep.Differences), tt.want) {
				t.Errorf("named %v, want %s", rep.Differences, tt.want)
			}
		})
	}
	if _, err := openZip(strings.NewReader("PK hello"), 8); !errors.Is(err, ErrNotABag) {
		t.Errorf("no zip: %v", err)
	}
}

// FuzzZip feeds whole zips to the verifier: without a key that signed a proof
// nothing may ever count as intact, and nothing may crash it.
func FuzzZip(f *testing.F) {
	f.Add(zipOf(f, map[string]string{Declaration: DeclarationText, TagManifest: aSum + "  bagit.txt\n", Proof: "{}\n", Custody: `{"no":1,"prev":""}` + "\n",
		Manifest256: aSum + "  data/a\n", Manifest512: aSum + aSum + "  data/a\n", "data/a": "x", Key: "k\n", Info: "", Items: "", After: "{}", AfterProof: "{}"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		src, err := openZip(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if rep, err := verify(src, ""); err == nil && rep.Intact() {
			t.Fatal("intact without a proof")
		}
	})
}
