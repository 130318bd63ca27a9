package collect

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sonae/sonae/source/tail"
)

// usual log files of Linux distributions.
var usual = []string{"/var/log/auth.log", "/var/log/secure", "/var/log/syslog", "/var/log/messages"}

const tailEvery = 300 * time.Millisecond

// Files follows log files through rotation.
type Files struct {
	said
	cfg   Config
	files []logFile
	pos   *tail.Marks
}

// logFile is one of them.
type logFile struct {
	*tail.File
	auth bool // an authentication log
}

// NewFiles follows cfg.Files, or the usual ones.
func NewFiles(cfg Config) *Files {
	names := cfg.Files
	if len(names) == 0 {
		names = usual
	}
	f := &Files{cfg: cfg, pos: tail.OpenMarks(cfg.Dir, "files.json")}
	for _, n := range names {
		f.files = append(f.files, logFile{File: tail.New(n), auth: strings.HasPrefix(filepath.Base(n), "auth") || filepath.Base(n) == "secure"})
	}
	f.say("not started")
	return f
}

// hasAuth says whether log-ins are among the lines.
func (f *Files) hasAuth() bool {
	for _, t := range f.files {
		if _, err := os.Stat(t.Path()); t.auth && err == nil {
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
		t.Resume(f.pos.Get(t.Path()))
		defer t.Close()
	}
	for {
		open := 0
		for _, t := range f.files {
			t.Poll(func(line string) bool {
				for _, e := range parseLine(line, f.cfg.Now(), t.auth).events() {
					if !q.Wait(ctx, e) {
						return false
					}
				}
				return true
			})
			if t.Open() {
				open++
				f.pos.Set(t.Path(), t.Mark())
			}
		}
		f.say(fmt.Sprintf("%d of %d log files", open, len(f.files)))
		if err := f.pos.Save(f.cfg.Now()); err != nil {
			f.cfg.Log.Error("log position", "err", err)
		}
		if !pause(ctx, tailEvery) {
			return f.pos.Close()
		}
	}
}
