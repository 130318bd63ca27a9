package paper

import (
	"fmt"
	"image"
	"image/color"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// TestCodeIsReadByAnother draws the picture from the SVG and lets a decoder
// that knows nothing of the encoder read it.
func TestCodeIsReadByAnother(t *testing.T) {
	note := "sonae\n1234\nCzwJc2hhbGwgYmUgYSBoYXNoIG9mIDMyIGJ5dGVzISEhISE=\n\n— sonae " + strings.Repeat("Ab3+", 24) + "\n"
	for name, text := range map[string]string{
		"a checkpoint":     note,
		"with one witness": note + "— w.example+0badcafe " + strings.Repeat("x/9Z", 26) + "\n",
		"with sixteen":     note + strings.Repeat("— w.example+0badcafe "+strings.Repeat("x/9Z", 26)+"\n", 16),
	} {
		t.Run(name, func(t *testing.T) {
			svg, err := QR(text)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := QR(text); err != nil || again != svg {
				t.Error("drawn differently the second time")
			}
			bitmap, err := gozxing.NewBinaryBitmapFromImage(drawn(t, svg))
			if err != nil {
				t.Fatal(err)
			}
			got, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true, gozxing.DecodeHintType_CHARACTER_SET: "UTF-8"})
			if err != nil {
				t.Fatal(err)
			}
			if got.GetText() != text {
				t.Errorf("read %q", got.GetText())
			}
		})
	}
	if _, err := QR(strings.Repeat("x", 5000)); err == nil {
		t.Error("a text that no code can hold was drawn")
	}
}

var stroke = regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-(\d+)z`)

// drawn paints the strokes of the picture.
func drawn(t *testing.T, svg string) image.Image {
	t.Helper()
	var n int
	_, after, _ := strings.Cut(svg, `viewBox="`)
	if _, err := fmt.Sscanf(after, "0 0 %d", &n); err != nil {
		t.Fatal(err)
	}
	const scale = 4
	img := image.NewGray(image.Rect(0, 0, n*scale, n*scale))
	for i := range img.Pix {
		img.Pix[i] = 255
	}
	for _, m := range stroke.FindAllStringSubmatch(svg, -1) {
		var v [4]int
		for i := range v {
			v[i], _ = strconv.Atoi(m[i+1])
		}
		for x := v[0] * scale; x < (v[0]+v[2])*scale; x++ {
			for y := v[1] * scale; y < (v[1]+1)*scale; y++ {
				img.SetGray(x, y, color.Gray{})
			}
		}
	}
	return img
}
