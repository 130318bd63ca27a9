package windows

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rules returns the texts of SigmaHQ's rules, which stand beside the project
// and are not part of it.
func rules(t *testing.T) []string {
	t.Helper()
	const name = "../shared/data/detect/sigmahq-rules.tar.gz"
	f, err := os.Open(filepath.Join("../..", name))
	if errors.Is(err, os.ErrNotExist) {
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
	var all []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, ".yml") {
			continue
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(text))
	}
}

// TestEveryLogSourceOfTheWindowsRulesIsKnown finds the services and categories
// that rules for Windows name and no event would get.
func TestEveryLogSourceOfTheWindowsRulesIsKnown(t *testing.T) {
	known := map[string]bool{}
	for _, service := range services {
		known["service: "+service] = true
	}
	for id := range 6000 {
		for service := range maps.Values(services) {
			for _, category := range categoriesOf(service, id) {
				known["category: "+category] = true
			}
		}
	}
	// They need the provider Microsoft-Windows-Kernel-File, which writes to
	// no event log.
	known["category: file_access"], known["category: file_rename"] = true, true

	logsource := regexp.MustCompile(`(?m)^logsource:\s*\n((?:[ \t]+.*\n)+)`)
	key := regexp.MustCompile(`(?m)^\s+((?:service|category): [\w-]+)`)
	var unknown []string
	seen := 0
	for _, rule := range rules(t) {
		for _, block := range logsource.FindAllStringSubmatch(rule, -1) {
			if !regexp.MustCompile(`(?m)^\s+product: windows\b`).MatchString(block[1]) {
				continue
			}
			for _, k := range key.FindAllStringSubmatch(block[1], -1) {
				seen++
				if !known[k[1]] {
					unknown = append(unknown, k[1])
				}
			}
		}
	}
	slices.Sort(unknown)
	if unknown = slices.Compact(unknown); len(unknown) > 0 || seen < 2000 {
		t.Errorf("%d log sources seen, unknown: %q", seen, unknown)
	}
}
