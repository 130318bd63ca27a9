// Package restictest runs the real restic for tests, and makes what it backs
// up.
//
// In: the programs that the machine has. Out: repositories and trees of files.
// Always true: a machine without restic is a failed test, never a skipped one;
// those of the programs that SONAE_RESTICS names besides (separated by ":")
// that are there are used too.
package restictest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Password of all repositories that tests make.
const Password = "合言葉 of tests"

// Program is one version of restic, used on one repository.
type Program struct {
	Path    string
	Version string   // as "0.18.0"
	Repo    string   // folder or rest:https://…
	Options []string // of every call
	Env     []string // besides
}

// All returns all versions that are there.
func All(t testing.TB) []Program {
	t.Helper()
	paths := []string{"restic"}
	for _, more := range filepath.SplitList(os.Getenv("SONAE_RESTICS")) {
		if _, err := os.Stat(more); err == nil {
			paths = append(paths, more)
		}
	}
	var all []Program
	for _, path := range paths {
		out, err := exec.Command(path, "version").Output()
		if err != nil {
			t.Fatalf("%s: %v (Debian's package restic)", path, err)
		}
		version, _, _ := strings.Cut(strings.TrimPrefix(string(out), "restic "), " ")
		all = append(all, Program{Path: path, Version: version})
	}
	return all
}

// Newest returns the last of All.
func Newest(t testing.TB) Program { t.Helper(); all := All(t); return all[len(all)-1] }

// At returns the program for another repository.
func (p Program) At(repo string, options ...string) Program {
	p.Repo, p.Options = repo, options
	return p
}

// Command makes a call that is not started yet.
func (p Program) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.Path, append(append([]string{"--no-cache", "-r", p.Repo}, p.Options...), args...)...)
	cmd.Env = append(append(os.Environ(), "RESTIC_PASSWORD="+Password, "GOMAXPROCS=2"), p.Env...)
	return cmd
}

// Try calls restic and returns both outputs apart.
func (p Program) Try(ctx context.Context, args ...string) (out []byte, err error) {
	cmd := p.Command(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if out, err = cmd.Output(); err != nil {
		err = fmt.Errorf("restic %s %s: %w: %s", p.Version, strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, err
}

// Run calls restic, which must work. The key of a repository that it makes in
// a folder is sealed anew, so that further calls are quick.
func (p Program) Run(t testing.TB, args ...string) []byte {
	t.Helper()
	out, err := p.Try(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	if args[0] == "init" && filepath.IsAbs(p.Repo) && !slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "RESTIC_PASSWORD=") }) {
		must(t, QuickKey(p.Repo, Password))
	}
	return out
}

// Write writes one file of a tree.
func Write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Random returns n bytes that cannot be compressed.
func Random(rnd *rand.ChaCha8, n int) []byte {
	b := make([]byte, n)
	_, _ = rnd.Read(b) // has no error
	return b
}

// Odd makes a tree of everything that a file system allows and a reader can
// get wrong.
func Odd(t testing.TB, dir string) {
	t.Helper()
	rnd := rand.NewChaCha8([32]byte{1})
	deep := dir
	for i := range 60 {
		deep = filepath.Join(deep, fmt.Sprintf("d%02d-%s", i, strings.Repeat("x", 20)))
	}
	for path, content := range map[string][]byte{
		"empty":                    nil,
		"one":                      {0},
		"text":                     bytes.Repeat([]byte("診療記録 "), 40_000),
		"zeros":                    make([]byte, 9<<20),
		"random":                   Random(rnd, 5<<20),
		"copy":                     nil, // of random, below
		"日本語/カルテ.txt":              []byte("本文"),
		"new\nline":                []byte("n"),
		"tab\tquote\"back\\slash":  []byte("q"),
		"not utf8 \xff\xfe\x80":    []byte("u"),
		"nul escape \\x00 \\u0000": []byte("e"),
		" leading and trailing ":   []byte("s"),
		"-dash":                    []byte("d"),
		"*?[a]":                    []byte("g"),
		"\u202eright-to-left":      []byte("r"),
		strings.Repeat("n", 255):   []byte("long"),
		strings.Repeat("名", 85):    []byte("long"),
	} {
		Write(t, filepath.Join(dir, path), content)
	}
	random, err := os.ReadFile(filepath.Join(dir, "random"))
	if err != nil {
		t.Fatal(err)
	}
	Write(t, filepath.Join(dir, "copy"), random)
	Write(t, filepath.Join(deep, "bottom"), []byte("deep"))
	must(t, os.MkdirAll(filepath.Join(dir, "empty folder"), 0o700))
	must(t, os.Link(filepath.Join(dir, "text"), filepath.Join(dir, "日本語", "hard link")))
	must(t, os.Symlink("../text", filepath.Join(dir, "日本語", "link")))
	must(t, os.Symlink("\xff nowhere", filepath.Join(dir, "dangling")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err)
	_, err = sparse.WriteAt([]byte("end"), 40<<20)
	must(t, err)
	must(t, sparse.Close())
}

// Small makes n small files in folders of 100.
func Small(t testing.TB, dir string, n int) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		text := strings.Repeat(fmt.Sprintf("patient %d, visit %d\n", i, rnd.Uint64()), 1+rnd.IntN(60))
		Write(t, filepath.Join(dir, fmt.Sprintf("%03d", i/100), fmt.Sprintf("record-%05d.txt", i)), []byte(text))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Copy copies a folder of plain files.
func Copy(t testing.TB, from, to string) {
	t.Helper()
	must(t, os.CopyFS(to, os.DirFS(from)))
}

// Noise returns n bytes that cannot be compressed, the same for each n.
func Noise(n int) []byte {
	return Random(rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16), 7}), n)
}
