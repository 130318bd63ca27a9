package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/evidence/antivirus"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

// ScanFile is the item of a bag that says what the antivirus program thinks of
// the others, one JSON object a line. The hub makes it when the bag is sealed.
const ScanFile = "antivirus.jsonl"

// Scanner is an antivirus program. An error says that it did not look.
type Scanner interface {
	Scan(ctx context.Context, r io.Reader) (antivirus.Result, error)
}

// Scan is what the antivirus program thinks of an item.
type Scan struct {
	Bag       string            `json:"bag"`
	Path      string            `json:"path"`
	SHA256    string            `json:"sha256"`
	Verdict   antivirus.Verdict `json:"verdict"` // NotScanned in ScanFile when it had not been asked yet
	Signature string            `json:"signature,omitempty"`
	Detail    string            `json:"detail,omitempty"`
	At        time.Time         `json:"at,omitzero"`
}

// NotScanned stands for an item that the antivirus program has not looked at.
const NotScanned antivirus.Verdict = "not-scanned"

// Virus says that something was found in an item ("evidence.infected").
type Virus struct {
	Scan
	Host     string `json:"host"`
	Site     string `json:"site"`
	Incident string `json:"incident"`
	Drill    bool   `json:"drill"`
}

// Bounds of scanning.
const (
	scanRound  = 100              // items looked up at once
	beforeSeal = 15 * time.Second // in which a bag may wait for the antivirus program
)

// ScanNew lets the antivirus program look at items that it has not looked at,
// some at a time, and returns how many they were. An error says that it does
// not answer: the same items come again.
func (v *Vault) ScanNew(ctx context.Context) (int, error) {
	return v.scanSome(ctx, `SELECT i.body FROM evidence_item i LEFT JOIN evidence_scan s ON s.bag = i.bag AND s.path = i.path
		WHERE s.path IS NULL AND i.bytes > 0 ORDER BY i.bag DESC, i.path LIMIT $1`, scanRound)
}

func (v *Vault) scanSome(ctx context.Context, query string, args ...any) (int, error) {
	if v.deps.Virus == nil {
		return 0, nil
	}
	bodies, err := column[string](ctx, v.db, query, args...)
	if err != nil {
		return 0, fmt.Errorf("items to scan: %w", err)
	}
	for i, b := range bodies {
		var it Item
		if err := json.Unmarshal([]byte(b), &it); err != nil {
			return i, fmt.Errorf("items to scan: %w", err)
		}
		if err := v.scan(ctx, it); err != nil {
			return i, fmt.Errorf("scan %s of %s: %w", it.Path, it.Bag, err)
		}
	}
	return len(bodies), nil
}

// scan looks at one item and writes down what was found.
func (v *Vault) scan(ctx context.Context, it Item) error {
	res, err := v.look(ctx, it)
	if err != nil {
		if _, down := v.deps.Virus.Scan(ctx, strings.NewReader("")); down != nil {
			return err
		}
		res, err = v.look(ctx, it) // it may have been started only now
	}
	if err != nil && ctx.Err() == nil { // it answers, but not about this item, which must not hold up all others
		res, err = antivirus.Result{Verdict: antivirus.Failed, Detail: err.Error()}, nil
	}
	if err != nil {
		return err
	}
	return v.scanned(ctx, it, res)
}

func (v *Vault) look(ctx context.Context, it Item) (antivirus.Result, error) {
	r, err := v.openItem(ctx, it)
	if err != nil {
		return antivirus.Result{}, err
	}
	res, err := v.deps.Virus.Scan(ctx, r)
	if e := r.Close(); err == nil {
		err = e
	}
	return res, err
}

// openItem reads an item from the folder, or from the store of several hubs.
func (v *Vault) openItem(ctx context.Context, it Item) (io.ReadCloser, error) {
	f, err := os.Open(v.pathOf(it))
	if errors.Is(err, fs.ErrNotExist) && v.deps.Store != nil {
		r, _, err := v.deps.Store.Get(ctx, itemObject(it.Bag, it.SHA256))
		return r, err
	}
	return f, err
}

func (v *Vault) scanned(ctx context.Context, it Item, res antivirus.Result) error {
	s := Scan{Bag: it.Bag, Path: it.Path, SHA256: it.SHA256, Verdict: res.Verdict, Signature: res.Signature, Detail: res.Detail, At: v.deps.Now().UTC()}
	return v.db.Tx(ctx, func(tx *state.Tx) error {
		done, err := tx.ExecContext(ctx, `INSERT INTO evidence_scan (bag, path, body) VALUES ($1, $2, $3) ON CONFLICT (bag, path) DO NOTHING`, s.Bag, s.Path, state.JSON(s))
		if err != nil {
			return fmt.Errorf("keep scan: %w", err)
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 || s.Verdict != antivirus.Infected {
			return err
		}
		row, err := v.row(tx.QueryRowContext(ctx, selectBag, s.Bag), s.Bag)
		if err != nil {
			return err
		}
		if _, err := v.write(ctx, tx, Custody{Bag: s.Bag, At: s.At, What: "infected", By: "sonae", Purpose: s.Signature, Item: s.Path, SHA256: s.SHA256}); err != nil {
			return err
		}
		return tx.Emit(ctx, "evidence.infected", "infected:"+s.Bag+"/"+s.Path, Virus{s, row.Host, row.Site, row.Incident, row.Drill})
	})
}

// Scans returns what the antivirus program thinks of the items of a bag, by
// path; what it has not looked at is missing.
func (v *Vault) Scans(ctx context.Context, id string) (map[string]Scan, error) {
	bodies, err := column[string](ctx, v.db, `SELECT body FROM evidence_scan WHERE bag = $1`, id)
	if err != nil {
		return nil, fmt.Errorf("scans of %s: %w", id, err)
	}
	out := make(map[string]Scan, len(bodies))
	for _, b := range bodies {
		var s Scan
		if err := json.Unmarshal([]byte(b), &s); err != nil {
			return nil, fmt.Errorf("scans of %s: %w", id, err)
		}
		out[s.Path] = s
	}
	return out, nil
}

// tellScans puts into a bag that is about to be sealed what the antivirus
// program thinks of it. What it does not answer in time is said to be not
// scanned; evidence is sealed all the same, and the rest follows in the custody
// record.
func (v *Vault) tellScans(ctx context.Context, id string) error {
	if v.deps.Virus == nil {
		return nil
	}
	row, err := v.row(v.db.QueryRow(ctx, selectBag, id), id)
	if err != nil || row.State != Collecting || row.sealing != "" {
		return err
	}
	items, err := v.items(ctx, id)
	if err != nil || len(items) == 0 || items[ScanFile].Path != "" {
		return err
	}
	short, cancel := context.WithTimeout(ctx, beforeSeal)
	_, why := v.scanSome(short, `SELECT i.body FROM evidence_item i LEFT JOIN evidence_scan s ON s.bag = i.bag AND s.path = i.path
		WHERE i.bag = $1 AND s.path IS NULL AND i.bytes > 0 ORDER BY i.bytes`, id)
	cancel()
	if why != nil {
		v.deps.Log.Warn("a bag is sealed before the antivirus program has looked at all of it", "bag", id, "err", why)
	}
	lines, err := v.scanLines(ctx, id, sortedItems(items), why)
	if err != nil {
		return err
	}
	err = v.put(ctx, id, ScanFile, "ウイルス検査の結果 / what the antivirus program says", lines)
	if kind := fault.Of(err); kind == fault.Conflict || kind == fault.Busy { // another hub seals it, or there is no room: evidence comes first
		v.deps.Log.Warn("what the antivirus program says is not in the bag", "bag", id, "err", err)
		return nil
	}
	return err
}

func (v *Vault) scanLines(ctx context.Context, id string, items []Item, why error) ([]byte, error) {
	scans, err := v.Scans(ctx, id)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, it := range slices.DeleteFunc(items, Item.missing) {
		s, ok := scans[it.Path]
		if !ok {
			s = Scan{Bag: id, Path: it.Path, SHA256: it.SHA256, Verdict: NotScanned}
			if why != nil {
				s.Detail = why.Error()
			}
		}
		if err := enc.Encode(s); err != nil {
			return nil, err
		}
	}
	return []byte(b.String()), nil
}
