package anomaly

import (
	"bytes"
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

// encrypted is what a program makes of bytes that writes over a file: everything
// behind the first keep bytes is AES-CTR.
func encrypted(b []byte, keep int) []byte {
	c, err := aes.NewCipher(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		panic(err) // the key is 32 bytes long
	}
	out := bytes.Clone(b)
	cipher.NewCTR(c, make([]byte, aes.BlockSize)).XORKeyStream(out[keep:], out[keep:])
	return out
}

// records are n bytes as the tables of a ward have them.
func records(seed uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d\t患者 %06d\t%d-%02d-%02d\t%x\t経過観察、次回 %d 週後\n", i, rnd.IntN(1e6), 1930+rnd.IntN(90), 1+rnd.IntN(12), 1+rnd.IntN(28), rnd.Uint64(), rnd.IntN(12))
	}
	return b.Bytes()[:n]
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// own is a state in a file: what is stored is the same on every engine, and these
// tests are about what is read.
func own(t *testing.T) *state.DB {
	t.Helper()
	db, err := state.Open(t.Context(), filepath.Join(t.TempDir(), "state.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// pour backs up one stream as the agent does, scores, and returns the snapshot.
func (w *ward) pour(source, name string, b []byte) Snapshot {
	w.t.Helper()
	cmd := w.p.Command(w.t.Context(), "backup", "--host", "ward", "--time", w.at.Format(time.DateTime), "--tag", "source:"+source, "--stdin", "--stdin-filename", name)
	cmd.Stdin = bytes.NewReader(b)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("restic: %v: %s", err, out)
	}
	return w.scored(name)
}

// scored ends the day and returns the newest snapshot of a series that a path is
// one of.
func (w *ward) scored(path string) Snapshot {
	w.t.Helper()
	w.at = w.at.Add(24 * time.Hour)
	if err := w.ScanAll(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	all, err := w.List(w.t.Context(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(s Series) bool { return slices.Contains(s.Paths, path) })
	if i < 0 {
		w.t.Fatalf("no series of %s", path)
	}
	s, err := w.Snapshot(w.t.Context(), all[i].ID, all[i].Last)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// folder backs up a folder of few files.
func (w *ward) folder(files map[string][]byte, options ...string) Snapshot {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "dumps") // another one each time: its name in the snapshot is the same
	at := filepath.Join(w.dir, "..", "staging")
	if err := os.RemoveAll(at); err != nil {
		w.t.Fatal(err)
	}
	for name, b := range files {
		restictest.Write(w.t, filepath.Join(dir, name), b)
	}
	if err := os.Rename(dir, at); err != nil {
		w.t.Fatal(err)
	}
	w.p.Run(w.t, append([]string{"backup", "--host", "ward", "--time", w.at.Format(time.DateTime), at}, options...)...)
	return w.scored(filepath.Clean(at))
}

func reason(s Snapshot, rule string) (r Reason, ok bool) {
	for _, r := range s.Reasons {
		if r.Rule == rule {
			return r, true
		}
	}
	return Reason{}, false
}

func TestStreamsThatDoNotBeginAsTheirSourceWritesThem(t *testing.T) {
	w := newWard(t, statetest.Open(t), 0)
	text := records(1, 300_000)
	sql := slices.Concat([]byte("/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n"), text)
	for name, good := range map[string][]byte{
		"/emr.records.dump": slices.Concat([]byte("PGDMP\x01\x0e\x00"), text),
		"/emr.roles.sql":    []byte("--\n-- PostgreSQL database cluster dump\n--\n\nSET default_transaction_read_only = off;\n"),
		"/rota.rota.sql":    sql,
		"/dir.config.ldif":  []byte("dn: cn=config\nobjectClass: olcGlobal\ncn: config\n"),
		"/vm.domain.xml":    []byte("<domain type='kvm'>\n  <name>ward</name>\n</domain>\n"),
		"/hub.hub.age":      []byte("age-encryption.org/v1\n-> X25519 x\n"),
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			source, _, _ := strings.Cut(name[1:], ".")
			if s := w.pour(source, name, good); s.Verdict != First || len(s.Reasons) != 0 {
				t.Fatalf("the first snapshot: %+v", s.Score)
			}
			if s := w.pour(source, name, slices.Concat(good, []byte("\n"))); s.Verdict != Calm {
				t.Fatalf("an ordinary day: %+v", s.Score)
			}
			s := w.pour(source, name, encrypted(good, 0))
			r, ok := reason(s, RuleHead)
			if s.Verdict != Flagged || !ok || r.Form != due(source, name) || !slices.Equal(r.Examples, []string{name}) {
				t.Fatalf("it was encrypted: %+v", s.Score)
			}
			if s := w.pour(source, name, encrypted(slices.Concat(good, []byte("\n")), 0)); s.Verdict != Flagged {
				t.Errorf("it was encrypted the day before, too: %+v", s.Score)
			}
			p, err := w.Propose(t.Context(), s.Series, time.Time{}, 0)
			if err != nil || p.Because != s.ID || p.Choice == "" || p.Choice == s.ID {
				t.Errorf("the clean point is %+v, %v", p, err)
			}
		})
	}
	if told := w.told(); len(told) != 12 || !strings.Contains(told[0].Rule.What["en"], "no longer begins as") || !slices.Contains(told[0].Rule.Tags, "attack.t1486") {
		t.Errorf("told %d findings, the first %+v", len(told), told[0].Rule)
	}
}

// Of the log of a PostgreSQL a segment or two come each day: they are no many files,
// and what is random in them is no reason by itself.
func TestSegmentsOfTheLogThatAreNone(t *testing.T) {
	w := newWard(t, own(t), 0)
	segment := func(seed uint64) []byte {
		return slices.Concat([]byte{0x10, 0xd1, 2, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}, encrypted(records(seed, 100_000), 0))
	}
	name := func(i int) string { return fmt.Sprintf("0000000100000000%08X", i) }
	all := map[string][]byte{"last-base": []byte(name(1)), name(1): segment(1)}
	w.folder(all, "--tag", "source:log")
	all[name(2)], all[name(3)+".partial"] = segment(2), make([]byte, 100_000)
	if s := w.folder(all, "--tag", "source:log"); s.Verdict != Calm {
		t.Errorf("an ordinary day: %+v", s.Score)
	}
	all[name(3)] = encrypted(segment(3), 0)
	s := w.folder(all, "--tag", "source:log")
	if r, ok := reason(s, RuleHead); s.Verdict != Flagged || !ok || r.Form != FormWAL || r.N != 1 {
		t.Errorf("a segment was encrypted: %+v", s.Score)
	}
}

func TestAStreamThatIsNoDumpFromTheFirstDayIsFlagged(t *testing.T) {
	w := newWard(t, statetest.Open(t), 0)
	bad := records(1, 1000)
	s := w.pour("emr", "/emr.records.dump", bad)
	if s.Verdict != Flagged {
		t.Fatalf("a dump that is none: %+v", s.Score)
	}
	if _, err := w.Answer(t.Context(), s.Series, s.ID, NewAnswer{Planned: true, Reason: "gpg で包む運用に変えた"}, auth.Person{ID: "pe-1"}); err != nil {
		t.Fatal(err)
	}
	if s := w.pour("emr", "/emr.records.dump", bad[1:]); s.Verdict != Calm {
		t.Errorf("a person said that it was meant: %+v", s.Score)
	}
	if s := w.pour("emr", "/emr.records.dump", []byte("PGDMP and so on")); s.Verdict != Calm {
		t.Errorf("a dump again: %+v", s.Score)
	}
	if s := w.pour("emr", "/emr.records.dump", bad[2:]); s.Verdict != Flagged {
		t.Errorf("no dump, after it was one again: %+v", s.Score)
	}
}

func TestTextThatHoldsRandomBytesIsFlagged(t *testing.T) {
	w := newWard(t, statetest.Open(t), 0)
	b := slices.Concat([]byte("-- MariaDB dump 10.19\n"), records(2, 3<<20))
	w.pour("rota", "/rota.rota.sql", b)
	part := bytes.Clone(b)
	for at := 1 << 20; at+64<<10 < len(part); at += 1 << 20 { // 64 KiB of each MiB, the beginning left
		copy(part[at:], encrypted(part[at:at+64<<10], 0))
	}
	s := w.pour("rota", "/rota.rota.sql", part)
	if _, ok := reason(s, RuleInside); s.Verdict != Flagged || !ok {
		t.Errorf("a sixteenth of the text was encrypted: %+v, %+v", s.Score, s.Numbers.Streams)
	}
}

func TestFewFilesOfAStagingFolder(t *testing.T) {
	text, other, long := records(3, 2<<20), records(4, 2<<20), gzipped(t, records(5, 6<<20))
	sql := func(b []byte) []byte { return slices.Concat([]byte("--\n-- PostgreSQL database dump\n--\n\n"), b) }
	for name, tt := range map[string]struct {
		before, after map[string][]byte
		verdict       Verdict
		rule          string
	}{
		"a compressed dump of another day":            {map[string][]byte{"db.sql.gz": gzipped(t, text)}, map[string][]byte{"db.sql.gz": gzipped(t, other)}, Calm, ""},
		"a dump that grew":                            {map[string][]byte{"db.sql": sql(text)}, map[string][]byte{"db.sql": sql(slices.Concat(text, other))}, Calm, ""},
		"a dump that is compressed now":               {map[string][]byte{"db.sql": sql(text)}, map[string][]byte{"db.sql": gzipped(t, sql(text))}, Calm, ""},
		"a dump under another date":                   {map[string][]byte{"db-0706.sql": sql(text)}, map[string][]byte{"db-0706.sql": sql(text), "db-0707.sql": sql(other)}, Calm, ""},
		"encrypted in place":                          {map[string][]byte{"db.sql.gz": gzipped(t, text)}, map[string][]byte{"db.sql.gz": encrypted(gzipped(t, text), 0)}, Flagged, RuleHead},
		"encrypted and renamed":                       {map[string][]byte{"db.sql": sql(text)}, map[string][]byte{"db.sql.locked": encrypted(sql(text), 0)}, Flagged, RuleHead},
		"encrypted, under another date":               {map[string][]byte{"db-0706.sql": sql(text)}, map[string][]byte{"db-0706.sql": sql(text), "db-0707.sql": encrypted(sql(other), 0)}, Flagged, RuleHead},
		"encrypted behind its beginning":              {map[string][]byte{"db.sql": sql(text)}, map[string][]byte{"db.sql": encrypted(sql(text), 4096)}, Flagged, RuleScrambled},
		"compressed, encrypted behind its beginning":  {map[string][]byte{"db.gz": long}, map[string][]byte{"db.gz": encrypted(long, 64)}, Flagged, RuleScrambled},
		"encrypted by hand":                           {map[string][]byte{"db.sql": sql(text)}, map[string][]byte{"db.sql": slices.Concat([]byte("Salted__12345678"), encrypted(text, 0))}, Question, RuleQuestion},
		"behind its beginning, under another date":    {map[string][]byte{"db-1.sql": sql(text)}, map[string][]byte{"db-2.sql": encrypted(sql(other), 4096)}, Flagged, RuleScrambled},
		"encrypted always, and another one every day": {map[string][]byte{"db.gpg": encrypted(text, 0)}, map[string][]byte{"db.gpg": encrypted(other, 0)}, Calm, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t, own(t), 0)
			w.folder(tt.before)
			s := w.folder(tt.after)
			if _, ok := reason(s, tt.rule); s.Verdict != tt.verdict || tt.rule != "" && !ok {
				t.Errorf("got %+v, want %s because of %q\n%+v", s.Score, tt.verdict, tt.rule, s.Numbers.Streams)
			}
		})
	}
}

// disk is a raw image of a machine with files in it, each at a place of its own,
// with holes between; mark encrypts or changes some of them.
func disk(files [][]byte) []byte {
	b := make([]byte, 0, 48<<20)
	b = append(b, make([]byte, 1<<20)...)
	b[510], b[511] = 0x55, 0xaa
	for _, f := range files {
		b = append(b, f...)
		b = append(b, make([]byte, 256<<10)...)
	}
	return append(b, make([]byte, 8<<20)...)
}

func TestADiskThatTurnsRandomFromTheInside(t *testing.T) {
	var files [][]byte
	for i := range 12 {
		files = append(files, records(uint64(i), 1<<20))
	}
	with := func(change func(i int, b []byte) []byte) []byte {
		out := make([][]byte, len(files))
		for i, f := range files {
			out[i] = change(i, f)
		}
		return disk(out)
	}
	photos := gzipped(t, records(99, 9<<20)) // as photographs are: no room is left in it, and it is not random
	noise := func(i int) []byte { return encrypted(records(uint64(200+i), 1<<20), 0) }
	for name, tt := range map[string]struct {
		before, after []byte
		verdict       Verdict
	}{
		"some files were written":            {disk(files), with(func(i int, b []byte) []byte { return slices.Concat(b[:1000], []byte("追記"), b[1006:]) }), Calm},
		"upgraded: all is other":             {disk(files), with(func(i int, b []byte) []byte { return records(uint64(100+i), 1<<20) }), Calm},
		"half of it are photographs now":     {disk(files), with(func(i int, b []byte) []byte { return cmpOr(i < 6, photos[min(i, 3)<<20:min(i, 3)<<20+1<<20], b) }), Calm},
		"what was deleted is empty":          {disk(files), with(func(i int, b []byte) []byte { return cmpOr(i < 6, make([]byte, 1<<20), b) }), Calm},
		"an encrypted archive came into it":  {disk(files), slices.Concat(disk(files), noise(1), noise(2), noise(3), noise(4)), Calm},
		"encrypted always":                   {with(func(i int, b []byte) []byte { return noise(i) }), with(func(i int, b []byte) []byte { return noise(50 + i) }), Calm},
		"all files of it were encrypted":     {disk(files), with(func(i int, b []byte) []byte { return encrypted(b, 0) }), Flagged},
		"half of its files were encrypted":   {disk(files), with(func(i int, b []byte) []byte { return cmpOr(i%2 == 0, encrypted(b, 0), b) }), Flagged},
		"two of its files were encrypted":    {disk(files), with(func(i int, b []byte) []byte { return cmpOr(i < 2, encrypted(b, 0), b) }), Watch},
		"every second 64 KiB were encrypted": {disk(files), with(func(i int, b []byte) []byte { return striped(b, 64<<10) }), Flagged},
		"the whole disk was encrypted":       {disk(files), encrypted(disk(files), 512), Flagged},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t, own(t), 0)
			w.folder(map[string][]byte{"ward.img": tt.before})
			s := w.folder(map[string][]byte{"ward.img": tt.after})
			if s.Verdict != tt.verdict {
				t.Errorf("got %+v, want %s\n%+v", s.Score, tt.verdict, s.Numbers.Streams)
			}
		})
	}
}

func cmpOr(yes bool, a, b []byte) []byte {
	if yes {
		return a
	}
	return b
}

// striped encrypts every second piece.
func striped(b []byte, piece int) []byte {
	out := bytes.Clone(b)
	for at := 0; at+piece <= len(b); at += 2 * piece {
		copy(out[at:], encrypted(b[at:at+piece], 0))
	}
	return out
}

func TestADiskThatIsEncryptedLittleByLittle(t *testing.T) {
	w := newWard(t, own(t), 0)
	files := make([][]byte, 24)
	for i := range files {
		files[i] = records(uint64(i), 1<<20)
	}
	w.folder(map[string][]byte{"ward.img": disk(files)})
	first := time.Time{}
	for i := range files {
		files[i] = encrypted(files[i], 0)
		s := w.folder(map[string][]byte{"ward.img": disk(files)})
		if first.IsZero() {
			first = s.Received
		}
		if r, ok := reason(s, RuleScrambled); s.Verdict == Flagged {
			if !ok || r.Since != first.UTC().Format(time.RFC3339) || i < 4 || i > 8 {
				t.Errorf("flagged on day %d: %+v; it began at %s", i, s.Score, first)
			}
			return
		}
	}
	t.Error("one file of a disk was encrypted every day, and nobody was told")
}

// What programs write that compress is not taken for what programs write that
// encrypt.
func TestCompressedIsNotRandom(t *testing.T) {
	text := records(5, 6<<20)
	for _, tool := range []string{"gzip -c", "gzip -1 -c", "zstd -q -c", "bzip2 -c"} {
		args := strings.Fields(tool)
		if _, err := exec.LookPath(args[0]); err != nil {
			t.Logf("%s is not there", args[0])
			continue
		}
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdin = bytes.NewReader(text)
		b, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if s := sifted(b); 20*s.random > s.seen {
			t.Errorf("%s: %d of %d bytes are called random", tool, s.random, s.seen)
		}
		if s := sifted(encrypted(b, 0)); 10*s.random < 9*s.seen {
			t.Errorf("%s, encrypted: %d of %d bytes are called random", tool, s.random, s.seen)
		}
	}
}

func sifted(b []byte) (s sieve) {
	for r := bytes.NewReader(b); r.Len() > 0; {
		piece := make([]byte, 1<<20)
		n, _ := io.ReadFull(r, piece) // bytes in memory
		s.add(piece[:n])
	}
	s.empty(true)
	return s
}
