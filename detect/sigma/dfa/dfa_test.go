package dfa

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// machine compiles or ends the test.
func machine(t testing.TB, pattern string, limit int) *Machine {
	t.Helper()
	p, err := Compile(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return p.NewMachine(limit)
}

var patterns = []string{
	`abc`, `^abc$`, `a.c`, `(?s)a.c`, `(?i)Kelvin|straße`, `(?i)sys`, `\bnet\s+use[r]?\b`, `\Bx\B`, `(?m)^b$`, `a*`, `^$`, `[^/]{10,}$`, `.{5,}`, `[a-f0-9]{4}`,
	`(a|b)*abb`, `x{2,4}y`, `[-/–][Ee^]{1,2}[ncodema^]*\s[A-Za-z0-9+/=]{5,}`, `\s-[FTd]\s`, `(Get-Item|gci|Get-ChildItem).{1,8}-Path`, `[0-9]{1,3}\.[0-9]{1,3}`,
	`\w+` + "`" + `(\w+|-|.)`, `(?i)\$\{?e?n?v?:p`, `あ+い`, `[あ-ん]{2}`, `\x{FFFD}`, `(?i)ſ`, `\d\D\s\S\w\W`, `(foo|bar)?baz`, `a|`, `[^a]`, `(?:)`, `\pL{3}`, `x*?y+?`, `(((a+)+)+)b`,
}

var texts = []string{
	"", "a", "abc", "xabcx", "a\nc", "KELVIN", "\u212Aelvin", "STRASSE straße", "SYS", "\u017Fy\u017F", "net  user", "internet use", "axb", "a\nb\nc", "b\n", "\nb",
	"/aaaaaaaaaaaa", "/aaaaaaaaaaaa/", "hello", "dead", "abababb", "xxxxy", "/eNc AAAAA=", "–e BBBBB", " -F ", " -f ", "gci -x -Path", "Get-Item -Path", "1.2", "10.20.30",
	"po`wer", "${env:path}", "ああい", "あん", "\xff", "\xe3\x81", "0a b_!", "baz", "foobaz", "xyz", strings.Repeat("a", 30), strings.Repeat("a", 30) + "b", "\u00e9\u00e8\u00ea",
}

func TestAnswersAreThoseOfPackageRegexp(t *testing.T) {
	for _, pattern := range patterns {
		want := regexp.MustCompile(pattern)
		for name, limit := range map[string]int{"roomy": 1 << 20, "cramped": 1500, "none": 0} {
			m := machine(t, pattern, limit)
			for _, text := range texts {
				if got := m.Match(text); got != want.MatchString(text) {
					t.Errorf("%s, %q on %q: got %v, want %v", name, pattern, text, got, !got)
				}
			}
		}
	}
}

// lowered folds as the callers of Needs do.
func lowered(s string) string { return strings.Map(unicode.ToLower, strings.ToValidUTF8(s, "\uFFFD")) }

func TestWhatMatchesHoldsWhatIsNeeded(t *testing.T) {
	for _, pattern := range patterns {
		m := machine(t, pattern, 1<<20)
		for _, text := range texts {
			checkNeeds(t, m, pattern, text)
		}
	}
}

func checkNeeds(t *testing.T, m *Machine, pattern, text string) {
	t.Helper()
	if !m.p.slow.MatchString(text) {
		return
	}
	for _, set := range m.p.Needs() {
		if !holds(lowered(text), set) {
			t.Errorf("%q matches %q without any of %q", pattern, text, set)
		}
	}
}

func TestNeedsOfRealPatterns(t *testing.T) {
	for pattern, want := range map[string]string{
		`net\s+user`: "user",
		`(Get-Item|gci).{1,64}-Path.{1,64}\\(currentcontrolset\\services|Policies)\\`: "-path",
		`[a-zA-Z]{5,6}\.wll`:                ".wll",
		`(?i)/lib/python3\.([5-9]|1[0-9])/`: "/lib/python3.5",
		`\s-[FTd]\s`:                        " -f ",
		`.{1000,}`:                          "",
	} {
		p, err := Compile(pattern)
		if err != nil {
			t.Fatal(err)
		}
		has := want == "" && len(p.Needs()) == 0
		for _, set := range p.Needs() {
			for _, s := range set {
				has = has || strings.HasPrefix(s, want)
			}
		}
		if !has {
			t.Errorf("%q needs %q, want one with %q", pattern, p.Needs(), want)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := machine(t, `(a|b)*a(a|b){14}c`, 64<<10) // 2^14 states in full
	text := make([]byte, 1<<16)
	seed := uint32(1)
	for i := range text {
		seed = seed*1664525 + 1013904223
		text[i] = 'a' + byte(seed>>31)
	}
	if m.Match(string(text)) {
		t.Error("there is no c")
	}
	if m.used > 80<<10 {
		t.Errorf("%d bytes are used, want the limit of 64 KiB or a state more", m.used)
	}
}

func TestAWarmMachineAllocatesNothing(t *testing.T) {
	m := machine(t, `\bnet\s+(user|group)\b.*/add$`, 1<<20)
	text := "c:\\windows\\system32\\net.exe user x /add /domain"
	if n := testing.AllocsPerRun(100, func() { m.Match(text) }); n > 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func FuzzDFA(f *testing.F) {
	for i, p := range patterns {
		f.Add(p, texts[i%len(texts)])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 200 || len(text) > 400 {
			return
		}
		want, err := regexp.Compile(pattern)
		p, err2 := Compile(pattern)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("regexp says %v, Compile %v", err, err2)
		}
		if err != nil {
			return
		}
		for _, limit := range []int{1 << 20, 1000} {
			m := p.NewMachine(limit)
			for range 2 {
				if got := m.Match(text); got != want.MatchString(text) {
					t.Errorf("%q on %q: got %v, want %v", pattern, text, got, !got)
				}
			}
			checkNeeds(t, m, pattern, text)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	text := strings.Repeat(`C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe -NoProfile `, 20)
	for _, pattern := range []string{`\s[a-fA-F0-9]{64}\s`, `net\s+(user|group)`, `\w+` + "`" + `(\w+|-|.)` + "`"} {
		m, slow := machine(b, pattern, 1<<20), regexp.MustCompile(pattern)
		b.Run("dfa/"+pattern, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				m.Match(text)
			}
		})
		b.Run("regexp/"+pattern, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				slow.MatchString(text)
			}
		})
	}
}
