package ui

import (
	"cmp"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restore"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ui/view"
)

// Sizes of lists on the pages.
const (
	restoreSnapshotsShown = 50
	restoreNames          = 200
)

func (c *call) restores() (screen, error) {
	d := view.RestoresData{Pages: protectPages(), May: c.may(auth.ProtectRestore, auth.Resource{Kind: "protect", Site: c.who.Site})}
	all, err := c.Restores.Requests(c.ctx())
	if err != nil {
		return screen{}, err
	}
	d.Requests = slices.DeleteFunc(slices.Clone(all), func(r restore.Request) bool { return !c.copySite(r.Site) })
	if d.May {
		if d.Agents, err = c.Restores.Agents(c.ctx(), c.who.Site); err != nil {
			return screen{}, err
		}
	}
	p := c.page("protect", c.t("protect.restore.title"))
	return screen{page: p, body: view.Restores(p, d)}, nil
}

// restoreAsOf reads the time as of which a backup is looked at: one that a link
// carries, or one that a person typed.
func (c *call) restoreAsOf(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(form, text, clock.Tokyo()); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errMissing
}

func (c *call) restoreSnapshots() (screen, error) {
	asOf, err := c.restoreAsOf(c.query("asof"))
	if err != nil {
		return screen{}, err
	}
	d := view.SnapshotsData{Pages: protectPages(), Agent: c.id(), AsOf: asOf, After: c.query("after")}
	if d.List, err = c.Restores.Snapshots(c.ctx(), c.id(), asOf, d.After, restoreSnapshotsShown); err != nil {
		return screen{}, err
	}
	if d.Points, err = c.Restores.Points(c.ctx(), c.id()); err != nil {
		return screen{}, err
	}
	if d.Classes, err = c.classNames(); err != nil {
		return screen{}, err
	}
	d.Clean = slices.ContainsFunc(d.List.Items, func(s restore.Snapshot) bool { return s.Clean || s.Later })
	p := c.page("protect", c.t("protect.restore.of", "host", c.hostName(c.id())))
	return screen{page: p, body: view.RestoreSnapshots(p, d)}, nil
}

// restoreWhere is the snapshot of the address.
func (c *call) restoreWhere() (restore.Where, error) {
	text := c.query("asof")
	if text == "" {
		text = c.form("asof")
	}
	at, err := c.restoreAsOf(text)
	return restore.Where{Agent: c.id(), Snapshot: c.r.PathValue("snapshot"), AsOf: at}, err
}

// restoreBrowse shows a folder of a snapshot. Names in it may be personal data: who
// looks is recorded.
func (c *call) restoreBrowse() (screen, error) {
	w, err := c.restoreWhere()
	if err != nil {
		return screen{}, err
	}
	d := view.BrowseData{Pages: protectPages(), Where: w, Path: c.query("path"), Search: strings.TrimSpace(c.query("name")), Scans: c.Restores.Scans()}
	if c.err != nil {
		if err := c.refusedIn(&d); err != nil {
			return screen{}, err
		}
	}
	if d.Path == "" {
		d.Path = "/"
	}
	d.Path = path.Clean("/" + d.Path)
	if d.Snapshot, err = c.Restores.Snapshot(c.ctx(), w); err != nil {
		return screen{}, err
	}
	c.People.Viewed(c.ctx(), c.who, "backup", w.Agent)
	if d.Search != "" {
		d.List.Items, d.More, err = c.Restores.Search(c.ctx(), w, d.Path, d.Search, restoreNames)
	} else {
		d.List, err = c.Restores.Folder(c.ctx(), w, d.Path, c.query("after"), restoreNames)
	}
	if err != nil {
		return screen{}, err
	}
	others, err := c.Restores.Snapshots(c.ctx(), w.Agent, w.AsOf, "", restoreSnapshotsShown)
	if err != nil {
		return screen{}, err
	}
	d.Others = slices.DeleteFunc(slices.Clone(others.Items), func(s restore.Snapshot) bool { return s.ID == w.Snapshot })
	if d.Hosts, err = c.restoreHosts(); err != nil {
		return screen{}, err
	}
	if d.Incidents, err = c.writableIncidents(); err != nil {
		return screen{}, err
	}
	if d.Source, err = c.sourceOf(d.Snapshot); err != nil {
		return screen{}, err
	}
	p := c.page("protect", c.t("protect.restore.at", "host", c.hostName(w.Agent), "time", d.Snapshot.Time.In(clock.Tokyo()).Format("2006-01-02 15:04")))
	return screen{page: p, body: view.RestoreBrowse(p, d)}, nil
}

// refusedIn finds the folder that a refused form was on, and what was to be taken:
// a file that the scan stopped is shown where it lies.
func (c *call) refusedIn(d *view.BrowseData) error {
	if c.r.Method == http.MethodGet {
		d.Take = path.Clean("/" + c.query("path"))
		if d.Path = d.Take; c.query("format") == "" {
			d.Path = path.Dir(d.Take)
		}
		return nil
	}
	var err, bad error
	d.Path, err = url.QueryUnescape(c.form("at"))
	if d.Take, bad = url.QueryUnescape(c.form("take")); err != nil || bad != nil {
		return errMissing
	}
	return nil
}

// sourceOf is what a snapshot is of, as its policy says; the zero value where
// there is no such policy any more.
func (c *call) sourceOf(s restore.Snapshot) (job.Source, error) {
	tags := map[string]string{}
	for _, t := range s.Tags {
		k, v, _ := strings.Cut(t, ":")
		tags[k] = v
	}
	if tags["policy"] == "" || tags["source"] == "" {
		return job.Source{}, nil
	}
	p, err := c.BackupPolicies.Policy(c.ctx(), tags["policy"])
	if fault.Of(err) == fault.Missing {
		return job.Source{}, nil
	}
	if i := slices.IndexFunc(p.Sources, func(s job.Source) bool { return s.Name == tags["source"] }); i >= 0 {
		return p.Sources[i], err
	}
	return job.Source{}, err
}

// restoreHosts are the machines that may get data.
func (c *call) restoreHosts() ([]asset.Host, error) {
	all, _, err := c.Assets.Hosts(c.ctx(), asset.Filter{Site: c.who.Site, Limit: 1000})
	if err != nil {
		return nil, fmt.Errorf("list machines: %w", err)
	}
	return slices.DeleteFunc(all, func(h asset.Host) bool {
		return h.Drill || !c.may(auth.ProtectRestore, auth.Resource{Kind: "protect", ID: h.ID, Site: h.Site})
	}), nil
}

func (c *call) compareSnapshots() (screen, error) {
	w, err := c.restoreWhere()
	if err != nil {
		return screen{}, err
	}
	d := view.CompareData{Pages: protectPages(), Where: w, Path: path.Clean("/" + c.query("path"))}
	with := restore.Where{Agent: w.Agent, Snapshot: c.query("with"), AsOf: w.AsOf}
	if d.From, err = c.Restores.Snapshot(c.ctx(), w); err != nil {
		return screen{}, err
	}
	if d.To, err = c.Restores.Snapshot(c.ctx(), with); err != nil {
		return screen{}, err
	}
	from := w
	if d.To.Time.Before(d.From.Time) { // the older one is the left one
		d.From, d.To, from, with = d.To, d.From, with, w
	}
	c.People.Viewed(c.ctx(), c.who, "backup", w.Agent)
	if d.Diff, err = c.Restores.Compare(c.ctx(), from, with.Snapshot, d.Path, 500); err != nil {
		return screen{}, err
	}
	p := c.page("protect", c.t("protect.restore.compare.title", "host", c.hostName(w.Agent)))
	return screen{page: p, body: view.RestoreCompare(p, d)}, nil
}

// restoreAttachment names what is downloaded.
func (c *call) restoreAttachment(kind, name string) {
	c.w.Header().Set("Content-Type", kind)
	c.w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": strings.ToValidUTF8(name, "_")}))
}

// restoreFile hands out one file, once it was looked at; who takes it is recorded.
func (c *call) restoreFile() (bool, error) {
	t, err := c.taking(c.query("path"), "")
	if err != nil {
		return false, err
	}
	c.People.Viewed(c.ctx(), c.who, "backup-file", t.Agent)
	out := &lateWriter{c: c, header: func() { c.restoreAttachment("application/octet-stream", path.Base(t.Path)) }}
	err = out.end(c.Restores.Download(c.ctx(), t, func(restore.Entry) {}, out))
	return err == nil || out.wrote, err
}

// restoreArchive hands out a folder, no file of it before it was looked at; who
// takes it is recorded.
func (c *call) restoreArchive() (bool, error) {
	return c.takeFolder(c.query("path"), restore.Format(c.query("format")), "")
}

// takeDespite hands out what a scan would stop, or nobody looked at, for the
// reason that a person gives; packed, so that nobody opens it by a click.
func (c *call) takeDespite() (bool, error) {
	at, err := url.QueryUnescape(c.form("take"))
	if err != nil {
		return false, errMissing
	}
	why := c.form("despite")
	if why == "" {
		return false, fault.New(fault.Invalid, "protect.restore.reason")
	}
	return c.takeFolder(at, restore.Format(c.form("format")), why)
}

func (c *call) taking(at, despite string) (restore.Taking, error) {
	w, err := c.restoreWhere()
	return restore.Taking{Where: w, Path: path.Clean("/" + at), By: c.who, Despite: despite}, err
}

func (c *call) takeFolder(at string, format restore.Format, despite string) (bool, error) {
	t, err := c.taking(at, despite)
	if err != nil {
		return false, err
	}
	name := path.Base(t.Path)
	if t.Path == "/" {
		name = c.hostName(t.Agent)
	}
	kind := map[restore.Format]string{restore.Zip: "application/zip", restore.TarZst: "application/zstd"}[format]
	c.People.Viewed(c.ctx(), c.who, "backup-file", t.Agent)
	out := &lateWriter{c: c, header: func() { c.restoreAttachment(kind, name+"."+string(format)) }}
	err = out.end(c.Restores.Archive(c.ctx(), t, format, func() {}, out))
	return err == nil || out.wrote, err
}

func (c *call) askRestore() (string, error) {
	w, err := c.restoreWhere()
	if err != nil {
		return "", err
	}
	from, err := c.Assets.Host(c.ctx(), w.Agent)
	if err != nil {
		return "", err
	}
	to := from
	if id := c.form("host"); id != "" && id != from.ID {
		if to, err = c.Assets.Host(c.ctx(), id); err != nil {
			return "", err
		}
	}
	if err := c.must(auth.ProtectRestore, auth.Resource{Kind: "protect", ID: to.ID, Site: to.Site}); err != nil {
		return "", err
	}
	in, err := c.restoreIncident(c.form("incident"))
	if err != nil {
		return "", err
	}
	load, err := c.loading()
	if err != nil {
		return "", err
	}
	every, _ := strconv.Atoi(c.form("every")) // none: all
	bound, err := strconv.Atoi(cmp.Or(c.form("download"), "0"))
	if err != nil {
		return "", fault.New(fault.Invalid, "protect.restore.download")
	}
	r, err := c.Restores.Ask(c.ctx(), restore.NewRequest{Site: from.Site, Incident: in, From: w, Paths: c.restorePaths(), Host: to.ID, Target: c.form("target"),
		Over: c.form("over") != "", Every: every, Load: load, Download: bound, Reason: c.form("reason")}, c.who)
	return done("/protect/restore/requests/"+url.PathEscape(r.ID)+"?done=restore-asked", err)
}

// restorePaths are what a person marked; a stream that is loaded need not be.
func (c *call) restorePaths() []string {
	if c.loadKind() != "" {
		return []string{c.form("stream")}
	}
	return slices.Clone(c.r.PostForm["paths"])
}

// loadKind is the kind of stream that a database server is to load; empty: none is.
// Who gives a moment means it, with or without a mark.
func (c *call) loadKind() job.SourceKind {
	if c.form("moment") != "" {
		return job.PostgreSQLBase
	}
	return job.SourceKind(c.form("load"))
}

// loading is what a database server is to make of a stream, if the form says so.
func (c *call) loading() (*job.Loading, error) {
	kind := c.loadKind()
	if kind == "" {
		return nil, nil
	}
	port, _ := strconv.Atoi(c.form("port")) // none: the usual one
	l := &job.Loading{Kind: kind, Server: c.form("server"), Port: port, User: c.form("user")}
	if kind == job.PostgreSQL {
		l.Database = c.form("database")
	}
	var err error
	if l.Moment, err = c.restoreAsOf(c.form("moment")); err != nil {
		return nil, fault.New(fault.Invalid, "protect.restore.moment-form")
	}
	if folder := c.form("wal"); folder != "" && !l.Moment.IsZero() {
		l.WAL = &job.WAL{Path: folder}
	}
	return l, nil
}

// restoreIncident is the incident that a restore belongs to, if any; its
// chronology will tell of it.
func (c *call) restoreIncident(id string) (string, error) {
	if id == "" {
		return "", nil
	}
	i, err := c.Incidents.Get(c.ctx(), id)
	if err != nil {
		return "", err
	}
	return i.ID, c.must(auth.Handle, auth.Resource{Kind: "incident", ID: i.ID, Site: auth.Among(c.who, i.Scope.Sites)})
}

// restoreRequest looks up the restore of the address, and asks for a right at its
// site.
func (c *call) restoreRequest(v auth.Verb) (restore.Request, error) {
	r, err := c.Restores.Request(c.ctx(), c.r.PathValue("request"))
	if err != nil {
		return r, err
	}
	return r, c.must(v, auth.Resource{Kind: "protect", ID: r.ID, Site: r.Site, RequestedBy: r.AskedBy})
}

func (c *call) restore() (screen, error) {
	r, err := c.restoreRequest(auth.ProtectSee)
	if err != nil {
		return screen{}, err
	}
	d := view.RestoreData{Pages: protectPages(), Request: r, May: c.may(auth.ProtectDecide, auth.Resource{Kind: "protect", ID: r.ID, Site: r.Site})}
	if d.Far, err = c.Restores.Far(c.ctx(), r.ID); err != nil {
		return screen{}, err
	}
	if d.Versions, err = c.Restores.Versions(c.ctx(), r.ID); err != nil {
		return screen{}, err
	}
	p := c.page("protect", c.t("protect.restore.one", "host", c.hostName(r.From.Agent)))
	return screen{page: p, body: view.Restore(p, d)}, nil
}

func (c *call) stepRestore() (string, error) {
	r, err := c.restoreRequest(auth.ProtectDecide)
	if err != nil {
		return "", err
	}
	why := c.form("reason")
	switch c.r.PathValue("step") {
	case "approve":
		_, err = c.Restores.Approve(c.ctx(), r.ID, c.who)
	case "refuse":
		_, err = c.Restores.Refuse(c.ctx(), r.ID, why, c.who)
	case "pass":
		_, err = c.Restores.Pass(c.ctx(), r.ID, why, c.who)
	case "release":
		_, err = c.Restores.Release(c.ctx(), r.ID, c.who)
	case "stop":
		_, err = c.Restores.Stop(c.ctx(), r.ID, why, c.who)
	default:
		return "", errMissing
	}
	return done("/protect/restore/requests/"+url.PathEscape(r.ID)+"?done=saved", err)
}
