package history_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/i18n"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/record"
	"github.com/sonae/sonae/protect/anomaly"
	"github.com/sonae/sonae/protect/copy"
	"github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/protect/history"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/restore"
	"github.com/sonae/sonae/protect/vault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/secret"
	"github.com/sonae/sonae/state/statetest"
)

// at is Monday 2026-11-30, 00:30 in Japan.
var at = time.Date(2026, 11, 30, 0, 30, 0, 0, clock.Tokyo()).UTC()

var sato = auth.Person{ID: "pe-1", Name: "佐藤", Roles: []auth.Role{auth.Responder, auth.Approver}}

// ward is a hospital with one machine whose backups the test plays: every desk
// is a real one on a real state, but those that need a repository.
type ward struct {
	*history.Desk
	t       *testing.T
	now     time.Time
	room    *incident.Room
	runs    *policy.Desk
	round   *policy.Round
	vault   *vault.Vault
	drills  *drill.Desk
	host    string
	policy  policy.Policy
	written written
}

// written are records as the desks of copies, restores and snapshots give them.
type written struct {
	cycles   []copy.Cycle
	places   []copy.Place
	media    []copy.Medium
	requests []restore.Request
	said     []anomaly.Said
}

func (w *written) Places(context.Context, bool) ([]copy.Place, error) { return w.places, nil }
func (w *written) Media(context.Context) ([]copy.Medium, error)       { return w.media, nil }
func (w *written) Requests(context.Context) ([]restore.Request, error) {
	return w.requests[len(w.requests)-1:], nil
}
func (w *written) Versions(context.Context, string) ([]restore.Request, error) {
	return w.requests, nil
}

type cycles struct{ *written }

func (c cycles) Past(context.Context, time.Time, time.Time) ([]copy.Cycle, error) {
	return c.cycles, nil
}

type said struct{ *written }

func (s said) Past(context.Context, time.Time, time.Time) ([]anomaly.Said, error) {
	return s.said, nil
}

type people struct{}

func (people) Person(context.Context, string) (auth.Person, error) { return sato, nil }

type agents struct{}

func (agents) Begin(context.Context, job.Job) error       { return nil }
func (agents) Stop(context.Context, string, string) error { return nil }

func newWard(t *testing.T) *ward {
	t.Helper()
	db := statetest.Open(t)
	w := &ward{t: t, now: at}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	reg := asset.New(db, w.clock, log)
	w.ok(reg.SaveSite(t.Context(), asset.Site{ID: "hospital", Name: "病院", Kind: asset.Hospital}, sato))
	tok, err := reg.NewToken(t.Context(), "hospital", "", 24*time.Hour, sato)
	w.ok(err)
	h, err := reg.Enroll(t.Context(), asset.NewHost{Token: tok.Secret, Name: "emr-1", OS: "linux", Agent: "1"})
	w.ok(err)
	w.host = h.ID
	w.room = incident.New(db, w.clock, log)
	w.runs = policy.New(db, policy.Deps{Hosts: reg, People: people{}, Alerts: alert.New(db, w.clock, log), Orders: agents{}, Now: w.clock, Log: log})
	w.round = w.runs.NewRound()
	dir := t.TempDir()
	keys, err := secret.Open(filepath.Join(dir, "keys"))
	w.ok(err)
	w.vault, err = vault.New(db, vault.Deps{Dir: filepath.Join(dir, "repositories"), Keys: keys, Hosts: reg, Now: w.clock, Log: log})
	w.ok(err)
	t.Cleanup(func() { w.ok(w.vault.Close()) })
	w.drills = drill.New(db, drill.Deps{Hosts: reg, Now: w.clock, Log: log})
	w.written.requests = []restore.Request{{}}
	w.Desk = history.New(history.Deps{Runs: w.runs, Vault: w.vault, Copies: struct {
		cycles
		*written
	}{cycles{&w.written}, &w.written}, Drills: w.drills, Restores: &w.written, Anomalies: said{&w.written}, Hosts: reg, Room: w.room, Now: w.clock, Log: log})
	w.later(0, reg)
	class, err := w.runs.SaveClass(t.Context(), policy.Class{Site: "hospital", Name: "電子カルテ", Owner: sato.ID}, sato)
	w.ok(err)
	w.policy, err = w.runs.SavePolicy(t.Context(), policy.Policy{Site: "hospital", Class: class.ID, Name: "毎晩", Owner: sato.ID, Hosts: []string{w.host},
		Sources: []job.Source{{Name: "data", Kind: job.Folder, Paths: []string{"/srv"}}}, Schedule: policy.Schedule{Times: []string{"01:00"}, Window: 60}, Keep: policy.Keep{Daily: 7}}, sato)
	w.ok(err)
	return w
}

func (w *ward) clock() time.Time { return w.now }

func (w *ward) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// later turns the clock on; machines are heard then.
func (w *ward) later(d time.Duration, reg *asset.Registry) {
	w.t.Helper()
	w.now = w.now.Add(d)
	if reg != nil {
		w.ok(reg.Beat(w.t.Context(), w.host, asset.Heartbeat{At: w.now, Agent: "1", OS: "linux"}))
	}
}

// backup plays one run from the order to its end.
func (w *ward) backup(s job.State, why string) policy.Run {
	w.t.Helper()
	reg := w.Hosts.(*asset.Registry)
	w.later(time.Minute, reg)
	all, err := w.runs.RunNow(w.t.Context(), w.policy.ID, w.host, sato)
	w.ok(err)
	w.ok(w.round.Look(w.t.Context()))
	w.later(5*time.Minute, reg)
	w.ok(w.runs.Ended(w.t.Context(), w.host, job.Result{Job: all[0].ID, Kind: job.Backup, State: s, Error: why,
		Sources: []job.SourceResult{{Name: "data", State: s, Unread: 3, Snapshots: []job.Snapshot{{ID: "0123abcd", Bytes: 5_000_000, Added: 2_000_000}}}}}))
	return all[0]
}

func (w *ward) list(f history.Filter) []history.Line {
	w.t.Helper()
	all, n, err := w.List(w.t.Context(), f)
	w.ok(err)
	if f.Limit == 0 && n != len(all) {
		w.t.Errorf("%d lines of %d", len(all), n)
	}
	return all
}

func keys(all []history.Line) (out []string) {
	for _, l := range slices.Backward(all) {
		out = append(out, l.Key)
	}
	return out
}

// Backups, missed ones, doubts, a cut, copies, media, drills, restores and clean
// points stand in order of time, without any incident.
func TestWhatHappenedStandsInOrderOfTime(t *testing.T) {
	w := newWard(t)
	ctx := t.Context()
	w.backup(job.OK, "")
	bad := w.backup(job.Failed, "restic: no space")
	w.later(2*time.Hour, nil)
	w.ok(w.round.Look(ctx)) // the slot of 01:00 passed, and the hub did not look
	cut, err := w.vault.CutPath(ctx, "hospital", "", "暗号化の疑い", sato)
	w.ok(err)
	w.later(time.Minute, nil)
	ok := w.backup(job.OK, "")
	w.later(time.Minute, nil)
	_, err = w.runs.Doubt(ctx, policy.Call{Site: "hospital", Since: cut.At, Why: "遮断中"}, sato.ID)
	w.ok(err)
	w.later(time.Minute, nil)
	w.ok(w.vault.Release(ctx, cut.ID, "誤検知", sato))
	w.later(time.Minute, nil)
	w.ok(w.runs.Trust(ctx, ok.ID, "内容を確かめた", sato))
	def, err := w.drills.Define(ctx, drill.Definition{Name: "カルテの復元", Site: "hospital", Host: w.host, Class: w.policy.Class, Level: drill.Files}, sato)
	w.ok(err)
	w.later(time.Minute, nil)
	tried, err := w.drills.Ask(ctx, def.ID, sato)
	w.ok(err)
	w.later(time.Minute, nil)
	w.ok(w.drills.Cancel(ctx, tried.ID, sato))
	next := func() time.Time { w.later(time.Minute, nil); return w.now }
	place := copy.Place{ID: "pl-1", Name: "別館", Kind: copy.Media, Site: "hospital"}
	w.written = written{places: []copy.Place{place},
		cycles:   []copy.Cycle{{Place: place, Result: copy.Result{PlaceID: "pl-1", Agent: w.host, Ended: next(), Problem: copy.Failed, Why: "届かない"}}},
		media:    []copy.Medium{{ID: "md-1", PlaceID: "pl-1", Label: "=盤 1", Custody: []copy.Step{{At: next(), What: copy.Handed, To: "金庫", Seal: "A-1"}}}},
		requests: []restore.Request{{ID: "rs-1", Site: "hospital", Host: w.host, State: restore.AskedFor, AskedBy: sato.ID, AskedAt: w.now, At: next()}, {ID: "rs-1", Site: "hospital", Host: w.host, State: restore.Failure, AskedAt: w.now, At: next()}},
		said: []anomaly.Said{{Series: anomaly.Series{ID: "sr-1", Site: "hospital", Host: w.host}, At: next(), Of: "feed", Found: &anomaly.Snapshot{Score: anomaly.Score{Verdict: anomaly.Flagged, Points: 90}}},
			{Series: anomaly.Series{ID: "sr-1", Site: "hospital", Host: w.host}, At: next(), Of: "beef", Clean: &anomaly.CleanPoint{ID: "cp-1", Snapshot: "beef", Received: at, Reason: "訓練で確認", By: sato.ID}}}}

	want := []string{"policy.made", "backup.ok", "backup.failed", "backup.missed", "vault.cut", "backup.ok", "backup.doubted", "vault.released", "backup.trusted", "proof.could-not-run",
		"copy.problem", "medium.handed", "restore.asked", "restore.failed", "snapshot.flagged", "protect.clean-point"}
	all := w.list(history.Filter{})
	if got := keys(all); !slices.Equal(got, want) {
		t.Fatalf("got  %v\nwant %v", got, want)
	}
	for _, l := range all {
		for _, lang := range []string{"ja", "en"} {
			text := l.Entry().Say(lang, i18n.T, nil)
			if strings.Contains(text, "entry.") || strings.ContainsAny(text, "{}") {
				t.Errorf("%s says %q in %s", l.Key, text, lang)
			}
		}
		if l.Site != "hospital" {
			t.Errorf("%s is at %q", l.Key, l.Site)
		}
	}
	for name, tt := range map[string]struct {
		f    history.Filter
		want []string
	}{
		"one kind":             {history.Filter{Kind: history.Cut}, []string{"vault.cut", "vault.released"}},
		"what needs attention": {history.Filter{Bad: true}, []string{"backup.failed", "backup.missed", "vault.cut", "backup.doubted", "proof.could-not-run", "copy.problem", "restore.failed", "snapshot.flagged"}},
		"another site":         {history.Filter{Site: "callcentre"}, nil},
		"another machine":      {history.Filter{Host: "ho-9"}, nil},
		"a machine's":          {history.Filter{Host: w.host, Kind: history.Backup}, []string{"backup.ok", "backup.failed", "backup.ok"}},
		"a class":              {history.Filter{Class: w.policy.Class, Kind: history.Copy}, []string{"copy.problem"}},
		"another class":        {history.Filter{Class: "cl-9"}, nil},
		"before":               {history.Filter{From: at.Add(-48 * time.Hour), Until: at}, nil},
		"a page":               {history.Filter{Limit: 2, Offset: 14}, []string{"policy.made", "backup.ok"}},
	} {
		if got := keys(w.list(tt.f)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
	if l := w.list(history.Filter{Kind: history.Backup, Host: w.host, Limit: 3})[1]; l.Ref != bad.ID || l.Args["why"] != "restic: no space" {
		t.Errorf("%+v", l)
	}
	for _, f := range []history.Filter{{Kind: "nothing"}, {From: w.now, Until: w.now}, {From: at.AddDate(-3, 0, 0), Until: at}} {
		if _, _, err := w.List(ctx, f); fault.Of(err) != fault.Invalid {
			t.Errorf("%+v: %v", f, err)
		}
	}
	w.spreadsheet(all)
}

// spreadsheet reads the file again.
func (w *ward) spreadsheet(all []history.Line) {
	w.t.Helper()
	same := func(id string) string { return id }
	var b bytes.Buffer
	w.ok(history.WriteCSV(&b, all, history.Names{Site: same, Host: same, Class: same, Args: func(map[string]string) map[string]string { return nil }}, "ja"))
	table, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(b.String(), "\ufeff"))).ReadAll()
	w.ok(err)
	if len(table) != len(all)+1 || table[0][0] != "日時(日本時間)" || table[1][1] != "きれいな時点" || !strings.HasPrefix(b.String(), "\ufeff") {
		w.t.Errorf("%v", table)
	}
}

// An incident is told what happened to the backups of its machines before and
// after it was opened, each thing once, and of no others.
func TestAnIncidentIsToldOfItsMachines(t *testing.T) {
	w := newWard(t)
	ctx := t.Context()
	w.backup(job.Failed, "読めない")
	w.later(time.Minute, nil)
	in, err := w.room.Open(ctx, incident.NewIncident{Title: "暗号化", Severity: event.High, Sites: []string{"hospital"}, Hosts: []string{w.host}}, sato)
	w.ok(err)
	other, err := w.room.Open(ctx, incident.NewIncident{Title: "紛失", Severity: event.High, Sites: []string{"hospital"}, Hosts: []string{"ho-9"}}, sato)
	w.ok(err)
	w.ok(w.Follow(ctx, in))
	tell := func(s policy.State) {
		w.ok(w.Run(ctx, policy.Changed{Site: "hospital", Host: w.host, State: s, At: w.now}))
	}
	w.backup(job.OK, "")
	tell(policy.OK)
	_, err = w.runs.Doubt(ctx, policy.Call{Site: "hospital", Since: at, Why: "侵入の後"}, sato.ID)
	w.ok(err)
	tell(policy.Suspect)
	cut, err := w.vault.CutPath(ctx, "hospital", in.ID, "暗号化", sato)
	w.ok(err)
	w.ok(w.Path(ctx, vault.Changed{Kind: vault.KindCut, Site: "hospital", At: w.now})) // the vault tells the incident itself
	w.later(time.Minute, nil)
	w.written.said = []anomaly.Said{{Series: anomaly.Series{ID: "sr-1", Site: "hospital", Host: w.host}, At: w.now, Of: "beef", Clean: &anomaly.CleanPoint{ID: "cp-1", Snapshot: "beef", Received: at, By: sato.ID}}}
	w.ok(w.Said(ctx, record.Version{Kind: anomaly.KindClean, At: w.now}))
	w.ok(w.Follow(ctx, in)) // delivered again
	got := func(id string) (out []string) {
		all, err := w.room.Entries(ctx, id, 0, 100)
		w.ok(err)
		for _, e := range all {
			if e.Source == "protect" {
				out = append(out, e.Key)
			}
		}
		return out
	}
	if want := []string{"backup.failed", "backup.doubted", "backup.doubted", "protect.clean-point"}; !slices.Equal(got(in.ID), want) {
		t.Errorf("got %v, want %v", got(in.ID), want)
	}
	if all := got(other.ID); len(all) > 0 {
		t.Errorf("an incident about another machine is told %v", all)
	}
	w.ok(w.vault.Release(ctx, cut.ID, "終わり", sato))
}
