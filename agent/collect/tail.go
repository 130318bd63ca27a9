package collect

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

// usual log files of Linux distributions.
var usual = []string{"/var/log/auth.log", "/var/log/secure", "/var/log/syslog", "/var/log/messages"}

const tailEvery = 300 * time.Millisecond

// Files follows log files through rotation.
type Files struct {
	said
	cfg   Config
	files []*tail
	pos   *positions
}

// NewFiles follows cfg.Files, or the usual ones.
func NewFiles(cfg Config) *Files {
	names := cfg.Files
	if len(names) == 0 {
		names = usual
	}
	f := &Files{cfg: cfg, pos: openPositions(cfg.Dir, "files.json")}
	for _, n := range names {
		f.files = append(f.files, &tail{path: n, auth: strings.HasPrefix(filepath.Base(n), "auth") || filepath.Base(n) == "secure"})
	}
	f.say("not started")
	return f
}

// hasAuth says whether log-ins are among the lines.
func (f *Files) hasAuth() bool {
	for _, t := range f.files {
		if _, err := os.Stat(t.path); t.auth && err == nil {
			return true
		}
	}
	return false
}

// Name implements Collector.
func (f *Files) Name() string { return "files" }

// Run implements Collector.
func (f *Files) Run(ctx context.Context, q *Queue) error {
	for _, t := range f.files {
		t.resume(f.pos.get(t.path))
		defer t.close()
	}
	for {
		open := 0
		for _, t := range f.files {
			t.poll(func(line string) bool {
				for _, e := range parseLine(line, f.cfg.Now(), t.auth).events() {
					if !q.Wait(ctx, e) {
						return false
					}
				}
				return true
			})
			if t.file != nil {
				open++
				f.pos.set(t.path, t.mark())
			}
		}
		f.say(fmt.Sprintf("%d of %d log files", open, len(f.files)))
		if err := f.pos.save(f.cfg.Now()); err != nil {
			f.cfg.Log.Error("log position", "err", err)
		}
		if !pause(ctx, tailEvery) {
			return f.pos.close()
		}
	}
}

// tail follows one file.
type tail struct {
	path string
	auth bool // an authentication log

	file *os.File
	info os.FileInfo
	at   int64  // offset of the next byte to read
	part []byte // line without an end yet
	skip bool   // inside a line that is too long
}

// mark is what resume needs: which file, and how far.
func (t *tail) mark() string { return fmt.Sprintf("%s %d", identity(t.info), t.at-int64(len(t.part))) }

// resume opens the file where mark says, or at its end when it is not known.
func (t *tail) resume(mark string) {
	if !t.open() {
		return // it does not exist yet: all of it will be new
	}
	t.at = t.info.Size()
	var id string
	var at int64
	if n, err := fmt.Sscanf(mark, "%s %d", &id, &at); err != nil || n != 2 {
		return
	}
	if id != identity(t.info) { // rotated while nobody looked
		t.at = 0
	} else if at >= 0 && at <= t.at {
		t.at = at
	}
}

func (t *tail) open() bool {
	f, err := os.Open(t.path)
	if err != nil {
		return false
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		_ = f.Close()
		return false
	}
	t.file, t.info, t.at, t.part, t.skip = f, info, 0, nil, false
	return true
}

func (t *tail) close() {
	if t.file != nil {
		_ = t.file.Close() // only read
		t.file = nil
	}
}

// poll reads what is new. A file that was replaced is read to its end first.
func (t *tail) poll(line func(string) bool) {
	if t.file == nil && !t.open() {
		return
	}
	if info, err := t.file.Stat(); err == nil && info.Size() < t.at { // truncated in place
		t.at, t.part, t.skip = 0, nil, false
	}
	t.read(line)
	now, err := os.Stat(t.path)
	if err == nil && !os.SameFile(now, t.info) {
		t.read(line)
		t.close()
		if t.open() {
			t.read(line)
		}
	}
}

func (t *tail) read(line func(string) bool) {
	r := bufio.NewReaderSize(io.NewSectionReader(t.file, t.at, 1<<62), 32<<10)
	for {
		chunk, err := r.ReadSlice('\n')
		if !t.take(chunk, line) {
			return
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// take adds a piece of the file and hands over the line that it completes. It
// returns false, and has not moved on, when the line was not taken.
func (t *tail) take(chunk []byte, line func(string) bool) bool {
	whole := bytes.HasSuffix(chunk, []byte("\n"))
	if !t.skip {
		t.part = append(t.part, chunk...)
		if whole || len(t.part) >= maxLine {
			s := strings.TrimRight(string(t.part[:min(len(t.part), maxLine)]), "\r\n")
			if !utf8.ValidString(s) {
				s = strings.ToValidUTF8(s, "\uFFFD")
			}
			if s != "" && !line(s) {
				t.part = t.part[:len(t.part)-len(chunk)]
				return false
			}
			t.part, t.skip = t.part[:0], !whole
		}
		t.at += int64(len(chunk))
		return true
	}
	t.skip = !whole
	t.at += int64(len(chunk))
	return true
}
