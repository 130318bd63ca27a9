package core

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// machine is what differs between processors.
type machine struct {
	elf  elf.Machine
	regs int // bytes of the general registers (elf_gregset_t)
}

// machines are those whose registers are known, by GOARCH.
var machines = map[string]machine{
	"amd64": {elf.EM_X86_64, 27 * 8},
	"arm64": {elf.EM_AARCH64, 34 * 8},
}

// Types of notes (linux/elf.h).
const (
	ntPrStatus = 1
	ntFPRegSet = 2
	ntPrPsInfo = 3
	ntAuxv     = 6
	ntFile     = 0x46494c45
	ntXState   = 0x202
)

// order is the byte order of the processors that are known.
var order = binary.LittleEndian

// notes collects the content of PT_NOTE.
type notes struct{ bytes.Buffer }

// add appends a note; name is "CORE" or "LINUX". Both parts are padded to four
// bytes.
func (n *notes) add(name string, kind uint32, desc []byte) {
	var head [12]byte
	order.PutUint32(head[0:], uint32(len(name)+1))
	order.PutUint32(head[4:], uint32(len(desc)))
	order.PutUint32(head[8:], kind)
	n.Write(head[:])
	n.WriteString(name)
	n.pad(len(name), 1)
	n.Write(desc)
	n.pad(len(desc), 0)
}

// pad writes at least least zeros until a part of length n fills whole words.
func (n *notes) pad(length, least int) {
	n.Write(make([]byte, least+(4-(length+least)%4)%4))
}

// thread is what is known of one thread.
type thread struct {
	id              int
	regs            []byte // nil: not known
	fpregs, xstate  []byte // nil: not known
	signal          uint16 // that stopped it
	pending, masked uint64
}

// process is what is known of the process as a whole.
type process struct {
	pid, ppid, pgrp, sid int
	uid, gid             uint32
	state                byte
	nice                 int8
	flags                uint64
	name, args           string
	auxv                 []byte
	utime, stime         uint64 // hundredths of a second
}

// status is elf_prstatus of a 64-bit Linux (linux/elfcore.h).
func (p process) status(t thread, m machine) []byte {
	b := make([]byte, 112+m.regs+8)
	order.PutUint32(b[0:], uint32(t.signal))
	order.PutUint16(b[12:], t.signal)
	order.PutUint64(b[16:], t.pending)
	order.PutUint64(b[24:], t.masked)
	for i, id := range []int{t.id, p.ppid, p.pgrp, p.sid} {
		order.PutUint32(b[32+4*i:], uint32(id))
	}
	for i, v := range []uint64{p.utime, p.stime} {
		order.PutUint64(b[48+16*i:], v/100)
		order.PutUint64(b[56+16*i:], v%100*10_000)
	}
	copy(b[112:112+m.regs], t.regs)
	if t.fpregs != nil {
		order.PutUint32(b[112+m.regs:], 1)
	}
	return b
}

// info is elf_prpsinfo of a 64-bit Linux.
func (p process) info() []byte {
	b := make([]byte, 136)
	b[0], b[1], b[3] = stateNumber(p.state), p.state, byte(p.nice)
	if p.state == 'Z' {
		b[2] = 1
	}
	order.PutUint64(b[8:], p.flags)
	order.PutUint32(b[16:], p.uid)
	order.PutUint32(b[20:], p.gid)
	for i, id := range []int{p.pid, p.ppid, p.pgrp, p.sid} {
		order.PutUint32(b[24+4*i:], uint32(id))
	}
	copy(b[40:55], p.name) // the last byte of both texts stays zero
	copy(b[56:135], p.args)
	return b
}

func stateNumber(letter byte) byte { return byte(max(0, bytes.IndexByte([]byte("RSDTZW"), letter))) }

// files is NT_FILE: which file stands behind which addresses.
func files(maps []mapping, page uint64) []byte {
	var head, names []byte
	count := uint64(0)
	for _, m := range maps {
		if !m.isFile() {
			continue
		}
		count++
		for _, v := range []uint64{m.start, m.end, m.offset / page} {
			head = order.AppendUint64(head, v)
		}
		names = append(append(names, m.path...), 0)
	}
	out := order.AppendUint64(order.AppendUint64(nil, count), page)
	return append(append(out, head...), names...)
}

// all is the content of PT_NOTE, in the order in which the kernel writes it.
func (p process) all(threads []thread, maps []mapping, m machine, page uint64) []byte {
	var n notes
	for i, t := range threads {
		n.add("CORE", ntPrStatus, p.status(t, m))
		if i == 0 {
			n.add("CORE", ntPrPsInfo, p.info())
			n.add("CORE", ntAuxv, p.auxv)
			n.add("CORE", ntFile, files(maps, page))
		}
		if t.fpregs != nil {
			n.add("CORE", ntFPRegSet, t.fpregs)
		}
		if t.xstate != nil {
			n.add("LINUX", ntXState, t.xstate)
		}
	}
	return n.Bytes()
}

// Sizes of the parts of an ELF file.
const (
	sizeHeader  = 64
	sizeProgram = 56
)

// head is everything before the memory: header, program headers, notes, and
// zeros up to a whole page.
func head(note []byte, segments []segment, m machine, page uint64) []byte {
	var b bytes.Buffer
	programs := 1 + len(segments)
	noteAt := uint64(sizeHeader + sizeProgram*programs)
	h := elf.Header64{Type: uint16(elf.ET_CORE), Machine: uint16(m.elf), Version: uint32(elf.EV_CURRENT), Phoff: sizeHeader,
		Ehsize: sizeHeader, Phentsize: sizeProgram, Phnum: uint16(programs)}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	put := func(v any) { _ = binary.Write(&b, order, v) } // a bytes.Buffer takes everything
	put(h)
	put(elf.Prog64{Type: uint32(elf.PT_NOTE), Off: noteAt, Filesz: uint64(len(note)), Align: 4})
	at := roundUp(noteAt+uint64(len(note)), page)
	for _, s := range segments {
		p := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: s.flags, Off: at, Vaddr: s.start, Memsz: s.end - s.start, Align: page}
		if s.stored {
			p.Filesz = p.Memsz
			at += p.Filesz
		}
		put(p)
	}
	b.Write(note)
	b.Write(make([]byte, roundUp(uint64(b.Len()), page)-uint64(b.Len())))
	return b.Bytes()
}

func roundUp(n, page uint64) uint64 { return (n + page - 1) / page * page }
