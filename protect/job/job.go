// Package job is what the hub tells an agent to back up or to restore, and what
// the agent answers.
//
// In: what a policy wants, what the agent did. Out: Job, Grant, Progress and
// Result on the wire. Always true: a signed order (action/order, kinds backup
// and restore) names a job by its id and by the digest of its exact bytes, so
// that nobody but the hub changes what is done; passwords stand in Grant only,
// which is asked for over mTLS when the job begins and is never kept; only
// commands that the machine's own administrator put beside the agent are run.
// Standard library only: the agent links it.
package job

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind is what is done.
type Kind string

// Kinds of jobs; the kinds of orders are called the same.
const (
	Backup  Kind = "backup"
	Restore Kind = "restore"
)

// Job is one run on one machine.
type Job struct {
	ID     string `json:"id"`     // of the run; order.Order.Action
	Host   string `json:"host"`   // host id of the machine
	Name   string `json:"name"`   // of the machine, as snapshots say it; empty: Host
	Policy string `json:"policy"` // id of the policy; empty: asked for by a person
	Kind   Kind   `json:"kind"`

	Sources []Source `json:"sources,omitempty"` // backup: done one after the other
	Tags    []string `json:"tags,omitempty"`    // backup: of every snapshot; "policy:…", "job:…" and "source:…" are added
	Limits  Limits   `json:"limits,omitzero"`
	Hooks   []Hook   `json:"hooks,omitempty"`
	// Until ends the window: what runs then is stopped, and the job cancelled. Zero: no end.
	Until time.Time `json:"until,omitzero"`

	Restore *Restoring `json:"restore,omitempty"` // restore only

	// Tools may be fetched from the hub where the machine's own restic is missing or
	// lacks something that matters: at most one for each kind of machine.
	Tools []Tool `json:"tools,omitempty"`
}

// Tool is a restic that people approved at the hub. An agent fetches it at
// "/agent/v1/tools/SHA256" and uses nothing but these bytes.
type Tool struct {
	OS      string `json:"os"`   // as Go names it
	Arch    string `json:"arch"` // as Go names it
	Version string `json:"version"`
	SHA256  string `json:"sha256"` // hex
	Size    int64  `json:"size"`   // bytes
}

// SourceKind is what kind of thing is backed up.
type SourceKind string

// Kinds of sources.
const (
	Folder         SourceKind = "folder"          // Paths, as they are; on Windows through VSS where Snapshot says so
	PostgreSQL     SourceKind = "postgresql"      // one pg_dump (custom format) for each of Databases, and the roles
	PostgreSQLBase SourceKind = "postgresql-base" // the whole cluster: pg_basebackup with the WAL it needs, as a tar
	PostgreSQLWAL  SourceKind = "postgresql-wal"  // what changed since: the WAL since the last two base backups, for any point in time
	MariaDB        SourceKind = "mariadb"         // one dump for each of Databases; MySQL too
	LDAP           SourceKind = "ldap"            // slapcat for each of Databases (numbers or suffixes), and the configuration
	Libvirt        SourceKind = "libvirt"         // the disks of the virtual machine Domain, from a snapshot
	Hub            SourceKind = "hub"             // the hub itself: its own online backup
)

// SourceKinds lists all, in the order in which people are shown them.
func SourceKinds() []SourceKind {
	return []SourceKind{Folder, PostgreSQL, PostgreSQLBase, PostgreSQLWAL, MariaDB, LDAP, Libvirt, Hub}
}

// Source is one thing that is backed up. It becomes one snapshot (folders) or one
// for each stream (the others).
type Source struct {
	Name      string     `json:"name"` // within the job; [a-z0-9-]{1,40}; streams are files "/NAME.what" in their snapshots
	Kind      SourceKind `json:"kind"`
	Paths     []string   `json:"paths,omitempty"`      // folder: absolute
	Excludes  []string   `json:"excludes,omitempty"`   // folder: patterns of restic's --exclude
	OneSystem bool       `json:"one_system,omitempty"` // folder: do not cross into other file systems
	Shadow    bool       `json:"shadow,omitempty"`     // folder on Windows: from a VSS shadow copy
	Databases []string   `json:"databases,omitempty"`  // databases or suffixes; none: all that there are
	Server    string     `json:"server,omitempty"`     // socket folder or address of a database; empty: the machine's own
	Port      int        `json:"port,omitempty"`       // 0: the usual one
	User      string     `json:"user,omitempty"`       // account of the system under which the program runs; empty: the usual one (postgres, root)
	Domain    string     `json:"domain,omitempty"`     // libvirt
	Connect   string     `json:"connect,omitempty"`    // libvirt: URI; empty: qemu:///system
	Dir       string     `json:"dir,omitempty"`        // hub: its folder; ldap: that of the configuration; postgresql-base and -wal: where WAL is gathered; empty: the usual one
	For       []string   `json:"for,omitempty"`        // hub: public keys (age1…) for which its backup is encrypted
}

// Holds says whether a path in a snapshot can be of this source: a folder of it, one
// above or below it, or a stream.
func (s Source) Holds(path string) bool {
	if s.Kind != Folder {
		return strings.HasPrefix(path, "/"+s.Name+".")
	}
	return slices.ContainsFunc(s.Paths, func(p string) bool {
		p = "/" + strings.Trim(strings.ReplaceAll(strings.ReplaceAll(p, `\`, "/"), ":", ""), "/") // "C:\Users" is kept as "/C/Users"
		return p == "/" || p == path || strings.HasPrefix(path, p+"/") || strings.HasPrefix(p, path+"/")
	})
}

// Limits bound what a job takes from the machine. Zero: no bound.
type Limits struct {
	Upload   int `json:"upload,omitempty"`   // KiB/s towards the hub
	Download int `json:"download,omitempty"` // KiB/s from the hub
	Read     int `json:"read,omitempty"`     // files that are read at once
}

// When says when a hook runs.
type When string

// Moments of a hook.
const (
	Before When = "before" // its failure fails the job, and nothing is backed up
	After  When = "after"  // always runs once a Before was begun; its failure fails the job
)

// Hook is a command of the machine's administrator: a file of this name in the
// agent's folder of hooks that only root may write. The hub cannot send commands.
type Hook struct {
	When    When          `json:"when"`
	Name    string        `json:"name"`    // [a-z0-9._-]{1,60}
	Timeout time.Duration `json:"timeout"` // 0 means ten minutes
}

// Restoring is what a restore brings back, and where to.
type Restoring struct {
	Snapshot string   `json:"snapshot"`          // full id
	Include  []string `json:"include,omitempty"` // absolute paths inside the snapshot; none: all
	Target   string   `json:"target"`            // absolute folder; "/" puts everything where it was
	// Overwrite says what happens to files that are there already.
	Overwrite Overwrite `json:"overwrite,omitempty"`
	Verify    bool      `json:"verify,omitempty"` // files are read again and compared by their hashes
	Every     int       `json:"every,omitempty"`  // only the content of every n-th file is; 0 and 1: all
	DryRun    bool      `json:"dry_run,omitempty"`
	// Load, where it is there, hands the one file that is brought back to a
	// database server.
	Load *Loading `json:"load,omitempty"`
}

// Loading is what a database server does with a stream that was brought back. It
// changes nothing that is there: a dump becomes a new database, a base backup a
// new folder beside the stream, which somebody starts a server on. WAL comes to one
// more folder beside it.
type Loading struct {
	Kind     SourceKind `json:"kind"`               // postgresql or postgresql-base
	Database string     `json:"database,omitempty"` // dump: name of the new database
	Server   string     `json:"server,omitempty"`   // as in Source
	Port     int        `json:"port,omitempty"`
	User     string     `json:"user,omitempty"`
	// Moment is when a base backup is brought back to: a server that is started on
	// the folder runs through WAL until then. Zero: when the base backup was made.
	Moment time.Time `json:"moment,omitzero"`
	WAL    *WAL      `json:"wal,omitempty"` // which leads there; never without Moment
}

// WAL is a folder of gathered WAL in a snapshot of the same repository.
type WAL struct {
	Snapshot string `json:"snapshot"` // full id
	Path     string `json:"path"`     // of the folder, inside the snapshot
}

// WALReaches is a file in a folder of gathered WAL: the time, by the clock of the
// database server, of which everything is in the folder (RFC 3339).
const WALReaches = "reaches"

// Overwrite is what happens to a file that is there already.
type Overwrite string

// What happens to files that are there already.
const (
	Always    Overwrite = "always"     // compared by content, what differs of it is replaced: resumes by itself; the zero value means this
	IfChanged Overwrite = "if-changed" // replaced where size or time differ: quicker, but an intruder can keep both
	IfNewer   Overwrite = "if-newer"   // replaced where the one of the snapshot is newer
	Never     Overwrite = "never"      // left as it is
)

// Grant is what an agent gets for a job that it was ordered to do, as long as it
// has not told how the job ended; an agent that was restarted asks again.
type Grant struct {
	Job    json.RawMessage `json:"job"` // exact bytes of Job; their Digest stands in the order
	Secret Secret          `json:"secret"`
}

// Secret opens the repository. It is never logged, kept or handed to a program
// by its arguments or its environment.
type Secret struct {
	Password string    `json:"password"`       // of the repository
	Path     string    `json:"path"`           // of the repository at the hub: "/restic/HOST/" or "/restic/HOST/asof/TIME/"
	User     string    `json:"user,omitempty"` // HTTP Basic, where the certificate alone does not give the right (restores)
	Token    string    `json:"token,omitempty"`
	Expires  time.Time `json:"expires"`
}

// Digest is the hex SHA-256 of the bytes of a job.
func Digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// Pack makes the bytes of a job and their digest.
func Pack(j Job) (body []byte, digest string, err error) {
	if body, err = json.Marshal(j); err != nil {
		return nil, "", fmt.Errorf("pack job %s: %w", j.ID, err)
	}
	return body, Digest(body), nil
}
