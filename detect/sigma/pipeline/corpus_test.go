package pipeline

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonae/sonae/detect/sigma"
)

// corpusFiles returns all public rules of the developers' data set, which
// stands beside the project and is not part of it.
func corpusFiles(t testing.TB) []sigma.File {
	t.Helper()
	const name = "../shared/data/detect/sigmahq-rules.tar.gz"
	f, err := os.Open(filepath.Join("../../..", name))
	for up := "../../../.."; errors.Is(err, fs.ErrNotExist) && len(up) < 20; up += "/.." {
		f, err = os.Open(filepath.Join(up, name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("the developers' data set is not here: %s beside the project", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var files []sigma.File
	for r := tar.NewReader(z); ; {
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
			files = append(files, sigma.File{Name: h.Name, Data: data})
		}
	}
}
