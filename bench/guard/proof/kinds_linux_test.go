package proof

import (
	"archive/zip"
	"bytes"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"testing"
)

func TestFilesAreWhatTheirNamesSay(t *testing.T) {
	read := map[string]func([]byte) error{
		"jpg": func(b []byte) error { _, err := jpeg.Decode(bytes.NewReader(b)); return err },
		"png": func(b []byte) error { _, err := png.Decode(bytes.NewReader(b)); return err },
		"docx": func(b []byte) error {
			_, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
			return err
		},
	}
	r := rand.New(rand.NewPCG(5, 5))
	for _, k := range kinds {
		for range 20 {
			b, err := k.body(r)
			if err != nil || len(b) != FileSize {
				t.Fatalf(".%s: %d bytes, %v", k.ending, len(b), err)
			}
			if check := read[k.ending]; check != nil {
				if err := check(b); err != nil {
					t.Errorf(".%s: %v", k.ending, err)
				}
			}
		}
	}
}
