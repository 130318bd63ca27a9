package action

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
)

func catalogue(t *testing.T, lang string) map[string]string {
	t.Helper()
	var m map[string]string
	for _, file := range []string{"action", "contain", "cut", "standing"} {
		b, err := os.ReadFile("../i18n/" + lang + "/" + file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &m); err != nil { // adds to what is there
			t.Fatal(err)
		}
	}
	return m
}

var hole = regexp.MustCompile(`\{[a-z0-9_]+\}`)

func holes(s string) []string {
	h := hole.FindAllString(s, -1)
	slices.Sort(h)
	return slices.Compact(h)
}

func TestBothLanguagesSayTheSame(t *testing.T) {
	ja, en := catalogue(t, "ja"), catalogue(t, "en")
	for k, v := range ja {
		if _, ok := en[k]; !ok {
			t.Errorf("%s has no English", k)
		} else if !slices.Equal(holes(v), holes(en[k])) {
			t.Errorf("%s: placeholders %v and %v", k, holes(v), holes(en[k]))
		}
	}
	for k := range en {
		if _, ok := ja[k]; !ok {
			t.Errorf("%s has no Japanese", k)
		}
	}
}

func checkLines(t *testing.T, ja map[string]string, a Action) {
	t.Helper()
	for _, l := range a.Lines() {
		say, ok := ja["entry."+l.Key]
		if !ok {
			t.Errorf("no sentence for entry.%s", l.Key)
		}
		for _, h := range holes(say) {
			name := strings.Trim(h, "{}")
			_, plain := l.Args[name]
			_, at := l.Args[name+"_at"]
			_, key := l.Args[name+"_key"]
			if !plain && !at && !key {
				t.Errorf("entry.%s: nothing fills %s", l.Key, h)
			}
		}
		for arg, key := range l.Args {
			if strings.HasSuffix(arg, "_key") && ja[key] == "" {
				t.Errorf("no words for %s", key)
			}
		}
	}
}

func TestEveryLineAndFaultHasASentence(t *testing.T) {
	ja := catalogue(t, "ja")
	now := time.Now()
	full := Action{ID: "ac-1", Host: "pc", RequestedBy: "p", RequestedAt: now, DecidedBy: "q", DecidedAt: now, AppliedAt: now, VerifiedAt: now,
		ExpiresAt: now, EndedAt: now, WrongCodes: 1, ReleasedBy: "q", ReleasedAt: now, LastSign: now, Checks: []Check{{Name: "forbidden-blocked"}},
		Means: CoA, Via: "dev-1", ViaName: "SW", Targets: []string{"192.0.2.1"}, Tell: "x", KeptBy: "q", KeptAt: now}
	guarded := full
	guarded.Kind, guarded.Auto, guarded.State, guarded.Process = Freeze, Guard, Verified, &order.Process{PID: 7, Image: "/tmp/a"}
	checkLines(t, ja, guarded)
	for _, kind := range append([]Kind{Isolate, Preserve, Block}, Parts()...) {
		by := full
		by.Kind, by.State, by.Auto = kind, Verified, "po-1"
		if kind != Preserve {
			checkLines(t, ja, by)
		}
		for st := range transitions {
			for _, why := range []string{"order", "code", "renewed"} {
				for _, failure := range []string{"", "no-answer", "nobody-decided"} {
					a := full
					a.Kind, a.State, a.Cause, a.Failure = kind, st, why, failure
					checkLines(t, ja, a)
				}
			}
		}
	}
	src, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	used := regexp.MustCompile(`fault\.New\(fault\.\w+, "([a-z.-]+)"`)
	for _, f := range src {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range used.FindAllStringSubmatch(string(b), -1) {
			if ja["fault."+m[1]] == "" {
				t.Errorf("no sentence for fault.%s", m[1])
			}
		}
	}
}
