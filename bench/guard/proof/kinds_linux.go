package proof

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
	"io"
	"math/rand/v2"
	"strings"
)

// kind makes files of FileSize bytes with the magic, the structure and the
// entropy that such files have.
type kind struct {
	ending string
	body   func(*rand.Rand) ([]byte, error)
}

// kinds is what lies in a folder, in this proportion.
var kinds = []kind{
	{"txt", letter}, {"docx", office}, {"csv", table}, {"jpg", photo},
	{"pdf", paper}, {"txt", letter}, {"xlsx", office}, {"csv", table},
	{"jpg", photo}, {"db", database}, {"png", scan}, {"docx", office},
}

var wards = []string{"内科", "surgery", "検査", "pharmacy", "総務", "radiology", "医事", "ward-3f"}

var words = strings.Fields(`患者 外来 入院 処方 検査 結果 異常 なし 経過 観察 次回 予約 担当 医師 看護 記録 the patient was seen
today and will return next week blood pressure normal medication unchanged report to ward please confirm bed 退院 予定 連絡 済み
1日3回 食後 5mg 10mg 血圧 128/76 体温 36.5 SpO2 98% 所見 左 右 胸部 腹部 明日 午前 午後 申し送り 会議 資料 委員会 議事録`)

// prose is about n bytes of words.
func prose(r *rand.Rand, n int) []byte {
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
		if r.IntN(12) == 0 {
			b.WriteString("。\n")
		} else {
			b.WriteByte(' ')
		}
	}
	return b.Bytes()
}

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, (n+7)&^7)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b[:n]
}

func letter(r *rand.Rand) ([]byte, error) { return prose(r, FileSize)[:FileSize], nil }

func table(r *rand.Rand) ([]byte, error) {
	b := bytes.NewBufferString("id,date,ward,systolic,diastolic,temperature,note\r\n")
	for i := 0; b.Len() < FileSize; i++ {
		fmt.Fprintf(b, "%07d,2026-%02d-%02d,%s,%d,%d,%.1f,%s\r\n", i, 1+r.IntN(12), 1+r.IntN(28), wards[r.IntN(len(wards))],
			90+r.IntN(70), 50+r.IntN(40), 35+r.Float64()*4, words[r.IntN(len(words))])
	}
	return b.Bytes()[:FileSize], nil
}

// office is a real zip with deflated XML and a stored picture that fills it up.
func office(r *rand.Rand) ([]byte, error) {
	text := prose(r, 40<<10)
	media := noise(r, FileSize)
	empty, err := pack(text, nil)
	if err != nil || len(empty) > FileSize {
		return nil, fmt.Errorf("the text takes %d bytes: %w", len(empty), err)
	}
	return pack(text, media[:FileSize-len(empty)])
}

func pack(text, media []byte) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, part := range []struct {
		name string
		body []byte
		how  uint16
	}{{"[Content_Types].xml", text[:512], zip.Deflate}, {"word/document.xml", text, zip.Deflate}, {"word/media/image1.jpeg", media, zip.Store}} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: part.name, Method: part.how})
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(part.body); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// picture is a scene of soft colours with the grain of a camera.
func picture(r *rand.Rand, w, h, grain int) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	base := r.IntN(120)
	for y := range h {
		for x := range w {
			g := r.IntN(grain)
			m.SetRGBA(x, y, color.RGBA{uint8(base + x*100/w + g), uint8(base + y*100/h + g), uint8(base + g), 255})
		}
	}
	return m
}

// photo is a real JPEG; an APP1 segment, as of EXIF with its thumbnail, fills
// it up.
func photo(r *rand.Rand) ([]byte, error) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, picture(r, 240, 180, 32), &jpeg.Options{Quality: 85}); err != nil {
		return nil, err
	}
	fill := FileSize - b.Len() - 4
	if fill < 6 {
		return nil, fmt.Errorf("the picture takes %d bytes", b.Len())
	}
	out := append([]byte{}, 0xff, 0xd8, 0xff, 0xe1, byte((fill+2)>>8), byte(fill+2))
	out = append(out, "Exif\x00\x00"...)
	out = append(out, noise(r, fill-6)...)
	return append(out, b.Bytes()[2:]...), nil
}

// scan is a real PNG; an own chunk before the end fills it up.
func scan(r *rand.Rand) ([]byte, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, picture(r, 140, 90, 24)); err != nil {
		return nil, err
	}
	whole := b.Bytes()
	fill := FileSize - len(whole) - 12
	if fill < 0 {
		return nil, fmt.Errorf("the picture takes %d bytes", len(whole))
	}
	end := len(whole) - 12 // IEND
	chunk := append([]byte("thMb"), noise(r, fill)...)
	out := append([]byte{}, whole[:end]...)
	out = binary.BigEndian.AppendUint32(out, uint32(fill))
	out = append(out, chunk...)
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(chunk))
	return append(out, whole[end:]...), nil
}

// paper has the objects of a PDF with deflated streams.
func paper(r *rand.Rand) ([]byte, error) {
	b := bytes.NewBufferString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	for i := 1; b.Len() < FileSize; i++ {
		var packed bytes.Buffer
		z := zlib.NewWriter(&packed)
		if _, err := z.Write(prose(r, 6<<10)); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		fmt.Fprintf(b, "%d 0 obj\n<< /Length %d /Filter /FlateDecode >>\nstream\n", i, packed.Len())
		if _, err := io.Copy(b, &packed); err != nil {
			return nil, err
		}
		b.WriteString("\nendstream\nendobj\n")
	}
	out := b.Bytes()[:FileSize]
	copy(out[FileSize-6:], "%%EOF\n")
	return out, nil
}

// database has the header and the leaf pages of an SQLite file.
func database(r *rand.Rand) ([]byte, error) {
	out := make([]byte, FileSize)
	copy(out, "SQLite format 3\x00\x10\x00\x01\x01\x00\x40\x20\x20")
	binary.BigEndian.PutUint32(out[28:], FileSize/4096)
	for page := 0; page < len(out); page += 4096 {
		at := page
		if page == 0 {
			at = 100
		}
		out[at] = 0x0d // a leaf of a table
		binary.BigEndian.PutUint16(out[at+3:], 40)
		copy(out[page+1024:page+4096], prose(r, 3072))
	}
	return out, nil
}
