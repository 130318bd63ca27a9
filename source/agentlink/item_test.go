package agentlink

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/source/agentlink/wire"
)

func header(t testing.TB, h wire.ItemHeader) string {
	t.Helper()
	b, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func TestItemPathsStayInTheBag(t *testing.T) {
	for p, ok := range map[string]bool{
		"proc/1/exe": true, "証拠.txt": true, "a..b": true, "..a": true, strings.Repeat("a", 512): true,
		"": false, ".": false, "..": false, "/etc/passwd": false, "../x": false, "a/../../x": false, "a/../b": false,
		"a//b": false, "a/": false, "./a": false, `a\b`: false, "a\x00b": false, "a\nb": false, strings.Repeat("a", 513): false,
	} {
		_, err := itemHeader(header(t, wire.ItemHeader{Bag: "bg-1", Path: p}))
		if (err == nil) != ok {
			t.Errorf("%.40q: got %v, want ok %v", p, err, ok)
		}
	}
}

func TestLimiterForgets(t *testing.T) {
	now := time.Unix(1000, 0)
	l := limiter{now: func() time.Time { return now }, seen: map[string]*tries{}}
	for i := range triesPerMinute + 1 {
		if got := l.allow("a"); got != (i < triesPerMinute) {
			t.Fatalf("try %d: %v", i, got)
		}
	}
	for i := range maxRemotes + 10 {
		l.allow(strings.Repeat("x", i%7) + string(rune(i)))
	}
	if len(l.seen) > maxRemotes {
		t.Fatalf("%d addresses kept", len(l.seen))
	}
	now = now.Add(time.Minute)
	if !l.allow("a") || !l.allow("new") {
		t.Error("still refused after a minute")
	}
}

func FuzzItemHeader(f *testing.F) {
	f.Add(header(f, wire.ItemHeader{Bag: "b", Path: "a/b", StartedAt: time.Unix(1, 0)}))
	f.Add(header(f, wire.ItemHeader{Bag: "b", Path: "../a"}))
	f.Add("e30=")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := itemHeader(s)
		if err != nil {
			if fault.Of(err) == "" && !errors.Is(err, errTooLarge) {
				t.Fatalf("no kind: %v", err)
			}
			return
		}
		if joined := path.Join("/bag", h.Path); !strings.HasPrefix(joined, "/bag/") {
			t.Fatalf("%q leaves the bag", h.Path)
		}
	})
}
