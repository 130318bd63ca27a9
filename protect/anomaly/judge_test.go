package anomaly

import (
	"bytes"
	"compress/gzip"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var monday = time.Date(2026, 7, 6, 13, 0, 0, 0, time.UTC)

// quiet is a machine after weeks of ordinary days.
func quiet() Usual {
	u := Usual{}
	for i := range 30 {
		u.Days = append(u.Days, Day{At: monday.AddDate(0, 0, i-30), Touched: 100 + i%7, Removed: 4})
	}
	return u
}

func numbers(change func(*Numbers)) Numbers {
	n := Numbers{Files: 10_000, Bytes: 1 << 30, Changed: 200, Compared: 200, Signs: map[string]int{}, OldRatio: 0.5, Ratio: 0.5}
	change(&n)
	return n
}

func TestRulesSpeakWithTheirNumbers(t *testing.T) {
	for name, tt := range map[string]struct {
		n       Numbers
		verdict Verdict
		rule    string
	}{
		"an ordinary day":                            {numbers(func(n *Numbers) {}), Calm, ""},
		"a decoy was touched":                        {numbers(func(n *Numbers) { n.Canaries = []string{"/a"} }), Flagged, RuleCanary},
		"one file was damaged by a crash":            {numbers(func(n *Numbers) { n.Signs[SignStructure] = 1 }), Calm, ""},
		"a hundred files were encrypted":             {numbers(func(n *Numbers) { n.Signs[SignMagic] = 100 }), Flagged, RuleDamage},
		"a folder was deleted":                       {numbers(func(n *Numbers) { n.Removed = 600 }), Flagged, RuleRemoved},
		"a folder was put into an archive":           {numbers(func(n *Numbers) { n.Removed, n.Archived = 600, 600 }), Calm, ""},
		"a person encrypted a folder":                {numbers(func(n *Numbers) { n.Signs[SignSealed], n.Replaced = 90, 90 }), Question, RuleQuestion},
		"encrypted under names without any relation": {numbers(func(n *Numbers) { n.Signs[SignNoise], n.New, n.Removed = 150, 150, 150 }), Flagged, RuleNoise},
		"encrypted and written as text":              {numbers(func(n *Numbers) { n.Signs[SignRise] = 150 }), Flagged, RuleDamage},
		"many new files, as photos are":              {numbers(func(n *Numbers) { n.New = 4000 }), Calm, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := Judge(tt.n, quiet(), monday, nil)
			if s.Verdict != tt.verdict || tt.rule != "" && !slices.ContainsFunc(s.Reasons, func(r Reason) bool { return r.Rule == tt.rule }) {
				t.Errorf("got %+v, want %s because of %q", s, tt.verdict, tt.rule)
			}
		})
	}
}

func TestAttackBelowEveryLimitAddsUp(t *testing.T) {
	u := quiet()
	for day := range 12 {
		n := numbers(func(n *Numbers) { n.Signs[SignMagic] = 20 }) // 0.2 % a day
		var s Score
		s, u = Judge(n, u, monday.AddDate(0, 0, day), nil)
		if s.Verdict == Flagged {
			i := slices.IndexFunc(s.Reasons, func(r Reason) bool { return r.Rule == RuleSlow })
			if i < 0 || s.Reasons[i].Since != monday.Format(time.RFC3339) {
				t.Errorf("flagged on day %d without the day on which it began: %+v", day, s)
			}
			return
		}
	}
	t.Error("two files of 1,000 were encrypted every day, and nobody was told in 12 days")
}

func TestDaysWithAnAlertTeachNothing(t *testing.T) {
	u := quiet()
	_, next := Judge(numbers(func(n *Numbers) { n.Signs[SignMagic] = 500 }), u, monday, nil)
	if len(next.Days) != len(u.Days) {
		t.Errorf("%d days are usual after an attack, want %d", len(next.Days), len(u.Days))
	}
	_, next = Judge(numbers(func(n *Numbers) {}), u, monday, nil)
	if len(next.Days) != len(u.Days)+1 {
		t.Errorf("an ordinary day was not learned: %d", len(next.Days))
	}
}

func TestEntropyOfRandomBytesIsOneWhateverTheirNumber(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{1})
	for _, n := range []int{256, 700, 1500, window} {
		b := make([]byte, n)
		_, _ = rnd.Read(b) // has no error
		if e := entropy(b); e < 0.985 {
			t.Errorf("%d random bytes have %f of what random bytes have", n, e)
		}
		if e := entropy([]byte(strings.Repeat("経過観察 the patient was seen 12 ", n/20)[:n])); e > 0.85 {
			t.Errorf("%d bytes of text have %f", n, e)
		}
	}
}

func TestSignsOfOneFile(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{2})
	noise := make([]byte, 20_000)
	_, _ = rnd.Read(noise) // has no error
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(noise) // into memory
	_ = z.Close()
	broken := bytes.Clone(packed.Bytes())
	copy(broken[4096:], noise[:8192])
	text := []byte(strings.Repeat("2026-07-06 受付 12 完了\n", 600))
	half := bytes.Clone(text)
	copy(half[8192:], noise[:4096])
	of := func(b []byte, ratio float64) version {
		return version{inspect(piece{b, b, [][]byte{b}, true}), uint64(len(b)), ratio}
	}
	for name, tt := range map[string]struct {
		old, now version
		sign     string
	}{
		"text that was edited":          {of(text, 0.1), of(append(bytes.Clone(text), "追記"...), 0.1), ""},
		"text that was encrypted":       {of(text, 0.1), of(noise, 1), SignMagic},
		"text of which a part was":      {of(text, 0.1), of(half, 0.4), SignWindow},
		"gzip whose header was left":    {of(packed.Bytes(), 1), of(broken, 1), SignStructure},
		"text that was compressed":      {of(text, 0.1), of(packed.Bytes(), 1), ""},
		"text that a person encrypted":  {of(text, 0.1), of(append([]byte{0x8c, 0x0d, 0x04, 0x09, 0x03, 0x0a}, noise...), 1), SignSealed},
		"a file that was random always": {of(noise, 1), of(noise[100:], 1), ""},
		"an empty file that was filled": {of(nil, 0), of(text, 0.1), ""},
		"a file that became empty":      {of(text, 0.1), of(nil, 0), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := compare(tt.old, tt.now); got != tt.sign {
				t.Errorf("got %q, want %q\nold %+v\nnow %+v", got, tt.sign, tt.old, tt.now)
			}
		})
	}
}

func TestNamesArePaired(t *testing.T) {
	got := pair([]string{"a.docx", "b.xlsx", "c.txt", "d"}, []string{"a.docx.locked", "b.enc", "c.txt.id-1.[x].lock", "new.txt"})
	want := map[string]string{"a.docx.locked": "a.docx", "b.enc": "b.xlsx", "c.txt.id-1.[x].lock": "c.txt"}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for now, was := range want {
		if got[now] != was {
			t.Errorf("%s was %q, want %q", now, got[now], was)
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte("PK\x03\x04"))
	f.Add([]byte("%PDF-1.7\n1 0 obj\n<</Filter /FlateDecode>>\nstream\nx\x9c"))
	f.Add([]byte("\xff\xd8\xff\xe1\x00\x04ab\xff\xda\x00\x02\xff\x00\xff\xd9"))
	f.Add([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x00IEND\xaeB`\x82"))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Add([]byte{0x8c, 0x0d, 0x04, 0x09, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		l := inspect(piece{b, b, [][]byte{b}, true})
		if l.Entropy < 0 || l.Entropy > 1 || l.Seen > len(b) {
			t.Errorf("impossible: %+v", l)
		}
		_ = listed(b)
	})
}
