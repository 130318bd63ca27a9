package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/state"
)

// Taking is what a person takes out of a backup to a computer of their own.
type Taking struct {
	Where
	Path string
	By   auth.Person
	// Despite is why it is taken whatever the scan would say, such as evidence;
	// empty: only what was looked at leaves.
	Despite string
}

// kindTaken is a record of what was taken without a scan.
const kindTaken = "taken"

// Taken is what a person took without a scan, and why.
type Taken struct {
	ID   string    `json:"id"`
	From Where     `json:"from"`
	Path string    `json:"path"`
	Why  string    `json:"why"`
	At   time.Time `json:"at"`
	By   string    `json:"by"` // person id
}

// Scans says whether there is an antivirus program that looks at what leaves.
func (d *Desk) Scans() bool { return len(d.Scanners) > 0 }

// looks says whether anything at all looks at what leaves.
func (d *Desk) looks() bool { return d.Scans() || d.Listed != nil }

// despite writes down that a person takes something whatever the scan would say.
func (d *Desk) despite(ctx context.Context, t Taking) error {
	why := strings.TrimSpace(t.Despite)
	if why == "" || len(why) > maxText {
		return fault.New(fault.Invalid, "protect.restore.reason")
	}
	x := Taken{ID: clock.ID("rt", d.Now()), From: t.Where, Path: text(t.Path), Why: why, At: d.moment(), By: t.By.ID}
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		return table.Put(ctx, tx, record.Version{ID: x.ID, Kind: kindTaken, At: x.At, By: x.By}, x)
	})
	if err != nil {
		return fmt.Errorf("write down what is taken: %w", err)
	}
	return nil
}

// inspect looks at one file before its first byte leaves. It reads the file once
// more than it is sent: both times its bytes are compared with their SHA-256, so
// that what leaves is what was looked at.
func (d *Desk) inspect(ctx context.Context, at string, content func(io.Writer) error) error {
	if !d.looks() {
		return nil
	}
	found, err := d.scanned(ctx, at, content)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case found != "":
		return fault.New(fault.Conflict, "protect.restore.infected", text(at), found)
	case errors.Is(err, ErrTooLarge):
		return fault.New(fault.Conflict, "protect.restore.too-large", text(at)).With(err)
	case err != nil:
		return fault.New(fault.Conflict, "protect.restore.not-looked-at", text(at)).With(err)
	}
	return nil
}

// inspector is a sink that looks at files and keeps nothing.
type inspector struct {
	ctx context.Context
	d   *Desk
	at  string // folder above what is looked at
}

func (i inspector) add(rel string, n *restic.Node, content func(io.Writer) error) error {
	if n.Type != "file" {
		return nil
	}
	return i.d.inspect(i.ctx, path.Join(i.at, rel), content)
}

func (inspector) Close() error { return nil }

// inspected is a sink whose files are looked at before they reach it.
type inspected struct {
	sink
	first inspector
}

func (s inspected) add(rel string, n *restic.Node, content func(io.Writer) error) error {
	if err := s.first.add(rel, n, content); err != nil {
		return err
	}
	return s.sink.add(rel, n, content)
}

// Bounds of a folder that is looked at as a whole before its first byte leaves:
// only then whoever takes it reads why it was stopped. In a larger one each file
// is looked at before it goes into the stream, which breaks off where one is found.
const (
	aheadFiles = 5000
	aheadBytes = 512 << 20
)

// scale is a sink that says whether a folder is too large for that.
type scale struct {
	files int
	bytes uint64
}

// errHeavy ends the weighing.
var errHeavy = errors.New("larger than is looked at ahead")

func (s *scale) add(_ string, n *restic.Node, _ func(io.Writer) error) error {
	if n.Type != "file" {
		return nil
	}
	s.files, s.bytes = s.files+1, s.bytes+n.Size
	if s.files > aheadFiles || s.bytes > aheadBytes {
		return errHeavy
	}
	return nil
}

func (*scale) Close() error { return nil }

// guard looks at a folder as a whole, if it is small enough, and returns what
// puts a sink behind a look at each file where it is not.
func (d *Desk) guard(ctx context.Context, repo *restic.Repository, at string, n *restic.Node, tree restic.ID) (func(sink) sink, error) {
	plain := func(to sink) sink { return to }
	if !d.looks() {
		return plain, nil
	}
	first := inspector{ctx: ctx, d: d, at: path.Dir(at)}
	switch err := pack(ctx, repo, n, tree, &scale{}); {
	case errors.Is(err, errHeavy):
		return func(to sink) sink { return inspected{to, first} }, nil
	case err != nil:
		return nil, fmt.Errorf("weigh %s: %w", at, err)
	}
	return plain, pack(ctx, repo, n, tree, first)
}
