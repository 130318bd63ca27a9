package evidence

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/sonae/sonae/evidence/bag"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// NewItem announces what an agent sends.
type NewItem struct {
	Bag       string
	Path      string // below data/
	Title     string
	Method    string
	StartedAt time.Time
	Error     string        // why it is missing (empty body) or partial
	Took      time.Duration // that the machine needed before it could send
}

// Limits of the texts of an item, in bytes.
const (
	maxTitle  = 1000
	maxMethod = 4000
	maxError  = 4000
)

// Receive takes one item from the agent of a host. sums is called when body is
// at its end and returns what the agent computed at the source, in hex. The
// item counts when Receive returns nil; it is on the disk then. The same item
// again is a success. Other content under the same path is kept beside it, as
// "name~2.ext": evidence is never replaced.
func (v *Vault) Receive(ctx context.Context, host string, n NewItem, body io.Reader, sums func() (sha256, sha512 string)) error {
	row, err := v.row(v.db.QueryRow(ctx, selectBag, n.Bag), n.Bag)
	if err != nil {
		return err
	}
	if row.Host != host {
		return fault.New(fault.Denied, "evidence.other-host")
	}
	if !bag.ValidPath(n.Path) || n.Path == ScanFile || strings.Contains(n.Path, "~") || len(n.Title) > maxTitle || len(n.Method) > maxMethod || len(n.Error) > maxError {
		return fault.New(fault.Invalid, "evidence.item", n.Path)
	}
	part, item, err := v.take(ctx, n, body)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(part) }() // gone already when it was kept
	if s256, s512 := sums(); s256 != item.SHA256 || s512 != item.SHA512 {
		return v.mismatch(ctx, host, item)
	}
	return v.keep(ctx, host, item, part)
}

// take streams a body into a temporary file on the same disk.
func (v *Vault) take(ctx context.Context, n NewItem, body io.Reader) (part string, item Item, err error) {
	begun := v.deps.Now()
	f, err := os.CreateTemp(filepath.Join(v.dir, incoming), "item-*")
	if err != nil {
		return "", Item{}, fmt.Errorf("receive %s: %w", n.Path, err)
	}
	h256, h512 := sha256.New(), sha512.New()
	size, err := io.Copy(&stoppable{ctx, &roomy{v.deps.Room, io.MultiWriter(f, h256, h512)}}, io.LimitReader(body, v.deps.MaxItem+1))
	if err == nil && size > v.deps.MaxItem {
		err = fault.New(fault.Invalid, "evidence.too-large", v.deps.MaxItem>>20)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return "", Item{}, fmt.Errorf("receive %s: %w", n.Path, errors.Join(err, os.Remove(f.Name())))
	}
	return f.Name(), Item{Bag: n.Bag, Path: n.Path, Title: n.Title, Method: n.Method, Bytes: size, SHA256: hex.EncodeToString(h256.Sum(nil)),
		SHA512: hex.EncodeToString(h512.Sum(nil)), StartedAt: n.StartedAt.UTC(), EndedAt: v.deps.Now().UTC(), Error: n.Error,
		TookMS: max(0, min(n.Took, maxTook)+v.deps.Now().Sub(begun)).Milliseconds()}, nil
}

// maxTook bounds what a machine says that it needed.
const maxTook = 24 * time.Hour

// roomy is a writer that stops while there is still room for the hub to go on:
// no machine may fill the disk with what it calls evidence.
type roomy struct {
	room func() error
	w    io.Writer
}

func (r *roomy) Write(p []byte) (int, error) {
	if err := r.room(); err != nil {
		return 0, err
	}
	return r.w.Write(p)
}

// mismatch records that what arrived is not what was sent.
func (v *Vault) mismatch(ctx context.Context, host string, item Item) error {
	v.deps.Log.Error("evidence refused: its hash is not the sender's", "bag", item.Bag, "host", host)
	err := v.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := v.write(ctx, tx, Custody{Bag: item.Bag, At: item.EndedAt, What: "refused", By: host, To: "sonae", Item: item.Path, SHA256: item.SHA256})
		return err
	})
	return fault.New(fault.Invalid, "evidence.hash-mismatch", item.Path).With(err)
}

// keep makes a received file evidence: first the file under its name, on the
// disk, then the row. A crash in between leaves a file that no row knows, which
// is swept before sealing.
func (v *Vault) keep(ctx context.Context, host string, item Item, part string) error {
	defer v.lock(item.Bag)()
	if v.deps.Store != nil {
		return v.keepShared(ctx, host, item, part)
	}
	row, err := v.row(v.db.QueryRow(ctx, selectBag, item.Bag), item.Bag)
	if err != nil {
		return err
	}
	have, err := v.items(ctx, item.Bag)
	if err != nil {
		return err
	}
	what, err := placeFor(&item, have)
	switch {
	case err != nil || what == known:
		return err
	case row.State != Collecting || row.sealing != "":
		return fault.New(fault.Conflict, "evidence.sealed")
	case len(have) >= maxItems || row.Bytes+item.Bytes > v.deps.MaxBag:
		return fault.New(fault.Busy, "evidence.bag-full", v.deps.MaxBag>>20)
	}
	if !item.missing() {
		if err := v.place(item, part); err != nil {
			return fmt.Errorf("keep %s: %w", item.Path, err)
		}
	}
	return v.db.Tx(ctx, func(tx *state.Tx) error { return v.record(ctx, tx, host, item) })
}

func (v *Vault) record(ctx context.Context, tx *state.Tx, host string, item Item) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO evidence_item (bag, path, bytes, body) VALUES ($1, $2, $3, $4)
		ON CONFLICT (bag, path) DO UPDATE SET bytes = excluded.bytes, body = excluded.body`, item.Bag, item.Path, item.Bytes, state.JSON(item))
	if err != nil {
		return fmt.Errorf("keep %s: %w", item.Path, err)
	}
	c := Custody{Bag: item.Bag, At: item.EndedAt, What: "received", By: host, To: "sonae", Purpose: item.Method, Item: item.Path, SHA256: item.SHA256}
	if item.missing() {
		c.What, c.SHA256, c.Purpose = "missing", "", item.Error
	}
	_, err = v.write(ctx, tx, c)
	return err
}

// missing says whether the item is only the reason why there is none.
func (i Item) missing() bool { return i.Error != "" && i.Bytes == 0 }

// Missing says whether there is nothing of the item but the reason.
func (i Item) Missing() bool { return i.missing() }

type placing int

const (
	fresh placing = iota // to be kept
	known                // there already
)

// placeFor decides under which path an item is kept.
func placeFor(item *Item, have map[string]Item) (placing, error) {
	first, ok := have[item.Path]
	if !ok {
		return fresh, nil
	}
	if first.missing() {
		if item.missing() && item.Error == first.Error {
			return known, nil
		}
		return fresh, nil // a second try took it, or failed otherwise
	}
	if item.missing() {
		return known, nil // an earlier try was better
	}
	base, ext := strings.TrimSuffix(item.Path, path.Ext(item.Path)), path.Ext(item.Path)
	for n, p := 2, item.Path; n < 100; n++ {
		old, ok := have[p]
		if !ok {
			item.Path = p
			return fresh, nil
		}
		if old.SHA256 == item.SHA256 && old.Error == item.Error {
			return known, nil
		}
		p = fmt.Sprintf("%s~%d%s", base, n, ext)
	}
	return known, fault.New(fault.Conflict, "evidence.too-often", item.Path)
}

// place moves a received file to its path; the folders are on the disk when it
// returns.
func (v *Vault) place(item Item, part string) error {
	to := v.pathOf(item)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if err := os.Chmod(part, 0o400); err != nil {
		return err
	}
	if err := os.Rename(part, to); err != nil {
		return err
	}
	root := filepath.Join(v.dir, item.Bag)
	for d := filepath.Dir(to); ; d = filepath.Dir(d) {
		if err := syncFolder(d); err != nil {
			return err
		}
		if d == root {
			return nil
		}
	}
}

func (v *Vault) pathOf(item Item) string {
	return filepath.Join(v.dir, item.Bag, "data", filepath.FromSlash(item.Path))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}
