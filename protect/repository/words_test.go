package repository_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestEveryRefusalHasASentenceInBothLanguages(t *testing.T) {
	used := regexp.MustCompile(`fault\.New\(fault\.\w+, "([a-z.-]+)"`)
	words := map[string]map[string]string{"ja": {}, "en": {}}
	for lang, m := range words {
		b, err := os.ReadFile("../../i18n/" + lang + "/protect.json")
		if err == nil {
			err = json.Unmarshal(b, &m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	src, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	edge, err := filepath.Glob("rest/*.go")
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	for _, f := range append(src, edge...) {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range used.FindAllStringSubmatch(string(b), -1) {
			keys++
			for lang, sentences := range words {
				if sentences["fault."+m[1]] == "" {
					t.Errorf("no sentence for fault.%s in %s", m[1], lang)
				}
			}
		}
	}
	if keys < 15 || len(words["ja"]) != len(words["en"]) {
		t.Errorf("%d keys found; %d sentences in Japanese, %d in English", keys, len(words["ja"]), len(words["en"]))
	}
}
