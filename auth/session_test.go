package auth

import (
	"bytes"
	"encoding/base64"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/state"
)

func oldHash() string {
	salt, _ := base64.RawStdEncoding.DecodeString("c29tZXNhbHRzb21lc2FsdA")
	return base64.RawStdEncoding.EncodeToString(argon2.IDKey([]byte(goodPassword), salt, 1, 8192, 1, 32))
}

func TestRefusalsTellNothing(t *testing.T) {
	b := newBench(t)
	admin := b.first()
	gone := b.invite(admin, "gone", "", Responder)
	if err := b.Disable(t.Context(), gone.ID, admin.Person); err != nil {
		t.Fatal(err)
	}
	b.pass(time.Minute)
	for name, c := range map[string]Credentials{
		"no such account":     {Login: "nobody", Password: goodPassword},
		"wrong password":      {Login: "admin", Password: "wrong wrong wrong", Code: b.code(admin.secret)},
		"wrong code":          {Login: "admin", Password: goodPassword, Code: "000000"},
		"no code":             {Login: "admin", Password: goodPassword},
		"a disabled account":  {Login: "gone", Password: goodPassword, Code: b.code(gone.secret)},
		"an endless password": {Login: "nobody2", Password: string(make([]byte, 1<<20))},
		"nothing":             {},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.LogIn(t.Context(), c)
			wantFault(t, err, fault.Denied, "auth.refused")
		})
	}
}

func TestCodeOfTheStepBeforeAndAfterWorks(t *testing.T) {
	b := newBench(t)
	admin := b.first()
	for _, off := range []time.Duration{0, 30 * time.Second, -30 * time.Second} {
		b.pass(2 * time.Minute)
		b.pass(off)
		code := b.code(admin.secret)
		b.pass(-off)
		if _, err := b.LogIn(t.Context(), Credentials{Login: "admin", Password: goodPassword, Code: code[:3] + " " + code[3:]}); err != nil {
			t.Errorf("telephone off by %v: %v", off, err)
		}
	}
	b.pass(2 * time.Minute)
	code := b.code(admin.secret)
	b.pass(2 * time.Minute)
	_, err := b.LogIn(t.Context(), Credentials{Login: "admin", Password: goodPassword, Code: code})
	wantFault(t, err, fault.Denied, "auth.refused")
}

func TestOneCodeLogsInOnceAlsoAtTheSameMoment(t *testing.T) {
	b := newBench(t)
	admin := b.first()
	c := Credentials{Login: "admin", Password: goodPassword, Code: b.code(admin.secret)}
	var wg sync.WaitGroup
	errs := make([]error, 4) // below the lock-out
	for i := range errs {
		wg.Go(func() { _, errs[i] = b.LogIn(t.Context(), c) })
	}
	wg.Wait()
	in := 0
	for _, err := range errs {
		if err == nil {
			in++
		}
	}
	if in != 1 {
		t.Errorf("%d sessions from one code", in)
	}
}

func TestLockOut(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	admin := b.first()
	b.pass(time.Minute)
	fail := func(login string) error {
		_, err := b.LogIn(ctx, Credentials{Login: login, Password: "wrong wrong wrong"})
		return err
	}
	for _, login := range []string{"admin", "nobody"} { // the same for an account that does not exist
		for range freeByLogin + 1 {
			wantFault(t, fail(login), fault.Denied, "auth.refused")
		}
		wantFault(t, fail(login), fault.Busy, "auth.locked")
	}
	// the right password does not help while it is locked
	_, err := b.LogIn(ctx, Credentials{Login: "admin", Password: goodPassword, Code: b.code(admin.secret)})
	wantFault(t, err, fault.Busy, "auth.locked")
	if n := b.recorded()["locked-out"]; n != 2 {
		t.Errorf("%d lock-outs recorded, want 2", n)
	}
	// each further failure doubles the delay
	b.pass(firstDelay)
	wantFault(t, fail("admin"), fault.Denied, "auth.refused")
	b.pass(2*firstDelay - time.Second)
	wantFault(t, fail("admin"), fault.Busy, "auth.locked")
	b.pass(time.Second)
	b.mustLogIn(admin)
	// and the right password clears the count
	for range freeByLogin {
		wantFault(t, fail("admin"), fault.Denied, "auth.refused")
	}
	b.mustLogIn(admin)
}

func TestManyTriesAtTheSameMomentAreCounted(t *testing.T) {
	b := newBench(t)
	b.first()
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = b.LogIn(t.Context(), Credentials{Login: "admin", Password: "wrong wrong wrong"})
		})
	}
	wg.Wait()
	tried := 0
	for _, err := range errs {
		if fault.Of(err) == fault.Denied {
			tried++
		}
	}
	if tried != freeByLogin+1 {
		t.Errorf("%d passwords were tried at once, want %d", tried, freeByLogin+1)
	}
}

func TestAddressIsLimitedAcrossNames(t *testing.T) {
	b := newBench(t)
	admin := b.first()
	b.pass(time.Minute)
	try := func(login, address string) error {
		_, err := b.LogIn(t.Context(), Credentials{Login: login, Password: "x", Address: address})
		return err
	}
	for i := range freeByAddress + 1 {
		wantFault(t, try("name"+string(rune('a'+i%26))+string(rune('a'+i/26)), "[2001:db8::1]:1000"), fault.Denied, "auth.refused")
	}
	wantFault(t, try("other", "2001:db8::ffff"), fault.Busy, "auth.locked") // the same /64
	wantFault(t, try("other", "2001:db8:0:1::1"), fault.Denied, "auth.refused")
	b.mustLogIn(admin) // from elsewhere
}

func TestDelayGrowsAndEnds(t *testing.T) {
	var got []time.Duration
	for n := 1; n <= 12; n++ {
		got = append(got, lockDelay(n, 4))
	}
	for i, want := range []time.Duration{0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900, 900} {
		if got[i] != want*time.Second {
			t.Errorf("failure %d: %v, want %v", i+1, got[i], want*time.Second)
		}
	}
}

func TestSessionEnds(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	admin := b.first()
	alive := func(s Session) bool {
		t.Helper()
		p, err := b.Session(ctx, s.Token)
		if err == nil {
			return p.ID == s.Person.ID
		}
		wantFault(t, err, fault.Denied, "auth.session-ended")
		return false
	}

	s := b.mustLogIn(admin)
	b.pass(idleLife - time.Second)
	if !alive(s) {
		t.Error("ended while in use")
	}
	b.pass(idleLife - time.Second)
	if !alive(s) {
		t.Error("being used does not keep it alive")
	}
	b.pass(idleLife)
	if alive(s) {
		t.Error("alive after half an hour of nothing")
	}

	s = b.mustLogIn(admin)
	for range 24 {
		b.pass(idleLife - time.Minute)
		if !alive(s) {
			t.Fatal("ended while in use")
		}
	}
	b.pass(24 * time.Minute)
	if alive(s) {
		t.Error("alive after twelve hours")
	}

	s = b.mustLogIn(admin)
	if err := b.LogOut(ctx, s.Token); err != nil || alive(s) {
		t.Errorf("alive after log-out (%v)", err)
	}
	for _, token := range []string{"", "x", s.Token + "A", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		if alive(Session{Token: token}) {
			t.Errorf("token %q is a session", token)
		}
	}
}

func TestChangesOfRightsEndSessions(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	admin := b.first()
	p := b.invite(admin, "sato", "", Responder)
	for name, change := range map[string]func() error{
		"roles":   func() error { return b.SetRoles(ctx, p.ID, []Role{Executive}, admin.Person) },
		"disable": func() error { return b.Disable(ctx, p.ID, admin.Person) },
	} {
		one, two := b.mustLogIn(p), b.mustLogIn(p)
		if err := change(); err != nil {
			t.Fatal(name, err)
		}
		for _, s := range []Session{one, two} {
			if _, err := b.Session(ctx, s.Token); fault.Of(err) != fault.Denied {
				t.Errorf("%s: a session goes on: %v", name, err)
			}
		}
		if err := b.Enable(ctx, p.ID, admin.Person); err != nil && name == "disable" {
			t.Error(err)
		}
	}
	if got := b.recorded(); got["roles-changed"] != 1 || got["disabled"] != 1 || got["enabled"] != 1 {
		t.Errorf("recorded %v", got)
	}
}

func TestPrivilegeNeedsTheSecondFactor(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	admin := b.first()
	token, err := b.Invite(ctx, NewPerson{Login: "sato", Name: "佐藤", Roles: []Role{Responder}}, admin.Person)
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Accept(ctx, token, Acceptance{Password: goodPassword}) // needs none, takes none
	if err != nil || p.HasTOTP {
		t.Fatal(p, err)
	}
	wantFault(t, b.SetRoles(ctx, p.ID, []Role{Approver}, admin.Person), fault.Conflict, "auth.second-factor-missing")
	// the remedy: a new log-in with a telephone, then the role
	if token, err = b.Renew(ctx, p.ID, admin.Person); err != nil {
		t.Fatal(err)
	}
	m := b.accept(token, "")
	if err := b.SetRoles(ctx, p.ID, []Role{Approver}, admin.Person); err != nil || m.ID != p.ID {
		t.Fatal(m.ID, err)
	}
	b.mustLogIn(m)
	if got := b.recorded(); got["renewed"] != 1 || got["logged-in"] != 1 {
		t.Errorf("recorded %v", got)
	}
	// a renewal cannot be used to lose it again
	if token, err = b.Renew(ctx, p.ID, admin.Person); err != nil {
		t.Fatal(err)
	}
	_, err = b.Accept(ctx, token, Acceptance{Password: goodPassword})
	wantFault(t, err, fault.Invalid, "auth.code-wrong")
}

func TestAnAdministratorRemains(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	admin := b.first()
	b.invite(admin, "local", "callcentre", Administrator) // of one site: does not count
	wantFault(t, b.Disable(ctx, admin.ID, admin.Person), fault.Conflict, "auth.last-administrator")
	wantFault(t, b.SetRoles(ctx, admin.ID, []Role{Responder}, admin.Person), fault.Conflict, "auth.last-administrator")
	b.invite(admin, "second", "", Administrator)
	if err := b.Disable(ctx, admin.ID, admin.Person); err != nil {
		t.Error(err)
	}
	wantFault(t, b.Disable(ctx, "pe-none", admin.Person), fault.Missing, "auth.no-person")
}

// What is stored lets nobody in: no token, password or TOTP secret in clear.
func TestNothingStoredLetsIn(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	admin := b.first()
	s := b.mustLogIn(admin)
	token, err := b.Invite(ctx, NewPerson{Login: "sato", Name: "佐藤", Roles: []Role{Approver}}, admin.Person)
	if err != nil {
		t.Fatal(err)
	}
	inv, err := b.Invitation(ctx, token)
	if err != nil {
		t.Fatal(err)
	}
	for _, clear := range []string{goodPassword, admin.secret, inv.TOTPSecret, s.Token, token} {
		for _, table := range []string{"person", "invitation", "session", "attempt", "auth_record", "outbox"} {
			if n := occurrences(t, b.db, table, clear); n > 0 {
				t.Errorf("table %s holds a secret in clear", table)
			}
		}
	}
	if occurrences(t, b.db, "person", "admin") == 0 {
		t.Error("the search itself finds nothing")
	}
	// leaves and records name people by id only
	for _, table := range []string{"auth_record", "outbox"} {
		if n := occurrences(t, b.db, table, "佐藤") + occurrences(t, b.db, table, "sato"); n > 0 {
			t.Errorf("table %s holds a name", table)
		}
	}
}

// occurrences counts the cells of table in which text stands.
func occurrences(t *testing.T, db *state.DB, table, text string) int {
	t.Helper()
	rows, err := db.Query(t.Context(), `SELECT * FROM `+table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for rows.Next() {
		cells := make([]any, len(columns))
		for i := range cells {
			cells[i] = new([]byte)
		}
		if err := rows.Scan(cells...); err != nil {
			t.Fatal(err)
		}
		for _, c := range cells {
			if b, ok := c.(*[]byte); ok && bytes.Contains(*b, []byte(text)) {
				n++
			}
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// The work for an unknown account is the work for a known one: one hash each.
func TestUnknownAccountsCostTheSame(t *testing.T) {
	b := newBench(t)
	b.invite(b.first(), "sato", "", Responder)
	measure := func(login string) time.Duration {
		best := time.Hour
		for range 3 {
			start := time.Now()
			_, err := b.LogIn(t.Context(), Credentials{Login: login, Password: "wrong wrong wrong"})
			wantFault(t, err, fault.Denied, "auth.refused")
			best = min(best, time.Since(start))
		}
		return best
	}
	known, unknown := measure("sato"), measure("nobody")
	t.Logf("known %v, unknown %v", known, unknown)
	if unknown < known/4 || known < unknown/4 { // skipping the hash would be a hundredfold
		t.Errorf("known %v, unknown %v: the difference tells who exists", known, unknown)
	}
}

func FuzzToken(f *testing.F) {
	token, _, err := newToken()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Add("")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n")
	f.Fuzz(func(t *testing.T, text string) {
		hash, err := hashToken(text)
		if err != nil {
			return
		}
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(raw) != tokenBytes || base64.RawURLEncoding.EncodeToString(raw) != text || len(hash) != 64 {
			t.Errorf("%q was taken for a token", text)
		}
	})
}
