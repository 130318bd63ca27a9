package feed

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/jsonl"
	"github.com/sonae/sonae/source/tail"
	"github.com/sonae/sonae/source/zeek"
)

// Files are looked at every pollEvery, folders every lookEvery. maxFiles bounds
// how many logs of one folder are followed.
const (
	pollEvery = 300 * time.Millisecond
	lookEvery = 5 * time.Second
	maxFiles  = 100
	maxHeader = 16 << 10 // bytes of the lines that begin a log of Zeek
)

// following is one file with what reads its lines.
type following struct {
	*tail.File
	tsv bool // what has no braces is Zeek's TSV
	in  *stream
	at  *budget
}

// stream is a reader that is given lines.
type stream struct {
	json bool
	to   *io.PipeWriter
	done chan struct{}
}

// follow reads all files until ctx ends.
func (f *Feed) follow(ctx context.Context) error {
	var files []*following
	var streams sync.WaitGroup
	defer func() {
		for _, t := range files {
			t.end()
			t.Close()
		}
		streams.Wait()
	}()
	known := map[string]bool{}
	begin, looked := true, f.cfg.Now().Add(-lookEvery)
	for ; ; begin = false {
		if now := f.cfg.Now(); now.Sub(looked) >= lookEvery {
			looked = now
			files = append(files, f.look(known, begin)...)
		}
		open := 0
		for _, t := range files {
			t.Poll(func(line string) bool { return f.line(ctx, &streams, t, line) })
			if t.Open() {
				open++
				f.cfg.Keep(t.Path(), t.Mark())
			}
		}
		f.count(func(s *Stats) { s.Files = open })
		if !pause(ctx, pollEvery) {
			return nil
		}
	}
}

// look finds files that are not followed yet. Those that are there at the
// beginning are read from where reading stopped, else from their end; those
// that come later from their beginning.
func (f *Feed) look(known map[string]bool, begin bool) []*following {
	var out []*following
	add := func(path string, tsv bool) {
		if known[path] || len(known) >= maxFiles+len(f.cfg.EVE) {
			return
		}
		known[path] = true
		t := &following{File: tail.New(path), tsv: tsv, at: f.budget(true)}
		if mark := f.cfg.Mark(path); begin || mark != "" {
			t.Resume(mark)
		}
		out = append(out, t)
	}
	for _, path := range f.cfg.EVE {
		add(path, false)
	}
	for _, dir := range f.cfg.Zeek {
		found, err := filepath.Glob(filepath.Join(dir, "*.log"))
		if err != nil {
			f.cfg.Log.Error("folder of Zeek cannot be read", "folder", dir, "err", err)
		}
		for _, path := range found {
			add(path, true)
		}
	}
	return out
}

// line gives a line to the reader of its file. It returns false when ctx ended.
func (f *Feed) line(ctx context.Context, all *sync.WaitGroup, t *following, line string) bool {
	json := !t.tsv || line[0] == '{'
	if t.in == nil || t.in.json != json {
		header := t.header(json, line)
		t.end()
		t.in = f.stream(ctx, all, json, t.at)
		if !t.in.write(header) {
			return false
		}
	}
	return t.in.write(append([]byte(line), '\n'))
}

// header are the lines that say what the columns of a log of Zeek mean, when it
// is not read from its beginning.
func (t *following) header(json bool, line string) []byte {
	if json || line[0] == '#' {
		return nil
	}
	var out []byte
	for l := range bytes.Lines(t.Head(maxHeader)) {
		if l[0] != '#' {
			break
		}
		out = append(out, l...)
	}
	return out
}

// end ends the reader, once it has handed over what it was given.
func (t *following) end() {
	if t.in != nil {
		_ = t.in.to.Close()
		<-t.in.done
		t.in = nil
	}
}

func (s *stream) write(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	_, err := s.to.Write(b)
	return err == nil
}

// stream begins a reader.
func (f *Feed) stream(ctx context.Context, all *sync.WaitGroup, json bool, room *budget) *stream {
	from, to := io.Pipe()
	s := &stream{json: json, to: to, done: make(chan struct{})}
	read := source.Reader(zeek.Read)
	if json {
		read = jsonl.Read
	}
	all.Go(func() {
		defer close(s.done)
		rep, err := read(ctx, from, source.Options{Now: f.cfg.Now()}, func(r *event.Record) error {
			if !f.record(ctx, r, room) {
				return errEnded
			}
			return nil
		})
		f.damaged(rep)
		_ = from.CloseWithError(errors.Join(errEnded, err)) // the next line is not taken
	})
	return s
}

// errEnded says that nobody wants more.
var errEnded = errors.New("ended")
