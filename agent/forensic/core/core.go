// Package core writes the memory of a process as an ELF core file that gdb and
// other debuggers read.
//
// In: the id of a process of this machine. Out: a stream of known length: ELF
// header, notes (registers of its threads, NT_PRPSINFO, NT_AUXV, NT_FILE) and
// the pages that the process has touched. Always true: nothing is written on
// the machine; a thread is asked for its registers only when it is stopped
// already, and is as stopped as before afterwards; address space that nobody
// touched costs nothing; the size is bounded, and what is left out is said.
//
// Layout: System V ABI (generic), "Object Files", and elf(5), core(5).
package core

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of Open. A process that ended before it could be looked at is
// fs.ErrNotExist.
var (
	ErrNoMemory = errors.New("core: the process has no memory of its own (a thread of the kernel, or it is ending)")
	ErrOwn      = errors.New("core: the agent's own memory holds its keys and is not taken")
	ErrMachine  = errors.New("core: registers of this kind of processor are not known")
)

// Options bound a core.
type Options struct {
	MaxBytes int64 // of the whole file; 0: 1 GiB
}

// Limits of what is read about a process.
const (
	defaultMax  = 1 << 30
	maxMapsText = 64 << 20
	maxMappings = 1 << 17
	maxThreads  = 4096
	maxSegments = 60_000  // ELF counts them in 16 bits, and 0xffff has another meaning
	maxScanned  = 1 << 40 // bytes of address space looked at page by page
	maxGap      = 16      // untouched pages that are taken along, so that there are fewer segments
)

// Left says what is not in a core.
type Left struct {
	Bytes     int64 // touched memory that had no room
	Unscanned int64 // address space that was too much to look at
	Threads   int   // threads beyond maxThreads
	Registers string
}

// String is empty when nothing is missing.
func (l Left) String() string {
	var all []string
	if l.Bytes > 0 {
		all = append(all, fmt.Sprintf("%d bytes of memory had no room", l.Bytes))
	}
	if l.Unscanned > 0 {
		all = append(all, fmt.Sprintf("%d bytes of address space were not looked at", l.Unscanned))
	}
	if l.Threads > 0 {
		all = append(all, fmt.Sprintf("%d threads were too many", l.Threads))
	}
	if l.Registers != "" {
		all = append(all, "registers: "+l.Registers)
	}
	return strings.Join(all, "; ")
}
