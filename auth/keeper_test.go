package auth

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pquerna/otp/totp"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/secret"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

const goodPassword = "橋の上 犬が三匹 雨あがり"

// bench is a real Keeper on a real database, with a clock that the test turns.
type bench struct {
	*Keeper
	t  *testing.T
	db *state.DB

	mu  sync.Mutex
	now time.Time
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
	b := &bench{t: t, db: db, now: time.Date(2026, 4, 1, 9, 0, 0, 0, time.UTC)}
	if b.Keeper, err = New(db, keys, b.clock, log); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) clock() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.now }

func (b *bench) pass(d time.Duration) { b.mu.Lock(); defer b.mu.Unlock(); b.now = b.now.Add(d) }

// member is a person with what they know.
type member struct {
	Person
	secret string
}

// accept follows an invitation to its end.
func (b *bench) accept(token, login string) member {
	b.t.Helper()
	inv, err := b.Invitation(b.t.Context(), token)
	if err != nil {
		b.t.Fatal(err)
	}
	p, err := b.Accept(b.t.Context(), token, Acceptance{Login: login, Name: "名前", Password: goodPassword, Code: b.code(inv.TOTPSecret), Lang: "ja"})
	if err != nil {
		b.t.Fatal(err)
	}
	return member{p, inv.TOTPSecret}
}

func (b *bench) code(secret string) string {
	b.t.Helper()
	code, err := totp.GenerateCode(secret, b.clock())
	if err != nil {
		b.t.Fatal(err)
	}
	return code
}

func (b *bench) first() member {
	b.t.Helper()
	token, err := b.FirstInvitation(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return b.accept(token, "admin")
}

func (b *bench) invite(by member, login, site string, roles ...Role) member {
	b.t.Helper()
	token, err := b.Invite(b.t.Context(), NewPerson{Login: login, Name: "名前", Roles: roles, Site: site}, by.Person)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.accept(token, "")
}

// logIn waits for the next code, because one works once.
func (b *bench) logIn(m member) (Session, error) {
	b.pass(stepSeconds * time.Second)
	return b.LogIn(b.t.Context(), Credentials{Login: m.Login, Password: goodPassword, Code: b.code(m.secret), Address: "192.0.2.7:5000"})
}

func (b *bench) mustLogIn(m member) Session {
	b.t.Helper()
	s, err := b.logIn(m)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// recorded counts records by what they say, and checks that the ledger gets
// exactly their digests.
func (b *bench) recorded() map[string]int {
	b.t.Helper()
	list, total, err := b.Records(b.t.Context(), RecordFilter{Limit: 200})
	if err != nil {
		b.t.Fatal(err)
	}
	var emitted int
	if err := b.db.QueryRow(b.t.Context(), `SELECT COUNT(DISTINCT msg) FROM outbox WHERE subject IN ('record.login', 'record.person', 'record.refusal')`).Scan(&emitted); err != nil {
		b.t.Fatal(err)
	}
	if emitted != total {
		b.t.Errorf("%d leaves for %d records", emitted, total)
	}
	count := map[string]int{}
	for _, r := range list {
		count[r.What]++
	}
	return count
}

func wantFault(t *testing.T, err error, kind fault.Kind, key string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != kind || f.Key != key {
		t.Errorf("got %v; want %s %s", err, kind, key)
	}
}

func TestFirstAdministrator(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	old, err := b.FirstInvitation(ctx)
	if err != nil || old == "" {
		t.Fatal(old, err)
	}
	token, err := b.FirstInvitation(ctx) // the next start
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Invitation(ctx, old)
	wantFault(t, err, fault.Missing, "auth.invitation-unknown")

	inv, err := b.Invitation(ctx, token)
	if err != nil || !inv.First || !inv.NeedsTOTP || inv.TOTPSecret == "" || !strings.HasPrefix(inv.TOTPURL, "otpauth://totp/Sonae:administrator?") {
		t.Fatalf("%+v, %v", inv, err)
	}
	_, err = b.Accept(ctx, token, Acceptance{Login: "Admin", Name: "管理", Password: goodPassword})
	wantFault(t, err, fault.Invalid, "auth.code-wrong") // no second factor, no administrator
	p, err := b.Accept(ctx, token, Acceptance{Login: " Admin ", Name: "管理", Password: goodPassword, Code: b.code(inv.TOTPSecret)})
	if err != nil {
		t.Fatal(err)
	}
	want := Person{ID: p.ID, Login: "admin", Name: "管理", Roles: []Role{Administrator, Responder}, Lang: "ja", HasTOTP: true, CreatedAt: b.clock()}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
	if token, err := b.FirstInvitation(ctx); err != nil || token != "" {
		t.Errorf("a second first administrator: %q, %v", token, err)
	}
	// the code that confirmed the telephone may log in at once, then not again
	c := Credentials{Login: "admin", Password: goodPassword, Code: b.code(inv.TOTPSecret)}
	if _, err := b.LogIn(ctx, c); err != nil {
		t.Error(err)
	}
	_, err = b.LogIn(ctx, c)
	wantFault(t, err, fault.Denied, "auth.refused")
}

func TestInvitationWorksOnceAndForALimitedTime(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	admin := b.first()
	token, err := b.Invite(ctx, NewPerson{Login: "sato", Name: "佐藤", Roles: []Role{Responder}}, admin.Person)
	if err != nil {
		t.Fatal(err)
	}
	// twenty people click at the same moment
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() { _, errs[i] = b.Accept(ctx, token, Acceptance{Password: goodPassword}) })
	}
	wg.Wait()
	accepted := 0
	for _, err := range errs {
		if err == nil {
			accepted++
			continue
		}
		wantFault(t, err, fault.Conflict, "auth.invitation-used")
	}
	if accepted != 1 {
		t.Errorf("%d accepted", accepted)
	}
	_, err = b.Accept(ctx, token, Acceptance{Password: goodPassword})
	wantFault(t, err, fault.Conflict, "auth.invitation-used")
	if n := b.recorded()["invitation-replayed"]; n != 1 {
		t.Errorf("%d replays recorded in one minute, want 1", n)
	}
	_, err = b.Invite(ctx, NewPerson{Login: "SATO", Name: "佐藤", Roles: []Role{Responder}}, admin.Person)
	wantFault(t, err, fault.Conflict, "auth.login-taken")

	token, err = b.Invite(ctx, NewPerson{Login: "mori", Name: "森", Roles: []Role{Responder}}, admin.Person)
	if err != nil {
		t.Fatal(err)
	}
	b.pass(inviteLife)
	_, err = b.Accept(ctx, token, Acceptance{Password: goodPassword})
	wantFault(t, err, fault.Conflict, "auth.invitation-expired")
}

func TestInviteIsForAdministratorsOnly(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	admin := b.first()
	responder := b.invite(admin, "sato", "", Responder)
	local := b.invite(admin, "local", "callcentre", Administrator)
	_, err := b.Invite(ctx, NewPerson{Login: "x1", Name: "x", Roles: []Role{Administrator}}, responder.Person)
	wantFault(t, err, fault.Denied, "denied.role")
	_, err = b.Invite(ctx, NewPerson{Login: "x1", Name: "x", Roles: []Role{Administrator}}, local.Person)
	wantFault(t, err, fault.Denied, "denied.other-site") // nobody gives more than they have
	wantFault(t, b.SetRoles(ctx, admin.ID, []Role{Executive}, local.Person), fault.Denied, "denied.other-site")
	wantFault(t, b.Disable(ctx, admin.ID, responder.Person), fault.Denied, "denied.role")
	if n := b.recorded()["refused"]; n != 4 {
		t.Errorf("%d refusals recorded, want 4", n)
	}
	for name, n := range map[string]NewPerson{
		"auth.login-form":      {Login: "a b", Name: "x", Roles: []Role{Responder}},
		"auth.name-form":       {Login: "x1", Name: " ", Roles: []Role{Responder}},
		"auth.roles-form":      {Login: "x1", Name: "x", Roles: []Role{"root"}},
		"auth.contractor-site": {Login: "x1", Name: "x", Roles: []Role{Contractor}},
		"auth.lang-form":       {Login: "x1", Name: "x", Roles: []Role{Responder}, Lang: "fr"},
	} {
		_, err := b.Invite(ctx, n, admin.Person)
		wantFault(t, err, fault.Invalid, name)
	}
}

func TestPasswords(t *testing.T) {
	b := newBench(t)
	for password, want := range map[string]string{
		"short":                      "auth.password-short",
		"elevenchars":                "auth.password-short",
		"犬猫鳥魚牛馬羊豚猿鶏虎龍":               "", // twelve characters are twelve, in any script
		"correct horse battery 1":    "",
		"aaaaaaaaaaaaaaaa":           "auth.password-common",
		"abcabcabcabc":               "auth.password-common",
		"123456789012":               "auth.password-common",
		"zyxwvutsrqpo":               "auth.password-common",
		"Password1234":               "auth.password-common",
		"my-SATO-password":           "auth.password-login",
		strings.Repeat("長い", 129):    "auth.password-long",
		"not utf-8 at all: \xff\xfe": "auth.password-long",
	} {
		err := b.checkPassword(password, "sato")
		if want == "" {
			if err != nil {
				t.Errorf("%q: %v", password, err)
			}
			continue
		}
		wantFault(t, err, fault.Invalid, want)
	}
}

func TestOldHashesAreRenewed(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	p := b.invite(b.first(), "sato", "", Responder)
	// the hash that an older version made, at a lower cost
	old := "$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$" + oldHash()
	err := b.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE person SET password = $1 WHERE id = $2`, old, p.ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b.mustLogIn(p)
	var now string
	if err := b.db.QueryRow(ctx, `SELECT password FROM person WHERE id = $1`, p.ID).Scan(&now); err != nil || !strings.Contains(now, "m=65536,t=2,p=1") {
		t.Errorf("still %q, %v", now, err)
	}
	b.mustLogIn(p)
}
