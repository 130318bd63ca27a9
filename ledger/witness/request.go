package witness

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	flog "github.com/transparency-dev/formats/log"
)

// Bounds of a request (C2SP tlog-witness: at most 63 proof lines).
const (
	maxProof   = 63
	maxRequest = 32 << 10
)

// request is the body of add-checkpoint.
type request struct {
	old   uint64
	proof [][]byte
	note  []byte // as it came, to be opened with the log's key
	head  flog.Checkpoint
}

var errRequest = errors.New("not an add-checkpoint request")

// parseRequest reads "old SIZE", the lines of the consistency proof, an empty
// line, and the checkpoint, of which it reads the head. No signature is
// checked. Errors name the byte at which the request stops making sense.
func parseRequest(body []byte) (request, error) {
	if len(body) > maxRequest {
		return request{}, fmt.Errorf("%w: more than %d bytes", errRequest, maxRequest)
	}
	first, rest, ok := bytes.Cut(body, []byte("\n"))
	size, named := strings.CutPrefix(string(first), "old ")
	old, canonical := decimal(size)
	if !ok || !named || !canonical {
		return request{}, fmt.Errorf("%w: byte 0: no old size", errRequest)
	}
	r := request{old: old}
	for {
		at := len(body) - len(rest)
		var line []byte
		if line, rest, ok = bytes.Cut(rest, []byte("\n")); !ok {
			return request{}, fmt.Errorf("%w: byte %d: the proof does not end", errRequest, at)
		}
		if len(line) == 0 {
			break
		}
		hash, err := base64.StdEncoding.Strict().DecodeString(string(line))
		if err != nil || len(hash) != sha256.Size || len(r.proof) == maxProof {
			return request{}, fmt.Errorf("%w: byte %d: not a hash, or more than %d", errRequest, at, maxProof)
		}
		r.proof = append(r.proof, hash)
	}
	r.note = rest
	var err error
	if r.head, err = head(rest); err != nil {
		return request{}, fmt.Errorf("%w: byte %d: %w", errRequest, len(body)-len(rest), err)
	}
	return r, nil
}

// head reads origin, size and root of a checkpoint and refuses any spelling
// but the canonical one. Extension lines may follow.
func head(text []byte) (flog.Checkpoint, error) {
	var cp flog.Checkpoint
	if _, err := cp.Unmarshal(text); err != nil {
		return cp, err
	}
	if len(cp.Hash) != sha256.Size || !bytes.HasPrefix(text, cp.Marshal()) {
		return cp, errors.New("checkpoint is not in canonical form")
	}
	return cp, nil
}

// decimal reads a number without sign and leading zeros.
func decimal(s string) (n uint64, ok bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && strconv.FormatUint(n, 10) == s
}

// format is the request as it is sent.
func (r request) format() []byte {
	b := []byte("old " + strconv.FormatUint(r.old, 10) + "\n")
	for _, hash := range r.proof {
		b = append(base64.StdEncoding.AppendEncode(b, hash), '\n')
	}
	return append(append(b, '\n'), r.note...)
}
