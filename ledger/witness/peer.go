package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger"
)

// maxAnswer bounds what is read of a witness's answer: a few lines.
const maxAnswer = 16 << 10

// Peer is a witness as a hub knows it.
type Peer struct {
	URL string // submission prefix, http or https
	Key ledger.WitnessKey
}

// ParsePeer reads address and key as they are configured.
func ParsePeer(address, key string) (Peer, error) {
	u, err := url.Parse(strings.TrimSuffix(address, "/"))
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		err = errors.New("not an address like https://witness.example")
	}
	if err != nil {
		return Peer{}, fault.New(fault.Invalid, "witness.address", address).With(err)
	}
	k, err := ledger.ParseWitnessKey(key)
	if err != nil {
		return Peer{}, fault.New(fault.Invalid, "witness.key", address).With(err)
	}
	return Peer{u.String(), k}, nil
}

// errLonger says that the witness has cosigned more leaves than the ledger has.
var errLonger = errors.New("the witness has cosigned a longer ledger than this one: it was put back from an old copy, or cut off")

// submit sends one request and returns the cosignature lines, or the size that
// the witness knows when the request started from another.
func (p Peer) submit(ctx context.Context, client *http.Client, r request) (lines string, stale *staleError, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+"/add-checkpoint", bytes.NewReader(r.format()))
	if err != nil {
		return "", nil, err
	}
	answer, err := client.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return "", nil, fmt.Errorf("read answer: %w", err)
	}
	if len(b) > maxAnswer {
		return "", nil, fmt.Errorf("answer of more than %d bytes", maxAnswer)
	}
	switch {
	case answer.StatusCode == http.StatusOK:
		return string(b), nil, nil
	case answer.StatusCode == http.StatusConflict && answer.Header.Get("Content-Type") == typeSize:
		size, ok := decimal(strings.TrimSuffix(string(b), "\n"))
		if !ok {
			return "", nil, errors.New("the witness answers with a size that is none")
		}
		return "", &staleError{size}, nil
	default:
		return "", nil, fmt.Errorf("the witness refuses: status %d: %.200q", answer.StatusCode, b)
	}
}
