package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/mod/sumdb/note"
)

// maxFile bounds what is read into memory at once: a full bundle of the
// largest entries.
const maxFile = layout.EntryBundleWidth * (2 + 1<<16)

// audit is one pass over a ledger's folder.
type audit struct {
	dir      string
	verifier note.Verifier // nil: the checkpoint is not looked at
	visit    func(index uint64, entry []byte) error
	earlier  []Earlier // what this ledger must be an extension of
	shared   bool      // what lies ahead of the tree may be gone: it is in the shared store, or was never published
	live     bool      // the ledger is at work: a partial file may have been superseded meanwhile
	report   Report

	files map[string]int64 // size of every regular file, by slash-separated path
	cp    *Checkpoint      // nil when absent or not properly signed
	state *treeState       // nil when absent or damaged
	size  uint64           // leaves the folder should hold
}

// treeState is the content of Tessera's file of that name.
type treeState struct {
	Size uint64 `json:"size"`
	Root []byte `json:"root"`
}

func newAudit(dir string, v note.Verifier) *audit {
	return &audit{dir: dir, verifier: v, files: map[string]int64{}}
}

// run performs the whole check.
func (a *audit) run(ctx context.Context) error {
	if err := a.list(); err != nil {
		return err
	}
	a.readStates()
	a.chooseSize()
	c, err := a.candidates(ctx)
	if err != nil {
		return err
	}
	a.report.Checked.Leaves = a.size
	a.checkAnchors(c)
	if err := a.checkPlaces(ctx, c); err != nil {
		return err
	}
	if err := a.checkState(); err != nil {
		return err
	}
	a.sort()
	return nil
}

// isLedger says whether there is anything of a ledger in the folder.
func (a *audit) isLedger() bool {
	_, cp := a.files[layout.CheckpointPath]
	_, st := a.files[fileTreeState]
	return cp || st || a.extent() > 0
}

// fresh says that the creation of the ledger was interrupted before its first
// leaf, or that nothing was created yet.
func (a *audit) fresh() bool {
	_, cp := a.files[layout.CheckpointPath]
	return a.extent() == 0 && (!cp || a.cp != nil && a.cp.Size == 0) && (a.state == nil || a.state.Size == 0)
}

// extent returns how many leaves the bundles in the folder would hold.
func (a *audit) extent() uint64 {
	var end uint64
	for file := range a.files {
		if p, ok := placeOf(file); ok && p.entries {
			end = max(end, p.end())
		}
	}
	return end
}

// list notes every file before anything else is read, so that files which a
// running hub adds meanwhile are not taken for foreign ones.
func (a *audit) list() error {
	return filepath.WalkDir(a.dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != a.dir {
			return nil // removed while we look: a temporary or superseded file
		}
		if err != nil || d.IsDir() {
			return err
		}
		file, err := filepath.Rel(a.dir, path)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			a.differ(file, -1, "is not a regular file")
			return nil
		}
		a.files[file] = info.Size()
		return nil
	})
}

// read returns the content of a file. Files that grew beyond any sense are
// not read.
func (a *audit) read(file string) ([]byte, error) {
	path := filepath.Join(a.dir, filepath.FromSlash(file))
	if info, err := os.Lstat(path); err != nil {
		return nil, err
	} else if info.Size() > maxFile || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%d bytes are more than such a file can have", info.Size())
	}
	return os.ReadFile(path)
}

// readStates reads checkpoint and tree state; the checkpoint first, because a
// running hub writes it last.
func (a *audit) readStates() {
	if a.verifier != nil {
		a.readCheckpoint()
	}
	b, err := a.read(fileTreeState)
	if err != nil {
		a.differ(fileTreeState, -1, "cannot be read: %v", pathless(err))
		return
	}
	var s treeState
	if err := json.Unmarshal(b, &s); err != nil {
		a.differ(fileTreeState, -1, "is not a tree state: %v", err)
		return
	}
	if again, err := json.Marshal(s); err != nil || !bytes.Equal(b, again) {
		a.differ(fileTreeState, firstDifference(b, again), "is not in canonical form")
		return
	}
	a.state = &s
}

func (a *audit) readCheckpoint() {
	b, err := a.read(layout.CheckpointPath)
	if err != nil {
		a.differ(layout.CheckpointPath, -1, "cannot be read: %v", pathless(err))
		return
	}
	cp, err := openOwn(string(b), a.verifier)
	if err != nil {
		a.differ(layout.CheckpointPath, -1, "%v", err)
		return
	}
	a.cp = &cp
}

// chooseSize decides how many leaves there should be: what the tree state
// says, if the files are there and it is not behind the signed checkpoint.
func (a *audit) chooseSize() {
	signed := uint64(0)
	if a.cp != nil {
		signed = a.cp.Size
	}
	extent := a.extent()
	switch {
	case a.state != nil && a.state.Size >= signed && (a.state.Size <= extent || a.cp == nil && a.state.Size <= extent+layout.TileWidth):
		a.size = a.state.Size
	case a.cp != nil:
		a.size = signed
	default:
		a.size = extent
	}
}

// reading is the leaf hashes as one kind of file has them.
type reading struct {
	leaves   hashes
	complete bool
	tree     tree
	matches  int // anchors (signed root, tree state root) that fit
}

// readEntries hashes the entries of all required bundles. What cannot be read
// is left zero and complete is false.
func (a *audit) readEntries(ctx context.Context) (reading, error) {
	r := reading{leaves: make(hashes, a.size*32), complete: true}
	for _, p := range required(a.size) {
		if !p.entries {
			break
		}
		if err := ctx.Err(); err != nil {
			return r, err
		}
		entries, _, _ := split(a.readAny(p))
		r.complete = r.complete && uint64(len(entries)) >= p.width()
		for i, e := range entries[:min(uint64(len(entries)), p.width())] {
			at := p.first() + uint64(i)
			copy(r.leaves.at(at), rfc6962.DefaultHasher.HashLeaf(e))
			if a.visit == nil {
				continue
			}
			if err := a.visit(at, e); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// readTiles takes the leaf hashes from the tiles of level 0.
func (a *audit) readTiles() reading {
	r := reading{leaves: make(hashes, a.size*32), complete: true}
	for _, p := range required(a.size) {
		if p.entries || p.level > 0 {
			continue
		}
		row := hashes(a.readAny(p))
		r.complete = r.complete && row.len() >= p.width()
		copy(r.leaves.from(p.first()), row.to(p.width()))
	}
	return r
}

// readAny reads the file of p or, as readers of such logs do, the full one
// that superseded it; nil when there is neither.
func (a *audit) readAny(p place) []byte {
	b, err := a.read(p.file())
	if err != nil && p.partial > 0 {
		p.partial = 0
		b, err = a.read(p.file())
	}
	if err != nil {
		return nil // named by checkPlaces
	}
	return b
}

// pathless drops the path from a file error: the report names the file
// relative to the folder.
func pathless(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
