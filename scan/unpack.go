package scan

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// What can be wrong with a file apart from its own format.
var (
	errLink      = errors.New("a symbolic link, not followed")
	errSpecial   = errors.New("not a plain file")
	errDeep      = errors.New("packed too deep: unpack it and scan what is inside")
	errBomb      = errors.New("unpacks to far more than a log would: left alone from here")
	errEncrypted = errors.New("encrypted: unpack it with its password and scan what is inside")
)

// Limits bound what a packed file may unpack to. A file that goes beyond is
// read up to there and reported.
type Limits struct {
	Ratio int64 // unpacked bytes for each packed one, once more than Free came out
	Free  int64 // bytes that may come out at any ratio
	Total int64 // bytes out of one file
}

// Unpacking is what logs need: text of machines packs 10 to 100 times, and no
// deflate stream more than 1,032 times.
func (l Limits) orDefault() Limits {
	if l == (Limits{}) {
		return Limits{Ratio: 400, Free: 256 << 20, Total: 1 << 40}
	}
	return l
}

// How deep files may be packed: an archive in an archive, each compressed.
const (
	maxArchives = 2
	maxLayers   = 4
)

// peek is how much of a file is looked at to tell what it is.
const peek = 64 << 10

// unpacker opens one file and calls leaf for everything in it that is not
// packed.
type unpacker struct {
	limits Limits
	tmp    string // folder of temporary files, "" for the system's
	in     int64  // packed bytes read
	out    int64  // unpacked bytes that came out of the innermost layer
	leaf   func(name string, r *bufio.Reader) error
	// failed hears of a member that could not be read; the others are read on.
	failed func(name string, err error)
}

// depth says what a stream is inside of.
type depth struct{ layers, archives int }

// file reads a file of the disk. name is how it is called in what is reported.
func (u *unpacker) file(f *os.File, name string, progress func(int)) error {
	in := &counter{r: f, add: func(n int) { u.in += int64(n); progress(n) }}
	r := bufio.NewReaderSize(in, peek)
	head, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if isZip(head) { // its list stands at the end, so that it is read in another way
		info, err := f.Stat()
		if err != nil {
			return err
		}
		at := &counterAt{r: f, add: func(n int) { u.in += int64(n); progress(n) }}
		return u.zip(at, info.Size(), name, depth{})
	}
	return u.stream(r, name, depth{})
}

// stream reads what may be packed.
func (u *unpacker) stream(r *bufio.Reader, name string, d depth) error {
	head, err := r.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return u.gzip(r, name, d)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return u.zstd(r, name, d)
	case isZip(head):
		return u.inner(r, name, d)
	case len(head) >= 263 && string(head[257:262]) == "ustar":
		return u.tar(r, name, d)
	}
	return u.leaf(name, r)
}

func isZip(head []byte) bool {
	return bytes.HasPrefix(head, []byte("PK\x03\x04")) || bytes.HasPrefix(head, []byte("PK\x05\x06"))
}

func (d depth) deeper(archive bool) (depth, error) {
	d.layers++
	if archive {
		d.archives++
	}
	if d.layers > maxLayers || d.archives > maxArchives {
		return d, errDeep
	}
	return d, nil
}

func (u *unpacker) gzip(r *bufio.Reader, name string, d depth) error {
	d, err := d.deeper(false)
	if err != nil {
		return err
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("gzip: %w", err)
	}
	return u.stream(bufio.NewReaderSize(u.bounded(z), peek), name, d)
}

// maxWindow bounds the memory of a zstd stream; what the tool writes without
// --ultra --long needs no more.
const maxWindow = 32 << 20

func (u *unpacker) zstd(r *bufio.Reader, name string, d depth) error {
	d, err := d.deeper(false)
	if err != nil {
		return err
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return fmt.Errorf("zstd: %w", err)
	}
	defer z.Close()
	return u.stream(bufio.NewReaderSize(u.bounded(z), peek), name, d)
}

func (u *unpacker) tar(r *bufio.Reader, name string, d depth) error {
	d, err := d.deeper(true)
	if err != nil {
		return err
	}
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("tar: %w", err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		member := name + "!" + h.Name
		if err := u.stream(bufio.NewReaderSize(t, peek), member, d); err != nil {
			if final(err) {
				return err
			}
			u.failed(member, err)
		}
	}
}

// final says whether nothing more can come out of the file.
func final(err error) bool { return errors.Is(err, errStopped) || errors.Is(err, errBomb) }

// inner reads a zip file that is packed itself: it has to lie on the disk.
func (u *unpacker) inner(r *bufio.Reader, name string, d depth) error {
	f, err := os.CreateTemp(u.tmp, "sonae-scan-*.zip")
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	n, err := io.Copy(f, r)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return u.zip(f, n, name, d)
}

func (u *unpacker) zip(r io.ReaderAt, size int64, name string, d depth) error {
	d, err := d.deeper(true)
	if err != nil {
		return err
	}
	z, err := zip.NewReader(r, size)
	if err != nil {
		return fmt.Errorf("zip: %w", err)
	}
	z.RegisterDecompressor(zstd.ZipMethodWinZip, zstd.ZipDecompressor(zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow)))
	for _, m := range z.File {
		if m.FileInfo().IsDir() {
			continue
		}
		member := name + "!" + m.Name
		if err := u.member(m, member, d); err != nil {
			if final(err) {
				return err
			}
			u.failed(member, err)
		}
	}
	return nil
}

func (u *unpacker) member(m *zip.File, name string, d depth) error {
	const encrypted = 1
	if m.Flags&encrypted != 0 {
		return errEncrypted
	}
	r, err := m.Open()
	if err != nil {
		return fmt.Errorf("zip: %w", err)
	}
	defer r.Close()
	return u.stream(bufio.NewReaderSize(u.bounded(r), peek), name, d)
}

// bounded ends a stream that unpacks to more than it may.
func (u *unpacker) bounded(r io.Reader) io.Reader {
	return &counter{r: r, add: func(n int) { u.out += int64(n) }, check: func() error {
		if u.out > u.limits.Total || u.out > u.limits.Free && u.out > u.limits.Ratio*max(u.in, 1) {
			return errBomb
		}
		return nil
	}}
}

// counter counts what is read.
type counter struct {
	r     io.Reader
	add   func(n int)
	check func() error // nil, or whether to go on
}

// Read reads.
func (c *counter) Read(p []byte) (int, error) {
	if c.check != nil {
		if err := c.check(); err != nil {
			return 0, err
		}
	}
	n, err := c.r.Read(p)
	c.add(n)
	return n, err
}

// counterAt counts what is read at places.
type counterAt struct {
	r   io.ReaderAt
	add func(n int)
}

// ReadAt reads.
func (c *counterAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.add(n)
	return n, err
}
