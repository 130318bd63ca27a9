package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sonae/sonae/protect/job"
)

// Backup is what one call backs up.
type Backup struct {
	Hostname  string   // as it stands in the snapshot
	Tags      []string // without commas
	Paths     []string // absolute
	Excludes  []string // restic's patterns
	OneSystem bool     // stay in the file systems of Paths
	Shadow    bool     // Windows: from a VSS shadow copy
	Read      int      // files read at once; 0: as restic likes
	// Time is what the snapshot says of when it was made, to the second; zero: the
	// clock of this machine.
	Time time.Time

	// Stream writes what is backed up instead of Paths, as a file called Name
	// ("/emr.dump"; restic 0.18 makes no folders above it). When it returns an error, no snapshot is made. ctx ends
	// when restic has.
	Stream func(ctx context.Context, w io.Writer) error
	Name   string
}

// Unreadable is what could not be read: the first job.MaxErrors reasons, and how
// many there are.
type Unreadable struct {
	Reasons []string
	All     int64
}

// Backup makes a snapshot. Where something could not be read the snapshot
// exists, is not Complete, and the error is a Failure of cause Unread.
func (r Restic) Backup(ctx context.Context, repo Repo, b Backup, tell Tell) (s job.Snapshot, said Unreadable, err error) {
	if err := b.check(); err != nil {
		return s, said, &Failure{Command: "backup", Cause: Unable, Code: -1, Err: err}
	}
	found := false
	c := &call{r: r, repo: repo, command: "backup", args: b.args(r), json: true, feed: b.Stream}
	c.each = func(m message) {
		switch m.Type {
		case "status":
			if tell != nil {
				tell(m.status())
			}
		case "error":
			said.All++
			if len(said.Reasons) < job.MaxErrors {
				said.Reasons = append(said.Reasons, m.text(job.MaxError))
			}
		case "summary":
			found = true
			s = job.Snapshot{ID: m.Snapshot, Path: b.Name, Files: m.FilesLooked, New: m.FilesNew, Changed: m.FilesChanged, Bytes: m.BytesLooked,
				Added: m.DataAdded, Stored: m.DataStored, Seconds: m.TotalDuration}
			if tell != nil {
				tell(Status{Files: s.Files, TotalFiles: s.Files, Bytes: s.Bytes, TotalBytes: s.Bytes, Errors: said.All})
			}
		}
	}
	err = c.do(ctx)
	switch {
	case err != nil && CauseOf(err) != Unread:
		return job.Snapshot{}, said, err
	case !found || s.ID == "":
		return job.Snapshot{}, said, c.failure(Other, 0, errors.New("restic told of no snapshot"))
	}
	s.Complete = err == nil
	return s, said, err
}

func (b Backup) check() error {
	if b.Stream != nil {
		if len(b.Paths) > 0 || !job.Absolute(b.Name) || strings.LastIndexByte(b.Name, '/') != 0 {
			return fmt.Errorf("engine: a stream is called by a file of the root, not %q", b.Name)
		}
		return nil
	}
	if len(b.Paths) == 0 {
		return errors.New("engine: nothing to back up")
	}
	for _, p := range b.Paths {
		if !job.Absolute(p) { // a relative one changes the tree, and the next snapshot has no parent
			return fmt.Errorf("engine: %q is not absolute", p)
		}
	}
	return nil
}

func (b Backup) args(r Restic) []string {
	args := r.locking()
	if b.Hostname != "" {
		args = append(args, "--host", b.Hostname)
	}
	if !b.Time.IsZero() {
		args = append(args, "--time", b.Time.Local().Format(time.DateTime))
	}
	for _, t := range b.Tags {
		args = append(args, "--tag", t)
	}
	if b.Stream != nil {
		return append(args, "--stdin", "--stdin-filename", b.Name)
	}
	for _, e := range b.Excludes {
		args = append(args, "--exclude="+e)
	}
	if b.OneSystem {
		args = append(args, "--one-file-system")
	}
	if b.Shadow {
		args = append(args, "--use-fs-snapshot")
	}
	if b.Read > 0 && r.Version.since(15) {
		args = append(args, "--read-concurrency", fmt.Sprint(b.Read))
	}
	return append(append(args, "--"), b.Paths...)
}
