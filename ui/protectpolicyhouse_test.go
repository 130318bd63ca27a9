package ui

import (
	"context"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/protect/engine"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/ready/asset"
)

// backupsOf has two classes of data: medical records with a good policy, and the
// call centre's list, which nobody ever restored.
type backupsOf struct{ *house }

func backupClasses() []policy.Class {
	return []policy.Class{
		{ID: "cl-1", Version: 2, Site: "hospital", Name: "電子カルテ", Owner: "pe-responder", Data: []string{"sensitive"}, Where: "電子カルテのデータベースと添付ファイル", Medical: true, MaxLoss: 24 * time.Hour, MaxDown: 72 * time.Hour, Order: 1, At: start, By: "pe-admin"},
		{ID: "cl-2", Version: 1, Site: "callcentre", Name: "予約者の名簿 <b>op</b>", Owner: "pe-contractor", Data: []string{"personal"}, MaxLoss: 4 * time.Hour, Order: 2, At: start, By: "pe-admin"},
		{ID: "cl-3", Version: 1, Site: "hospital", Name: "医用画像", Owner: "pe-responder", Data: []string{"sensitive"}, Medical: true, Order: 3, At: start, By: "pe-admin"},
	}
}

func backupPoliciesAll() []policy.Policy {
	return []policy.Policy{
		{ID: "bp-1", Version: 2, Site: "hospital", Class: "cl-1", Name: "電子カルテ 毎晩", Owner: "pe-responder", Hosts: []string{"ho-2"},
			Sources: []job.Source{{Name: "ehr", Kind: job.PostgreSQLBase, User: "postgres"}, {Name: "files", Kind: job.Folder, Paths: []string{"/srv/ehr/attachments"}, Excludes: []string{"*.tmp", "/srv/ehr/attachments/cache"}, OneSystem: true}},
			Hooks:   []job.Hook{{When: job.Before, Name: "ehr-quiesce", Timeout: 5 * time.Minute}}, Schedule: policy.Schedule{Times: []string{"01:00", "13:00"}, Window: 240}, Upload: 20480,
			Keep: policy.Keep{Last: 3, Daily: 14, Weekly: 8, Monthly: 12}, Targets: []policy.Medium{policy.AtHub, policy.Taken}, Why: "昼の分を加えた", At: start.Add(-24 * time.Hour), By: "pe-responder",
			Since: map[string]time.Time{"ho-2": start.Add(-40 * 24 * time.Hour)}},
		{ID: "bp-2", Version: 1, Site: "callcentre", Class: "cl-2", Name: "名簿 平日", Owner: "pe-contractor", Hosts: []string{"ho-1"},
			Sources:  []job.Source{{Name: "list", Kind: job.Folder, Paths: []string{`C:\予約\名簿`}, Shadow: true}},
			Schedule: policy.Schedule{Days: []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}, Times: []string{"20:00"}, Window: 120, Stop: true},
			Keep:     policy.Keep{Daily: 5}, Targets: []policy.Medium{policy.AtHub}, At: start.Add(-200 * time.Hour), By: "pe-admin", Since: map[string]time.Time{"ho-1": start.Add(-200 * time.Hour)}},
	}
}

func backupFresh() []policy.Fresh {
	return []policy.Fresh{
		{Policy: "bp-1", Host: "ho-2", Newest: start.Add(-12 * time.Hour), Allowed: 18 * time.Hour, Due: start.Add(6 * time.Hour), Next: start.Add(-1 * time.Hour).Add(12 * time.Hour)},
		{Policy: "bp-2", Host: "ho-1", Allowed: 76 * time.Hour, Due: start.Add(-124 * time.Hour), Next: start.Add(30 * time.Hour)},
	}
}

func (h backupsOf) Overview(_ context.Context, site string) (policy.Overview, error) {
	o := policy.Overview{At: start, Known: true, Machine: 2, Bare: []policy.Bare{}}
	fresh, policies := backupFresh(), backupPoliciesAll()
	parts := []policy.Part{
		{Policy: policies[0], Host: "ho-2", Fresh: fresh[0], Proof: &policy.Proof{Host: "ho-2", At: start.Add(-30 * 24 * time.Hour), Passed: true, What: "database"}, Copies: []policy.Copy{
			{Host: "ho-2", Medium: policy.AtHub, Place: "ハブ本体", Site: "hospital", AppendOnly: true, Oldest: start.Add(-39 * 24 * time.Hour), Newest: start.Add(-12 * time.Hour), Generations: 37, ReadBack: start.Add(-10 * time.Hour)},
			{Host: "ho-2", Medium: policy.Taken, Place: "耐火金庫 3号", Site: "callcentre", Offline: true, Oldest: start.Add(-35 * 24 * time.Hour), Newest: start.Add(-7 * 24 * time.Hour), Generations: 5, ReadBack: start.Add(-7 * 24 * time.Hour)},
			{Host: "ho-2", Medium: policy.Second, Place: "別館", Site: "callcentre", AppendOnly: true, Oldest: start.Add(-35 * 24 * time.Hour), Newest: start.Add(-20 * 24 * time.Hour), Generations: 9, ReadBack: start.Add(-20 * 24 * time.Hour), TooOld: true},
		}},
		{Policy: policies[1], Host: "ho-1", Fresh: fresh[1], Copies: []policy.Copy{}},
	}
	for _, c := range backupClasses() {
		if site != "" && c.Site != site {
			continue
		}
		of := slices.DeleteFunc(slices.Clone(parts), func(p policy.Part) bool { return p.Policy.Class != c.ID })
		o.Covers = append(o.Covers, policy.Judge(c, of, start))
	}
	o.Line = policy.Sum(o.Covers)
	o.Line.Time = &policy.Estimate{P50: 26 * time.Hour, P90: 53 * time.Hour, Plan: "pl-1"}
	if old := backupRunsAll()[2]; site == "" || site == old.Site {
		o.Reduced = append(o.Reduced, policy.Reduced{Host: old.Host, Run: old.ID, Restic: old.Result.Restic, Lacks: old.Result.Reduced})
	}
	if site == "" {
		o.Bare = append(o.Bare, policy.Bare{Host: asset.Host{ID: "ho-2", Name: "ehr-ws-014", Site: "hospital"}, Services: []string{"透析の記録"}, Data: []string{"sensitive"}})
	}
	return o, nil
}

func (h backupsOf) Classes(_ context.Context, site string) ([]policy.Class, error) {
	return slices.DeleteFunc(backupClasses(), func(c policy.Class) bool { return site != "" && c.Site != site }), nil
}

func (h backupsOf) Class(_ context.Context, id string) (policy.Class, error) {
	for _, c := range backupClasses() {
		if c.ID == id {
			return c, nil
		}
	}
	return policy.Class{}, fault.New(fault.Missing, "protect.policy.class-missing")
}

func (h backupsOf) SaveClass(_ context.Context, c policy.Class, _ auth.Person) (policy.Class, error) {
	h.savedClasses = append(h.savedClasses, c)
	return c, nil
}

func (h backupsOf) EndClass(context.Context, string, auth.Person) error {
	return fault.New(fault.Conflict, "protect.policy.class-used")
}

func (h backupsOf) Policies(_ context.Context, site string) ([]policy.Policy, error) {
	return slices.DeleteFunc(backupPoliciesAll(), func(p policy.Policy) bool { return site != "" && p.Site != site }), nil
}

func (h backupsOf) Policy(_ context.Context, id string) (policy.Policy, error) {
	for _, p := range backupPoliciesAll() {
		if p.ID == id {
			return p, nil
		}
	}
	return policy.Policy{}, fault.New(fault.Missing, "protect.policy.missing")
}

func (h backupsOf) Versions(ctx context.Context, id string) ([]policy.Policy, error) {
	now, err := h.Policy(ctx, id)
	first := now
	first.Version, first.Why, first.At = 1, "", now.At.Add(-30*24*time.Hour)
	return []policy.Policy{now, first}, err
}

func (h backupsOf) Draft(_ context.Context, p policy.Policy) (policy.Policy, error) {
	if len(p.Hosts) == 0 {
		return p, fault.New(fault.Invalid, "protect.policy.hosts", 500)
	}
	return p, nil
}

func (h backupsOf) SavePolicy(ctx context.Context, p policy.Policy, _ auth.Person) (policy.Policy, error) {
	p, err := h.Draft(ctx, p)
	if err == nil {
		h.savedPolicies = append(h.savedPolicies, p)
	}
	if p.ID == "" {
		p.ID = "bp-1"
	}
	return p, err
}

func (h backupsOf) EndPolicy(context.Context, string, string, auth.Person) error { return nil }

func (h backupsOf) Freshness(_ context.Context, of []policy.Policy) ([]policy.Fresh, error) {
	return slices.DeleteFunc(backupFresh(), func(f policy.Fresh) bool {
		return !slices.ContainsFunc(of, func(p policy.Policy) bool { return p.ID == f.Policy })
	}), nil
}

func backupRunsAll() []policy.Run {
	result := func(id string, s job.State) *job.Result {
		return &job.Result{Job: id, Kind: job.Backup, State: s, Restic: "0.18.0", Sources: []job.SourceResult{
			{Name: "ehr", Kind: job.PostgreSQLBase, State: job.OK, Snapshots: []job.Snapshot{{ID: "4bba301e4bba301e4bba301e4bba301e4bba301e4bba301e4bba301e4bba301e", Files: 1, Bytes: 341_000_000, Added: 2_400_000, Complete: true}}},
			{Name: "files", Kind: job.Folder, State: s, Unread: 2, Errors: []string{"open /srv/ehr/attachments/<b>op</b>.pdf: permission denied"}, Snapshots: []job.Snapshot{{ID: "9a1c22d09a1c22d09a1c22d09a1c22d09a1c22d09a1c22d09a1c22d09a1c22d0", Files: 68_411, Bytes: 4_198_954_156, Added: 83_900_000}}},
		}, Hooks: []job.HookResult{{Name: "ehr-quiesce", When: job.Before, State: job.OK, Output: "checkpoint done"}}}
	}
	run := func(id string, s policy.State, ago time.Duration) policy.Run {
		at := start.Add(-ago)
		return policy.Run{ID: id, Version: 2, Policy: "bp-1", Wrote: 2, Class: "cl-1", Site: "hospital", Host: "ho-2", Slot: at, Until: at.Add(4 * time.Hour), State: s, Queued: at, At: at, By: "ho-2"}
	}
	going := run("br-1", policy.Running, 5*time.Minute)
	going.Began = start.Add(-4 * time.Minute)
	ok := run("br-2", policy.OK, 12*time.Hour)
	ok.Began, ok.Ended, ok.Result = ok.At, ok.At.Add(134*time.Second), result("br-2", job.OK)
	suspect := run("br-3", policy.Suspect, 24*time.Hour)
	suspect.Began, suspect.Ended, suspect.Result = suspect.At, suspect.At.Add(300*time.Second), result("br-3", job.Partial)
	suspect.Result.Restic, suspect.Result.Reduced = "0.14.0", engine.Restic{Version: engine.Version{Minor: 14}}.Lacks()
	suspect.Doubt = &policy.Doubt{Why: "暗号化を検知した機器", By: "sonae", At: start.Add(-23 * time.Hour)}
	missed := run("br-4", policy.Missed, 36*time.Hour)
	missed.Why, missed.Ended, missed.By = "away", start.Add(-32*time.Hour), "sonae"
	asked := run("br-5", policy.CouldNotRun, 48*time.Hour)
	asked.Slot, asked.Asked, asked.Why, asked.Policy, asked.Site, asked.Host = time.Time{}, "pe-responder", "silent", "bp-2", "callcentre", "ho-1"
	return []policy.Run{going, ok, suspect, missed, asked}
}

func (h backupsOf) Runs(_ context.Context, f policy.Filter) ([]policy.Run, int, error) {
	all := slices.DeleteFunc(backupRunsAll(), func(r policy.Run) bool {
		return f.Site != "" && r.Site != f.Site || f.Policy != "" && r.Policy != f.Policy || f.State != "" && r.State != f.State || f.Going && !r.State.Going()
	})
	return all, len(all), nil
}

func (h backupsOf) Run(_ context.Context, id string) (policy.Run, error) {
	for _, r := range backupRunsAll() {
		if r.ID == id {
			return r, nil
		}
	}
	return policy.Run{}, fault.New(fault.Missing, "protect.policy.run-missing")
}

func (h backupsOf) History(ctx context.Context, id string) ([]policy.Run, error) {
	now, err := h.Run(ctx, id)
	first := now
	first.State, first.Version, first.By, first.Doubt, first.At = policy.Queued, 1, "sonae", nil, now.Queued
	return []policy.Run{first, now}, err
}

func (h backupsOf) Progress(context.Context) (map[string]policy.Told, error) {
	return map[string]policy.Told{"br-1": {Progress: job.Progress{Job: "br-1", Step: "backup", Files: 31_200, Bytes: 1_900_000_000, TotalBytes: 4_198_954_156}, Heard: start.Add(-2 * time.Second)}}, nil
}

func (h backupsOf) RunNow(_ context.Context, id, host string, _ auth.Person) ([]policy.Run, error) {
	h.ranNow = append(h.ranNow, id+" "+host)
	return nil, nil
}

func (h backupsOf) Cancel(context.Context, string, auth.Person) error        { return nil }
func (h backupsOf) Trust(context.Context, string, string, auth.Person) error { return nil }

// pairsOf writes a form as names and values.
func pairsOf(form url.Values) (out []string) {
	for name, values := range form {
		for _, v := range values {
			out = append(out, name, v)
		}
	}
	return out
}

func TestPolicyFormSaysWhatItWouldDoAndKeepsWhatWasTyped(t *testing.T) {
	h := newHouse()
	v, _ := h.open(t)
	r := v.as("responder")
	form := url.Values{"version": {"2"}, "name": {"新しい名前"}, "class": {"cl-1"}, "owner": {"pe-responder"}, "hosts": {"ho-2"}, "days": {"1", "5"}, "times": {"02:30, 14:30"}, "window": {"60"}, "stop": {"1"},
		"upload": {"1,024"}, "last": {"3"}, "max-age": {"48"}, "targets": {"media"}, "why": {"変更"}, "do": {"preview"}, "hooks-before": {"quiesce"}, "hook-timeout": {"5"},
		"s0-kind": {"folder"}, "s0-name": {"data"}, "s0-paths": {"/srv/a\r\n/srv/b"}, "s0-excludes": {"*.tmp"}, "s1-kind": {""}, "s1-name": {"nothing"}, "s2-kind": {"ldap"}, "s2-databases": {"dc=example,dc=jp"}}
	got := r.post("/protect/policies/bp-1", pairsOf(form)...)
	if got.status != http.StatusOK || len(h.savedPolicies) != 0 {
		t.Fatalf("the preview answers %d, and %d are saved", got.status, len(h.savedPolicies))
	}
	for _, want := range []string{"新しい名前", "02:30", "48時間", "/srv/a\n/srv/b", "dc=example,dc=jp"} {
		if !strings.Contains(got.body, want) && !(want == "48時間" && strings.Contains(got.body, "2日")) {
			t.Errorf("the preview does not say %q", want)
		}
	}
	form.Set("do", "save")
	if got := r.post("/protect/policies/bp-1", pairsOf(form)...); got.status != http.StatusSeeOther || len(h.savedPolicies) != 1 {
		t.Fatalf("saving answers %d, %d are saved", got.status, len(h.savedPolicies))
	}
	p := h.savedPolicies[0]
	if p.Version != 2 || p.Upload != 1024 || p.MaxAge != 48*time.Hour || len(p.Sources) != 2 || p.Sources[1].Name != "ldap" || p.Sources[1].Databases[0] != "dc=example,dc=jp" ||
		len(p.Schedule.Times) != 2 || len(p.Schedule.Days) != 2 || !p.Schedule.Stop || len(p.Hooks) != 1 || p.Hooks[0].Timeout != 5*time.Minute || p.Targets[0] != policy.Taken {
		t.Errorf("%+v", p)
	}
	form.Del("hosts")
	if got := r.post("/protect/policies/bp-1", pairsOf(form)...); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, "新しい名前") {
		t.Errorf("refused with %d, or what was typed is gone", got.status)
	}
	form.Set("hosts", "ho-2")
	form.Set("window", "soon")
	if got := r.post("/protect/policies/bp-1", pairsOf(form)...); got.status != http.StatusUnprocessableEntity {
		t.Errorf("a window that is no number: %d", got.status)
	}
}

func TestRightsToBackups(t *testing.T) {
	h := newHouse()
	v, _ := h.open(t)
	for who, want := range map[string]int{"executive": http.StatusOK, "auditor": http.StatusOK, "responder": http.StatusOK, "contractor": http.StatusForbidden} {
		for _, path := range []string{"/protect", "/protect/policies", "/protect/policies/bp-1", "/protect/runs", "/protect/runs/br-2", "/protect/classes/cl-1"} {
			if got := v.as(who).get(path); got.status != want {
				t.Errorf("%s at %s: %d, want %d", who, path, got.status, want)
			}
		}
	}
	for _, path := range []string{"/protect/policies/bp-1/run", "/protect/policies/bp-1/end", "/protect/policies/bp-1", "/protect/runs/br-1/cancel", "/protect/runs/br-3/trust", "/protect/classes/cl-1", "/protect/classes/cl-1/end"} {
		if got := v.as("executive").post(path, "why", "x"); got.status != http.StatusForbidden {
			t.Errorf("an executive at %s: %d", path, got.status)
		}
	}
	if got := v.as("responder").post("/protect/policies/bp-1/run", "host", "ho-2"); got.status != http.StatusSeeOther || !slices.Equal(h.ranNow, []string{"bp-1 ho-2"}) {
		t.Errorf("%d, ran %v", got.status, h.ranNow)
	}
}

// What an old restic lacks is said on the run's page and on the overview, in
// words and with a mark, in both languages; who is full is not named.
func TestAReducedResticIsSaid(t *testing.T) {
	h := newHouse()
	v, _ := h.open(t)
	r := v.as("responder")
	lacks := engine.Restic{Version: engine.Version{Minor: 14}}.Lacks()
	for _, lang := range i18n.Languages() {
		for _, path := range []string{"/protect", "/protect/runs/br-3"} {
			got := r.get(path + "?lang=" + lang).body
			if !strings.Contains(got, "▲") || !strings.Contains(got, "0.14.0") {
				t.Errorf("%s in %s shows no mark or no version", path, lang)
			}
			for _, what := range lacks {
				if key := "protect.engine.lacks." + what; !i18n.Has(key) || !strings.Contains(got, html.EscapeString(i18n.T(lang, key, nil))) {
					t.Errorf("%s in %s does not say %s", path, lang, key)
				}
			}
		}
	}
	if got := r.get("/protect/runs/br-2").body; strings.Contains(got, i18n.T("ja", "protect.reduced.mark", nil)) {
		t.Error("a full restic is called reduced")
	}
}
