package job_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/protect/job"
)

func TestAJobIsCheckedBeforeAnythingIsDone(t *testing.T) {
	folder := job.Source{Name: "documents", Kind: job.Folder, Paths: []string{"/srv/documents"}}
	backup := func(change func(*job.Job)) job.Job {
		j := job.Job{ID: "run-1", Kind: job.Backup, Sources: []job.Source{folder}}
		change(&j)
		return j
	}
	restore := func(change func(*job.Restoring)) job.Job {
		r := job.Restoring{Snapshot: strings.Repeat("ab", 32), Target: "/srv/back"}
		change(&r)
		return job.Job{ID: "run-1", Kind: job.Restore, Restore: &r}
	}
	moment := func(change func(*job.Restoring)) job.Job {
		return restore(func(r *job.Restoring) {
			r.Include = []string{"/emr-db.base.tar"}
			r.Load = &job.Loading{Kind: job.PostgreSQLBase, Moment: time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC), WAL: &job.WAL{Snapshot: strings.Repeat("cd", 32), Path: "/var/lib/sonae-wal/local_5432"}}
			change(r)
		})
	}
	for name, tt := range map[string]struct {
		j    job.Job
		want string // field that is wrong
	}{
		"a folder":               {backup(func(*job.Job) {}), ""},
		"a folder of Windows":    {backup(func(j *job.Job) { j.Sources[0].Paths = []string{`D:\共有\文書`} }), ""},
		"a whole restore":        {restore(func(*job.Restoring) {}), ""},
		"no id":                  {backup(func(j *job.Job) { j.ID = "../x" }), "id"},
		"no kind":                {backup(func(j *job.Job) { j.Kind = "erase" }), "kind"},
		"nothing":                {backup(func(j *job.Job) { j.Sources = nil }), "sources"},
		"a relative path":        {backup(func(j *job.Job) { j.Sources[0].Paths = []string{"srv"} }), "sources[0].paths"},
		"a path that climbs":     {backup(func(j *job.Job) { j.Sources[0].Paths = []string{"/srv/../etc"} }), "sources[0].paths"},
		"an option as path":      {backup(func(j *job.Job) { j.Sources[0].Paths = []string{"--stdin"} }), "sources[0].paths"},
		"a line break in a path": {backup(func(j *job.Job) { j.Sources[0].Paths = []string{"/srv\n/etc"} }), "sources[0].paths"},
		"two of a name":          {backup(func(j *job.Job) { j.Sources = append(j.Sources, folder) }), "sources[1].name"},
		"an option as database": {backup(func(j *job.Job) {
			j.Sources[0] = job.Source{Name: "db", Kind: job.PostgreSQL, Databases: []string{"-f/etc/passwd"}}
		}), "sources[0].databases"},
		"an option as machine":         {backup(func(j *job.Job) { j.Sources[0] = job.Source{Name: "vm", Kind: job.Libvirt, Domain: "--all"} }), "sources[0].domain"},
		"an account with a semicolon":  {backup(func(j *job.Job) { j.Sources[0].User = "root;id" }), "sources[0].user"},
		"a hook outside of its folder": {backup(func(j *job.Job) { j.Hooks = []job.Hook{{When: job.Before, Name: "../../bin/sh"}} }), "hooks[0].name"},
		"a hook of no time":            {backup(func(j *job.Job) { j.Hooks = []job.Hook{{When: "later", Name: "x"}} }), "hooks[0].when"},
		"a tag with a comma":           {backup(func(j *job.Job) { j.Tags = []string{"a,b"} }), "tags"},
		"nothing to restore":           {job.Job{ID: "a", Kind: job.Restore}, "restore"},
		"an option as snapshot":        {restore(func(r *job.Restoring) { r.Snapshot = "--no-lock" }), "restore.snapshot"},
		"latest is no snapshot":        {restore(func(r *job.Restoring) { r.Snapshot = "latest" }), "restore.snapshot"},
		"a relative target":            {restore(func(r *job.Restoring) { r.Target = "back" }), "restore.target"},
		"unknown overwriting":          {restore(func(r *job.Restoring) { r.Overwrite = "sometimes" }), "restore.overwrite"},
		"back to a moment":             {moment(func(*job.Restoring) {}), ""},
		"a moment without WAL":         {moment(func(r *job.Restoring) { r.Load.WAL = nil }), "restore.load.wal"},
		"WAL without a moment":         {moment(func(r *job.Restoring) { r.Load.Moment = time.Time{} }), "restore.load.moment"},
		"a moment of a dump":           {moment(func(r *job.Restoring) { r.Load.Kind, r.Load.Database = job.PostgreSQL, "emr" }), "restore.load.moment"},
		"WAL of an option":             {moment(func(r *job.Restoring) { r.Load.WAL.Snapshot = "--no-lock" }), "restore.load.wal.snapshot"},
		"WAL of everything":            {moment(func(r *job.Restoring) { r.Load.WAL.Path = "/" }), "restore.load.wal.path"},
		"WAL of a path that climbs":    {moment(func(r *job.Restoring) { r.Load.WAL.Path = "/var/../etc" }), "restore.load.wal.path"},
		"a database beside the root":   {moment(func(r *job.Restoring) { r.Target = "//" }), "restore.load"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.j.Check()
			var m *job.Mistake
			if tt.want == "" && err != nil || tt.want != "" && (!errors.As(err, &m) || m.Field != tt.want) {
				t.Errorf("got %v, want a mistake in %q", err, tt.want)
			}
		})
	}
}

func TestTheWorstSourceIsTheStateOfTheJob(t *testing.T) {
	s := job.OK
	for _, step := range []struct{ next, want job.State }{{job.OK, job.OK}, {job.Partial, job.Partial}, {job.OK, job.Partial}, {job.Failed, job.Failed}, {job.CouldNotRun, job.Failed}, {job.Cancelled, job.Cancelled}} {
		if s = job.Worst(s, step.next); s != step.want {
			t.Errorf("after %s: %s, want %s", step.next, s, step.want)
		}
	}
}

func TestTheDigestIsOfTheBytes(t *testing.T) {
	body, digest, err := job.Pack(job.Job{ID: "run-1", Kind: job.Backup})
	if err != nil || digest != job.Digest(body) || digest == job.Digest(append(body, ' ')) {
		t.Errorf("%s %s %v", body, digest, err)
	}
	var j job.Job
	if err := json.Unmarshal(body, &j); err != nil || j.ID != "run-1" {
		t.Errorf("%+v, %v", j, err)
	}
}

func TestTheRateOfAStep(t *testing.T) {
	for name, tt := range map[string]struct {
		p    job.Progress
		rate float64
		left time.Duration
	}{
		"in the middle":            {job.Progress{Step: "restore", Bytes: 100, TotalBytes: 400, Seconds: 10}, 10, 30 * time.Second},
		"at its end":               {job.Progress{Step: "restore", Bytes: 400, TotalBytes: 400, Seconds: 10}, 40, 0},
		"not begun":                {job.Progress{Step: "restore", TotalBytes: 400}, 0, 0},
		"an old restic":            {job.Progress{Step: "restore", Sent: 50, TotalBytes: 400, Seconds: 10}, 5, 0},
		"the total is not known":   {job.Progress{Step: "backup", Bytes: 100, Seconds: 10}, 10, 0},
		"nothing of a backup read": {job.Progress{Step: "backup", Sent: 50, Seconds: 10}, 0, 0},
	} {
		if rate, left := tt.p.Rate(); rate != tt.rate || left != tt.left {
			t.Errorf("%s: %v, %v", name, rate, left)
		}
	}
}
