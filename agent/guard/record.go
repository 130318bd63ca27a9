package guard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
)

// recordKind is what a record of the kernel's part tells.
type recordKind uint32

// As in bpf/guard.bpf.c.
const (
	recordRise recordKind = iota + 1
	recordMagic
	recordChanged
	recordMade
	recordRenamed
	recordGone
	recordStopped
	recordExec
)

// Sizes in bpf/guard.bpf.c.
const (
	recordSmall  = 72
	recordName   = 128
	recordLevels = 10
	recordSize   = recordSmall + recordName*recordLevels
)

// record is what the kernel's part tells.
type record struct {
	kind    recordKind
	pid     int
	parent  int
	dev     uint32 // as the kernel writes it
	ino     uint64
	at      uint64 // ns since the machine started
	start   uint64 // of the process, ns since the machine started
	size    int64
	comm    string // of the thread
	turned  uint32
	created bool
	canary  bool   // a decoy; of renamed files: it took the place of one that was read
	noisy   int    // looks that were noise
	of      int    // of so many
	path    string // below the volume; of renamed and deleted files what the process said
	to      string
}

var errRecord = errors.New("guard: a record of the kernel is not whole")

// parseRecord reads one record. It never keeps b.
func parseRecord(b []byte) (record, error) {
	if len(b) < recordSmall {
		return record{}, errRecord
	}
	u32, u64 := binary.NativeEndian.Uint32, binary.NativeEndian.Uint64
	r := record{kind: recordKind(u32(b)), pid: int(int32(u32(b[4:]))), parent: int(int32(u32(b[8:]))), dev: u32(b[12:]), ino: u64(b[16:]), at: u64(b[24:]), start: u64(b[32:]),
		size: int64(u64(b[40:])), comm: untilZero(b[48:64]),
		turned: u32(b[64:]), created: b[68] != 0, canary: b[69] != 0, noisy: int(b[70]), of: int(b[71])}
	if r.kind < recordRise || r.kind > recordExec {
		return record{}, errRecord
	}
	if r.kind >= recordStopped {
		return r, nil
	}
	if len(b) < recordSize {
		return record{}, errRecord
	}
	names := b[recordSmall:recordSize]
	if r.kind == recordRenamed || r.kind == recordGone {
		r.path, r.to = untilZero(names[:5*recordName]), untilZero(names[5*recordName:])
		return r, nil
	}
	for i := range recordLevels {
		name := untilZero(names[i*recordName : (i+1)*recordName])
		if name == "" || name == "/" {
			break
		}
		r.path = filepath.Join(name, r.path)
	}
	return r, nil
}

func untilZero(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}
