package job

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Bounds of a job.
const (
	maxList    = 500
	maxText    = 4096
	maxTimeout = 6 * time.Hour
	maxEvery   = 1000
	maxTools   = 30
	maxTool    = 200 << 20 // bytes
)

var (
	sourceName = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
	hookName   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,59}$`)
	sumForm    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	idForm     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	drive      = regexp.MustCompile(`^[A-Za-z]:[\\/]`)
	account    = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	database   = regexp.MustCompile(`^[\p{L}_][\p{L}\p{N}_ -]{0,59}$`)
	recipient  = regexp.MustCompile(`^age1[a-z0-9]{20,}$`)
	snapshotID = regexp.MustCompile(`^[0-9a-f]{8}([0-9a-f]{56})?$`)
)

// Mistake is what is wrong with a job: Field as JSON names it, Reason as a short
// English phrase.
type Mistake struct{ Field, Reason string }

func (m *Mistake) Error() string { return "job: " + m.Field + ": " + m.Reason }

func wrong(reason, field string, args ...any) error {
	return &Mistake{Field: fmt.Sprintf(field, args...), Reason: reason}
}

// Check says what is wrong with a job, as a *Mistake. Whoever makes a job and
// whoever does it asks: what begins with a dash or is relative never reaches a
// program.
func (j Job) Check() error {
	if !idForm.MatchString(j.ID) {
		return wrong("is no id", "id")
	}
	if j.Limits.Upload < 0 || j.Limits.Download < 0 || j.Limits.Read < 0 || j.Limits.Read > 64 {
		return wrong("is out of range", "limits")
	}
	if !short(j.Tags) || slices.ContainsFunc(j.Tags, func(t string) bool { return t == "" || strings.ContainsAny(t, ",") }) {
		return wrong("is empty, too long or has a comma", "tags")
	}
	for i, h := range j.Hooks {
		if err := h.check(i); err != nil {
			return err
		}
	}
	if len(j.Tools) > maxTools || slices.ContainsFunc(j.Tools, func(t Tool) bool { return !sumForm.MatchString(t.SHA256) || t.Size <= 0 || t.Size > maxTool }) {
		return wrong("there are too many, or one is out of range", "tools")
	}
	switch j.Kind {
	case Backup:
		return j.checkSources()
	case Restore:
		return j.Restore.check()
	}
	return wrong("is neither backup nor restore", "kind")
}

func (h Hook) check(i int) error {
	switch {
	case h.When != Before && h.When != After:
		return wrong("is neither before nor after", "hooks[%d].when", i)
	case !hookName.MatchString(h.Name):
		return wrong("is no name of a file", "hooks[%d].name", i)
	case h.Timeout < 0 || h.Timeout > maxTimeout:
		return wrong("is out of range", "hooks[%d].timeout", i)
	}
	return nil
}

func (j Job) checkSources() error {
	if len(j.Sources) == 0 || len(j.Sources) > maxList {
		return wrong("there are none, or too many", "sources")
	}
	names := map[string]bool{}
	for i, s := range j.Sources {
		if names[s.Name] {
			return wrong("is used twice", "sources[%d].name", i)
		}
		names[s.Name] = true
		if field, reason := s.check(); field != "" {
			return wrong(reason, "sources[%d].%s", i, field)
		}
	}
	return nil
}

// check returns the field that is wrong, and why.
func (s Source) check() (field, reason string) {
	switch {
	case !sourceName.MatchString(s.Name):
		return "name", "is no name"
	case !slices.Contains(SourceKinds(), s.Kind):
		return "kind", "is unknown"
	case s.Kind == Folder && len(s.Paths) == 0:
		return "paths", "there are none"
	case s.Kind != Folder && len(s.Paths)+len(s.Excludes) > 0:
		return "paths", "belong to folders only"
	case !short(s.Paths) || slices.ContainsFunc(s.Paths, func(p string) bool { return !Absolute(p) }):
		return "paths", "is not absolute"
	case !short(s.Excludes) || slices.Contains(s.Excludes, ""):
		return "excludes", "is empty or too long"
	case !short(s.Databases) || slices.ContainsFunc(s.Databases, odd):
		return "databases", "is empty, too long or begins with a dash"
	case s.Server != "" && odd(s.Server):
		return "server", "is no address"
	case s.Port < 0 || s.Port > 65535:
		return "port", "is out of range"
	case s.User != "" && !account.MatchString(s.User):
		return "user", "is no account"
	case s.Kind == Libvirt && odd(s.Domain):
		return "domain", "is no virtual machine"
	case s.Connect != "" && odd(s.Connect):
		return "connect", "is no address"
	case s.Dir != "" && !Absolute(s.Dir):
		return "dir", "is not absolute"
	case s.Kind == Hub && len(s.For) == 0 || slices.ContainsFunc(s.For, func(k string) bool { return !plain(k) || !recipient.MatchString(k) }):
		return "for", "is no public key"
	}
	return "", ""
}

func (r *Restoring) check() error {
	switch {
	case r == nil:
		return wrong("is missing", "restore")
	case !snapshotID.MatchString(r.Snapshot):
		return wrong("is no id of a snapshot", "restore.snapshot")
	case !Absolute(r.Target):
		return wrong("is not absolute", "restore.target")
	case !short(r.Include) || slices.ContainsFunc(r.Include, func(p string) bool { return !strings.HasPrefix(p, "/") || !plain(p) }):
		return wrong("is not absolute", "restore.include")
	case !slices.Contains([]Overwrite{"", IfChanged, Always, IfNewer, Never}, r.Overwrite):
		return wrong("is unknown", "restore.overwrite")
	case r.Every < 0 || r.Every > maxEvery:
		return wrong("is out of range", "restore.every")
	case r.Load != nil:
		return r.Load.check(r)
	}
	return nil
}

// check: what is loaded is one file, which lies apart from what is in use.
func (l *Loading) check(r *Restoring) error {
	switch {
	case l.Kind != PostgreSQL && l.Kind != PostgreSQLBase:
		return wrong("cannot be loaded", "restore.load.kind")
	case len(r.Include) != 1 || strings.Trim(r.Target, "/") == "" || r.DryRun:
		return wrong("takes one file in a folder of its own", "restore.load")
	case l.Kind == PostgreSQL && !database.MatchString(l.Database):
		return wrong("is no name of a database", "restore.load.database")
	case l.Kind == PostgreSQLBase && l.Database != "":
		return wrong("belongs to dumps only", "restore.load.database")
	case l.Server != "" && odd(l.Server):
		return wrong("is no address", "restore.load.server")
	case l.Port < 0 || l.Port > 65535:
		return wrong("is out of range", "restore.load.port")
	case l.User != "" && !account.MatchString(l.User):
		return wrong("is no account", "restore.load.user")
	}
	return l.checkMoment()
}

// checkMoment: nothing leads to a moment but WAL, and to nothing else WAL does.
func (l *Loading) checkMoment() error {
	switch {
	case l.Moment.IsZero() && l.WAL == nil:
		return nil
	case l.Kind != PostgreSQLBase:
		return wrong("belongs to base backups only", "restore.load.moment")
	case l.Moment.IsZero():
		return wrong("is missing", "restore.load.moment")
	case l.WAL == nil:
		return wrong("is missing", "restore.load.wal")
	case !snapshotID.MatchString(l.WAL.Snapshot):
		return wrong("is no id of a snapshot", "restore.load.wal.snapshot")
	case !strings.HasPrefix(l.WAL.Path, "/") || strings.Trim(l.WAL.Path, "/") == "" || !Absolute(l.WAL.Path):
		return wrong("is no folder", "restore.load.wal.path")
	}
	return nil
}

// Absolute says whether a path is absolute, on Linux or on Windows, and without
// anything that has to be cleaned away.
func Absolute(p string) bool {
	if !plain(p) || !strings.HasPrefix(p, "/") && !drive.MatchString(p) && !strings.HasPrefix(p, `\\`) {
		return false
	}
	return !slices.Contains(strings.FieldsFunc(p, func(r rune) bool { return r == '/' || r == '\\' }), "..")
}

// odd says that a text may not be given to a program.
func odd(s string) bool { return s == "" || strings.HasPrefix(s, "-") || !plain(s) }

// plain says that a text is short and one line.
func plain(s string) bool { return len(s) <= maxText && !strings.ContainsAny(s, "\x00\n\r") }

// short says that a list is short, and each text in it.
func short(list []string) bool {
	return len(list) <= maxList && !slices.ContainsFunc(list, func(s string) bool { return !plain(s) })
}
