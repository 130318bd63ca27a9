package ui

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/protect/anomaly"
	"github.com/sonae/sonae/protect/copy"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restore"
)

// copiesOf keeps places and copies of the hospital and, one, of the contractor.
type copiesOf struct{ *house }

func places() []copy.Place {
	return []copy.Place{
		{ID: "pl-1", Name: `県外の保管先 <b>op</b>`, Site: "hospital", Kind: copy.Lock, Where: copy.Elsewhere, Endpoint: "s3.example:443", Bucket: "sonae-copies", Every: 24, Keep: 90, Reread: 7},
		{ID: "pl-2", Name: "金庫の媒体", Site: "hospital", Kind: copy.Media, Dir: "/media/backup", Reread: 1},
		{ID: "pl-3", Name: "コールセンターの控え", Site: "callcentre", Kind: copy.Folder, Dir: "/mnt/annex", Every: 6, Reread: 30},
	}
}

func results() []copy.Result {
	return []copy.Result{
		{PlaceID: "pl-1", Agent: "ho-2", Began: start.Add(-5 * time.Hour), Ended: start.Add(-4 * time.Hour), At: start.Add(-4 * time.Hour), Files: 120, Bytes: 54_000_000, AllFiles: 3310, AllBytes: 48_000_000_000,
			Snapshots: 41, Newest: start.Add(-6 * time.Hour), ReadAt: start.Add(-4 * time.Hour), Sound: true, Proven: true, LockedUntil: start.Add(91 * 24 * time.Hour)},
		{PlaceID: "pl-2", Agent: "ho-2", MediumID: "md-1", Began: start.Add(-50 * time.Hour), Ended: start.Add(-48 * time.Hour), At: start.Add(-48 * time.Hour), AllBytes: 47_000_000_000, Snapshots: 39, ReadAt: start.Add(-48 * time.Hour), Sound: true},
		{PlaceID: "pl-3", Agent: "ho-1", Began: start.Add(-time.Hour), Ended: start.Add(-time.Hour), At: start.Add(-7 * time.Hour), AllBytes: 1_000_000, Snapshots: 3, ReadAt: start.Add(-7 * time.Hour),
			Problem: copy.Damage, Why: "data/ab/abcd: offset 57: mac", Damages: 2, Repaired: 2},
	}
}

func media() []copy.Medium {
	return []copy.Medium{
		{ID: "md-1", PlaceID: "pl-2", Label: "月曜の盤", State: copy.Handed, WrittenAt: start.Add(-48 * time.Hour), OfflineSince: start.Add(-47 * time.Hour), Seal: "A-1001", Custody: []copy.Step{
			{At: start.Add(-90 * time.Hour), What: copy.Ready, By: "pe-responder"},
			{At: start.Add(-48 * time.Hour), What: copy.Written, By: "sonae"},
			{At: start.Add(-47 * time.Hour), What: copy.Ejected, By: "sonae"},
			{At: start.Add(-46 * time.Hour), What: copy.Handed, From: "情報システム係", To: "総務課 高橋", Seal: "A-1001", Note: "本館の金庫", By: "pe-responder"},
		}},
		{ID: "md-2", PlaceID: "pl-2", Label: "火曜の盤", State: copy.Ready, Custody: []copy.Step{{At: start.Add(-90 * time.Hour), What: copy.Ready, By: "pe-responder"}}},
	}
}

func (c copiesOf) States(context.Context) ([]copy.State, error) {
	var out []copy.State
	for _, r := range results() {
		for _, p := range places() {
			if p.ID == r.PlaceID {
				s := copy.State{Place: p, Result: r}
				if r.MediumID != "" {
					s.Medium = media()[0]
				}
				out = append(out, s)
			}
		}
	}
	return out, nil
}

func (c copiesOf) History(_ context.Context, place, agent string) ([]copy.Result, error) {
	return slices.DeleteFunc(results(), func(r copy.Result) bool { return r.PlaceID != place || r.Agent != agent }), nil
}

func (c copiesOf) Places(context.Context, bool) ([]copy.Place, error) { return places(), nil }

func (c copiesOf) Place(_ context.Context, id string) (copy.Place, error) {
	for _, p := range places() {
		if p.ID == id {
			return p, nil
		}
	}
	return copy.Place{}, fault.New(fault.Missing, "protect.copy.unknown")
}

func (c copiesOf) Save(_ context.Context, p copy.Place, _ blob.Login, _ auth.Person) (copy.Place, error) {
	if p.Name == "" {
		return p, fault.New(fault.Invalid, "protect.copy.field.name")
	}
	c.did("save " + p.Name + " " + fmt.Sprint(p.Every))
	return p, nil
}

// did notes what a form led to.
func (h *house) did(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.purposes = append(h.purposes, what)
}

func (c copiesOf) End(_ context.Context, id string, _ auth.Person) error {
	c.did("end " + id)
	return nil
}

func (c copiesOf) Run(_ context.Context, id, medium string, _ auth.Person) error {
	c.did("run " + id + medium)
	return nil
}

func (c copiesOf) Stop(_ context.Context, id string, _ auth.Person) error {
	c.did("stop " + id)
	return nil
}

func (c copiesOf) Running(context.Context) (map[string]copy.Now, error) {
	return map[string]copy.Now{"pl-1": {PlaceID: "pl-1", Agent: "ho-2", Step: "copy", Files: 30, OfFiles: 120}}, nil
}

func (c copiesOf) Media(context.Context) ([]copy.Medium, error) { return media(), nil }

func (c copiesOf) Medium(_ context.Context, id string) (copy.Medium, error) {
	for _, m := range media() {
		if m.ID == id {
			return m, nil
		}
	}
	return copy.Medium{}, fault.New(fault.Missing, "protect.copy.unknown")
}

func (c copiesOf) AddMedium(_ context.Context, place, label string, _ auth.Person) (copy.Medium, error) {
	c.did("medium " + label)
	return copy.Medium{ID: "md-3", PlaceID: place, Label: label}, nil
}

func (c copiesOf) Move(_ context.Context, id string, s copy.Step, _ auth.Person) error {
	if s.What == copy.Handed && s.Seal == "" {
		return fault.New(fault.Invalid, "protect.copy.field.seal")
	}
	c.did("move " + id + " " + string(s.What))
	return nil
}

// restoresOf keeps the backup of one machine of the hospital and of one of the
// contractor.
type restoresOf struct{ *house }

func snapshotID(i int) string { return strings.Repeat(fmt.Sprintf("%02x", i), 32) }

func snapshots() []restore.Snapshot {
	return []restore.Snapshot{
		{ID: snapshotID(3), Time: start.Add(-6 * time.Hour), Host: "ehr-ws-014", Paths: []string{"/srv/records"}, Tags: []string{"policy:po-1"}, Later: true},
		{ID: snapshotID(2), Time: start.Add(-30 * time.Hour), Host: "ehr-ws-014", Paths: []string{"/srv/records"}, Tags: []string{"policy:po-1"}, Clean: true},
		{ID: snapshotID(1), Time: start.Add(-54 * time.Hour), Host: "ehr-ws-014", Paths: []string{"/srv/records"}},
	}
}

func files() []restore.Entry {
	return []restore.Entry{
		{Name: "2026", Path: "/srv/records/2026", Type: "dir", Mode: "drwxr-x---", ModTime: start.Add(-100 * time.Hour), User: "emr"},
		{Name: `<b>op</b>.txt`, Path: `/srv/records/<b>op</b>.txt`, Type: "file", Size: 120, Mode: "-rw-r-----", ModTime: start.Add(-90 * time.Hour), User: "emr"},
		{Name: "now", Path: "/srv/records/now", Type: "symlink", Mode: "Lrwxrwxrwx", ModTime: start.Add(-80 * time.Hour), User: "emr", Target: "2026"},
		{Name: "予約者名簿.csv", Path: "/srv/records/予約者名簿.csv", Type: "file", Size: 4_200_000, Mode: "-rw-r-----", ModTime: start.Add(-70 * time.Hour), User: "emr"},
		{Name: "\uFFFDname", Path: "/srv/records/\xffname", Type: "file", Size: 1, Mode: "-rw-r-----", ModTime: start.Add(-70 * time.Hour), User: "emr"},
	}
}

func requests() []restore.Request {
	from := restore.Where{Agent: "ho-2", Snapshot: snapshotID(2)}
	asked := restore.Request{ID: "rs-1", Site: "hospital", From: from, Paths: []string{"/srv/records/予約者名簿.csv"}, Host: "ho-2", Target: "/srv/back", Reason: "名簿を誤って消した",
		State: restore.AskedFor, At: start.Add(-20 * time.Minute), AskedBy: "pe-admin", AskedAt: start.Add(-20 * time.Minute)}
	held := asked
	held.ID, held.State, held.Paths, held.Target, held.ApprovedBy, held.ApprovedAt = "rs-2", restore.Held, nil, "/", "pe-responder", start.Add(-50*time.Minute)
	held.Scan = restore.Scan{At: start.Add(-40 * time.Minute), Scanner: true, Files: 68_411, Bytes: 4_198_954_156, Finds: 1, Found: []restore.Found{{Path: "/srv/records/letter.doc", What: "Win.Test.EICAR"}}}
	back := asked
	back.ID, back.State, back.Over, back.ApprovedBy, back.ApprovedAt = "rs-3", restore.Restored, true, "pe-responder", start.Add(-110*time.Minute)
	back.Scan = restore.Scan{At: start.Add(-100 * time.Minute), Scanner: true, Files: 231, Bytes: 4_200_000}
	back.Result = job.Result{State: job.OK, Restore: &job.Restored{Files: 231, Verified: 231, Bytes: 4_200_000}}
	back.Result.Start, back.Result.End = start.Add(-99*time.Minute), start.Add(-98*time.Minute)
	runs := asked
	runs.ID, runs.State, runs.Target, runs.Over, runs.Incident, runs.Every, runs.ApprovedBy, runs.ApprovedAt = "rs-4", restore.Running, "/", true, "in-1", 10, "pe-responder", start.Add(-15*time.Minute)
	runs.Scan = restore.Scan{At: start.Add(-10 * time.Minute), Scanner: true, Files: 68_411, Bytes: 4_198_954_156, Skips: 1, Skipped: []restore.Found{{Path: "/srv/records/vm.raw"}}}
	runs.PassedBy, runs.PassedWhy = "pe-approver", "仮想マシンの像は別に検査した"
	wrong := back
	wrong.ID, wrong.State, wrong.Why = "rs-5", restore.Failure, "2 files could not be restored or differ"
	wrong.Load = &job.Loading{Kind: job.PostgreSQL, Database: "emr_before"}
	wrong.Result.State, wrong.Result.Restore = job.Failed, &job.Restored{Files: 231, Verified: 231, Bytes: 4_200_000, Wrong: 2, Changed: 1, Differ: []job.Differing{
		{Path: "/srv/records/予約者名簿.csv", What: job.OtherContent}, {Path: "/srv/records/2026/op.txt", What: job.NotThere}, {Path: "/srv/records/2026", What: job.OtherMode}}}
	moment := back
	moment.ID, moment.State, moment.Paths, moment.Target, moment.Download = "rs-6", restore.Released, []string{"/emr-db.base.tar"}, "/srv/it's back", 5000
	moment.Load = &job.Loading{Kind: job.PostgreSQLBase, Moment: start.Add(-7 * time.Hour), WAL: &job.WAL{Snapshot: snapshotID(3), Path: "/var/lib/sonae-wal/local_5432"}}
	moment.Result.Restore = &job.Restored{Files: 9, Verified: 9, Bytes: 4_200_000, Loaded: moment.Target + ".cluster", Moment: moment.Load.Moment, Server: "15"}
	return []restore.Request{asked, held, back, runs, wrong, moment}
}

func (r restoresOf) Agents(context.Context, string) ([]string, error) { return []string{"ho-2"}, nil }

func (r restoresOf) Snapshots(context.Context, string, time.Time, string, int) (restore.Page[restore.Snapshot], error) {
	return restore.Page[restore.Snapshot]{Items: snapshots(), Next: snapshotID(1)}, nil
}

func (r restoresOf) Points(context.Context, string) ([]anomaly.Point, error) {
	return []anomaly.Point{{Series: "sr-1", Class: "cl-1", Paths: []string{"/srv/records"}, Snapshot: snapshotID(2), Received: start.Add(-30 * time.Hour), Begun: start.Add(-8 * time.Hour),
		Proven: start.Add(-20 * time.Hour), Confirmed: true, By: "pe-approver", At: start.Add(-2 * time.Hour), Reason: "監視カメラと合う", Later: []string{snapshotID(3)}}}, nil
}

func (r restoresOf) Snapshot(_ context.Context, w restore.Where) (restore.Snapshot, error) {
	for _, s := range snapshots() {
		if s.ID == w.Snapshot {
			return s, nil
		}
	}
	return restore.Snapshot{}, fault.New(fault.Missing, "protect.restore.no-snapshot")
}

func (r restoresOf) Folder(_ context.Context, w restore.Where, at, _ string, _ int) (restore.Page[restore.Entry], error) {
	if at == "/base" { // another stream
		return restore.Page[restore.Entry]{Items: []restore.Entry{{Name: "emr-db.base.tar", Path: "/emr-db.base.tar", Type: "file", Size: 572_000_000, Mode: "-rw-r--r--", ModTime: start.Add(-54 * time.Hour), User: "root"}}}, nil
	}
	if w.Snapshot == snapshotID(1) { // one stream
		return restore.Page[restore.Entry]{Items: []restore.Entry{{Name: "emr-db.emr.dump", Path: "/emr-db.emr.dump", Type: "file", Size: 341_000_000, Mode: "-rw-r--r--", ModTime: start.Add(-54 * time.Hour), User: "root"}}}, nil
	}
	return restore.Page[restore.Entry]{Items: files(), Next: "予約者名簿.csv"}, nil
}

func (r restoresOf) Search(context.Context, restore.Where, string, string, int) ([]restore.Entry, bool, error) {
	return files()[3:4], true, nil
}

func (r restoresOf) Compare(context.Context, restore.Where, string, string, int) (restore.Difference, error) {
	all := files()
	before := all[3]
	before.Size = 4_100_000
	return restore.Difference{Added: 1, Content: 1, Changes: []restore.Change{{What: "added", Path: all[1].Path, After: &all[1]}, {What: "content", Path: all[3].Path, Before: &before, After: &all[3]}}}, nil
}

func (r restoresOf) Scans() bool { return !r.unscanned }

// infected is the file that the scan stops.
const infected = "/srv/records/予約者名簿.csv"

func (r restoresOf) stops(t restore.Taking) error {
	if t.Despite != "" {
		r.did("despite " + t.Despite + " " + t.Path + " by " + t.By.ID)
		return nil
	}
	if strings.HasPrefix(infected, t.Path) {
		return fault.New(fault.Conflict, "protect.restore.infected", infected, "Win.Test.EICAR")
	}
	return nil
}

func (r restoresOf) Download(_ context.Context, t restore.Taking, _ func(restore.Entry), out io.Writer) error {
	if t.Path == "/none" {
		return fault.New(fault.Missing, "protect.restore.no-file")
	}
	if err := r.stops(t); err != nil {
		return err
	}
	_, err := io.WriteString(out, "content of "+t.Path)
	return err
}

func (r restoresOf) Archive(_ context.Context, t restore.Taking, f restore.Format, _ func(), out io.Writer) error {
	if err := r.stops(t); err != nil {
		return err
	}
	_, err := io.WriteString(out, "as "+string(f))
	return err
}

func (r restoresOf) Ask(_ context.Context, n restore.NewRequest, _ auth.Person) (restore.Request, error) {
	if n.Reason == "" {
		return restore.Request{}, fault.New(fault.Invalid, "protect.restore.reason")
	}
	what := "ask " + strings.Join(n.Paths, " ") + " to " + n.Host + n.Target
	if n.Load != nil {
		what += fmt.Sprint(" into ", n.Load.Database, " every ", n.Every, " for ", n.Incident)
		if !n.Load.Moment.IsZero() {
			what += fmt.Sprint(" at ", n.Load.Moment.Format(time.RFC3339), " by ", n.Load.WAL)
		}
	}
	if n.Download != 0 {
		what += fmt.Sprint(" at most ", n.Download)
	}
	r.did(what)
	return requests()[0], nil
}

func (r restoresOf) Request(_ context.Context, id string) (restore.Request, error) {
	for _, x := range requests() {
		if x.ID == id {
			return x, nil
		}
	}
	return restore.Request{}, fault.New(fault.Missing, "protect.restore.unknown")
}

func (r restoresOf) Requests(context.Context) ([]restore.Request, error) { return requests(), nil }

func (r restoresOf) Versions(ctx context.Context, id string) ([]restore.Request, error) {
	x, err := r.Request(ctx, id)
	return []restore.Request{x}, err
}

func (r restoresOf) Far(_ context.Context, id string) (job.Progress, error) {
	if id == "rs-4" {
		return job.Progress{Job: id, Step: "restore", Files: 20_511, TotalFiles: 68_411, Bytes: 1_259_686_246, TotalBytes: 4_198_954_156, Seconds: 21.5, At: start.Add(-time.Minute)}, nil
	}
	return job.Progress{Job: id, Step: "scan", Files: 1200, At: start.Add(-time.Minute)}, nil
}

func (r restoresOf) step(what, id, why string) (restore.Request, error) {
	r.did(what + " " + id + why)
	return r.Request(context.Background(), id)
}

func (r restoresOf) Approve(_ context.Context, id string, _ auth.Person) (restore.Request, error) {
	return r.step("approve", id, "")
}

func (r restoresOf) Refuse(_ context.Context, id, why string, _ auth.Person) (restore.Request, error) {
	return r.step("refuse", id, why)
}

func (r restoresOf) Pass(_ context.Context, id, why string, _ auth.Person) (restore.Request, error) {
	return r.step("pass", id, why)
}

func (r restoresOf) Release(_ context.Context, id string, _ auth.Person) (restore.Request, error) {
	return r.step("release", id, "")
}

func (r restoresOf) Stop(_ context.Context, id, why string, _ auth.Person) (restore.Request, error) {
	return r.step("stop", id, why)
}

func TestCopiesAndRestoresThroughTheirPages(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	r := v.as("responder")
	browse := "/protect/restore/machines/ho-2/" + snapshotID(2)
	for _, form := range []struct {
		path string
		form []string
		want string
	}{
		{"/protect/copies", []string{"kind", "folder", "name", "別館", "dir", "/mnt/x", "every", "6", "reread", "30", "site", "hospital"}, "save 別館 6"},
		{"/protect/copies/pl-1/run", nil, "run pl-1"},
		{"/protect/copies/pl-1/stop", nil, "stop pl-1"},
		{"/protect/copies/pl-2/run", []string{"medium", "md-2"}, "run pl-2md-2"},
		{"/protect/copies/pl-2/media", []string{"label", "水曜の盤"}, "medium 水曜の盤"},
		{"/protect/copies/pl-2/media/md-2", []string{"what", "ejected"}, "move md-2 ejected"},
		{"/protect/copies/pl-1/end", nil, "end pl-1"},
		{browse, []string{"at", "%2Fsrv", "paths", "/srv/records/2026", "host", "ho-2", "target", "/srv/back", "reason", "消えた"}, "ask /srv/records/2026 to ho-2/srv/back"},
		{"/protect/restore/machines/ho-2/" + snapshotID(1), []string{"at", "%2F", "load", "postgresql", "stream", "/emr-db.emr.dump", "database", "emr_before", "host", "ho-2", "target", "/srv/back", "every", "10", "incident", "in-1", "reason", "消えた"},
			"ask /emr-db.emr.dump to ho-2/srv/back into emr_before every 10 for in-1"},
		{browse, []string{"at", "%2F", "moment", "2026-11-22T13:59:07", "stream", "/emr-db.base.tar", "host", "ho-2", "target", "/srv/back", "download", "5000", "reason", "消えた"},
			"ask /emr-db.base.tar to ho-2/srv/back into  every 0 for  at 2026-11-22T04:59:07Z by <nil> at most 5000"},
		{browse, []string{"at", "%2F", "load", "postgresql-base", "moment", "2026-11-22T13:59", "wal", "/srv/wal", "stream", "/emr-db.base.tar", "host", "ho-2", "target", "/srv/back", "reason", "消えた"},
			"ask /emr-db.base.tar to ho-2/srv/back into  every 0 for  at 2026-11-22T04:59:00Z by &{ /srv/wal}"},
		{"/protect/restore/requests/rs-1/approve", nil, "approve rs-1"},
		{"/protect/restore/requests/rs-2/pass", []string{"reason", "検証用"}, "pass rs-2検証用"},
		{"/protect/restore/requests/rs-3/release", nil, "release rs-3"},
	} {
		got := r.post(form.path, form.form...)
		if got.status != http.StatusSeeOther || !slices.Contains(h.purposes, form.want) {
			t.Errorf("%s: %d, did %q; want %s", form.path, got.status, h.purposes, form.want)
		}
	}
	for path, says := range map[string]string{"/protect/copies": "名前を入れてください", "/protect/copies/pl-2/media/md-1": "封印番号を入れてください", browse: "理由を入れてください"} {
		if got := r.post(path, "kind", "folder", "what", "handed", "about", "md-1", "at", "%2F"); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, says) {
			t.Errorf("%s without what it needs: %d", path, got.status)
		}
	}
	for field, says := range map[string]string{"moment": "日付と時刻で入れてください", "download": "0 以上の数で入れてください"} {
		if got := r.post(browse, "at", "%2F", "stream", "/emr-db.base.tar", "reason", "消えた", field, "きのう"); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, says) {
			t.Errorf("%s that is none: %d", field, got.status)
		}
	}
	if got := r.get(browse + "/file?path=/srv/records/再来.csv"); got.status != http.StatusOK || got.body != "content of /srv/records/再来.csv" || !strings.Contains(got.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("a file: %d %q", got.status, got.body)
	}
	if got := r.get(browse + "/archive?path=/srv/records/2026&format=zip"); got.body != "as zip" || got.header.Get("Content-Type") != "application/zip" {
		t.Errorf("a folder: %d %q", got.status, got.body)
	}
	if got := r.get(browse + "/file?path=/none"); got.status != http.StatusNotFound {
		t.Errorf("no such file: %d", got.status)
	}
	says(t, v.as("approver").get("/"), []string{`href="/protect/restore/requests/rs-1"`, `href="/protect/restore/requests/rs-2"`, `href="/protect/repositories/ho-1"`}, []string{"rs-3"})
	says(t, r.get("/"), nil, []string{"/protect/repositories/ho-1"}) // no approver
	says(t, v.as("executive").get("/"), nil, []string{"/protect/restore/requests/"})
	if got := v.as("approver").post("/protect/restore/requests/rs-1/approve"); got.status != http.StatusSeeOther {
		t.Errorf("an approver approves: %d", got.status)
	}
	for who, want := range map[string]map[string]int{
		"executive":  {"/protect/copies": 200, "/protect/restore": 200, browse: 403, browse + "/file?path=/x": 403, "/protect/copies/new?kind=lock": 403},
		"contractor": {"/protect/copies/pl-1": 403, browse: 403, "/protect/restore/requests/rs-1": 403},
	} {
		b := v.as(who)
		for path, status := range want {
			if got := b.get(path); got.status != status {
				t.Errorf("%s at %s: %d, want %d", who, path, got.status, status)
			}
		}
		if got := b.post("/protect/copies/pl-1/run"); got.status != http.StatusForbidden {
			t.Errorf("%s runs a copy: %d", who, got.status)
		}
		if got := b.post("/protect/restore/requests/rs-1/approve"); got.status != http.StatusForbidden {
			t.Errorf("%s approves: %d", who, got.status)
		}
	}
}

// What the scan stops is named on the page, in both languages, and leaves only on
// the word of a person; where nothing scans, the page says so before.
func TestWhatTheScanStopsIsNamedAndNeedsAReason(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	r := v.as("responder")
	browse := "/protect/restore/machines/ho-2/" + snapshotID(2)
	for _, lang := range i18n.Languages() {
		for _, path := range []string{"/file?path=" + url.QueryEscape(infected), "/archive?format=zip&path=/srv"} {
			got := r.get(browse + path + "&lang=" + lang)
			if got.status != http.StatusConflict || got.header.Get("Content-Disposition") != "" || !strings.Contains(got.body, "Win.Test.EICAR") || !strings.Contains(got.body, infected) ||
				!strings.Contains(got.body, i18n.T(lang, "protect.restore.despite.do", nil)) {
				t.Errorf("%s in %s: %d, or the page does not name the file, the find and what can be done", path, lang, got.status)
			}
		}
	}
	form := []string{"at", "%2Fsrv%2Frecords", "take", url.QueryEscape(infected), "format", "zip"}
	if got := r.post(browse+"/taken", form...); got.status != http.StatusUnprocessableEntity || len(h.purposes) > 0 {
		t.Errorf("without a reason: %d, did %q", got.status, h.purposes)
	}
	got := r.post(browse+"/taken", append(form, "despite", "警察に渡す")...)
	if got.status != http.StatusOK || got.body != "as zip" || !strings.Contains(got.header.Get("Content-Disposition"), "attachment") || !slices.Equal(h.purposes, []string{"despite 警察に渡す " + infected + " by pe-responder"}) {
		t.Errorf("with a reason: %d, did %q", got.status, h.purposes)
	}
	if got := v.as("executive").post(browse+"/taken", append(form, "despite", "x")...); got.status != http.StatusForbidden {
		t.Errorf("an executive: %d", got.status)
	}
	if page := r.get(browse).body; strings.Contains(page, i18n.T("ja", "protect.restore.take.nobody", nil)) || strings.Contains(page, " download>") {
		t.Error("the page says that nobody looks, or its links hide what was found")
	}
	h.unscanned = true
	if page := r.get(browse).body; !strings.Contains(page, i18n.T("ja", "protect.restore.take.nobody", nil)) {
		t.Error("the page does not say that nobody looks")
	}
	// without an antivirus program it is a threat list that stops a file
	for _, lang := range i18n.Languages() {
		if got := r.get(browse + "/file?path=" + url.QueryEscape(infected) + "&lang=" + lang); got.status != http.StatusConflict || !strings.Contains(got.body, "Win.Test.EICAR") ||
			!strings.Contains(got.body, i18n.T(lang, "protect.restore.despite.do", nil)) {
			t.Errorf("by a list, in %s: %d, or the page does not say what can be done", lang, got.status)
		}
	}
	if page := r.get(browse).body; strings.Contains(page, i18n.T("ja", "protect.restore.despite.do", nil)) {
		t.Error("where nothing was stopped, there is nothing to take in spite of it")
	}
}
