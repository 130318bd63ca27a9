package directory

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/contain"
)

// Apply disables the account.
func (m Means) Apply(ctx context.Context, r contain.Row, _ time.Duration) error {
	return m.change(ctx, r, func(_ prior, now string) (string, bool) { return m.closed(now), !m.shut(now) })
}

// Undo enables it, if it was enabled.
func (m Means) Undo(ctx context.Context, r contain.Row) error {
	return m.change(ctx, r, func(p prior, now string) (string, bool) { return m.opened(p, now), m.shut(now) && !m.shut(p.Was) })
}

// closed is a value with which the account is closed, made of the present one.
func (m Means) closed(now string) string {
	if m.Config.Kind == OpenLDAP {
		return lockedFor
	}
	n, _ := strconv.ParseInt(now, 10, 64) // 0 has no flags
	return strconv.FormatInt(n|disabled, 10)
}

// opened is the value to bring back: other flags may have changed meanwhile,
// and stay.
func (m Means) opened(p prior, now string) string {
	if m.Config.Kind == OpenLDAP || p.Was == "" {
		return p.Was
	}
	n, _ := strconv.ParseInt(now, 10, 64) // 0 has no flags
	return strconv.FormatInt(n&^disabled, 10)
}

// change reads the value, asks what it should be and whether to change it, and
// changes it only if it is still what was read; else it looks again.
func (m Means) change(ctx context.Context, r contain.Row, to func(p prior, now string) (string, bool)) error {
	var p prior
	if err := r.Read(&p); err != nil {
		return err
	}
	c, err := m.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for range tries {
		now, there, err := m.value(c, p.DN)
		if err != nil {
			return err
		}
		want, do := to(p, now)
		if !there || !do {
			return nil
		}
		err = c.Modify(swap(p.DN, m.attribute(), now, want))
		if err == nil || !ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchAttribute, ldap.LDAPResultAttributeOrValueExists, ldap.LDAPResultConstraintViolation) {
			return wrap(p.DN, err)
		}
	}
	return fmt.Errorf("change %s: somebody else changes it all the time", p.DN)
}

func wrap(dn string, err error) error {
	if err != nil {
		return fmt.Errorf("change %s: %w", dn, err)
	}
	return nil
}

// swap is compare and swap: deleting a value that is not there any more fails,
// and with it the whole modification (RFC 4511 4.6).
func swap(dn, attribute, from, to string) *ldap.ModifyRequest {
	q := ldap.NewModifyRequest(dn, nil)
	if from != "" {
		q.Delete(attribute, []string{from})
	}
	if to != "" {
		q.Add(attribute, []string{to})
	}
	return q
}

// value is what the account has now; a deleted account is not there.
func (m Means) value(c *ldap.Conn, dn string) (value string, there bool, err error) {
	e, err := m.entry(c, dn, m.attribute())
	if ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	return e.GetAttributeValue(m.attribute()), true, nil
}

// look asks for the value of an action's account.
func (m Means) look(ctx context.Context, r contain.Row, p *prior) (value string, there bool, err error) {
	if err := r.Read(p); err != nil {
		return "", false, err
	}
	c, err := m.dial(ctx)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = c.Close() }()
	return m.value(c, p.DN)
}

// Verify asks the directory.
func (m Means) Verify(ctx context.Context, r contain.Row) []order.Check {
	var p prior
	value, there, err := m.look(ctx, r, &p)
	c := order.Check{Name: "account-disabled", Target: r.Order.Object, At: m.Now().UTC()}
	if c.OK = err == nil && (!there || m.shut(value)); err != nil {
		c.Detail = err.Error()
	}
	return []order.Check{c}
}

// Undone asks the directory.
func (m Means) Undone(ctx context.Context, r contain.Row) []order.Check {
	var p prior
	value, there, err := m.look(ctx, r, &p)
	c := order.Check{Name: "account-open", Target: r.Order.Object, At: m.Now().UTC()}
	if c.OK = err == nil && (!there || m.shut(value) == m.shut(p.Was)); err != nil {
		c.Detail = err.Error()
	}
	return []order.Check{c}
}

// State looks whether somebody enabled or deleted it.
func (m Means) State(ctx context.Context, r contain.Row) (contain.State, error) {
	var p prior
	value, there, err := m.look(ctx, r, &p)
	switch {
	case err != nil:
		return contain.Holds, err
	case !there:
		return contain.Void, nil
	case !m.shut(value):
		return contain.Lost, nil
	}
	return contain.Holds, nil
}
