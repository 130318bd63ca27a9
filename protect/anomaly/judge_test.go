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

// TestStreamsAreJudgedAgainstTheirOwnPast has a stream of a GiB that was stored at
// 0.4 of its size, and one that was compressed already.
func TestStreamsAreJudgedAgainstTheirOwnPast(t *testing.T) {
	const mib = 1 << 20
	stream := func(change func(*Stream)) Numbers {
		s := Stream{Path: "/vm/ward.img", Size: 1 << 30, OldForm: kindDisk, Form: kindDisk, Known: true, OldStored: 400 * mib, OldSlack: 600 * mib, Stored: 400 * mib, Slack: 600 * mib,
			Gone: Grain{Bytes: 50 * mib, Loose: 50 * mib}, Fresh: Grain{Bytes: 50 * mib, Loose: 50 * mib}}
		change(&s)
		return Numbers{Files: 2, Bytes: 1 << 30, Changed: 1, Compared: 1, Signs: map[string]int{}, Streams: []Stream{s}}
	}
	grain := func(bytes, random, loose uint64) Grain { return Grain{bytes * mib, random * mib, loose * mib} }
	packed := func(s *Stream) {
		s.Path, s.OldForm, s.Form, s.OldStored, s.OldSlack, s.Stored, s.Slack = "/emr.dump.gz", kindGzip, kindGzip, 1000*mib, 2*mib, 1000*mib, 2*mib
		s.Gone, s.Fresh = grain(1000, 0, 1), grain(1000, 0, 1)
	}
	for name, tt := range map[string]struct {
		n       Numbers
		verdict Verdict
		rule    string
	}{
		"an ordinary day":                       {stream(func(s *Stream) {}), Calm, ""},
		"it grew by what is compressed already": {stream(func(s *Stream) { s.Size, s.Stored, s.Fresh = 2<<30, 1400*mib, grain(1000, 0, 50) }), Calm, ""},
		"it grew by what is encrypted":          {stream(func(s *Stream) { s.Size, s.Stored, s.Fresh = 2<<30, 1400*mib, grain(1000, 950, 50) }), Calm, ""},
		"half of it was deleted":                {stream(func(s *Stream) { s.Stored, s.Slack, s.Gone = 200*mib, 300*mib, grain(550, 0, 550) }), Calm, ""},
		"half of it was compressed (VACUUM FULL)": {stream(func(s *Stream) {
			s.Stored, s.Slack, s.Gone, s.Fresh = 390*mib, 310*mib, grain(500, 0, 500), grain(200, 0, 10)
		}), Calm, ""},
		"all of it was written anew": {stream(func(s *Stream) { s.Gone, s.Fresh = grain(1000, 0, 1000), grain(1000, 0, 1000) }), Calm, ""},
		"videos took the place of half of it": {stream(func(s *Stream) {
			s.Stored, s.Slack, s.Gone, s.Fresh = 700*mib, 300*mib, grain(500, 0, 500), grain(500, 0, 0)
		}), Calm, ""},
		"half of it was encrypted": {stream(func(s *Stream) {
			s.Stored, s.Slack, s.Gone, s.Fresh = 700*mib, 300*mib, grain(500, 0, 500), grain(500, 490, 10)
		}), Flagged, RuleScrambled},
		"a sixth of it was encrypted": {stream(func(s *Stream) {
			s.Stored, s.Slack, s.Gone, s.Fresh = 500*mib, 500*mib, grain(170, 0, 170), grain(170, 165, 5)
		}), Watch, RuleScrambled},
		"encrypted, and made smaller": {stream(func(s *Stream) {
			s.Stored, s.Slack, s.Gone, s.Fresh = 400*mib, 0, grain(1000, 0, 1000), grain(400, 400, 0)
		}), Flagged, RuleScrambled},
		"encrypted always":                          {stream(func(s *Stream) { packed(s); s.Gone, s.Fresh = grain(1000, 990, 0), grain(1000, 1000, 0) }), Calm, ""},
		"compressed always":                         {stream(packed), Calm, ""},
		"compressed, and now encrypted":             {stream(func(s *Stream) { packed(s); s.Fresh = grain(1000, 1000, 0) }), Flagged, RuleScrambled},
		"compressed, and it is no gzip any more":    {stream(func(s *Stream) { packed(s); s.Fresh, s.Form, s.Even = grain(1000, 1000, 0), "", true }), Flagged, RuleHead},
		"another program writes it":                 {stream(func(s *Stream) { packed(s); s.Form = "zstd" }), Calm, ""},
		"of a kind that is not known, and not even": {stream(func(s *Stream) { packed(s); s.Form = "" }), Calm, ""},
		"a person encrypted it":                     {stream(func(s *Stream) { packed(s); s.Fresh, s.Form = grain(1000, 1000, 0), kindSealed }), Question, RuleQuestion},
		"its source says that it is another thing":  {stream(func(s *Stream) { packed(s); s.Due, s.Wrong = FormPostgreSQL, true }), Flagged, RuleHead},
		"text with random bytes in it":              {stream(func(s *Stream) { s.Due, s.Alien = FormSQL, true }), Flagged, RuleInside},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := Judge(tt.n, quiet(), monday, nil)
			if s.Verdict != tt.verdict || tt.rule != "" && !slices.ContainsFunc(s.Reasons, func(r Reason) bool { return r.Rule == tt.rule && len(r.Examples) == 1 }) {
				t.Errorf("got %+v, want %s because of %q", s, tt.verdict, tt.rule)
			}
		})
	}
}

// What turns random comes together over weeks, goes back when it was restored, and
// fades: a disk to which an archive came every year is none that was encrypted.
func TestWhatTurnsRandomComesTogether(t *testing.T) {
	const mib = 1 << 20
	turn := func(s Stream, by int64) Stream {
		s.OldStored, s.OldSlack = s.Stored, s.Slack
		s.Stored, s.Slack = uint64(int64(s.Stored)+by), uint64(int64(s.Slack)-by)
		s.Gone, s.Fresh = Grain{Bytes: 100 * mib, Loose: 100 * mib}, Grain{Bytes: 100 * mib, Random: 100 * mib}
		return s
	}
	for name, tt := range map[string]struct {
		by      []int64 // MiB of 600 on each day
		every   int     // days
		flagged bool
	}{
		"5 % a day":             {[]int64{30, 30, 30, 30, 30, 30}, 1, true},
		"5 % a day, restored":   {[]int64{30, 30, 30, -90, 30, 30}, 1, false},
		"5 % twice a year":      {[]int64{30, 30, 30, 30, 30, 30}, 180, false},
		"less than counts":      {[]int64{2, 2, 2, 2, 2, 2}, 1, false},
		"there and back (work)": {[]int64{60, -60, 60, -60, 60, -60}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			u, s, flagged := quiet(), Stream{Path: "/vm/ward.img", Size: 1 << 30, OldForm: kindDisk, Form: kindDisk, Known: true, Stored: 400 * mib, Slack: 600 * mib}, false
			for i, by := range tt.by {
				s = turn(s, by*mib)
				var score Score
				score, u = Judge(Numbers{Files: 1, Bytes: 1 << 30, Changed: 1, Signs: map[string]int{}, Streams: []Stream{s}}, u, monday.AddDate(0, 0, i*tt.every), nil)
				flagged = flagged || score.Verdict == Flagged
			}
			if flagged != tt.flagged {
				t.Errorf("flagged: %v; in the end %+v", flagged, u.Streams)
			}
		})
	}
}

func TestStreamsAreKnownByTheirSource(t *testing.T) {
	for name, want := range map[string]string{
		"/emr.a.b.dump": FormPostgreSQL, "/emr.roles.sql": FormSQL, "/emr.base.tar": FormTar, "/emr.o=h.ldif": FormLDIF, "/emr.domain.xml": FormDomain, "/emr.hub.age": FormAge,
		"/var/lib/sonae-wal/local_5432/0000000100000000000000A1": FormWAL, "/w/0000000100000000000000A1.partial": FormWAL,
		"/emr.dump": "", "/emr.x/y.dump": "", "/other.x.dump": "", "/srv/emr.x.dump": "", "/w/last-base": "",
	} {
		if got := due("emr", name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		if got := due("", name); got != "" {
			t.Errorf("%s of no source: %q", name, got)
		}
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
		_ = formOf(b)
		for _, form := range []string{FormPostgreSQL, FormSQL, FormLDIF, FormTar, FormDomain, FormAge, FormWAL} {
			_ = begins(form, b)
		}
	})
}
