package job

import (
	"slices"
	"time"
)

// State is how a job, or one source of it, ended.
type State string

// States. Only OK is a backup that counts.
const (
	Running     State = "running"
	OK          State = "ok"            // everything that was asked for is in the repository, or back
	Partial     State = "partial"       // a snapshot exists, but something could not be read (restic's 3)
	Failed      State = "failed"        // tried, and nothing that counts came of it
	CouldNotRun State = "could-not-run" // never begun: no restic, no password, no right, unknown source
	Cancelled   State = "cancelled"     // stopped by a person or by the end of the window
)

// Ended says whether nothing more will happen.
func (s State) Ended() bool { return s != Running && s != "" }

// rank orders states: the worst of the sources is the state of the job.
var rank = map[State]int{OK: 1, Partial: 2, CouldNotRun: 3, Failed: 4, Cancelled: 5}

// Worst is the worse of two states; the zero value is better than all.
func Worst(a, b State) State {
	if rank[b] > rank[a] {
		return b
	}
	return a
}

// Progress is how far a running job is.
type Progress struct {
	Job        string    `json:"job"`
	At         time.Time `json:"at"`
	Source     string    `json:"source,omitempty"` // name of the one that is being done
	Step       string    `json:"step"`             // hook | prepare | backup | restore | verify | load
	Files      int64     `json:"files"`
	Bytes      int64     `json:"bytes"`
	TotalFiles int64     `json:"total_files,omitempty"` // grows while folders are still being read; 0: not known
	TotalBytes int64     `json:"total_bytes,omitempty"`
	Errors     int64     `json:"errors,omitempty"`
	Sent       int64     `json:"sent,omitempty"`    // bytes to and from the hub, as they passed the link
	Seconds    float64   `json:"seconds,omitempty"` // since this step began
}

// Rate is bytes per second in this step, and Left how long it still takes; zero
// where they are not known. An old restic says nothing: then what passed the
// link counts.
func (p Progress) Rate() (perSecond float64, left time.Duration) {
	if p.Seconds <= 0 {
		return 0, 0
	}
	bytes := p.Bytes
	if bytes == 0 && p.Step == "restore" {
		bytes = p.Sent
	}
	if perSecond = float64(bytes) / p.Seconds; perSecond > 0 && p.TotalBytes > p.Bytes && p.Bytes > 0 {
		left = time.Duration(float64(p.TotalBytes-p.Bytes) / perSecond * float64(time.Second))
	}
	return perSecond, left
}

// Result is how a job ended. It is bounded: at most MaxErrors errors of each source.
type Result struct {
	Job     string         `json:"job"`
	Host    string         `json:"host,omitempty"` // set by the hub from the certificate
	Kind    Kind           `json:"kind"`
	State   State          `json:"state"`
	Error   string         `json:"error,omitempty"` // of the job itself; those of sources stand with them
	Start   time.Time      `json:"start"`
	End     time.Time      `json:"end"`
	Restic  string         `json:"restic,omitempty"`  // version, as "0.18.0"
	Reduced []string       `json:"reduced,omitempty"` // what this version cannot do: keys of the words protect.engine.lacks.…
	Sources []SourceResult `json:"sources,omitempty"`
	Hooks   []HookResult   `json:"hooks,omitempty"`
	Restore *Restored      `json:"restored,omitempty"`
}

// LacksChunker is the one thing that a restic may lack and still be a full one:
// sizes of its pieces can give contents away, but nothing is lost by it.
const LacksChunker = "chunker"

// Degraded says whether the work was done with a reduced restic (縮退).
func (r Result) Degraded() bool {
	return slices.ContainsFunc(r.Reduced, func(what string) bool { return what != LacksChunker })
}

// Report is what order.Result.Report holds of a job: one of the two.
type Report struct {
	Progress *Progress `json:"progress,omitempty"` // phase progress
	Result   *Result   `json:"result,omitempty"`   // phases done and failed
}

// Seconds is how long the job took.
func (r Result) Seconds() float64 { return r.End.Sub(r.Start).Seconds() }

// MaxErrors bounds Errors of one source, MaxError the bytes of one of them.
const (
	MaxErrors = 50
	MaxError  = 500
)

// SourceResult is what came of one source.
type SourceResult struct {
	Name      string     `json:"name"`
	Kind      SourceKind `json:"kind"`
	State     State      `json:"state"`
	Snapshots []Snapshot `json:"snapshots,omitempty"`
	Errors    []string   `json:"errors,omitempty"` // the first MaxErrors
	Unread    int64      `json:"unread,omitempty"` // files that could not be read, all of them
}

// Snapshot is one snapshot that was made.
type Snapshot struct {
	ID       string  `json:"id"`               // full; 8 digits where restic is older than 0.15
	Path     string  `json:"path,omitempty"`   // of a stream inside it; empty: folders
	Files    int64   `json:"files"`            // looked at
	New      int64   `json:"new"`              // files
	Changed  int64   `json:"changed"`          // files
	Bytes    int64   `json:"bytes"`            // looked at
	Added    int64   `json:"added"`            // bytes new in the repository, before compression
	Stored   int64   `json:"stored,omitempty"` // the same as they are stored; 0: restic is too old to say
	Seconds  float64 `json:"seconds"`
	Complete bool    `json:"complete"` // nothing of it could not be read
}

// HookResult is how one hook ended.
type HookResult struct {
	Name    string  `json:"name"`
	When    When    `json:"when"`
	State   State   `json:"state"`
	Seconds float64 `json:"seconds"`
	Exit    int     `json:"exit"`             // -1: it did not end by itself
	Output  string  `json:"output,omitempty"` // its last words, at most 2 KiB
}

// Restored is what a restore brought back.
type Restored struct {
	Target   string   `json:"target"`
	Files    int64    `json:"files"`   // brought back; those that a restore before had brought back too
	Skipped  int64    `json:"skipped"` // there before, and left as they were
	Bytes    int64    `json:"bytes"`
	Verified int64    `json:"verified"` // files whose content was held against the repository by its hashes
	Errors   []string `json:"errors,omitempty"`
	Wrong    int64    `json:"wrong,omitempty"` // files that could not be restored or differ, all of them
	// Changed are files and folders whose content is right and whose owner,
	// rights or time are not, all of them.
	Changed int64       `json:"changed,omitempty"`
	Differ  []Differing `json:"differ,omitempty"` // the first MaxErrors of Wrong and Changed
	Loaded  string      `json:"loaded,omitempty"` // what a database server made of it: name of the database, or folder
	// Moment is when a server comes back to that is started on Loaded, and Server
	// the version of PostgreSQL that it is of; where Loading.Moment was asked for.
	Moment time.Time `json:"moment,omitzero"`
	Server string    `json:"server,omitempty"`
}

// Differing is one file that is not as it was saved.
type Differing struct {
	Path string     `json:"path"` // in the snapshot
	What Difference `json:"what"`
}

// Difference is what is not as it was saved.
type Difference string

// Differences. Those of owner, rights and time are no failure of a restore.
const (
	NotThere     Difference = "missing"
	Unreadable   Difference = "unreadable"
	OtherKind    Difference = "kind" // a folder instead of a file, and so on
	OtherContent Difference = "content"
	OtherOwner   Difference = "owner"
	OtherMode    Difference = "mode"
	OtherTime    Difference = "time"
)

// Differences lists all, the worst first.
func Differences() []Difference {
	return []Difference{NotThere, Unreadable, OtherKind, OtherContent, OtherOwner, OtherMode, OtherTime}
}
