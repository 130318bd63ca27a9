package paper

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image/jpeg"
	"image/png"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/state"
)

// MaxPicture bounds a picture, in bytes; a telephone takes 3 to 12 MB.
const MaxPicture = 20 << 20

// maxPixels bounds what a small file may claim to unpack to: a viewer's
// browser must not be brought down by it.
const maxPixels = 200_000_000

// Type is what a file is.
type Type string

// Types of files.
const (
	JPEG Type = "image/jpeg"
	PNG  Type = "image/png"
	HEIC Type = "image/heic"
	PDF  Type = "application/pdf"
	CSV  Type = "text/csv"
)

// Shown says whether a browser may show the file within a page. Others are
// saved only.
func (t Type) Shown() bool { return t == JPEG || t == PNG }

// Sniff says what a picture is by its bytes, whatever it is called. Whatever is
// not one of the four kinds is Invalid "paper.type": a page or a drawing that a
// browser would run is never taken for a picture.
func Sniff(data []byte) (Type, error) {
	refused := func(err error) (Type, error) { return "", fault.New(fault.Invalid, "paper.type").With(err) }
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		c, err := jpeg.DecodeConfig(bytes.NewReader(data))
		if err != nil || !fits(c.Width, c.Height) {
			return refused(err)
		}
		return JPEG, nil
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		c, err := png.DecodeConfig(bytes.NewReader(data))
		if err != nil || !fits(c.Width, c.Height) {
			return refused(err)
		}
		return PNG, nil
	case isHEIC(data):
		return HEIC, nil
	case isPDF(data):
		return PDF, nil
	}
	return refused(nil)
}

func fits(wide, tall int) bool {
	return wide > 0 && tall > 0 && int64(wide)*int64(tall) <= maxPixels
}

// heicBrands are the brands of still pictures in ISO/IEC 23008-12.
var heicBrands = []string{"heic", "heix", "heim", "heis", "mif1", "msf1"}

// isHEIC reads the first box, which names the brands of the file.
func isHEIC(data []byte) bool {
	if len(data) < 16 || string(data[4:8]) != "ftyp" {
		return false
	}
	size := binary.BigEndian.Uint32(data)
	if size < 16 || size > 1024 || size%4 != 0 || uint64(size) >= uint64(len(data)) {
		return false
	}
	main := string(data[8:12])
	if !slices.Contains(heicBrands, main) {
		return false
	}
	for at := uint32(16); at < size; at += 4 { // a picture whose coding is another one says so here
		if b := string(data[at : at+4]); strings.HasPrefix(b, "hei") || main != "mif1" && main != "msf1" {
			return true
		}
	}
	return strings.HasPrefix(main, "hei")
}

// isPDF asks for both ends of the file.
func isPDF(data []byte) bool {
	if !bytes.HasPrefix(data, []byte("%PDF-1.")) && !bytes.HasPrefix(data, []byte("%PDF-2.")) {
		return false
	}
	return bytes.Contains(data[max(0, len(data)-1024):], []byte("%%EOF"))
}

// Picture is a picture in an incident.
type Picture struct {
	ID         string    `json:"id"`
	Incident   string    `json:"incident"`
	Entry      int       `json:"entry"` // its line of the chronology
	OccurredAt time.Time `json:"occurred_at"`
	At         time.Time `json:"at"` // when it was taken in
	By         string    `json:"by"`
	Source     string    `json:"source"` // whiteboard, paper, fax
	Text       string    `json:"text"`   // what it shows
	File       File      `json:"file"`
}

// NewPicture is a picture as it comes.
type NewPicture struct {
	Name       string // of the file
	Data       []byte
	Text       string    // at most 1000 characters
	Source     string    // whiteboard when empty
	OccurredAt time.Time // when what it shows was written; zero: now
}

// sources are where a picture may be of.
var sources = []string{"whiteboard", "paper", "fax", "oral", "person"}

// AddPicture takes a picture in: the file as it came, and a line.
//
// Errors: Invalid for what is no picture, is too large or has no text; Missing
// for an unknown incident.
func (d *Desk) AddPicture(ctx context.Context, in string, n NewPicture, by auth.Person) (Picture, error) {
	if len(n.Data) > MaxPicture {
		return Picture{}, fault.New(fault.Invalid, "paper.too-large", MaxPicture>>20)
	}
	kind, err := Sniff(n.Data)
	if err != nil {
		return Picture{}, err
	}
	text, err := needed("text", n.Text, 1000)
	if err != nil {
		return Picture{}, err
	}
	name, err := fileName(n.Name)
	if err != nil {
		return Picture{}, err
	}
	if n.Source == "" {
		n.Source = "whiteboard"
	}
	if !slices.Contains(sources, n.Source) {
		return Picture{}, fault.New(fault.Invalid, "incident.source-unknown", n.Source)
	}
	if _, err := d.Room.Get(ctx, in); err != nil {
		return Picture{}, err
	}
	if err := d.keep(ctx, in, n.Data); err != nil {
		return Picture{}, err
	}
	now := d.moment()
	p := Picture{ID: clock.ID("pic", now), Incident: in, At: now, By: by.ID, Source: n.Source, Text: text,
		File: File{Name: name, Type: kind, Size: int64(len(n.Data)), Digest: digestOf(n.Data)}}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		e, err := d.Room.Enter(ctx, tx, in, incident.Form{Note: incident.Note{Key: "paper.picture", OccurredAt: n.OccurredAt, Source: n.Source, Ref: p.ID,
			Args: map[string]string{"text": text, "file": name, "digest": p.File.Digest}}}, by)
		if err != nil {
			return err
		}
		p.Entry, p.OccurredAt = e.No, e.OccurredAt
		return d.add(ctx, tx, kindPicture, p.ID, in, by, p)
	})
	if err != nil {
		return Picture{}, fmt.Errorf("picture in %s: %w", in, err)
	}
	d.Log.Info("picture kept", "incident", in, "bytes", p.File.Size)
	return p, nil
}

func asIs[T any](*T, record.Version) {}

// Pictures returns the pictures of an incident, in the order in which they came.
func (d *Desk) Pictures(ctx context.Context, in string) ([]Picture, error) {
	return each(ctx, d, kindPicture, in, asIs[Picture])
}

// Picture returns a picture of an incident with its bytes. Conflict
// "paper.damaged" when they are not what came.
func (d *Desk) Picture(ctx context.Context, in, id string) (Picture, []byte, error) {
	p, err := one(ctx, d, kindPicture, in, id, asIs[Picture])
	if err != nil {
		return p, nil, err
	}
	data, err := d.bytesOf(ctx, in, p.File)
	return p, data, err
}

// fileName is the last part of a name, whatever system it is from.
func fileName(name string) (string, error) {
	name, err := incident.Clean("file", path.Base(strings.ReplaceAll(name, `\`, "/")), 200)
	if err != nil || name == "" || name == "." || name == "/" {
		return "file", err
	}
	return name, nil
}

// needed is a field that must not be empty.
func needed(field, text string, most int) (string, error) {
	text, err := incident.Clean(field, text, most)
	if err == nil && text == "" {
		err = fault.New(fault.Invalid, "paper.missing-"+field)
	}
	return text, err
}
