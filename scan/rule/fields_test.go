package rule

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/pack"
	"github.com/sonae/sonae/scan"
)

var update = flag.Bool("update", false, "rewrite fields.tsv and the golden files")

// shared finds the developers' data, which stands beside the project and is no
// part of it.
func shared(t testing.TB, name string) string {
	t.Helper()
	root := "../.."
	for range 4 {
		p := filepath.Join(root, "../shared/data", name)
		if _, err := os.Stat(p); err == nil {
			return p
		} else if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		root = filepath.Join(root, "..")
	}
	t.Skipf("the developers' data are not here: ../shared/data/%s beside the project", name)
	return ""
}

// unpacked unpacks an archive of the developers' data.
func unpacked(t testing.TB, name string) string {
	t.Helper()
	f, err := os.Open(shared(t, name))
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
		p := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFieldsAreThoseOfRulesAndEvents makes the table of fields anew: from two
// rules or more that use a field, and from the events of real machines.
func TestFieldsAreThoseOfRulesAndEvents(t *testing.T) {
	if testing.Short() {
		t.Skip("reads the whole corpus")
	}
	table := map[source]map[string]bool{}
	add := func(s source, name string) {
		if table[s] == nil {
			table[s] = map[string]bool{}
		}
		if !strings.ContainsAny(name, ",\t\n") && len(name) < 80 {
			table[s][name] = true
		}
	}
	engine, _, err := pack.Load([]string{unpacked(t, "detect/sigmahq-rules.tar.gz")})
	if err != nil {
		t.Fatal(err)
	}
	uses := map[source]map[string]int{}
	for _, s := range slices.Concat(engine.Scopes(), own(t).Scopes()) {
		at := source{strings.ToLower(s.Product), strings.ToLower(s.Category), strings.ToLower(s.Service)}
		if uses[at] == nil {
			uses[at] = map[string]int{}
		}
		for _, f := range s.Fields() {
			uses[at][f]++
		}
	}
	for at, names := range uses {
		for name := range names {
			add(at, name)
		}
	}
	empty := fields(t, shared(t, "detect/otrf-windows.ndjson.gz"), unpacked(t, "detect/sigmahq-regression.tar.gz"))
	for _, s := range empty {
		for _, category := range append(slices.Clone(s.Categories), "") {
			at := source{s.Product, category, ""}
			if category == "" {
				at.service = s.Service
			}
			if uses[at] == nil {
				continue
			}
			for name := range s.Fields {
				add(at, name)
			}
		}
	}
	var b strings.Builder
	for _, s := range slices.SortedFunc(maps.Keys(table), func(a, b source) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }) {
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\n", s.product, s.category, s.service, strings.Join(slices.Sorted(maps.Keys(table[s])), ","))
	}
	if *update {
		if err := os.WriteFile("fields.tsv", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(fieldsTable, b.String()); diff != "" {
		t.Errorf("fields.tsv is out of date, -update makes it anew (-file +corpus):\n%.2000s", diff)
	}
}

func own(t *testing.T) *detect.Engine {
	t.Helper()
	e, _, err := pack.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// fields are the log sources of events, with the names that occur there.
func fields(t *testing.T, paths ...string) []scan.Seen {
	t.Helper()
	r, err := scan.Run(t.Context(), scan.Options{Paths: paths, Engine: own(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return r.Seen
}

func TestClosestName(t *testing.T) {
	names := map[string]bool{"CommandLine": true, "Image": true, "ParentImage": true}
	for name, want := range map[string]string{"Commandline": "CommandLine", "ComandLine": "CommandLine", "Imagee": "Image", "Nothing": ""} {
		if got := closest(name, names); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
