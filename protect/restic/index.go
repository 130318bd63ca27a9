package restic

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// PackBlobs is what an index says of one pack.
type PackBlobs struct {
	Pack  ID
	Blobs []Blob
}

// Index decrypts a file of index/ and calls each for every pack that it
// describes. It returns the indexes that this one replaces. raw is
// overwritten.
func (k *Key) Index(raw []byte, each func(PackBlobs) error) (supersedes []ID, err error) {
	r, err := k.unpack(raw)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	supersedes, err = parseIndex(r, each)
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	return supersedes, nil
}

// parseIndex reads the JSON of an index pack by pack.
func parseIndex(r io.Reader, each func(PackBlobs) error) (supersedes []ID, err error) {
	d := json.NewDecoder(r)
	packs := false
	err = object(d, func(name string) error {
		switch name {
		case "supersedes":
			return d.Decode(&supersedes)
		case "packs":
			packs = true
			return array(d, func() error {
				p, err := parsePack(d)
				if err != nil {
					return err
				}
				return each(p)
			})
		}
		return skip(d)
	})
	if err == nil && !packs {
		err = errors.New("it lists no packs")
	}
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the document")
	}
	return supersedes, nil
}

func parsePack(d *json.Decoder) (p PackBlobs, err error) {
	err = object(d, func(name string) error {
		switch name {
		case "id":
			return d.Decode(&p.Pack)
		case "blobs":
			return array(d, func() error {
				b, err := parseIndexed(d)
				p.Blobs = append(p.Blobs, b)
				return err
			})
		}
		return skip(d)
	})
	if err == nil && p.Pack == (ID{}) {
		err = errors.New("a pack without id")
	}
	if err == nil && len(p.Blobs) == 0 {
		err = fmt.Errorf("pack %s without blobs", p.Pack)
	}
	return p, err
}

func parseIndexed(d *json.Decoder) (Blob, error) {
	var b struct {
		ID     *ID       `json:"id"`
		Kind   *BlobKind `json:"type"`
		Offset uint32    `json:"offset"`
		Length uint32    `json:"length"`
		Plain  uint32    `json:"uncompressed_length"`
	}
	if err := d.Decode(&b); err != nil {
		return Blob{}, err
	}
	if b.ID == nil || b.Kind == nil {
		return Blob{}, errors.New("a blob without id or type")
	}
	if b.Length < Overhead || b.Length > maxBlob || b.Plain > maxBlob || b.Offset+b.Length < b.Offset {
		return Blob{}, fmt.Errorf("blob %s: offset %d, length %d and decompressed length %d are out of bounds", b.ID, b.Offset, b.Length, b.Plain)
	}
	return Blob{ID: *b.ID, Kind: *b.Kind, Offset: b.Offset, Length: b.Length, Plain: b.Plain}, nil
}

// entry is where one copy of a blob lies.
type entry struct {
	id                    ID
	pack                  uint32 // in index.packs
	offset, length, plain uint32
	kind                  BlobKind
}

func (e *entry) blob() Blob {
	return Blob{ID: e.id, Kind: e.kind, Offset: e.offset, Length: e.length, Plain: e.plain}
}

// index is all indexes of a repository as one.
type index struct {
	entries []entry  // by id, kind, pack, offset; each once
	packs   []ID     // by number
	byPack  []uint32 // entries by pack and offset
	starts  []uint32 // of each pack in byPack, and the end
	number  map[ID]uint32
	live    []bool // the pack stands in an index that no other one replaces
}

// loadIndex reads all indexes; damaged ones are told to bad and left out.
func loadIndex(ctx context.Context, b Backend, k *Key, bad func(Damage), odd func(path string)) (*index, error) {
	files, err := list(ctx, b, Index, odd)
	if err != nil {
		return nil, err
	}
	ix := &index{number: map[ID]uint32{}}
	replaced := map[ID]bool{}
	in := make([][]uint32, len(files)) // packs of each index
	for i, f := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		raw, err := readNamed(ctx, b, Index, f.name)
		if err != nil && raw == nil {
			bad(Damage{Index.Path(f.name), -1, unreadable(err), err})
			continue
		}
		sound, from := err == nil, len(ix.entries)
		supersedes, err := k.Index(raw, func(p PackBlobs) error {
			in[i] = append(in[i], ix.add(p))
			return nil
		})
		if err != nil {
			ix.entries = ix.entries[:from]
			bad(Damage{Index.Path(f.name), -1, whatOf(err), err})
			continue
		}
		if !sound {
			bad(Damage{Index.Path(f.name), -1, WrongName, errName})
		}
		for _, id := range supersedes {
			replaced[id] = true
		}
	}
	ix.live = make([]bool, len(ix.packs))
	for i, f := range files {
		if id, _ := ParseID(f.name); replaced[id] {
			continue
		}
		for _, p := range in[i] {
			ix.live[p] = true
		}
	}
	ix.sort()
	return ix, nil
}

// add takes the blobs of a pack and returns the pack's number.
func (ix *index) add(p PackBlobs) uint32 {
	n, ok := ix.number[p.Pack]
	if !ok {
		n = uint32(len(ix.packs))
		ix.number[p.Pack] = n
		ix.packs = append(ix.packs, p.Pack)
	}
	for _, b := range p.Blobs {
		ix.entries = append(ix.entries, entry{b.ID, n, b.Offset, b.Length, b.Plain, b.Kind})
	}
	return n
}

func (ix *index) sort() {
	slices.SortFunc(ix.entries, func(a, b entry) int {
		return cmp.Or(bytes.Compare(a.id[:], b.id[:]), cmp.Compare(a.kind, b.kind), cmp.Compare(a.pack, b.pack), cmp.Compare(a.offset, b.offset),
			cmp.Compare(a.length, b.length), cmp.Compare(a.plain, b.plain))
	})
	ix.entries = slices.Compact(ix.entries) // one blob of one pack may stand in several indexes
	ix.byPack = make([]uint32, len(ix.entries))
	for i := range ix.byPack {
		ix.byPack[i] = uint32(i)
	}
	slices.SortFunc(ix.byPack, func(a, b uint32) int {
		x, y := &ix.entries[a], &ix.entries[b]
		return cmp.Or(cmp.Compare(x.pack, y.pack), cmp.Compare(x.offset, y.offset), cmp.Compare(a, b))
	})
	ix.starts = make([]uint32, len(ix.packs)+1)
	for _, i := range ix.byPack {
		ix.starts[ix.entries[i].pack+1]++
	}
	for p := range ix.packs {
		ix.starts[p+1] += ix.starts[p]
	}
}

// of returns the numbers of the entries of one pack, by offset.
func (ix *index) of(pack uint32) []uint32 { return ix.byPack[ix.starts[pack]:ix.starts[pack+1]] }

// find returns the range of a blob's copies in entries.
func (ix *index) find(kind BlobKind, id ID) (lo, hi int) {
	lo, ok := slices.BinarySearchFunc(ix.entries, id, func(e entry, id ID) int {
		return cmp.Or(bytes.Compare(e.id[:], id[:]), cmp.Compare(e.kind, kind))
	})
	if !ok {
		return lo, lo
	}
	for hi = lo; hi < len(ix.entries) && ix.entries[hi].id == id && ix.entries[hi].kind == kind; hi++ {
	}
	return lo, hi
}
