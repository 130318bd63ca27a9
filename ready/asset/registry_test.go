package asset

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

var admin = auth.Person{ID: "pe-1"}

type clockwork struct {
	mu sync.Mutex
	at time.Time
}

func (c *clockwork) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }
func (c *clockwork) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// start gives a registry with a hospital and a call centre.
func start(t *testing.T) (*Registry, *state.DB, *clockwork) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	db := statetest.Open(t)
	c := &clockwork{at: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)}
	r := New(db, c.now, log)
	for _, s := range []Site{
		{ID: "hospital", Name: "病院", Kind: Hospital},
		{ID: "callcentre", Name: "予約受付センター", Kind: Contractor, Principal: "hospital", Contact: "内線 1"},
	} {
		if err := r.SaveSite(t.Context(), s, admin); err != nil {
			t.Fatal(err)
		}
	}
	return r, db, c
}

// refs lists the leaves that wait in the outbox and whose ref begins so, without
// that beginning.
func refs(t *testing.T, db *state.DB, begins string) []string {
	t.Helper()
	rows, err := db.Query(t.Context(), `SELECT body FROM outbox WHERE subject = $1 ORDER BY seq`, "record."+LeafAsset)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			t.Fatal(err)
		}
		var l struct{ Type, Ref, Digest string }
		if err := json.Unmarshal(b, &l); err != nil || l.Type != LeafAsset || len(l.Digest) != 64 {
			t.Fatalf("leaf %s: %v", b, err)
		}
		if ref, ok := strings.CutPrefix(l.Ref, begins); ok {
			out = append(out, ref)
		}
	}
	return out
}

func enrol(t *testing.T, r *Registry, site string) Host {
	t.Helper()
	tok, err := r.NewToken(t.Context(), site, "受付の端末", 0, admin)
	if err != nil {
		t.Fatal(err)
	}
	h, err := r.Enroll(t.Context(), NewHost{Token: tok.Secret, Name: "cc-pc-07", OS: "linux", Agent: "v1", Addresses: []string{"10.0.0.7", "::ffff:10.0.0.8", "no"}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestSiteIsSavedAndRefused(t *testing.T) {
	r, db, _ := start(t)
	want := Site{ID: "callcentre", Name: "新しい名前", Kind: Contractor, Principal: "hospital"}
	if err := r.SaveSite(t.Context(), Site{ID: want.ID, Name: want.Name, Kind: want.Kind, Principal: want.Principal, Drill: true}, admin); err != nil {
		t.Fatal(err)
	}
	got, err := r.Site(t.Context(), "callcentre")
	if err != nil || got != want {
		t.Fatalf("got %+v, %v; want %+v: a real site cannot become a practice site", got, err, want)
	}
	if d := cmp.Diff([]string{"hospital/1", "callcentre/1", "callcentre/2"}, refs(t, db, "site/")); d != "" {
		t.Error(d)
	}
	for name, tt := range map[string]struct {
		s    Site
		kind fault.Kind
	}{
		"upper case":        {Site{ID: "Ward", Name: "x", Kind: Hospital}, fault.Invalid},
		"a dot":             {Site{ID: "a.b", Name: "x", Kind: Hospital}, fault.Invalid},
		"too long":          {Site{ID: strings.Repeat("a", 33), Name: "x", Kind: Hospital}, fault.Invalid},
		"no name":           {Site{ID: "a", Kind: Hospital}, fault.Invalid},
		"unknown kind":      {Site{ID: "a", Name: "x", Kind: "ship"}, fault.Invalid},
		"own principal":     {Site{ID: "a", Name: "x", Kind: Office, Principal: "a"}, fault.Invalid},
		"unknown principal": {Site{ID: "a", Name: "x", Kind: Office, Principal: "b"}, fault.Missing},
	} {
		if err := r.SaveSite(t.Context(), tt.s, admin); fault.Of(err) != tt.kind {
			t.Errorf("%s: got %v, want %s", name, err, tt.kind)
		}
	}
	if _, err := r.Site(t.Context(), "nowhere"); fault.Of(err) != fault.Missing {
		t.Errorf("unknown site: got %v", err)
	}
}

func TestTokenWorksOnceAndIsNotStored(t *testing.T) {
	r, db, c := start(t)
	ctx := t.Context()
	tok, err := r.NewToken(ctx, "callcentre", "", time.Hour, admin)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := db.QueryRow(ctx, `SELECT COUNT(*) FROM asset_token WHERE hash = $1 OR note = $1 OR id = $1`, tok.Secret).Scan(&n); err != nil || n != 0 {
		t.Fatalf("the secret itself is stored (%d, %v)", n, err)
	}
	h, err := r.Enroll(ctx, NewHost{Token: tok.Secret, Name: "pc"})
	if err != nil || h.Site != "callcentre" {
		t.Fatalf("got %+v, %v", h, err)
	}
	var f *fault.Error
	if _, err = r.Enroll(ctx, NewHost{Token: tok.Secret, Name: "thief"}); !errors.As(err, &f) || f.Kind != fault.Denied || f.Key != "asset.token-used" {
		t.Fatalf("replay: got %v", err)
	}
	if _, err = r.Enroll(ctx, NewHost{Token: "guess", Name: "thief"}); fault.Of(err) != fault.Denied {
		t.Fatalf("guess: got %v", err)
	}
	c.pass(time.Second)
	late, err := r.NewToken(ctx, "hospital", "", time.Minute, admin)
	if err != nil {
		t.Fatal(err)
	}
	c.pass(time.Minute + time.Nanosecond)
	if _, err = r.Enroll(ctx, NewHost{Token: late.Secret, Name: "late"}); !errors.As(err, &f) || f.Key != "asset.token-expired" {
		t.Fatalf("expired: got %v", err)
	}
	want := []string{tok.ID + "/made", tok.ID + "/used", tok.ID + "/refused/1", late.ID + "/made", late.ID + "/refused/1"}
	if d := cmp.Diff(want, refs(t, db, "token/")); d != "" {
		t.Error(d)
	}
	list, err := r.Tokens(ctx)
	if err != nil || len(list) != 2 || list[1].Host != h.ID || list[1].Refused != 1 || list[1].Secret != "" || list[0].Secret != "" {
		t.Fatalf("got %+v, %v", list, err)
	}
	if _, total, err := r.Hosts(ctx, Filter{}); err != nil || total != 1 {
		t.Fatalf("got %d hosts, %v; want only the one that enrolled", total, err)
	}
}

func TestOneTokenManyMachinesAtOnce(t *testing.T) {
	r, _, _ := start(t)
	tok, err := r.NewToken(t.Context(), "callcentre", "", 0, admin)
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 20)
	var wg sync.WaitGroup
	for range cap(errs) {
		wg.Go(func() {
			_, err := r.Enroll(t.Context(), NewHost{Token: tok.Secret, Name: "pc"})
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	won := 0
	for err := range errs {
		if err == nil {
			won++
		} else if fault.Of(err) != fault.Denied {
			t.Errorf("got %v", err)
		}
	}
	if won != 1 {
		t.Fatalf("%d machines enrolled with one token", won)
	}
}

func TestTokenIsRefusedOrRevoked(t *testing.T) {
	r, _, _ := start(t)
	ctx := t.Context()
	if _, err := r.NewToken(ctx, "nowhere", "", 0, admin); fault.Of(err) != fault.Missing {
		t.Errorf("unknown site: got %v", err)
	}
	if err := r.SaveSite(ctx, Site{ID: "practice", Name: "訓練", Kind: Contractor, Drill: true}, admin); err != nil {
		t.Fatal(err)
	}
	if _, err := r.NewToken(ctx, "practice", "", 0, admin); fault.Of(err) != fault.Conflict {
		t.Errorf("practice site: got %v", err)
	}
	if _, err := r.NewToken(ctx, "hospital", "", MaxTokenLifetime+1, admin); fault.Of(err) != fault.Invalid {
		t.Errorf("too long: got %v", err)
	}
	tok, err := r.NewToken(ctx, "hospital", "", 0, admin)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.RevokeToken(ctx, tok.ID, admin); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Enroll(ctx, NewHost{Token: tok.Secret, Name: "pc"}); fault.Of(err) != fault.Denied {
		t.Errorf("revoked: got %v", err)
	}
}

func TestHostIsChangedAndRemoved(t *testing.T) {
	r, db, _ := start(t)
	ctx := t.Context()
	h := enrol(t, r, "callcentre")
	if d := cmp.Diff([]string{"10.0.0.7", "10.0.0.8"}, h.Addresses); d != "" {
		t.Error(d)
	}
	h.Name, h.Class, h.Keep, h.Site = "受付7番", "pc", "救急の受付", "hospital"
	h.Services = []Service{{Name: "予約受付", Effect: "電話予約が止まる", Load: "1時間あたり約40件の電話"}}
	if err := r.SaveHost(ctx, h, admin); err != nil {
		t.Fatal(err)
	}
	got, err := r.Host(ctx, h.ID)
	if err != nil || got.Site != "callcentre" || got.Keep != h.Keep || len(got.Services) != 1 || got.Services[0].ID == "" {
		t.Fatalf("got %+v, %v: a host cannot move to another site", got, err)
	}
	if err := r.Beat(ctx, h.ID, Heartbeat{Hub: "192.0.2.1:7443"}); err != nil {
		t.Fatal(err)
	}
	if site, err := r.Gate().Member(ctx, h.ID); err != nil || site != "callcentre" {
		t.Fatalf("got %q, %v", site, err)
	}
	if err := r.RemoveHost(ctx, h.ID, admin); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Gate().Member(ctx, h.ID); fault.Of(err) != fault.Denied {
		t.Errorf("removed host: got %v", err)
	}
	if err := r.Beat(ctx, h.ID, Heartbeat{Hub: "192.0.2.1:7443"}); fault.Of(err) != fault.Missing {
		t.Errorf("heartbeat of a removed host: got %v", err)
	}
	if err := r.SaveHost(ctx, h, admin); fault.Of(err) != fault.Missing {
		t.Errorf("change of a removed host: got %v", err)
	}
	if d := cmp.Diff([]string{h.ID + "/1", h.ID + "/2", h.ID + "/3"}, refs(t, db, "host/")); d != "" {
		t.Error(d)
	}
}

func TestHeartbeatIsSeenAtOnceAndStoredInTime(t *testing.T) {
	r, db, c := start(t)
	ctx := t.Context()
	h := enrol(t, r, "callcentre")
	if _, err := r.HubAddress(ctx, h.ID); fault.Of(err) != fault.Missing {
		t.Errorf("before the first heartbeat: got %v", err)
	}
	beat := Heartbeat{At: c.now().Add(-90 * time.Second), Hub: "[2001:db8::1]:7443", Addresses: []string{"10.0.0.9"}, Health: Health{CPU: 0.5}}
	stored := func() int64 {
		var n int64
		if err := db.QueryRow(ctx, `SELECT last_seen FROM asset_host WHERE id = $1`, h.ID).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 12 { // one minute
		c.pass(5 * time.Second)
		beat.At, beat.Health.CPU = c.now().Add(-90*time.Second), float64(i)/20
		if err := r.Beat(ctx, h.ID, beat); err != nil {
			t.Fatal(err)
		}
		got, err := r.Host(ctx, h.ID)
		if err != nil || !got.LastSeen.Equal(c.now()) || got.Health.CPU != beat.Health.CPU || got.Health.Offset != -90*time.Second {
			t.Fatalf("got %+v, %v", got, err)
		}
		if age := c.now().Sub(state.Time(stored())); age > saveEvery {
			t.Fatalf("the stored time is %v old", age)
		}
	}
	beat.Health.Isolated, beat.Action, beat.LeaseEnd = true, "ac-1", c.now().Add(time.Hour)
	c.pass(time.Second)
	if err := r.Beat(ctx, h.ID, beat); err != nil {
		t.Fatal(err)
	}
	if !state.Time(stored()).Equal(c.now()) {
		t.Error("an isolation was not stored at once")
	}
	// a hub that starts again knows what was stored
	again := New(db, c.now, slog.New(slog.DiscardHandler))
	got, err := again.Host(ctx, h.ID)
	if err != nil || !got.Health.Isolated || got.Action != "ac-1" || !got.LeaseEnd.Equal(beat.LeaseEnd) {
		t.Fatalf("after restart: %+v, %v", got, err)
	}
	if hub, err := again.HubAddress(ctx, h.ID); err != nil || hub != beat.Hub {
		t.Fatalf("hub address: %q, %v", hub, err)
	}
	beat.Hub = "hub.example:7443"
	if err := r.Beat(ctx, h.ID, beat); fault.Of(err) != fault.Invalid {
		t.Errorf("a name as hub address: got %v", err)
	}
}

func TestDrillHost(t *testing.T) {
	r, _, _ := start(t)
	ctx := t.Context()
	real := enrol(t, r, "callcentre")
	d := Host{ID: "drill-pc", Name: "訓練の端末", Site: "callcentre", Class: "pc"}
	for range 2 {
		if err := r.AddDrillHost(ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	got, err := r.Host(ctx, d.ID)
	if err != nil || !got.Drill {
		t.Fatalf("got %+v, %v", got, err)
	}
	d.ID = real.ID
	if err := r.AddDrillHost(ctx, d); fault.Of(err) != fault.Conflict {
		t.Errorf("over a real host: got %v", err)
	}
	if _, err := r.Gate().Member(ctx, "drill-pc"); fault.Of(err) != fault.Denied {
		t.Errorf("a drill host may not speak: got %v", err)
	}
	if err := r.Beat(ctx, "drill-pc", Heartbeat{}); fault.Of(err) != fault.Missing {
		t.Errorf("heartbeat of a drill host: got %v", err)
	}
}

func TestHostsArePaged(t *testing.T) {
	r, _, _ := start(t)
	ctx := t.Context()
	for range 3 {
		enrol(t, r, "callcentre")
	}
	enrol(t, r, "hospital")
	got, total, err := r.Hosts(ctx, Filter{Site: "callcentre", Limit: 2, Offset: 1})
	if err != nil || total != 3 || len(got) != 2 {
		t.Fatalf("got %d of %d, %v; want 2 of 3", len(got), total, err)
	}
}

// TestEveryFaultHasASentence keeps the catalogue and the code together.
func TestEveryFaultHasASentence(t *testing.T) {
	keys := regexp.MustCompile(`fault\.New\(fault\.\w+, "([^"]+)"`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, lang := range []string{"ja", "en"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "i18n", lang, "asset.json"))
		if err != nil {
			t.Fatal(err)
		}
		var catalogue map[string]string
		if err := json.Unmarshal(text, &catalogue); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range keys.FindAllSubmatch(src, -1) {
				if catalogue["fault."+string(m[1])] == "" {
					t.Errorf("%s: %s has no sentence in %s", f, m[1], lang)
				}
			}
		}
	}
}

func TestTokenOfAnotherSiteIsNotRevoked(t *testing.T) {
	r, _, _ := start(t)
	tok, err := r.NewToken(t.Context(), "hospital", "", 0, admin)
	if err != nil {
		t.Fatal(err)
	}
	local := auth.Person{ID: "pe-2", Site: "callcentre"}
	if err := r.RevokeToken(t.Context(), tok.ID, local); fault.Of(err) != fault.Denied {
		t.Errorf("got %v, want a refusal", err)
	}
	if _, err := r.Enroll(t.Context(), NewHost{Token: tok.Secret, Name: "PC"}); err != nil {
		t.Errorf("the token was revoked all the same: %v", err)
	}
}
