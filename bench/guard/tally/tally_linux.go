// Package tally is the page of memory in which the simulator counts what it
// does, for the harness that watches it.
//
// In: a file, the same for both. Out: counters and times. Always true: they
// survive the simulator's being stopped or killed, and reading them costs it
// nothing. Times are nanoseconds of CLOCK_MONOTONIC, the same in all processes.
package tally

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Page is shared between processes; all methods may be called concurrently.
type Page struct {
	memory []byte
	held   *held
}

type held struct {
	first, last atomic.Int64 // time of the first write, of the last completed file
	started     atomic.Int64 // files that were begun to be changed
	done        atomic.Int64 // files finished
}

const size = 4096

// Create makes an empty page at path.
func Create(path string) (*Page, error) {
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		return nil, fmt.Errorf("create the tally: %w", err)
	}
	return Open(path)
}

// Open maps the page at path.
func Open(path string) (*Page, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open the tally: %w", err)
	}
	defer f.Close()
	memory, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the tally: %w", err)
	}
	return &Page{memory: memory, held: (*held)(unsafe.Pointer(&memory[0]))}, nil
}

// Close unmaps the page.
func (p *Page) Close() error { return unix.Munmap(p.memory) }

// Begin notes that a file is about to be changed.
func (p *Page) Begin() {
	if p.held.first.Load() == 0 {
		p.held.first.CompareAndSwap(0, Now())
	}
	p.held.started.Add(1)
}

// Finish notes that a file was changed.
func (p *Page) Finish() {
	p.held.last.Store(Now())
	p.held.done.Add(1)
}

// First is the time just before the first write, 0 before it.
func (p *Page) First() int64 { return p.held.first.Load() }

// Last is the time at which the last file was finished, 0 before it.
func (p *Page) Last() int64 { return p.held.last.Load() }

// Started is how many files were begun to be changed.
func (p *Page) Started() int { return int(p.held.started.Load()) }

// Done is how many files were finished.
func (p *Page) Done() int { return int(p.held.done.Load()) }

// Now reads CLOCK_MONOTONIC.
func Now() int64 {
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &at); err != nil {
		return 0 // cannot be: the clock always exists
	}
	return at.Nano()
}

// Since is the time from one reading of the clock to another.
func Since(from, to int64) time.Duration { return time.Duration(to - from) }
