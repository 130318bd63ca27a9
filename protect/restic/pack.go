package restic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// BlobKind says what a blob is.
type BlobKind uint8

// Kinds of blobs.
const (
	DataBlob BlobKind = iota // a piece of a file
	TreeBlob                 // a folder
)

// String returns restic's word.
func (k BlobKind) String() string {
	if k == TreeBlob {
		return "tree"
	}
	return "data"
}

// UnmarshalText reads restic's word.
func (k *BlobKind) UnmarshalText(b []byte) error {
	switch string(b) {
	case "data":
		*k = DataBlob
	case "tree":
		*k = TreeBlob
	default:
		return fmt.Errorf("unknown type %.20q of a blob", b)
	}
	return nil
}

// Blob is one blob in a pack, as a header or an index tells it.
type Blob struct {
	ID     ID
	Kind   BlobKind
	Offset uint32 // where it begins in the pack
	Length uint32 // as it is stored, with Overhead
	Plain  uint32 // after decompression; 0: it is not compressed
}

// Size is the length of the content, in bytes.
func (b Blob) Size() uint32 {
	if b.Plain > 0 {
		return b.Plain
	}
	return b.Length - Overhead
}

const (
	lengthSize    = 4          // of the header's length, the last bytes of a pack
	maxHeader     = 16 << 20   // bytes: about 400,000 blobs
	plainEntry    = 1 + 4 + 32 // type, length, id
	squeezedEntry = 1 + 4 + 4 + 32
)

// Header reads the table at the end of a pack of size bytes, whose offset is
// returned too (-1 when even that cannot be said). The blobs lie one after the
// other from 0 to that offset.
func (k *Key) Header(pack io.ReaderAt, size int64) (blobs []Blob, at int64, err error) {
	if size < lengthSize+Overhead {
		return nil, -1, fmt.Errorf("a pack of %d bytes is too short", size)
	}
	var tail [lengthSize]byte
	if _, err := io.ReadFull(io.NewSectionReader(pack, size-lengthSize, lengthSize), tail[:]); err != nil {
		return nil, -1, err
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	at = size - lengthSize - n
	if n < Overhead || n > maxHeader || at < 0 {
		return nil, -1, fmt.Errorf("a header of %d bytes does not fit into a pack of %d", n, size)
	}
	box := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(pack, at, n), box); err != nil {
		return nil, at, err
	}
	text, err := k.open(box)
	if err != nil {
		return nil, at, fmt.Errorf("header: %w", err)
	}
	blobs, err = parseHeader(text, at)
	if err != nil {
		return nil, at, fmt.Errorf("header: %w", err)
	}
	return blobs, at, nil
}

// parseHeader reads a decrypted header of a pack whose blobs end at end.
func parseHeader(text []byte, end int64) ([]Blob, error) {
	var blobs []Blob
	offset := int64(0)
	for len(text) > 0 {
		b, n, err := parseEntry(text)
		if err != nil {
			return nil, fmt.Errorf("blob %d: %w", len(blobs), err)
		}
		b.Offset = uint32(offset) // below end, as checked for the blob before
		if offset += int64(b.Length); offset > end {
			return nil, fmt.Errorf("blob %d ends at %d, behind the last blob's end at %d", len(blobs), offset, end)
		}
		blobs = append(blobs, b)
		text = text[n:]
	}
	if offset != end {
		return nil, fmt.Errorf("its blobs end at %d instead of %d", offset, end)
	}
	if len(blobs) == 0 {
		return nil, errors.New("it names no blob")
	}
	return blobs, nil
}

func parseEntry(text []byte) (Blob, int, error) {
	kind, n := text[0], plainEntry
	if kind > 3 {
		return Blob{}, 0, fmt.Errorf("unknown type %d", kind)
	}
	if kind >= 2 {
		n = squeezedEntry
	}
	if len(text) < n {
		return Blob{}, 0, errors.New("it is cut off")
	}
	b := Blob{Kind: BlobKind(kind & 1), Length: binary.LittleEndian.Uint32(text[1:]), ID: ID(text[n-32 : n])}
	if b.Length < Overhead || b.Length > maxBlob {
		return Blob{}, 0, fmt.Errorf("its length %d is out of bounds", b.Length)
	}
	if kind >= 2 {
		if b.Plain = binary.LittleEndian.Uint32(text[5:]); b.Plain == 0 || b.Plain > maxBlob {
			return Blob{}, 0, fmt.Errorf("its decompressed length %d is out of bounds", b.Plain)
		}
	}
	return b, n, nil
}
