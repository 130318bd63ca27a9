package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/evidence/bag"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Seal closes a bag for good; broken says that the collection ended before it
// was complete. It can be called again, and goes on where a crash ended it. A
// bag whose files changed on the disk since they were received is not sealed:
// fault.Conflict "evidence.damaged" names the file. Always true:
// what it writes follows from the rows alone.
func (v *Vault) Seal(ctx context.Context, id string, broken bool) error {
	if err := v.tellScans(ctx, id); err != nil {
		return fmt.Errorf("seal bag %s: %w", id, err)
	}
	defer v.lock(id)()
	row, err := v.begin(ctx, id, broken)
	if err != nil || row.State != Collecting {
		return err
	}
	items, err := v.items(ctx, id)
	if err != nil {
		return err
	}
	err = v.gather(ctx, id, items)
	if err == nil {
		err = v.sweep(id, items)
	}
	if err != nil {
		return fmt.Errorf("seal bag %s: %w", id, err)
	}
	sealed, err := v.close(ctx, row, sortedItems(items))
	if err != nil {
		return fmt.Errorf("seal bag %s: %w", id, err)
	}
	rep, err := bag.Verify(filepath.Join(v.dir, id), v.deps.Key)
	if err == nil && !rep.Intact() { // what is on the disk is not what was received
		err = fault.New(fault.Conflict, "evidence.damaged", id, rep.Differences[0].String())
	}
	if err != nil {
		return fmt.Errorf("seal bag %s: %w", id, err)
	}
	return v.db.Tx(ctx, func(tx *state.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE evidence_bag SET state = $1, body = $2 WHERE id = $3`, string(sealed.State), state.JSON(sealed), id); err != nil {
			return fmt.Errorf("seal bag %s: %w", id, err)
		}
		return tx.Emit(ctx, "evidence.sealed", "sealed:"+id, sealed) // without its items: a bag can have more than a message carries
	})
}

// begin writes the last custody line of the sealed part. From then on nothing
// is received any more.
func (v *Vault) begin(ctx context.Context, id string, broken bool) (bagRow, error) {
	var row bagRow
	err := v.db.Tx(ctx, func(tx *state.Tx) error {
		var err error
		if row, err = v.row(tx.QueryRowContext(ctx, selectBag, id), id); err != nil || row.sealing != "" {
			return err
		}
		row.sealing = string(Sealed)
		if broken {
			row.sealing = string(Broken)
		}
		row.SealedAt = v.deps.Now().UTC()
		c, err := v.write(ctx, tx, Custody{Bag: id, At: row.SealedAt, What: "sealed", By: "sonae"})
		if err != nil {
			return err
		}
		row.sealedNo = c.No
		_, err = tx.ExecContext(ctx, `UPDATE evidence_bag SET sealing = $1, sealed_no = $2, body = $3 WHERE id = $4`, row.sealing, row.sealedNo, state.JSON(row.Bag), id)
		return err
	})
	return row, err
}

// sweep removes files that no row knows: they were never acknowledged.
func (v *Vault) sweep(id string, items map[string]Item) error {
	names, err := v.fileNames(id)
	if err != nil {
		return err
	}
	for _, n := range names {
		p, isData := strings.CutPrefix(n, bag.Data)
		if it, ok := items[p]; isData && ok && !it.missing() {
			continue
		}
		if n == bag.Stamp {
			continue // of an interrupted sealing; asking again would cost another stamp
		}
		if err := os.Remove(filepath.Join(v.dir, id, filepath.FromSlash(n))); err != nil {
			return err
		}
	}
	return nil
}

// listing returns items.jsonl and the entries of both manifests.
func listing(items []Item) (lines []byte, m256, m512 []bag.Entry, err error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, it := range items {
		if err := enc.Encode(it); err != nil {
			return nil, nil, nil, err
		}
		if !it.missing() {
			m256 = append(m256, bag.Entry{Path: bag.Data + it.Path, Digest: it.SHA256})
			m512 = append(m512, bag.Entry{Path: bag.Data + it.Path, Digest: it.SHA512})
		}
	}
	return b.Bytes(), m256, m512, nil
}

// close writes all files of the bag beside data/.
func (v *Vault) close(ctx context.Context, row bagRow, items []Item) (Bag, error) {
	lines, m256, m512, err := listing(items)
	if err != nil {
		return Bag{}, err
	}
	custody, err := custodyLines(ctx, v.db, row.ID, 1, row.sealedNo)
	if err != nil {
		return Bag{}, err
	}
	files := map[string][]byte{
		bag.Declaration: []byte(bag.DeclarationText),
		bag.Manifest256: manifest(m256),
		bag.Manifest512: manifest(m512),
		bag.Items:       lines,
		bag.Custody:     custody,
		bag.Key:         []byte(strings.TrimSpace(v.deps.Key) + "\n"),
	}
	why, err := v.stampOnce(ctx, row.ID, files)
	if err != nil {
		return Bag{}, err
	}
	files[bag.Info] = info(row, len(m256), why)
	tags := manifest(tagEntries(files))
	files[bag.TagManifest] = tags

	sealed := row.Bag
	sealed.State, sealed.Digest, sealed.Kept = State(row.sealing), digestOf(tags), len(m256)
	_, sealed.Stamped = files[bag.Stamp]
	proof, err := v.deps.Ledger.Prove(ctx, leaf.Leaf{Type: bag.LeafBag, Ref: row.ID, Digest: sealed.Digest, At: row.SealedAt})
	if err != nil {
		return Bag{}, fmt.Errorf("ledger: %w", err)
	}
	files[bag.Proof] = append(proof, '\n')
	if err := v.share(ctx, row.ID, files); err != nil {
		return Bag{}, err
	}
	for _, name := range sortedKeys(files) {
		if err := writeFile(filepath.Join(v.dir, row.ID), name, files[name]); err != nil {
			return Bag{}, err
		}
	}
	return sealed, syncFolder(filepath.Join(v.dir, row.ID))
}

// stamp adds a time stamp of the manifest, or returns why there is none. An
// authority that does not answer must not keep evidence from being sealed.
func (v *Vault) stamp(ctx context.Context, id string, files map[string][]byte) (why string) {
	sum := sha256.Sum256(files[bag.Manifest256])
	if old, err := os.ReadFile(filepath.Join(v.dir, id, bag.Stamp)); err == nil && bytes.Contains(old, sum[:]) {
		files[bag.Stamp] = old
		return ""
	}
	if v.deps.Stamp == nil {
		return "none (no authority configured)"
	}
	token, err := v.deps.Stamp.Stamp(ctx, sum[:])
	if err != nil {
		v.deps.Log.Error("no time stamp for evidence", "bag", id, "err", err)
		return "none (the authority did not answer)"
	}
	files[bag.Stamp] = token
	if err := writeFile(filepath.Join(v.dir, id), bag.Stamp, token); err != nil {
		v.deps.Log.Error("time stamp not kept", "bag", id, "err", err)
	}
	return ""
}

// info is bag-info.txt: RFC 8493 §2.2.2, with the hub's own labels after.
func info(row bagRow, files int, noStamp string) []byte {
	var b strings.Builder
	line := func(label, value string) {
		fmt.Fprintf(&b, "%s: %s\n", label, strings.Join(strings.Fields(value), " "))
	}
	line("Bag-Software-Agent", "Sonae")
	line("Bagging-Date", row.SealedAt.Format(time.DateOnly))
	line("External-Identifier", row.ID)
	line("Internal-Sender-Identifier", row.Incident)
	line("Payload-Oxum", fmt.Sprintf("%d.%d", row.Bytes, files))
	line("Sonae-Host", row.Host)
	line("Sonae-Site", row.Site)
	line("Sonae-Action", row.Action)
	line("Sonae-Opened", row.OpenedAt.Format(time.RFC3339Nano))
	line("Sonae-Sealed", row.SealedAt.Format(time.RFC3339Nano))
	line("Sonae-Collection", row.ended())
	if row.Drill {
		line("Sonae-Drill", "yes, this is a practice")
	}
	if noStamp != "" {
		line("Sonae-Time-Stamp", noStamp)
	} else {
		line("Sonae-Time-Stamp", bag.Stamp)
	}
	return []byte(b.String())
}

// ended is how the collection of a bag ended, in English as all of the file.
func (r bagRow) ended() string {
	switch {
	case r.Cancelled:
		return "cancelled by a person"
	case r.sealing == string(Broken):
		return "broken off"
	}
	return "ended"
}

func manifest(entries []bag.Entry) []byte {
	var b bytes.Buffer
	_ = bag.WriteManifest(&b, entries) // a bytes.Buffer takes everything
	return b.Bytes()
}

func tagEntries(files map[string][]byte) []bag.Entry {
	var out []bag.Entry
	for name, b := range files {
		out = append(out, bag.Entry{Path: name, Digest: digestOf(b)})
	}
	return out
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// writeFile replaces a file; its content is on the disk when it returns.
func writeFile(dir, name string, b []byte) error {
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o400)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

func sortedItems(m map[string]Item) []Item {
	out := make([]Item, 0, len(m))
	for _, k := range sortedKeys(m) {
		out = append(out, m[k])
	}
	return out
}

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// missingBag is the error for an id that nobody opened.
func missingBag(id string) error { return fault.New(fault.Missing, "evidence.unknown", id) }
