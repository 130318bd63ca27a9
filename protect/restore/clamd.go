package restore

import (
	"context"
	"errors"
	"io"

	"github.com/sonae/sonae/evidence/antivirus"
)

// Clamd is a Scanner that asks clamd. A file that it does not take, or cannot
// look at, is an error: nobody has looked at it.
func Clamd(c *antivirus.Client) Scanner { return clamd{c} }

type clamd struct{ c *antivirus.Client }

// ErrTooLarge says that a Scanner does not take a file; the others are looked at.
var ErrTooLarge = errors.New("the file is larger than the antivirus program takes")

func (s clamd) Scan(ctx context.Context, _ string, r io.Reader) (string, error) {
	res, err := s.c.Scan(ctx, r)
	switch {
	case err != nil:
		return "", err
	case res.Verdict == antivirus.Infected:
		return res.Signature, nil
	case res.Verdict == antivirus.TooLarge:
		return "", ErrTooLarge
	case res.Verdict != antivirus.Clean:
		return "", errors.New(res.Detail)
	}
	return "", nil
}
