package guard

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"math"
	"strings"
	"testing"
)

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func prose(n int) []byte {
	return []byte(strings.Repeat("The patient was seen again; no change since April. 経過観察。\n", n/60+1))[:n]
}

func with(b []byte, at int, in []byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], in)
	return b
}

func packed(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestCompare(t *testing.T) {
	const n = 64 << 10
	photo := with(noise(n), 0, []byte("\xff\xd8\xff\xe0\x00\x10JFIF"))
	letter := prose(n)
	half := bytes.Clone(letter) // every other block
	for i := 0; i < n; i += 8192 {
		copy(half[i:i+4096], noise(4096))
	}
	for _, c := range []struct {
		name      string
		pre, post []byte
		now       string
		want      Why
	}{
		{"a letter that is encrypted", letter, noise(n), "letter.txt", WhyRise},
		{"a letter with a new suffix", letter, noise(n), "letter.txt.locked", WhyRise},
		{"every other block of a letter", letter, half, "letter.txt", WhyRise},
		{"the first block of a letter", letter, with(letter, 0, noise(4096)), "letter.txt", WhyRise},
		{"a short letter", prose(300), noise(300), "letter.txt", WhyRise},
		{"a letter whose name says nothing", letter, noise(n), "x", WhyRise},
		{"a photo that is encrypted", photo, noise(n), "photo.jpg", WhyMagic},
		{"the first block of a photo", photo, with(photo, 0, noise(4096)), "photo.jpg", WhyMagic},
		{"a faked type that the name does not promise", letter, with(noise(n), 0, []byte("\x89PNG\r\n\x1a\n")), "letter.txt", WhyRise},
		{"noise under a name that promises text", nil, noise(n), "letter.txt", WhyName},
		{"noise under two suffixes", nil, noise(n), "chart.docx.q8z", WhyName},

		{"a letter that is written anew", letter, with(letter, 5000, []byte("corrected")), "letter.txt", WhyNone},
		{"a letter that is packed", letter, packed(t, append(noise(n), letter...)), "letter.txt.gz", WhyNone},
		{"a photo that is another photo", photo, with(noise(n), 0, photo[:64]), "photo.jpg", WhyNone},
		{"noise that stays noise", noise(n), noise(n), "vault", WhyNone},
		{"a file that became empty", letter, nil, "letter.txt", WhyNone},
		{"a photo under its name", nil, photo, "photo.jpg", WhyNone},
		{"noise whose name promises nothing", nil, noise(n), "cache-77ab", WhyNone},
		{"a page of noise in a large table", prose(n), with(prose(n), 20480, noise(1024)), "16384", WhyNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSampler()
			pre, err := s.take(bytes.NewReader(c.pre), int64(len(c.pre)))
			if err != nil {
				t.Fatal(err)
			}
			post, err := s.like(bytes.NewReader(c.post), int64(len(c.post)), pre)
			if err != nil {
				t.Fatal(err)
			}
			if got := compare(pre, post, c.now); got != c.want {
				t.Errorf("%q, want %q; before %+v, after %+v", got, c.want, pre, post)
			}
		})
	}
}

func TestBitsAreThoseOfNoise(t *testing.T) {
	for _, n := range []int{64, 256, 1024, 4096} {
		missed := 0
		for range 200 {
			if !random(bits(noise(n)), n) {
				missed++
			}
		}
		if missed > 4 {
			t.Errorf("%d of 200 blocks of %d random bytes are not taken for noise", missed, n)
		}
		if random(bits(prose(n)), n) {
			t.Errorf("%d bytes of text are taken for noise", n)
		}
	}
	if b := bits(nil); b != 0 || math.IsNaN(float64(b)) {
		t.Errorf("nothing has %v bits", b)
	}
}

func TestCopyOfACompressorIsNone(t *testing.T) {
	letter, s := prose(64<<10), newSampler()
	pre, _ := s.take(bytes.NewReader(letter), int64(len(letter)))
	for name, b := range map[string][]byte{"letter.txt.gz": packed(t, letter), "letter.Z": noise(20 << 10)} {
		c, _ := s.take(bytes.NewReader(b), int64(len(b)))
		if copied(pre, c, name) {
			t.Errorf("%s is taken for an encrypted copy", name)
		}
	}
	b := noise(64<<10 + 256)
	c, _ := s.like(bytes.NewReader(b), int64(len(b)), pre)
	if !copied(pre, c, "letter.txt.locked") {
		t.Error("an encrypted copy is not seen")
	}
}

func TestAllowedLines(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for line, ok := range map[string]bool{"/usr/bin/x " + sum: true, sum + "  /usr/bin/x": true, sum + " */usr/bin/x": true, "x " + sum: false, "/usr/bin/x abcd": false, "": false} {
		a, err := ParseAllowed(line)
		if (err == nil) != ok || ok && (a.Path != "/usr/bin/x" || a.SHA256 != sum) {
			t.Errorf("%q: %+v %v", line, a, err)
		}
	}
}

func TestUsualIsRememberedAndInterpretersAreNot(t *testing.T) {
	dir := t.TempDir()
	b, err := openBaseline(dir)
	if err != nil {
		t.Fatal(err)
	}
	b.learn("s1", "/opt/vault/seal", 5)
	b.learn("s1", "/opt/vault/seal", 3)
	b.learn("s2", "/usr/bin/python3.11", 50)
	b.learn("s3", "/opt/x", 1<<20)
	if err := b.save(); err != nil {
		t.Fatal(err)
	}
	if b, err = openBaseline(dir); err != nil || b.extra("s1") != 5 || b.extra("s2") != 0 || b.extra("s3") != mostUsual {
		t.Errorf("%v %v", b.max, err)
	}
}

func BenchmarkSample(b *testing.B) {
	f, s := bytes.NewReader(prose(1<<20)), newSampler()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.take(f, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}
