package view

import (
	"cmp"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/protect/anomaly"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restore"
	"github.com/sonae/sonae/ready/asset"
)

// RestoresData is the first page: what was asked for, and the machines.
type RestoresData struct {
	Pages    []string
	Requests []restore.Request
	Agents   []string // whose backups the viewer may look into
	May      bool
}

// SnapshotsData is the snapshots of a machine.
type SnapshotsData struct {
	Pages []string
	Agent string
	AsOf  time.Time
	List  restore.Page[restore.Snapshot]
	Clean bool // one of the list is held to be clean
	After string

	Points  []anomaly.Point        // from where a restore should begin, where there was damage
	Classes func(id string) string // what people call a class of data
}

// BrowseData is a folder of a snapshot, or what a search in it found.
type BrowseData struct {
	Pages    []string
	Snapshot restore.Snapshot
	Where    restore.Where
	Path     string
	List     restore.Page[restore.Entry]
	Search   string
	More     bool
	Scans    bool         // something looks at what is taken out
	Take     string       // what was to be taken and did not leave; empty: nothing was
	Hosts    []asset.Host // that may get the data
	Others   []restore.Snapshot

	Source    job.Source  // what the snapshot is of, where its policy says it
	Incidents [][2]string // id and title of those that a restore can belong to
}

// CompareData is the difference of two snapshots.
type CompareData struct {
	Pages    []string
	Where    restore.Where
	From, To restore.Snapshot
	Path     string
	Diff     restore.Difference
}

// RestoreData is one request.
type RestoreData struct {
	Pages    []string
	Request  restore.Request
	Far      job.Progress
	Versions []restore.Request
	May      bool // the viewer has the right to restore at its site
}

// restoreSteps are the steps of the wizard, in order.
func restoreSteps() []string {
	return []string{"machine", "snapshot", "what", "approve", "progress", "release"}
}

// stepOf is at which step of the wizard a request is.
func stepOf(r restore.Request) string {
	switch r.State {
	case restore.AskedFor, restore.Held:
		return "approve"
	case restore.Scanning, restore.Ordered, restore.Running:
		return "progress"
	}
	return "release"
}

func restoreProgress(s restore.State) string {
	switch s {
	case restore.Released:
		return "done"
	case restore.Refused, restore.Failure, restore.Held:
		return "failed"
	case restore.AskedFor:
		return "waiting"
	}
	return "working"
}

// machinePath is the page of a machine's snapshots.
func machinePath(agent string) string { return "/protect/restore/machines/" + url.PathEscape(agent) }

// inSnapshot is an address inside a snapshot: of a folder, file or search.
func inSnapshot(w restore.Where, what, at string, more ...string) string {
	q := url.Values{"path": {at}}
	if !w.AsOf.IsZero() {
		q.Set("asof", w.AsOf.UTC().Format(time.RFC3339))
	}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return machinePath(w.Agent) + "/" + w.Snapshot + what + "?" + q.Encode()
}

// crumb is one folder on the way to where the viewer is.
type crumb struct{ name, path string }

func crumbs(at string) []crumb {
	all := []crumb{{"/", "/"}}
	if at == "/" {
		return all
	}
	whole := ""
	for segment := range strings.SplitSeq(strings.Trim(at, "/"), "/") {
		whole += "/" + segment
		all = append(all, crumb{strings.ToValidUTF8(segment, "\uFFFD"), whole})
	}
	return all
}

// shown is a path as text.
func shown(at string) string { return strings.ToValidUTF8(at, "\uFFFD") }

func entryMark(kind string) string {
	switch kind {
	case "dir":
		return "▸"
	case "symlink":
		return "→"
	case "file":
		return "·"
	}
	return "×"
}

// takeable says whether an entry can be chosen for a restore by its name.
func takeable(e restore.Entry) bool { return e.Path == shown(e.Path) }

// takes are what can be taken from a folder, the folder itself last.
func takes(d BrowseData) []string {
	var out []string
	for _, e := range d.List.Items {
		if e.Type == "file" || e.Type == "dir" {
			out = append(out, e.Path)
		}
	}
	if out = append(out, d.Path); d.Take != "" && !slices.Contains(out, d.Take) { // further down a long list
		out = append(out, d.Take)
	}
	return out
}

// scanText is what the scan says in one line.
func scanText(p Page, s restore.Scan) string {
	switch {
	case s.At.IsZero():
		return p.T("protect.restore.scan.none")
	case !s.Scanner:
		return p.T("protect.restore.scan.nobody")
	case s.Unread != "":
		return p.T("protect.restore.scan.broken")
	case s.Finds == 0 && s.Skips > 0:
		return p.T("protect.restore.scan.rest", "files", p.Count(s.Files-s.Skips))
	case s.Finds > 0:
		return p.T("protect.restore.scan.found", "count", p.Count(s.Finds), "files", p.Count(s.Files))
	}
	return p.T("protect.restore.scan.clean", "files", p.Count(s.Files), "bytes", i18n.Bytes(s.Bytes))
}

// targetText is where the data goes, in a sentence.
func targetText(p Page, r restore.Request) string {
	if r.Target == "/" {
		return p.T("protect.restore.target.original", "host", p.Host(r.Host))
	}
	return p.T("protect.restore.target.folder", "host", p.Host(r.Host), "folder", r.Target)
}

// restoreEnd says why a restore was refused, stopped or failed, in the reader's
// language where the hub knows it.
func restoreEnd(p Page, r restore.Request) string {
	switch back := r.Result.Restore; {
	case r.State != restore.Failure || r.EndedBy != "":
		return r.Why
	case back != nil && back.Wrong > 0:
		return p.T("protect.restore.failed.wrong", "count", p.Count(int(back.Wrong)))
	case r.Result.State.Ended() && r.Result.State != job.OK:
		return p.T("protect.restore.failed."+string(r.Result.State)) + " " + r.Result.Error
	}
	return r.Why
}

// restoreGoes says whether something happens by itself.
func restoreGoes(s restore.State) bool {
	return s == restore.Scanning || s == restore.Ordered || s == restore.Running
}

// restoreShare is how much of a step is done, in percent; -1 where it is not
// known.
func restoreShare(p job.Progress) int {
	if p.TotalBytes <= 0 {
		return -1
	}
	return int(min(100, 100*p.Bytes/p.TotalBytes))
}

// restoreRate is how quick it is, and how long it still takes.
func restoreRate(p Page, far job.Progress) string {
	rate, left := far.Rate()
	switch {
	case rate <= 0:
		return ""
	case left <= 0:
		return p.T("protect.restore.rate", "rate", i18n.Bytes(int64(rate)))
	}
	return p.T("protect.restore.rate.left", "rate", i18n.Bytes(int64(rate)), "done", i18n.Bytes(far.Bytes), "all", i18n.Bytes(far.TotalBytes), "left", p.Span(left))
}

// differMark says at once whether something is lost.
func differMark(what job.Difference) string {
	switch what {
	case job.OtherMode, job.OtherOwner, job.OtherTime:
		return "▲"
	}
	return "◆"
}

// everies are how many files are compared by their content.
func everies() []int { return []int{1, 10, 100} }

func everyText(p Page, n int) string {
	if n <= 1 {
		return p.T("protect.restore.every.all")
	}
	return p.T("protect.restore.every.n", "n", p.Count(n))
}

// loadable is what a database server can make of a snapshot: it holds one stream
// of a source of PostgreSQL, whose name says which.
func loadable(all []restore.Entry) (kind job.SourceKind, name string) {
	if len(all) != 1 || all[0].Type != "file" || !takeable(all[0]) {
		return "", ""
	}
	switch at := all[0].Path; {
	case path.Dir(at) != "/":
		return "", ""
	case strings.HasSuffix(at, ".base.tar"):
		return job.PostgreSQLBase, at
	case strings.HasSuffix(at, ".dump"):
		return job.PostgreSQL, at
	}
	return "", ""
}

// besidePort is the port of a server that is started beside the one that is there.
const besidePort = "5433"

// version is what an agent may call the version of PostgreSQL: it becomes part of a
// command that people copy.
var version = regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,3})?$`)

// besideOptions keep it apart: no network, and nothing into an archive that is
// another's. Who recovers without hot_standby does not wait but stops.
const besideOptions = "-p " + besidePort + " -c listen_addresses= -c archive_mode=off -c hot_standby=on"

// startCommand starts a server on a cluster that was led to a moment; empty where
// there is none. It is made of what was asked for: what a machine says is not run.
func startCommand(r restore.Request) string {
	back := r.Result.Restore
	if r.WAL() == nil || back == nil || back.Moment.IsZero() || !version.MatchString(back.Server) || r.State == restore.Failure {
		return ""
	}
	dir := quoted(strings.TrimRight(r.Target, "/") + ".cluster")
	return asServer(r) + " /usr/lib/postgresql/" + back.Server + "/bin/pg_ctl start -t 86400 -D " + dir + " -l " + dir + "/recovery.log -o '" + besideOptions + "'"
}

// askCommand asks the server that startCommand starts.
func askCommand(r restore.Request, query string) string {
	return asServer(r) + " psql -p " + besidePort + " -d postgres -c " + quoted(query)
}

func asServer(r restore.Request) string { return "sudo -u " + cmp.Or(r.Load.User, "postgres") }

// quoted is a text as one word of a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// portText is a port in a form.
func portText(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// changePath shows what a difference is about.
func changePath(c restore.Change) string { return shown(c.Path) }

func above(at string) string { return path.Dir(at) }
