package ledger

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/internal/durable"
)

// What lies in the store:
//
//	head                    the newest state, replaced with each checkpoint
//	tail/TERM-SIZE-RANDOM   entries after the last full bundle that head knows
//	tile/entries/…          full bundles, as tlog-tiles names them
//
// Bundles are stored once they are published and never change. A tail belongs
// to one leader and counts only when a head names it, so that what a fenced
// leader stored cannot be taken for the log. Hash tiles are not stored: whoever
// follows computes them, and has to, in order to check the root.
const (
	headName   = "head"
	tailPrefix = "tail/"
	headSchema = "sonae.ledger.head/1"

	maxHead   = 64 << 10
	maxTail   = 64 << 20
	keepTails = 8  // for followers that have read an older head
	atOnce    = 16 // bundles that are fetched side by side
)

// head is the state of a shared ledger. Term and leader make the head of each
// leader another one, also with the same checkpoint.
type head struct {
	Schema     string `json:"schema"`
	Term       uint64 `json:"term"` // counted from 1
	Leader     string `json:"leader"`
	Full       uint64 `json:"full"` // bundles below this lie in tile/entries
	Tail       string `json:"tail"` // name of what comes after them; empty: nothing
	Checkpoint string `json:"checkpoint"`
}

func (h head) bytes() ([]byte, error) {
	b, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode head: %w", err)
	}
	return b, nil
}

// parseHead reads a head and refuses any other spelling than that of bytes.
func parseHead(b []byte) (head, error) {
	var h head
	if err := json.Unmarshal(b, &h); err != nil {
		return h, fmt.Errorf("head of the shared ledger: %w", err)
	}
	again, err := h.bytes()
	if err != nil {
		return h, err
	}
	if !bytes.Equal(b, again) || h.Schema != headSchema || h.Full > maxIndex || h.Tail != "" && !strings.HasPrefix(h.Tail, tailPrefix) {
		return h, errors.New("head of the shared ledger: not one that a hub wrote")
	}
	return h, nil
}

var (
	errNoHead = errors.New("there is no shared ledger in the store yet")
	errFenced = fault.New(fault.Conflict, "ledger.fenced")
)

// readHead reads the head and its tag; errNoHead when there is none.
func (s *shared) readHead(ctx context.Context) (head, string, error) {
	b, tag, err := s.get(ctx, headName, maxHead)
	if fault.Of(err) == fault.Missing {
		return head{}, "", errNoHead
	}
	if err != nil {
		return head{}, "", err
	}
	h, err := parseHead(b)
	return h, tag, err
}

// get reads an object of at most limit bytes.
func (s *shared) get(ctx context.Context, name string, limit int64) (_ []byte, tag string, err error) {
	ctx, stop := context.WithTimeout(ctx, askStore)
	defer stop()
	r, info, err := s.store.Get(ctx, name)
	if err != nil {
		return nil, "", fmt.Errorf("shared ledger: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	if err != nil {
		return nil, "", fmt.Errorf("shared ledger: %s: %w", name, err)
	}
	return b, info.Tag, nil
}

// putBundle stores a full, published bundle. A leader before may have done so;
// then it must be the same.
func (s *shared) putBundle(ctx context.Context, index uint64, raw []byte) error {
	name := layout.EntriesPath(index, 0)
	err := s.put(ctx, name, raw)
	if fault.Of(err) != fault.Conflict {
		return err
	}
	there, _, err := s.get(ctx, name, maxFile)
	if err == nil && !bytes.Equal(there, raw) {
		err = fmt.Errorf("shared ledger: %s in the store is not what was published", name)
	}
	return err
}

// putTail stores entries under a name of their own.
func (s *shared) putTail(ctx context.Context, term, size uint64, raw []byte) (string, error) {
	name := fmt.Sprintf("%s%08d-%012d-%s", tailPrefix, term, size, strings.ToLower(rand.Text()[:16]))
	err := s.put(ctx, name, raw)
	if fault.Of(err) == fault.Conflict { // the name is ours alone: an answer was lost after the object was stored
		err = nil
	}
	return name, err
}

func (s *shared) put(ctx context.Context, name string, raw []byte) error {
	for {
		once, stop := context.WithTimeout(ctx, askStore)
		err := s.store.Put(once, name, bytes.NewReader(raw), int64(len(raw)))
		stop()
		if err == nil || fault.Of(err) == fault.Conflict {
			return err
		}
		s.ledger.log.Warn("the store of the shared ledger does not take an object", "object", name, "err", err)
		if err := pause(ctx, againAfter); err != nil {
			return err
		}
	}
}

// sweep removes tails that no head names any more: of leaders before.
func (s *shared) sweep(ctx context.Context, but string) {
	var old []string
	err := s.store.List(ctx, tailPrefix, "", func(i blob.Info) error {
		if i.Name != but {
			old = append(old, i.Name)
		}
		return nil
	})
	for _, name := range old {
		err = errors.Join(err, s.store.Remove(ctx, name))
	}
	if err != nil {
		s.ledger.log.Warn("old tails of the shared ledger not removed", "err", err)
	}
	s.old = nil
}

// catchUp brings the folder to the store's head, if that is a later state of
// the same log. s.work is held.
func (s *shared) catchUp(ctx context.Context) error {
	for {
		h, tag, err := s.readHead(ctx)
		if errors.Is(err, errNoHead) && s.tag == "" {
			return nil
		}
		if errors.Is(err, errNoHead) {
			return fault.New(fault.Conflict, "ledger.rolled-back").With(err)
		}
		if err != nil {
			return err
		}
		if h == s.head {
			s.tag = tag
			return nil
		}
		err = s.fetch(ctx, h)
		if fault.Of(err) == fault.Missing { // a newer head came meanwhile and its leader cleaned up
			if now, _, errNow := s.readHead(ctx); errNow == nil && now != h {
				continue
			}
		}
		if err == nil {
			s.head, s.tag = h, tag
		}
		return err
	}
}

// fetch checks a head and brings the folder to its checkpoint.
func (s *shared) fetch(ctx context.Context, h head) error {
	cp, err := openOwn(h.Checkpoint, s.ledger.verifier)
	if err != nil {
		return fmt.Errorf("head of the shared ledger: %w", err)
	}
	if cp.Size < s.edge.size || h.Full > cp.Size/layout.EntryBundleWidth || h.Term < s.head.Term {
		return rolledBack("the store has %d leaves (term %d), this hub has seen %d (term %d)", cp.Size, h.Term, s.edge.size, s.head.Term)
	}
	next, err := s.edge.clone()
	if err != nil {
		return err
	}
	down := s.landing()
	tail, err := s.entries(ctx, h, cp, next, down)
	if err == nil && (next.size != cp.Size || !rooted(next, cp.root())) {
		err = rolledBack("what the store holds and this hub has seen do not give the root that is signed over %d leaves", cp.Size)
	}
	if err == nil {
		err = next.partials(s.edge.size, down.add)
	}
	if err != nil {
		return errors.Join(err, down.undo())
	}
	s.tail = tail
	if at, err := s.ledger.pub.newest(); err != nil || at.Text == h.Checkpoint {
		return err
	}
	return s.land(next, down, h.Checkpoint)
}

// entries extends the edge by everything that a head names.
func (s *shared) entries(ctx context.Context, h head, cp Checkpoint, next *frontier, down *landing) (tail []byte, err error) {
	if h.Tail != "" {
		if tail, _, err = s.get(ctx, h.Tail, maxTail); err != nil {
			return nil, err
		}
	}
	for at := next.size / layout.EntryBundleWidth; at < h.Full; at += atOnce {
		bundles, err := s.bundles(ctx, at, min(atOnce, h.Full-at))
		if err != nil {
			return nil, err
		}
		for i, raw := range bundles {
			if err := s.extend(next, at+uint64(i), raw, layout.EntryBundleWidth, down); err != nil {
				return nil, err
			}
		}
	}
	return tail, s.extend(next, h.Full, tail, cp.Size-h.Full*layout.EntryBundleWidth, down)
}

func rolledBack(why string, args ...any) error {
	return fault.New(fault.Conflict, "ledger.rolled-back").With(fmt.Errorf(why, args...))
}

// bundles fetches n full bundles.
func (s *shared) bundles(ctx context.Context, first, n uint64) ([][]byte, error) {
	raw := make([][]byte, n)
	g, ctx := errgroup.WithContext(ctx)
	for i := range n {
		g.Go(func() (err error) {
			raw[i], _, err = s.get(ctx, layout.EntriesPath(first+i, 0), maxFile)
			return err
		})
	}
	return raw, g.Wait()
}

// extend appends the n entries of a bundle or tail that the edge has not yet.
func (s *shared) extend(edge *frontier, bundle uint64, raw []byte, n uint64, down *landing) error {
	entries, _, err := split(raw)
	if err != nil || uint64(len(entries)) != n {
		return fmt.Errorf("shared ledger: the entries from %d on are damaged: %d of %d can be read", bundle*layout.EntryBundleWidth, len(entries), n)
	}
	first := bundle * layout.EntryBundleWidth
	for _, e := range entries[min(n, edge.size-min(edge.size, first)):] {
		lf, err := decode(e)
		if err != nil {
			return fmt.Errorf("shared ledger: entry %d: %w", edge.size, err)
		}
		down.rows = append(down.rows, rowOf(keyOf(lf), edge.size))
		if err := edge.append(e, down.add); err != nil {
			return err
		}
		if err := s.cosigned(edge); err != nil {
			return err
		}
	}
	return nil
}

// cosigned holds the edge against what witnesses cosigned before the folder
// had come so far.
func (s *shared) cosigned(edge *frontier) error {
	for _, e := range s.late {
		if e.Checkpoint.Size == edge.size && !rooted(edge, e.Checkpoint.root()) {
			return rolledBack("a witness has cosigned another history over %d leaves (%s)", edge.size, e.File)
		}
	}
	return nil
}

// landing is what is brought into the folder for the next checkpoint.
type landing struct {
	dir   string
	files []string
	rows  []row // keys of the new leaves
}

func (s *shared) landing() *landing { return &landing{dir: s.ledger.dir} }

// add writes a file that the folder's present checkpoint does not know yet.
func (d *landing) add(file string, content []byte) error {
	path := filepath.Join(d.dir, filepath.FromSlash(file))
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		d.files = append(d.files, file)
		err = durable.Write(path, content, 0o644)
	}
	if err != nil {
		return fmt.Errorf("follow the shared ledger: %w", busy(err))
	}
	return nil
}

// undo removes what was written.
func (d *landing) undo() error {
	var errs []error
	for _, file := range d.files {
		if err := os.Remove(filepath.Join(d.dir, filepath.FromSlash(file))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// land makes an edge whose checkpoint is in the store the folder's own: tree
// state, then checkpoint, then index.
func (s *shared) land(next *frontier, down *landing, checkpoint string) error {
	l := s.ledger
	if err := writeTreeState(l.dir, next); err != nil {
		return err
	}
	if err := durable.Write(filepath.Join(l.dir, layout.CheckpointPath), []byte(checkpoint), 0o644); err != nil {
		return fmt.Errorf("follow the shared ledger: %w", busy(err))
	}
	s.edge = next
	s.mu.Lock()
	s.size = next.size
	s.mu.Unlock()
	s.prune(down)
	for _, r := range down.rows {
		if err := l.index.add(key(r[:16]), r.place()); err != nil {
			return err
		}
	}
	return nil
}

// prune removes partial files whose full one was written.
func (s *shared) prune(d *landing) {
	for _, file := range d.files {
		if p, ok := placeOf(file); ok && p.partial == 0 {
			_ = os.RemoveAll(filepath.Join(s.ledger.dir, filepath.FromSlash(file)+".p")) // superseded files may stay
		}
	}
}

// writeTreeState writes the private files of Tessera, so that the folder is the
// same with and without a store.
func writeTreeState(dir string, f *frontier) error {
	root, err := f.root()
	if err != nil {
		return err
	}
	b, err := json.Marshal(treeState{f.size, root})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(fileTreeState)), 0o755); err != nil {
		return fmt.Errorf("write tree state: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, fileVersion)); errors.Is(err, fs.ErrNotExist) {
		if err := durable.Write(filepath.Join(dir, fileVersion), []byte("1"), 0o644); err != nil {
			return fmt.Errorf("write tree state: %w", busy(err))
		}
	}
	if err := durable.Write(filepath.Join(dir, fileTreeState), b, 0o644); err != nil {
		return fmt.Errorf("write tree state: %w", busy(err))
	}
	return nil
}
