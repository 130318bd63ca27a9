package main

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonae/sonae/bench/guard/tally"
)

// block is the unit of intermittent encryption.
const block = 4096

// noteText is all that a note says.
const noteText = "This is a test of Sonae's guard. Nothing real was encrypted.\n"

// attack is one run. Its files are taken in order by all threads.
type attack struct {
	options
	root  *os.Root
	page  *tally.Page
	block cipher.Block
	key   []byte // stays in memory while the attack runs, as evidence would
	next  atomic.Int64
	noted sync.Map // folders that have their note
}

func newAttack(o options, root *os.Root, page *tally.Page, key []byte) (*attack, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("use the key: %w", err)
	}
	if _, err := method(o.way); err != nil {
		return nil, err
	}
	return &attack{options: o, root: root, page: page, block: b, key: key}, nil
}

// all encrypts the files on as many threads as were asked for and returns the
// errors of those that failed.
func (a *attack) all(files []string, start time.Time) error {
	errs := make([]error, a.threads)
	var threads sync.WaitGroup
	for i := range a.threads {
		threads.Go(func() {
			runtime.LockOSThread()
			errs[i] = a.thread(files, start)
		})
	}
	threads.Wait()
	runtime.KeepAlive(a.key)
	return errors.Join(errs...)
}

func (a *attack) thread(files []string, start time.Time) error {
	change, err := method(a.way)
	if err != nil {
		return err
	}
	buf := make([]byte, 0, 64<<10)
	for {
		i := a.next.Add(1) - 1
		if i >= int64(len(files)) {
			return nil
		}
		if a.rate > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(float64(i) / a.rate * float64(time.Second)))))
		}
		if buf, err = a.read(files[i], buf); err != nil {
			return err
		}
		iv := make([]byte, aes.BlockSize)
		binary.BigEndian.PutUint64(iv, uint64(i)+1)
		stream := cipher.NewCTR(a.block, iv)
		a.page.Begin()
		if err := change(a, files[i], buf, stream); err != nil {
			return fmt.Errorf("encrypt %s: %w", files[i], err)
		}
		a.page.Finish()
		if a.note {
			a.leaveNote(path.Dir(files[i]))
		}
	}
}

// read fills buf with the file.
func (a *attack) read(name string, buf []byte) ([]byte, error) {
	f, err := a.root.Open(name)
	if err != nil {
		return buf, fmt.Errorf("read: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return buf, fmt.Errorf("read: %w", err)
	}
	if int64(cap(buf)) < info.Size() {
		buf = make([]byte, info.Size())
	}
	buf = buf[:info.Size()]
	if _, err := io.ReadFull(f, buf); err != nil {
		return buf, fmt.Errorf("read %s: %w", name, err)
	}
	return buf, nil
}

// leaveNote writes the fixed text once into folder.
func (a *attack) leaveNote(folder string) {
	if _, there := a.noted.LoadOrStore(folder, true); there {
		return
	}
	if err := a.root.WriteFile(path.Join(folder, "README_TO_RESTORE.txt"), []byte(noteText), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, "encsim: leave a note:", err)
	}
}
