package drill

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/sonae/sonae/i18n"
)

// Whatever a run or a form can say has its sentence.
func TestEveryReasonHasASentence(t *testing.T) {
	src, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	for _, f := range src {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"(protect\.drill\.[a-z-]+)"`).FindAllStringSubmatch(string(b), -1) {
			if keys++; !i18n.Has("fault." + m[1]) {
				t.Errorf("%s: no sentence for fault.%s", f, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`phase[A-Z]\w+ += "([a-z]+)"`).FindAllStringSubmatch(string(b), -1) {
			if keys++; !i18n.Has("protect.drill.phase." + m[1]) {
				t.Errorf("%s: no word for the phase %s", f, m[1])
			}
		}
	}
	for _, kind := range []string{kindDefinition, kindRun} {
		if !i18n.Has("fault.protect.drill." + kind + "-missing") {
			t.Errorf("no sentence for a missing %s", kind)
		}
	}
	for _, l := range Levels() {
		if !i18n.Has("protect.drill.level." + string(l)) {
			t.Errorf("no word for level %s", l)
		}
	}
	for _, s := range Standings() {
		if !i18n.Has("protect.drill.standing." + string(s)) {
			t.Errorf("no word for standing %s", s)
		}
	}
	if keys < 50 {
		t.Errorf("only %d keys were found", keys)
	}
}
