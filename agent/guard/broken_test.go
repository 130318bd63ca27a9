package guard

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"testing"
)

// grain is a picture that packs badly.
func grain(t testing.TB) image.Image {
	t.Helper()
	r, m := rand.New(rand.NewPCG(1, 2)), image.NewRGBA(image.Rect(0, 0, 240, 240))
	for y := range 240 {
		for x := range 240 {
			m.SetRGBA(x, y, color.RGBA{byte(x) + byte(r.IntN(40)), byte(y) + byte(r.IntN(40)), byte(r.IntN(99)), 255})
		}
	}
	return m
}

// varied is text that packs into enough bytes to encrypt a block in.
func varied(n int) []byte {
	r, b := rand.New(rand.NewPCG(3, 4)), make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz 0123456789\n"[r.IntN(38)]
	}
	return b
}

// structured are real files of each type whose structure is known.
func structured(t testing.TB) map[string][]byte {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	all := map[string][]byte{}
	var b bytes.Buffer
	must(jpeg.Encode(&b, grain(t), &jpeg.Options{Quality: 95}))
	all["jpg"] = bytes.Clone(b.Bytes())
	exif := append([]byte("\xff\xd8\xff\xe1\x20\x00Exif\x00\x00"), noise(0x2000-8)...)
	all["jpg with a large header"] = append(exif, b.Bytes()[2:]...)
	b.Reset()
	must(png.Encode(&b, grain(t)))
	all["png"] = bytes.Clone(b.Bytes())
	b.Reset()
	z := zip.NewWriter(&b)
	for i, how := range []uint16{zip.Deflate, zip.Store, zip.Deflate} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("word/part%d.xml", i), Method: how})
		must(err)
		_, err = w.Write(varied(20 << 10))
		must(err)
	}
	must(z.Close())
	all["docx"] = bytes.Clone(b.Bytes())
	all["gz"] = packed(t, varied(60<<10))
	all["pdf"] = pdf(t, "")
	all["pdf that is encrypted on purpose"] = pdf(t, "/Encrypt 9 0 R")
	db := make([]byte, 16*4096)
	copy(db, "SQLite format 3\x00\x10\x00\x01\x01\x00\x40\x20\x20")
	for page := 4096; page < len(db); page += 4096 {
		copy(db[page+8:], varied(4088))
		if db[page] = 13; page > 40000 { // the rest of a large value
			binary.BigEndian.PutUint32(db[page:], uint32(page/4096))
		}
	}
	all["db"] = db
	film := append([]byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom\x00\x00\x80\x00mdat"), noise(0x8000-8)...)
	all["mp4"] = append(film, "\x00\x00\x00\x10moov\x00\x00\x00\x08free"...)
	ole := make([]byte, 512*128)
	copy(ole, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	ole[30], ole[44] = 9, 1
	binary.LittleEndian.PutUint32(ole[76:], 20) // the table is in sector 20
	for i := range 128 {
		binary.LittleEndian.PutUint32(ole[21*512+4*i:], uint32(i+1))
	}
	binary.LittleEndian.PutUint32(ole[21*512+4*127:], 0xfffffffe)
	all["doc"] = ole
	return all
}

func pdf(t testing.TB, trailer string) []byte {
	t.Helper()
	b := bytes.NewBufferString("%PDF-1.7\n")
	for i := range 6 {
		var p bytes.Buffer
		z := zlib.NewWriter(&p)
		_, err := z.Write(varied(9 << 10))
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		body := p.Bytes()
		if trailer != "" {
			body = noise(len(body))
		}
		fmt.Fprintf(b, "%d 0 obj\n<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream\nendobj\n", i+1, len(body), body)
	}
	at := b.Len()
	fmt.Fprintf(b, "xref\n0 1\n0000000000 65535 f \ntrailer\n<< /Size 7 %s >>\nstartxref\n%d\n%%%%EOF\n", trailer, at)
	return b.Bytes()
}

func isBrokenFile(b []byte) bool {
	return broken(bytes.NewReader(b), int64(len(b)), kindOf(b[:min(len(b), blockSize)]))
}

func TestWhatIsEncryptedBehindItsHeaderIsBroken(t *testing.T) {
	for name, b := range structured(t) {
		t.Run(name, func(t *testing.T) {
			if isBrokenFile(b) {
				t.Fatal("the file itself is said to be broken")
			}
			if name == "pdf that is encrypted on purpose" {
				return // nobody can tell
			}
			if !isBrokenFile(append(bytes.Clone(b[:4096]), noise(len(b)-4096)...)) {
				t.Error("all behind the header is noise, and it is said to be whole")
			}
		})
	}
}

// TestOneEncryptedBlockIsSeen is intermittent encryption of a type that says
// much about itself: nearly every block shows it.
func TestOneEncryptedBlockIsSeen(t *testing.T) {
	all := structured(t)
	for name, least := range map[string]int{"jpg": 100, "png": 100, "docx": 100, "gz": 100, "pdf": 80, "db": 90} {
		b := all[name]
		seen, tried := 0, 0
		for at := 4096; at+4096 <= len(b); at += 4096 {
			tried++
			if isBrokenFile(with(b, at, noise(4096))) {
				seen++
			}
		}
		if tried < 4 || seen*100 < least*tried {
			t.Errorf("%s: seen in %d of %d", name, seen, tried)
		}
	}
}

func TestChecksumsOfAPNGAreThoseOfItsChunks(t *testing.T) {
	b := structured(t)["png"]
	chunk := []byte("teXtof the ward")
	b = append(b[:len(b)-12:len(b)-12], append(binary.BigEndian.AppendUint32(append([]byte{0, 0, 0, byte(len(chunk) - 4)}, chunk...), crc32.ChecksumIEEE(chunk)), b[len(b)-12:]...)...)
	if isBrokenFile(b) {
		t.Error("a chunk more")
	}
	if !isBrokenFile(b[:len(b)-20]) {
		t.Error("cut off")
	}
}

func FuzzBroken(f *testing.F) {
	for _, b := range structured(f) {
		f.Add(b)
		f.Add(b[:4096+len(b)/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for k := range kinds { // also what begins otherwise
			broken(bytes.NewReader(b), int64(len(b)), kind(k+1))
		}
	})
}

func BenchmarkBroken(b *testing.B) {
	for name, file := range structured(b) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				isBrokenFile(file)
			}
		})
	}
}
