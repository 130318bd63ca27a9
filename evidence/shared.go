package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/evidence/bag"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// With a shared Store any hub can go on with a bag that another one began. No
// hub ever waits for another one's lock:
//
//   - an item is stored under its SHA-256 before its row is written, so two
//     hubs that store the same thing do not disturb each other; under which path
//     it stands in the bag is decided inside the transaction that writes the row;
//   - sealing begins with a transaction after which nothing is received; what it
//     writes follows from the rows, from the time stamp and from the proof, of
//     which the first that was stored counts for all.

// Objects of a bag.
func itemObject(id, sum string) string { return id + "/data/" + sum }
func tagObject(id, name string) string { return id + "/tag/" + name }
func stampObject(id string) string     { return id + "/stamp" }

// keepShared stores what was received and writes its row.
func (v *Vault) keepShared(ctx context.Context, host string, item Item, part string) error {
	wanted := item
	if what, err := v.decide(ctx, v.db.QueryRow(ctx, selectBag, item.Bag), v.db, &wanted); err != nil || what == known {
		return err // before it costs anything
	}
	if !item.missing() {
		if err := v.putItem(ctx, item, part); err != nil {
			return fmt.Errorf("keep %s: %w", item.Path, err)
		}
	}
	done := false
	err := v.db.Tx(ctx, func(tx *state.Tx) error {
		what, err := v.decide(ctx, tx.QueryRowContext(ctx, selectBag, item.Bag), inTx{tx}, &item)
		if err != nil || what == known {
			return err
		}
		done = true
		return v.record(ctx, tx, host, item)
	})
	if err == nil && done && !item.missing() {
		if err := v.place(item, part); err != nil { // the store has it
			v.deps.Log.Warn("evidence is not in the cache", "bag", item.Bag, "err", err)
		}
	}
	return err
}

// decide says under which path an item is to be kept, if at all.
func (v *Vault) decide(ctx context.Context, s scanner, q querier, item *Item) (placing, error) {
	row, err := v.row(s, item.Bag)
	if err != nil {
		return known, err
	}
	// '~' is the last printable letter of ASCII, and paths sort by their bytes
	base := strings.TrimSuffix(item.Path, path.Ext(item.Path)) + "~"
	have, err := itemsWhere(ctx, q, ` AND (path = $2 OR path >= $3 AND path < $4)`, item.Bag, item.Path, base, base[:len(base)-1]+"\x7f")
	if err != nil {
		return known, err
	}
	what, err := placeFor(item, have)
	if err != nil || what == known {
		return known, err
	}
	if row.State != Collecting || row.sealing != "" {
		return known, fault.New(fault.Conflict, "evidence.sealed")
	}
	n, err := column[int](ctx, q, `SELECT COUNT(*) FROM evidence_item WHERE bag = $1`, item.Bag)
	if err != nil {
		return known, err
	}
	if n[0] >= maxItems || row.Bytes+item.Bytes > v.deps.MaxBag {
		return known, fault.New(fault.Busy, "evidence.bag-full", v.deps.MaxBag>>20)
	}
	return fresh, nil
}

// putItem stores a received file. One that is there already has the same
// content: that is its name.
func (v *Vault) putItem(ctx context.Context, item Item, part string) error {
	f, err := os.Open(part)
	if err != nil {
		return err
	}
	err = v.deps.Store.Put(ctx, itemObject(item.Bag, item.SHA256), f, item.Bytes)
	if blob.IsExists(err) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// gather reads all items of a bag from the store, which proves that they are
// there and whole, and puts those into the cache that are not in it. What the
// store has besides was never acknowledged, and is removed.
func (v *Vault) gather(ctx context.Context, id string, items map[string]Item) error {
	if v.deps.Store == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(v.dir, id, "data"), 0o700); err != nil {
		return err
	}
	sums := map[string]bool{}
	for _, p := range sortedKeys(items) {
		if it := items[p]; !it.missing() {
			sums[itemObject(id, it.SHA256)] = true
			if err := v.fetch(ctx, it); err != nil {
				return err
			}
		}
	}
	return v.deps.Store.List(ctx, id+"/data/", "", func(i blob.Info) error {
		if sums[i.Name] {
			return nil
		}
		return v.deps.Store.Remove(ctx, i.Name)
	})
}

// fetch reads an item from the store into the cache.
func (v *Vault) fetch(ctx context.Context, it Item) error {
	r, _, err := v.deps.Store.Get(ctx, itemObject(it.Bag, it.SHA256))
	if err != nil {
		return fmt.Errorf("fetch %s: %w", it.Path, err)
	}
	defer r.Close()
	f, err := os.CreateTemp(filepath.Join(v.dir, incoming), "item-*")
	if err != nil {
		return fmt.Errorf("fetch %s: %w", it.Path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // has its place by then, or is nothing
	sum := sha256.New()
	_, err = io.Copy(&stoppable{ctx, &roomy{v.deps.Room, io.MultiWriter(f, sum)}}, r)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("fetch %s: %w", it.Path, err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != it.SHA256 {
		return fault.New(fault.Conflict, "evidence.damaged", it.Bag, it.Path)
	}
	return v.place(it, f.Name())
}

// stampOnce is stamp; with a shared store the first answer counts for all hubs.
func (v *Vault) stampOnce(ctx context.Context, id string, files map[string][]byte) (why string, err error) {
	if v.deps.Store == nil {
		return v.stamp(ctx, id, files), nil
	}
	answer, err := v.object(ctx, stampObject(id))
	if fault.Of(err) == fault.Missing {
		why := v.stamp(ctx, id, files)
		mine := files[bag.Stamp]
		if why != "" {
			mine = []byte(why)
		}
		answer, err = v.putOnce(ctx, stampObject(id), mine)
	}
	if err != nil {
		return "", err
	}
	delete(files, bag.Stamp)
	if bytes.HasPrefix(answer, []byte("none")) { // a token is DER and begins otherwise
		return string(answer), nil
	}
	files[bag.Stamp] = answer
	return "", nil
}

// share stores the files of a sealed bag that are not items. Another hub can
// have stored them only with the same content, but for the proof, of which any
// will do.
func (v *Vault) share(ctx context.Context, id string, files map[string][]byte) error {
	if v.deps.Store == nil {
		return nil
	}
	for _, name := range sortedKeys(files) {
		stored, err := v.putOnce(ctx, tagObject(id, name), files[name])
		if err != nil {
			return err
		}
		if name != bag.Proof && !bytes.Equal(stored, files[name]) {
			return fault.New(fault.Conflict, "evidence.damaged", id, name)
		}
		files[name] = stored
	}
	return nil
}

// putOnce stores an object, or returns what was stored under its name before.
func (v *Vault) putOnce(ctx context.Context, name string, b []byte) ([]byte, error) {
	err := v.deps.Store.Put(ctx, name, bytes.NewReader(b), int64(len(b)))
	if blob.IsExists(err) {
		return v.object(ctx, name)
	}
	return b, err
}

func (v *Vault) object(ctx context.Context, name string) ([]byte, error) {
	r, _, err := v.deps.Store.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

// sealedNames lists the files of a sealed bag, all of which are in the folder
// when it returns.
func (v *Vault) sealedNames(ctx context.Context, id string) ([]string, error) {
	if v.deps.Store == nil {
		return v.fileNames(id)
	}
	defer v.lock(id)()
	return v.bring(ctx, id)
}

// bring puts a sealed bag into the cache.
func (v *Vault) bring(ctx context.Context, id string) (names []string, err error) {
	if err := os.MkdirAll(filepath.Join(v.dir, id, "data"), 0o700); err != nil {
		return nil, err
	}
	items, err := v.items(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, it := range sortedItems(items) {
		if it.missing() {
			continue
		}
		names = append(names, bag.Data+it.Path)
		if info, err := os.Stat(v.pathOf(it)); err == nil && info.Size() == it.Bytes {
			continue
		}
		if err := v.fetch(ctx, it); err != nil {
			return nil, err
		}
	}
	tags := id + "/tag/"
	err = v.deps.Store.List(ctx, tags, "", func(i blob.Info) error {
		name := strings.TrimPrefix(i.Name, tags)
		b, err := v.object(ctx, i.Name)
		if err != nil {
			return err
		}
		names = append(names, name)
		return writeFile(filepath.Join(v.dir, id), name, b)
	})
	return names, err
}
