package api

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/detect"
	ownrules "github.com/sonae/sonae/detect/rules"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/cause"
	"github.com/sonae/sonae/incident/decision"
	"github.com/sonae/sonae/incident/paper"
	"github.com/sonae/sonae/incident/task"
	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/protect/anomaly"
	"github.com/sonae/sonae/protect/copy"
	"github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/protect/forecast"
	"github.com/sonae/sonae/protect/history"
	"github.com/sonae/sonae/protect/plan"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/restore"
	"github.com/sonae/sonae/protect/vault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/report/html"
	"github.com/sonae/sonae/report/sheet"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/secret"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

const password = "橋の上 犬が三匹 雨あがり"

// bench is the API with the real people, register, alerts, incidents and
// ledger on a database of its own, and a clock that the test turns.
type bench struct {
	repositories *vault.Vault
	t            *testing.T
	h            http.Handler
	keeper       *auth.Keeper
	assets       *asset.Registry
	alerts       *alert.Desk
	room         *incident.Room
	actions      *action.Desk
	vault        *evidence.Vault
	duties       *duty.Desk
	archive      *archive.Archive
	engine       *detect.Switch
	rulebook     *search.Rulebook
	db           *state.DB
	ledger       *ledger.Ledger
	key          string // that checks it
	admin        auth.Person
	devices      *device.Store

	mu  sync.Mutex
	now time.Time
}

func (b *bench) clock() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.now }

func (b *bench) pass(d time.Duration) { b.mu.Lock(); defer b.mu.Unlock(); b.now = b.now.Add(d) }

// devices are the store and what asks devices.
type devices struct {
	*device.Store
	*device.Runner
}

func newBench(t *testing.T) *bench {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	dir := t.TempDir()
	db := statetest.Open(t)
	keys, err := secret.Open(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	signer, key := keys.Note()
	ldg, err := ledger.Open(t.Context(), filepath.Join(dir, "ledger"), signer, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ldg.Close() })
	b := &bench{t: t, db: db, ledger: ldg, key: key, now: time.Date(2026, 4, 1, 9, 0, 0, 0, time.UTC)}
	if b.keeper, err = auth.New(db, keys, b.clock, log); err != nil {
		t.Fatal(err)
	}
	b.assets, b.alerts, b.room = asset.New(db, b.clock, log), alert.New(db, b.clock, log), incident.New(db, b.clock, log)
	rules, err := duty.LoadRules()
	if err != nil {
		t.Fatal(err)
	}
	b.vault, err = evidence.New(db, filepath.Join(dir, "evidence"), evidence.Deps{Ledger: prover{ldg}, Key: key, Now: b.clock, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	b.devices = device.NewStore(db, keys, b.clock)
	b.actions = action.New(db, keys.Order(), b.assets, b.devices, b.clock, log)
	b.duties = duty.New(db, rules, b.clock, log)
	if b.archive, err = archive.Open(t.Context(), filepath.Join(dir, "archive"), log, archive.WithClock(b.clock)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.archive.Close() })
	b.engine = detect.NewSwitch(b.clock)
	b.rulebook = search.NewRulebook(db, b.archive, b.engine, search.Shelves{Own: ownrules.FS, Packs: fstest.MapFS{"wrong.yml": {Data: []byte("title: [")}}}, b.clock, log)
	b.reload()
	store, err := blob.OpenFolder(filepath.Join(dir, "paper"))
	if err != nil {
		t.Fatal(err)
	}
	books, err := playbook.New(db, playbook.Deps{Incidents: b.room, Duties: b.duties, Actions: b.actions, Now: b.clock, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := decision.New(db, decision.Deps{Incidents: b.room, Alerts: b.alerts, Hosts: b.assets, Duties: b.duties, Now: b.clock, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	notices := notify.New(db, notify.Deps{Keys: keys, People: b.keeper, Now: b.clock, Log: log, Names: b.assets.Names, Address: func() string { return "https://hub.example" }})
	tasks, err := task.New(db, task.Deps{Incidents: b.room, Alerts: b.alerts, Evidence: b.vault, Actions: b.actions, Duties: b.duties, Books: books, Shifts: notices,
		People: b.keeper, Now: b.clock, Log: log, Names: func(context.Context) (map[string]string, error) { return map[string]string{}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	if b.repositories, err = vault.New(db, vault.Deps{Dir: filepath.Join(dir, "repositories"), Keys: keys, Hosts: b.assets, Now: b.clock, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.repositories.Close() })
	plans := plan.New(db, books, b.clock, log)
	backups := policy.New(db, policy.Deps{Hosts: b.assets, People: b.keeper, Alerts: b.alerts, Now: b.clock, Log: log})
	drills := drill.New(db, drill.Deps{Hosts: b.assets, Now: b.clock, Log: log})
	b.h = New(Deps{
		Decisions:      decisions,
		BackupPolicies: backups,
		BackupHistory: history.New(history.Deps{Runs: backups, Vault: b.repositories, Copies: copy.New(db, copy.Deps{Keys: keys, Now: b.clock, Log: log}), Drills: drills,
			Restores: restore.New(db, restore.Deps{Now: b.clock, Log: log}), Anomalies: anomaly.New(db, anomaly.Deps{Now: b.clock, Log: log}), Hosts: b.assets, Room: b.room, Now: b.clock, Log: log}),
		Books: books, Tasks: tasks,
		People: b.keeper, Assets: b.assets, Alerts: b.alerts, Incidents: b.room, Ledger: ldg, Evidence: b.vault, Log: log,
		Actions: b.actions, Duties: b.duties, Archive: b.archive, Searches: search.New(db, b.archive, b.clock, log),
		Rules: b.rulebook, Now: b.clock,
		Paper:     paper.New(db, paper.Deps{Room: b.room, Store: store, People: b.keeper, Now: b.clock, Log: log}),
		Drills:    drills,
		Causes:    cause.New(db, cause.Deps{Room: b.room, Alerts: b.alerts, Bags: b.vault, People: b.keeper, Now: b.clock, Log: log}),
		Vault:     b.repositories,
		Plans:     plans,
		Forecasts: forecast.New(db, forecast.Deps{Plans: plans, Now: b.clock, Log: log}),
		Notices:   notices,
		Devices:   devices{b.devices, device.NewRunner(b.devices, b.actions, keys.Order().Public().(ed25519.PublicKey), nil, b.clock, log)},
		Reports:   report.New(db, b.reporting(ldg, rules), b.clock, log),
		Sheets: sheet.New(db, sheet.Deps{Incidents: b.room, Duties: b.duties, Alerts: b.alerts, Actions: b.actions, Books: books, Assets: b.assets,
			Names: b.assets.Names, Say: alert.Alert.Say, Pages: html.Sheets{}, Ledger: ldg}, b.clock, log),
	})
	b.story()
	return b
}

// reload puts into force what was changed: no bus tells of it.
func (b *bench) reload() {
	b.t.Helper()
	if err := b.rulebook.Reload(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// reporting is what documents are made from.
func (b *bench) reporting(ldg *ledger.Ledger, rules duty.Rules) report.Deps {
	return report.Deps{
		Incidents: b.room, Duties: b.duties, Ledger: ldg, Rules: rules, Say: alert.Alert.Say, Pages: html.Pages{},
		Alerts: func(ctx context.Context, incident string) ([]alert.Alert, error) {
			list, _, err := b.alerts.List(ctx, alert.Filter{Incident: incident})
			return list, err
		},
		Actions: func(ctx context.Context, incident string) ([]action.Action, error) {
			list, _, err := b.actions.List(ctx, action.Filter{Incident: incident})
			return list, err
		},
		Bags: func(ctx context.Context, incident string) ([]evidence.Bag, error) {
			list, _, err := b.vault.List(ctx, evidence.Filter{Incident: incident})
			return list, err
		},
		Names: func(ctx context.Context) (map[string]string, error) {
			return map[string]string{b.admin.ID: b.admin.Name}, nil
		},
	}
}

// story makes two sites with a host each, and the first administrator.
func (b *bench) story() {
	b.t.Helper()
	ctx := b.t.Context()
	token, err := b.keeper.FirstInvitation(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	inv, err := b.keeper.Invitation(ctx, token)
	if err != nil {
		b.t.Fatal(err)
	}
	b.admin, err = b.keeper.Accept(ctx, token, auth.Acceptance{Login: "admin", Name: "管理", Password: password, Code: b.code(inv.TOTPSecret)})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, site := range []asset.Site{
		{ID: "hospital", Name: "病院", Kind: asset.Hospital},
		{ID: "callcentre", Name: "コールセンター", Kind: asset.Contractor, Principal: "hospital"},
	} {
		if err := b.assets.SaveSite(ctx, site, b.admin); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) code(secret string) string {
	b.t.Helper()
	code, err := totp.GenerateCode(secret, b.clock())
	if err != nil {
		b.t.Fatal(err)
	}
	return code
}

// host enrols a machine at a site.
func (b *bench) host(site string) asset.Host {
	b.t.Helper()
	token, err := b.assets.NewToken(b.t.Context(), site, "", 0, b.admin)
	if err != nil {
		b.t.Fatal(err)
	}
	h, err := b.assets.Enroll(b.t.Context(), asset.NewHost{Token: token.Secret, Name: "PC-" + site, OS: "Debian", Agent: "1", Addresses: []string{"192.0.2.9"}})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.assets.Beat(b.t.Context(), h.ID, asset.Heartbeat{At: b.clock(), Agent: "1", OS: "Debian", Addresses: h.Addresses, Hub: "192.0.2.1:8444"}); err != nil {
		b.t.Fatal(err)
	}
	return h
}

// raise makes an alert on a host.
func (b *bench) raise(h asset.Host) alert.Alert {
	b.t.Helper()
	ctx := b.t.Context()
	f := detect.Finding{ID: "f-" + h.ID, Time: b.clock(), Site: h.Site, Host: h.ID,
		Rule:   detect.Rule{ID: "p2p", Title: detect.Text{"ja": "ファイル共有", "en": "File sharing"}, Level: event.Critical},
		Events: []event.Event{{ID: "b-1-" + h.ID, Time: b.clock(), Site: h.Site, Host: h.ID, Kind: event.KindFlow}}}
	if err := b.alerts.Handle(ctx, f); err != nil {
		b.t.Fatal(err)
	}
	list, _, err := b.alerts.List(ctx, alert.Filter{Host: h.ID})
	if err != nil || len(list) != 1 {
		b.t.Fatal(list, err)
	}
	return list[0]
}

// person makes somebody and returns their session token.
func (b *bench) person(login, site string, roles ...auth.Role) string {
	b.t.Helper()
	ctx := b.t.Context()
	token, err := b.keeper.Invite(ctx, auth.NewPerson{Login: login, Name: "名前", Roles: roles, Site: site}, b.admin)
	if err != nil {
		b.t.Fatal(err)
	}
	inv, err := b.keeper.Invitation(ctx, token)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.keeper.Accept(ctx, token, auth.Acceptance{Password: password, Code: b.code(inv.TOTPSecret)}); err != nil {
		b.t.Fatal(err)
	}
	var s Session
	b.call("", "POST", "/session", LogIn{login, password, b.code(inv.TOTPSecret)}).is(http.StatusCreated, &s)
	return s.Token
}

// answer is what came back.
type answer struct {
	t *testing.T
	*httptest.ResponseRecorder
	what string
}

// call sends a request with a bearer token.
func (b *bench) call(token, method, path string, in any) answer {
	b.t.Helper()
	var r io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			b.t.Fatal(err)
		}
		r = bytes.NewReader(text)
	}
	req := httptest.NewRequest(method, "http://127.0.0.1"+prefix+path, r)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return b.send(req)
}

func (b *bench) send(req *http.Request) answer {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, req)
	return answer{b.t, w, req.Method + " " + req.URL.Path}
}

// is checks the status and reads the body.
func (a answer) is(status int, out any) {
	a.t.Helper()
	if a.Code != status {
		a.t.Fatalf("%s: %d, want %d: %s", a.what, a.Code, status, a.Body)
	}
	if out != nil {
		if err := json.Unmarshal(a.Body.Bytes(), out); err != nil {
			a.t.Fatalf("%s: %v in %s", a.what, err, a.Body)
		}
	}
}

// problem checks that the answer is a problem with this key, in words.
func (a answer) problem(status int, key string) Problem {
	a.t.Helper()
	var p Problem
	a.is(status, &p)
	if p.Key != key || p.Status != status || p.Type != "urn:sonae:fault:"+key || a.Header().Get("Content-Type") != problemType {
		a.t.Errorf("%s: %+v as %s; want %s", a.what, p, a.Header().Get("Content-Type"), key)
	}
	if p.Detail == "" || strings.Contains(p.Detail, "⟦") {
		a.t.Errorf("%s: no sentence for %s: %q", a.what, key, p.Detail)
	}
	return p
}

// refusals counts the recorded refusals.
func (b *bench) refusals() int {
	b.t.Helper()
	_, n, err := b.keeper.Records(b.t.Context(), auth.RecordFilter{Kind: auth.RecordRefusal})
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

// prover appends a leaf and gives evidence the canonical bytes of its proof.
type prover struct{ l *ledger.Ledger }

func (p prover) Prove(ctx context.Context, l leaf.Leaf) ([]byte, error) {
	if _, err := p.l.Append(ctx, l); err != nil {
		return nil, err
	}
	proof, err := p.l.Prove(ctx, l)
	if err != nil {
		return nil, err
	}
	return proof.Bytes()
}
