package auth

import (
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
)

func TestCodeConfirmsOnce(t *testing.T) {
	b := newBench(t)
	admin := b.first()
	b.pass(time.Minute)
	code := b.code(admin.secret)
	if err := b.Confirm(t.Context(), admin.Person, code); err != nil {
		t.Fatal(err)
	}
	wantFault(t, b.Confirm(t.Context(), admin.Person, code), fault.Invalid, "auth.code-refused")
	_, err := b.LogIn(t.Context(), Credentials{Login: "admin", Password: goodPassword, Code: code})
	wantFault(t, err, fault.Denied, "auth.refused") // nor does it log in any more
	if n := b.recorded()["confirmed"]; n != 1 {
		t.Errorf("recorded %d times, want once", n)
	}
	b.pass(time.Minute)
	code = b.code(admin.secret)
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() { errs[i] = b.Confirm(t.Context(), admin.Person, code) })
	}
	wg.Wait()
	worked := 0
	for _, err := range errs {
		if err == nil {
			worked++
		}
	}
	if worked != 1 {
		t.Errorf("one code confirmed %d times at the same moment", worked)
	}
}

func TestWrongCodesLockConfirmingAndNothingElse(t *testing.T) {
	b := newBench(t)
	admin := b.first()
	b.pass(time.Minute)
	for range freeByLogin + 1 {
		wantFault(t, b.Confirm(t.Context(), admin.Person, "000000"), fault.Invalid, "auth.code-refused")
	}
	wantFault(t, b.Confirm(t.Context(), admin.Person, b.code(admin.secret)), fault.Busy, "auth.locked")
	if n := b.recorded()["locked-out"]; n != 1 {
		t.Errorf("%d lock-outs recorded, want 1", n)
	}
	b.mustLogIn(admin)
	b.pass(2 * firstDelay)
	if err := b.Confirm(t.Context(), admin.Person, b.code(admin.secret)); err != nil {
		t.Errorf("after the delay: %v", err)
	}
}

func TestWhoHasNoCodeCannotConfirm(t *testing.T) {
	b := newBench(t)
	admin := b.first()
	b.pass(time.Minute)
	token, err := b.Invite(t.Context(), NewPerson{Login: "plain", Name: "名前", Roles: []Role{Responder}}, admin.Person)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := b.Accept(t.Context(), token, Acceptance{Password: goodPassword})
	if err != nil {
		t.Fatal(err)
	}
	wantFault(t, b.Confirm(t.Context(), plain, "123456"), fault.Conflict, "auth.no-code")
	gone := b.invite(admin, "gone", "", Responder)
	if err := b.Disable(t.Context(), gone.ID, admin.Person); err != nil {
		t.Fatal(err)
	}
	wantFault(t, b.Confirm(t.Context(), gone.Person, b.code(gone.secret)), fault.Denied, "auth.session-ended")
}
