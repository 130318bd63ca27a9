package restic_test

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// A file is known by the hashes of its pieces alone: one byte more, less or other
// is seen, and nothing of it is read from the repository.
func TestAFileIsComparedByItsHashes(t *testing.T) {
	p := restictest.Newest(t).At(filepath.Join(t.TempDir(), "repository"))
	p.Run(t, "init")
	src := t.TempDir()
	content := restictest.Noise(4 << 20)
	restictest.Write(t, filepath.Join(src, "large"), content)
	restictest.Write(t, filepath.Join(src, "empty"), nil)
	p.Run(t, "backup", src)
	f, err := restic.OpenFolder(p.Repo)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	repo, err := restic.Open(t.Context(), f, restictest.Password)
	if err == nil {
		err = repo.Load(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	all, err := repo.Snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nodes := map[string]*restic.Node{}
	if err := repo.Walk(t.Context(), *all[0].Tree, func(_ string, n *restic.Node) error { nodes[n.Name] = n; return nil }); err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(content)
	flipped[len(flipped)-1] ^= 1
	for name, tt := range map[string]struct {
		of   string
		r    io.Reader
		same bool
	}{
		"the same":        {"large", bytes.NewReader(content), true},
		"in small pieces": {"large", iotest.HalfReader(bytes.NewReader(content)), true},
		"a flipped byte":  {"large", bytes.NewReader(flipped), false},
		"a byte less":     {"large", bytes.NewReader(content[:len(content)-1]), false},
		"a byte more":     {"large", io.MultiReader(bytes.NewReader(content), bytes.NewReader([]byte{0})), false},
		"nothing":         {"large", bytes.NewReader(nil), false},
		"empty":           {"empty", bytes.NewReader(nil), true},
		"not empty":       {"empty", bytes.NewReader([]byte{0}), false},
	} {
		if same, err := repo.Same(t.Context(), nodes[tt.of], tt.r); err != nil || same != tt.same {
			t.Errorf("%s: %v, %v", name, same, err)
		}
	}
	if _, err := repo.Same(t.Context(), nodes["large"], iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a file that cannot be read: %v", err)
	}
	unknown := &restic.Node{Type: "file", Content: []restic.ID{{1}}}
	if _, err := repo.Same(t.Context(), unknown, bytes.NewReader(content)); !errors.Is(err, restic.ErrMissing) {
		t.Errorf("a piece that nobody knows: %v", err)
	}
}
