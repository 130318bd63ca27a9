package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"
)

// maxLine bounds a manifest line, and so the memory its reader needs.
const maxLine = 8 << 20

// line is one line of the manifest: all that must be known of a segment
// without reading it. Its digest, which covers the digest of the segment,
// goes to the ledger.
type line struct {
	Path    string    `json:"path"` // below the archive, slash separated
	SHA256  string    `json:"sha256"`
	Bytes   int64     `json:"bytes"`
	Rows    int64     `json:"rows"`
	From    time.Time `json:"from"` // oldest event
	To      time.Time `json:"to"`   // newest event
	Hosts   []string  `json:"hosts"`
	Batches []string  `json:"batches"`
	At      time.Time `json:"at"` // when the segment was written
}

// encode returns the canonical bytes of the line, without the line end.
func (l line) encode() ([]byte, error) {
	b, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("manifest line: %w", err)
	}
	if len(b) >= maxLine {
		return nil, fmt.Errorf("manifest line of %d bytes is longer than %d: too many batches at once", len(b), maxLine)
	}
	return b, nil
}

// parseLine reads what encode wrote and refuses any other spelling and any
// path that does not name a segment.
func parseLine(b []byte) (line, error) {
	var l line
	if err := json.Unmarshal(b, &l); err != nil {
		return line{}, fmt.Errorf("manifest line: %w", err)
	}
	again, err := l.encode()
	if err != nil {
		return line{}, err
	}
	if !bytes.Equal(b, again) {
		return line{}, errors.New("manifest line is not in canonical form")
	}
	if _, ok := numberOf(l.Path); !ok {
		return line{}, errors.New("manifest line does not name a segment")
	}
	if sum, err := hex.DecodeString(l.SHA256); err != nil || len(sum) != sha256.Size {
		return line{}, errors.New("manifest line has no SHA-256")
	}
	return l, nil
}

// pathOf returns the path of segment n written at t.
func pathOf(n uint64, at time.Time) string {
	return path.Join(segmentsName, at.UTC().Format("2006/01/02"), fmt.Sprintf("%012d.parquet", n))
}

// numberOf returns the number in a segment's path, if it is one.
func numberOf(p string) (uint64, bool) {
	rest, ok := strings.CutPrefix(p, segmentsName+"/")
	if !ok || len(rest) < len("2006/01/02/") {
		return 0, false
	}
	day, err := time.Parse("2006/01/02", rest[:10])
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(rest[11:], ".parquet"), 10, 63)
	return n, err == nil && pathOf(n, day) == p
}

// rawLine is one line as it stands in the manifest.
type rawLine struct {
	offset int64
	number int    // counted from 1
	bytes  []byte // without the line end, valid until the next line; nil when longer than maxLine
	ended  bool   // false for a last line without its end
}

// eachLine calls f for every line of a manifest. It holds one line of at most
// maxLine bytes in memory, whatever r contains.
func eachLine(r io.Reader, f func(rawLine) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var buf []byte
	at := int64(0)
	for number := 1; ; number++ {
		l := rawLine{offset: at, number: number}
		buf = buf[:0]
		for {
			part, err := in.ReadSlice('\n')
			at += int64(len(part))
			if len(buf) < maxLine+1 {
				buf = append(buf, part[:min(len(part), maxLine+1-len(buf))]...)
			}
			if err == nil {
				l.ended = true
				break
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				return fmt.Errorf("read manifest: %w", err)
			}
		}
		if at == l.offset {
			return nil
		}
		if at-l.offset <= maxLine {
			l.bytes = bytes.TrimSuffix(buf, []byte("\n"))
		}
		if err := f(l); err != nil {
			return err
		}
	}
}
