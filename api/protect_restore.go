package api

import (
	"context"
	"io"
	"mime"
	"net/http"
	"path"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/protect/anomaly"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restore"
)

// Restores is what the operations need from protect/restore.
type Restores interface {
	Agents(ctx context.Context, site string) ([]string, error)
	Snapshots(ctx context.Context, agent string, asOf time.Time, after string, limit int) (restore.Page[restore.Snapshot], error)
	Snapshot(ctx context.Context, w restore.Where) (restore.Snapshot, error)
	Folder(ctx context.Context, w restore.Where, at, after string, limit int) (restore.Page[restore.Entry], error)
	Entry(ctx context.Context, w restore.Where, at string) (restore.Entry, error)
	Search(ctx context.Context, w restore.Where, at, part string, limit int) ([]restore.Entry, bool, error)
	Compare(ctx context.Context, w restore.Where, with, at string, limit int) (restore.Difference, error)
	Download(ctx context.Context, t restore.Taking, begin func(restore.Entry), out io.Writer) error
	Archive(ctx context.Context, t restore.Taking, format restore.Format, begin func(), out io.Writer) error
	Ask(ctx context.Context, n restore.NewRequest, by auth.Person) (restore.Request, error)
	Points(ctx context.Context, agent string) ([]anomaly.Point, error)
	Request(ctx context.Context, id string) (restore.Request, error)
	Requests(ctx context.Context) ([]restore.Request, error)
	Far(ctx context.Context, id string) (job.Progress, error)
	Approve(ctx context.Context, id string, by auth.Person) (restore.Request, error)
	Refuse(ctx context.Context, id, why string, by auth.Person) (restore.Request, error)
	Pass(ctx context.Context, id, why string, by auth.Person) (restore.Request, error)
	Release(ctx context.Context, id string, by auth.Person) (restore.Request, error)
	Stop(ctx context.Context, id, why string, by auth.Person) (restore.Request, error)
}

// RestoreSnapshots is a part of the snapshots of a machine, the newest first.
type RestoreSnapshots struct {
	Items []restore.Snapshot `json:"items"`
	Next  string             `json:"next,omitempty" doc:"after of the next part; absent: this was the last"`
}

// RestoreEntries is a part of a folder, or what a search found.
type RestoreEntries struct {
	Items []restore.Entry `json:"items"`
	Next  string          `json:"next,omitempty" doc:"after of the next part; absent: this was the last"`
	More  bool            `json:"more,omitempty" doc:"search: there are more than are listed"`
}

// RestoreIn asks for a restore.
type RestoreIn struct {
	Agent    string       `json:"agent" minLength:"1" maxLength:"100" doc:"host id of the machine whose backup it is"`
	Snapshot string       `json:"snapshot" minLength:"64" maxLength:"64"`
	AsOf     time.Time    `json:"as_of,omitempty" doc:"the repository as it was then; now when absent"`
	Paths    []string     `json:"paths,omitempty" maxItems:"500" nullable:"false" doc:"all of the snapshot when absent"`
	Host     string       `json:"host,omitempty" maxLength:"100" doc:"host id of the machine that gets it; the same when absent"`
	Target   string       `json:"target,omitempty" maxLength:"1000" doc:"absolute folder; where everything was when absent"`
	Over     bool         `json:"over,omitempty" doc:"replace files that differ"`
	Every    int          `json:"every,omitempty" minimum:"0" maximum:"1000" doc:"compare the content of every n-th file only; of all when absent"`
	Download int          `json:"download,omitempty" minimum:"0" maximum:"1073741824" doc:"KiB a second that the machine takes of the line; no bound when absent"`
	Incident string       `json:"incident,omitempty" maxLength:"100"`
	Reason   string       `json:"reason" minLength:"1" maxLength:"1000"`
	Load     *RestoreLoad `json:"load,omitempty" doc:"what a database server makes of the one file that is brought back"`
}

// RestoreLoad makes a new database of a dump, or a folder of a base backup that
// PostgreSQL has checked. Nothing that is there is changed.
type RestoreLoad struct {
	Kind     string    `json:"kind" enum:"postgresql,postgresql-base"`
	Database string    `json:"database,omitempty" maxLength:"60" doc:"of a dump: name of the new database"`
	Server   string    `json:"server,omitempty" maxLength:"255" doc:"folder of its socket, or its address; the machine's own when absent"`
	Port     int       `json:"port,omitempty" minimum:"0" maximum:"65535"`
	User     string    `json:"user,omitempty" maxLength:"32" doc:"account of the system; postgres when absent"`
	Moment   time.Time `json:"moment,omitempty" doc:"of a base backup: back to it, by the gathered WAL that leads there; when the base backup was made when absent"`
	WAL      string    `json:"wal,omitempty" maxLength:"1000" doc:"with a moment: the folder of WAL, where the machine has those of several servers"`
}

func (l *RestoreLoad) loading() *job.Loading {
	if l == nil {
		return nil
	}
	out := &job.Loading{Kind: job.SourceKind(l.Kind), Database: l.Database, Server: l.Server, Port: l.Port, User: l.User, Moment: l.Moment}
	if l.WAL != "" {
		out.WAL = &job.WAL{Path: l.WAL}
	}
	return out
}

// RestoreLine is a request and how far it is.
type RestoreLine struct {
	restore.Request
	Progress    job.Progress `json:"progress"`
	Rate        float64      `json:"rate,omitempty" doc:"bytes per second in this step"`
	SecondsLeft float64      `json:"seconds_left,omitempty" doc:"of this step, at this rate"`
}

type restoreAgents struct {
	Site string `query:"site" maxLength:"32"`
}

// RestoreWhere names a snapshot. (Exported like Paging.)
type RestoreWhere struct {
	ByID
	Snapshot string    `path:"snapshot" maxLength:"64"`
	AsOf     time.Time `query:"as_of" doc:"the repository as it was then; now when absent"`
	Path     string    `query:"path" maxLength:"16000" default:"/"`
}

func (w RestoreWhere) where() restore.Where {
	return restore.Where{Agent: w.ID, Snapshot: w.Snapshot, AsOf: w.AsOf}
}

type restoreSnapshotList struct {
	ByID
	AsOf  time.Time `query:"as_of"`
	After string    `query:"after" maxLength:"64"`
	Limit int       `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type restoreFolder struct {
	RestoreWhere
	After string `query:"after" maxLength:"4096"`
	Limit int    `query:"limit" minimum:"1" maximum:"500" default:"200"`
}

type restoreSearch struct {
	RestoreWhere
	Name  string `query:"name" required:"true" minLength:"1" maxLength:"255"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
}

type restoreDiff struct {
	RestoreWhere
	With  string `query:"with" required:"true" minLength:"64" maxLength:"64"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"500"`
}

// RestoreTake names what is taken out. (Exported like Paging.)
type RestoreTake struct {
	RestoreWhere
	Despite string `query:"despite" maxLength:"1000" doc:"why it is taken whatever a scan would find, such as for evidence; recorded. Absent: only what was looked at leaves"`
}

func (t RestoreTake) taking(who auth.Person) restore.Taking {
	return restore.Taking{Where: t.where(), Path: t.Path, By: who, Despite: t.Despite}
}

type restoreArchive struct {
	RestoreTake
	Format string `query:"format" enum:"tar.zst,zip" default:"tar.zst"`
}

// agentRule is a right at the site of a machine.
func agentRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, "protect", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		h, err := s.Assets.Host(ctx, (*in).of())
		return auth.Resource{ID: h.ID, Site: h.Site}, err
	})
}

// restoreRule is a right to a request that exists.
func restoreRule[I identified](s *server, v auth.Verb) rule[I] {
	return one(v, "protect", func(ctx context.Context, _ auth.Person, in *I) (auth.Resource, error) {
		r, err := s.Restores.Request(ctx, (*in).of())
		return auth.Resource{ID: r.ID, Site: r.Site, RequestedBy: r.AskedBy}, err
	})
}

func (s *server) restoreOperations() {
	register(s, operation{"list-restore-agents", http.MethodGet, "/protect/restore/agents", "Machines whose backups can be looked into", 0},
		one(auth.ProtectRestore, "protect", func(_ context.Context, who auth.Person, in *restoreAgents) (auth.Resource, error) {
			return auth.Resource{Site: siteOr(in.Site, who)}, nil
		}),
		func(ctx context.Context, who auth.Person, in *restoreAgents) (*body[page[string]], error) {
			all, err := s.Restores.Agents(ctx, siteOr(in.Site, who))
			return paged(all, len(all)), err
		})
	register(s, operation{"list-restore-snapshots", http.MethodGet, "/protect/restore/agents/{id}/snapshots", "Snapshots of a machine, newest first", 0}, agentRule[restoreSnapshotList](s, auth.ProtectRestore),
		func(ctx context.Context, _ auth.Person, in *restoreSnapshotList) (*body[RestoreSnapshots], error) {
			p, err := s.Restores.Snapshots(ctx, in.ID, in.AsOf, in.After, in.Limit)
			return &body[RestoreSnapshots]{RestoreSnapshots{p.Items, p.Next}}, err
		})
	register(s, operation{"list-restore-points", http.MethodGet, "/protect/restore/agents/{id}/points", "From which snapshots a machine should be restored, where there was damage", 0}, agentRule[ByID](s, auth.ProtectRestore),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[anomaly.Point]], error) {
			all, err := s.Restores.Points(ctx, in.ID)
			return paged(all, len(all)), err
		})
	const at = "/protect/restore/agents/{id}/snapshots/{snapshot}"
	register(s, operation{"list-restore-folder", http.MethodGet, at + "/folder", "A folder of a snapshot by name; who looks is recorded", 0}, agentRule[restoreFolder](s, auth.ProtectRestore),
		func(ctx context.Context, who auth.Person, in *restoreFolder) (*body[RestoreEntries], error) {
			s.People.Viewed(ctx, who, "backup", in.ID)
			p, err := s.Restores.Folder(ctx, in.where(), in.Path, in.After, in.Limit)
			return &body[RestoreEntries]{RestoreEntries{Items: p.Items, Next: p.Next}}, err
		})
	register(s, operation{"search-restore-names", http.MethodGet, at + "/search", "Files and folders by a part of their names; who looks is recorded", 0}, agentRule[restoreSearch](s, auth.ProtectRestore),
		func(ctx context.Context, who auth.Person, in *restoreSearch) (*body[RestoreEntries], error) {
			s.People.Viewed(ctx, who, "backup", in.ID)
			found, more, err := s.Restores.Search(ctx, in.where(), in.Path, in.Name, in.Limit)
			return &body[RestoreEntries]{RestoreEntries{Items: found, More: more}}, err
		})
	register(s, operation{"compare-restore-snapshots", http.MethodGet, at + "/diff", "What changed from a snapshot to another; who looks is recorded", 0}, agentRule[restoreDiff](s, auth.ProtectRestore),
		func(ctx context.Context, who auth.Person, in *restoreDiff) (*body[restore.Difference], error) {
			s.People.Viewed(ctx, who, "backup", in.ID)
			d, err := s.Restores.Compare(ctx, in.where(), in.With, in.Path, in.Limit)
			return &body[restore.Difference]{d}, err
		})
	register(s, operation{"get-restore-file", http.MethodGet, at + "/file", "The content of one file, once it was looked at; who takes it is recorded", 0}, agentRule[RestoreTake](s, auth.ProtectRestore),
		func(_ context.Context, who auth.Person, in *RestoreTake) (*huma.StreamResponse, error) {
			return s.stream(download(path.Base(in.Path), "application/octet-stream"), func(ctx context.Context, w io.Writer) error {
				s.People.Viewed(ctx, who, "backup-file", in.ID)
				return s.Restores.Download(ctx, in.taking(who), func(restore.Entry) {}, w)
			}), nil
		})
	register(s, operation{"get-restore-archive", http.MethodGet, at + "/archive", "A folder as one stream, no file before it was looked at; who takes it is recorded", 0}, agentRule[restoreArchive](s, auth.ProtectRestore),
		func(_ context.Context, who auth.Person, in *restoreArchive) (*huma.StreamResponse, error) {
			kind := map[string]string{"zip": "application/zip", "tar.zst": "application/zstd"}[in.Format]
			return s.stream(download(path.Base(in.Path)+"."+in.Format, kind), func(ctx context.Context, w io.Writer) error {
				s.People.Viewed(ctx, who, "backup-file", in.ID)
				return s.Restores.Archive(ctx, in.taking(who), restore.Format(in.Format), func() {}, w)
			}), nil
		})
	s.requestOperations()
}

func download(name, kind string) http.Header {
	return http.Header{"Content-Type": {kind}, "Content-Disposition": {mime.FormatMediaType("attachment", map[string]string{"filename": name})}}
}

func (s *server) requestOperations() {
	register(s, operation{"list-restores", http.MethodGet, "/protect/restores", "Restores that were asked for, newest first", 0},
		one(auth.ProtectSee, "protect", func(_ context.Context, who auth.Person, in *restoreAgents) (auth.Resource, error) {
			return auth.Resource{Site: siteOr(in.Site, who)}, nil
		}),
		func(ctx context.Context, who auth.Person, in *restoreAgents) (*body[page[restore.Request]], error) {
			all, err := s.Restores.Requests(ctx)
			var out []restore.Request
			for _, r := range all {
				if site := siteOr(in.Site, who); site == "" || r.Site == site {
					out = append(out, r)
				}
			}
			return paged(out, len(out)), err
		})
	register(s, operation{"get-restore", http.MethodGet, "/protect/restores/{id}", "One restore, and how far it is", 0}, restoreRule[ByID](s, auth.ProtectSee),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[RestoreLine], error) {
			r, err := s.Restores.Request(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			far, err := s.Restores.Far(ctx, in.ID)
			rate, left := far.Rate()
			return &body[RestoreLine]{RestoreLine{r, far, rate, left.Seconds()}}, err
		})
	register(s, operation{"ask-restore", http.MethodPost, "/protect/restores", "Ask for a restore; a second person approves it", http.StatusCreated},
		rule[body[RestoreIn]]{auth.ProtectRestore, "protect", s.restoredHosts},
		func(ctx context.Context, who auth.Person, in *body[RestoreIn]) (*body[restore.Request], error) {
			b := in.Body
			h, err := s.Assets.Host(ctx, b.Agent)
			if err != nil {
				return nil, err
			}
			r, err := s.Restores.Ask(ctx, restore.NewRequest{Site: h.Site, Incident: b.Incident, From: restore.Where{Agent: b.Agent, Snapshot: b.Snapshot, AsOf: b.AsOf},
				Paths: b.Paths, Host: b.Host, Target: b.Target, Over: b.Over, Every: b.Every, Load: b.Load.loading(), Download: b.Download, Reason: b.Reason}, who)
			return &body[restore.Request]{r}, err
		})
	step := func(id, name, summary string, do func(r Restores, ctx context.Context, id string, by auth.Person) (restore.Request, error)) {
		register(s, operation{id, http.MethodPost, "/protect/restores/{id}/" + name, summary, 0}, restoreRule[ByID](s, auth.ProtectDecide),
			func(ctx context.Context, who auth.Person, in *ByID) (*body[restore.Request], error) {
				r, err := do(s.Restores, ctx, in.ID, who)
				return &body[restore.Request]{r}, err
			})
	}
	step("approve-restore", "approve", "Approve a restore that somebody else asked for", Restores.Approve)
	step("release-restore", "release", "Say that what was restored may be used", Restores.Release)
	said := func(id, name, summary string, do func(r Restores, ctx context.Context, id, why string, by auth.Person) (restore.Request, error)) {
		register(s, operation{id, http.MethodPost, "/protect/restores/{id}/" + name, summary, 0}, restoreRule[withBody[Reason]](s, auth.ProtectDecide),
			func(ctx context.Context, who auth.Person, in *withBody[Reason]) (*body[restore.Request], error) {
				r, err := do(s.Restores, ctx, in.ID, in.Body.Reason, who)
				return &body[restore.Request]{r}, err
			})
	}
	said("refuse-restore", "refuse", "Refuse a restore, or take it back", Restores.Refuse)
	said("pass-restore", "pass", "Let a restore through that the scan holds", Restores.Pass)
	said("stop-restore", "stop", "Stop a restore that is ordered or runs", Restores.Stop)
}

// restoredHosts asks for the right at both machines: data of one site must not
// come to another one by this way.
func (s *server) restoredHosts(ctx context.Context, who auth.Person, in *body[RestoreIn]) ([]need, error) {
	var needs []need
	for _, id := range []string{in.Body.Agent, in.Body.Host} {
		if id == "" {
			continue
		}
		h, err := s.Assets.Host(ctx, id)
		if err != nil {
			return nil, err
		}
		needs = append(needs, need{auth.ProtectRestore, auth.Resource{Kind: "protect", ID: h.ID, Site: h.Site}})
	}
	if id := in.Body.Incident; id != "" {
		c, err := s.Incidents.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		needs = append(needs, need{auth.Handle, auth.Resource{Kind: "incident", ID: c.ID, Site: auth.Among(who, c.Scope.Sites)}})
	}
	return needs, nil
}
