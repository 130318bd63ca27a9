package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
)

// compact moves lines that say nothing about the present into a file of the
// history, when they are most of the manifest. The others stay as they are,
// byte by byte; the newest always stay, as the ledger or a sender may still
// ask for them.
func (a *Archive) compact(ctx context.Context) error {
	a.writing.Lock()
	defer a.writing.Unlock()
	if err := a.usable(ctx); err != nil {
		return err
	}
	if err := a.catchUp(ctx); err != nil {
		return err
	}
	if a.index.lines <= 2*a.index.living()+a.policy.lines || a.shared == nil && a.lingers() {
		return nil
	}
	stays, former, newest, err := a.part()
	if err != nil || former.n == 0 {
		return err
	}
	r := &record{V: 2, Op: opHistory, Seq: a.index.seq, At: a.now().UTC().Round(0)}
	if r.History, err = a.writeHistory(ctx, r.Seq, &former); err != nil {
		return err
	}
	r.History.Newest, r.History.Next = newest, [2]int64{max(a.next, a.index.next), a.mergedNumber()}
	if err := a.replace(ctx, r, &stays); err != nil {
		return err
	}
	a.index.lines = stays.n + 1
	a.log.Info("manifest was compacted", "former_lines", former.n, "lines", stays.n)
	return a.tell(ctx)
}

// replace makes the manifest of the lines that stay and r.
func (a *Archive) replace(ctx context.Context, r *record, stays *lines) error {
	if a.shared != nil {
		seq := r.Seq
		err := a.commit(ctx, r)
		if err == nil {
			text, _ := r.encode() // as commit did
			stays.b.Write(append(text, '\n'))
			err = a.shared.settle(ctx, seq, stays.b.Bytes())
		} else if isTaken(err) {
			return a.shared.store.Remove(ctx, r.History.Path) // the next time
		}
		return away(err)
	}
	text, err := r.encode()
	if err == nil {
		err = a.journal.(*fileJournal).replace(append(stays.b.Bytes(), append(text, '\n')...))
	}
	if err != nil {
		return errors.Join(err, removeIfThere(a.full(r.History.Path)))
	}
	a.apply(r, sha256.Sum256(text))
	return nil
}

// written returns the lines that the index was made of.
func (a *Archive) written() io.Reader {
	if a.shared != nil {
		return io.NewSectionReader(a.shared.mirror, 0, a.shared.size)
	}
	j := a.journal.(*fileJournal)
	return io.NewSectionReader(j.f, 0, j.size)
}

// living is about how many lines say something about the present.
func (x *index) living() int { return len(x.segments) + len(x.holds) + len(x.histories) }

// lingers says whether the file of a segment that is gone is still in use: its
// line must stay until the file is removed, or nobody would know the file.
func (a *Archive) lingers() bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.lingering > 0
}

// lines are some lines of the manifest.
type lines struct {
	b bytes.Buffer
	n int
}

func (l *lines) add(raw []byte) {
	l.b.Write(raw)
	l.b.WriteByte('\n')
	l.n++
}

// part reads the manifest and parts its lines. newest is the newest event in a
// fresh segment among the former ones.
func (a *Archive) part() (stays, former lines, newest time.Time, err error) {
	number, kept := 0, map[int64]bool{}
	err = eachLine(a.written(), func(raw rawLine) error {
		r, err := parseLine(raw.bytes)
		if err != nil { // it stays where Verify finds it
			stays.add(raw.bytes)
			number++
			return nil
		}
		if number++; number > a.index.lines-a.policy.lines || a.index.speaks(r, kept) {
			stays.add(raw.bytes)
			for i := range r.Segments {
				kept[r.Segments[i].Number] = true
			}
			return nil
		}
		former.add(raw.bytes)
		if r.Op == opAdd {
			newest = latest(newest, r.Segments[0].To)
		}
		return nil
	})
	return stays, former, newest, err
}

// speaks says whether a line says something about the present, also by taking
// away what a line that stays brought.
func (x *index) speaks(r *record, kept map[int64]bool) bool {
	if r.Op == opHold || r.Op == opUnhold || r.Op == opHistory {
		return true
	}
	if slices.ContainsFunc(r.Gone, func(n int64) bool { return kept[n] }) {
		return true
	}
	for i := range r.Segments {
		if x.segments[r.Segments[i].Number] != nil {
			return true
		}
	}
	return false
}

func (a *Archive) writeHistory(ctx context.Context, seq uint64, former *lines) (*history, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(4<<20))
	if err != nil {
		return nil, fmt.Errorf("compress former lines: %w", err)
	}
	b := z.EncodeAll(former.b.Bytes(), nil)
	h := &history{Path: historyPath(seq), Bytes: int64(len(b)), Lines: former.n}
	sum := sha256.Sum256(b)
	h.SHA256 = hex.EncodeToString(sum[:])
	if a.shared != nil { // what a compaction left that did not get its line is in the way
		err := a.shared.store.Remove(ctx, h.Path)
		if err == nil {
			err = a.shared.store.Put(ctx, h.Path, bytes.NewReader(b), h.Bytes)
		}
		return h, away(err)
	}
	full := a.full(h.Path)
	if err := makeFolder(filepath.Dir(full)); err != nil {
		return nil, err
	}
	return h, writeFile(full, b)
}

// replace makes whole the manifest. What fails changes nothing.
func (j *fileJournal) replace(whole []byte) error {
	name := j.f.Name()
	if err := writeFile(name, whole); err != nil {
		return fmt.Errorf("replace manifest: %w", err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0o640)
	if err != nil {
		return fmt.Errorf("replace manifest: %w", err)
	}
	err = j.f.Close()
	j.f, j.size = f, int64(len(whole))
	return err
}
