// Package directory closes accounts of a directory: Active Directory, or
// OpenLDAP with its password policy.
//
// In: orders that name an account as NAME@DOMAIN. Out: the account disabled.
// Always true: break-glass accounts and the last administrator that is not
// disabled are never closed; a value is changed only if it is still the one
// that was read (delete the old, add the new, in one modification), so that
// what somebody else changes in this moment is not lost; accounts are disabled,
// never deleted; the password of the service goes over TLS or stays on the
// machine.
//
// Disabling is not eviction: a Kerberos ticket is good for hours after it.
package directory

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/clock"
)

// Reasons for refusing an order: stable words.
const (
	unreachable = "directory-unreachable"
	unknown     = "account-unknown"
	breakGlass  = "account-is-break-glass"
	lastAdmin   = "account-is-last-admin"
	itself      = "account-is-own"
	noLockout   = "directory-locks-nobody"
)

// Kinds of directories.
const (
	ActiveDirectory = "ad"
	OpenLDAP        = "ppolicy"
)

// Attributes, and what closes an account in them: MS-ADTS 2.2.16 and
// draft-behera-ldap-password-policy 5.3.3.
const (
	control   = "userAccountControl"
	disabled  = 0x2
	locked    = "pwdAccountLockedTime"
	lockedFor = "000001010000Z" // until an administrator opens it
)

// Limits.
const (
	askTime   = 10 * time.Second
	tries     = 4 // when others change the same value
	maxGroups = 64
)

// Config says where the directory is and who may change it. It is read from a
// file of mode 0600.
type Config struct {
	URL         string   `json:"url"`          // ldaps://, ldapi://, or ldap:// to this machine only
	Kind        string   `json:"kind"`         // ad | ppolicy
	Domain      string   `json:"domain"`       // what stands behind the @ of an account
	BindDN      string   `json:"bind_dn"`      // may change accounts, and nothing else
	Password    string   `json:"password"`     // of BindDN
	Base        string   `json:"base"`         // below which the accounts are
	Attribute   string   `json:"attribute"`    // that holds the name: sAMAccountName, uid
	Policy      string   `json:"policy"`       // DN of the policy that locks accounts (ppolicy)
	AdminGroups []string `json:"admin_groups"` // DNs
	BreakGlass  []string `json:"break_glass"`  // names that are never closed
}

// Load reads a Config and refuses what would give the password away.
func Load(path string) (Config, error) {
	var c Config
	info, err := os.Stat(path)
	if err != nil {
		return c, fmt.Errorf("directory: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return c, fmt.Errorf("directory: %s holds a password and may be read by its owner only (chmod 600)", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("directory: %w", err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("directory: %s: %w", path, err)
	}
	return c, c.check()
}

func (c Config) check() error {
	u, err := url.Parse(c.URL)
	if err != nil {
		return fmt.Errorf("directory: url: %w", err)
	}
	here := slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, u.Hostname())
	switch {
	case u.Scheme != "ldaps" && u.Scheme != "ldapi" && (u.Scheme != "ldap" || !here):
		return errors.New("directory: url: the password goes over ldaps:// only")
	case c.Kind != ActiveDirectory && c.Kind != OpenLDAP:
		return fmt.Errorf("directory: kind: %q is neither ad nor ppolicy", c.Kind)
	case c.Kind == OpenLDAP && c.Policy == "":
		return errors.New("directory: policy is missing: without one nothing locks an account")
	case c.Base == "" || c.Attribute == "" || c.Domain == "" || len(c.AdminGroups) == 0:
		return errors.New("directory: base, attribute, domain and admin_groups are needed")
	}
	return nil
}

// Means closes accounts of a directory.
type Means struct {
	Config Config
	Now    clock.Now
}

// prior is an account as it was.
type prior struct {
	DN  string `json:"dn"`
	Was string `json:"was"` // value of the attribute, "" when it had none
}

// Name keeps its state apart from that of the machine's own accounts.
func (Means) Name() string { return "directory" }

// Takes are accounts that are named with the domain.
func (m Means) Takes(o order.Order) bool {
	_, domain, ok := strings.Cut(o.Object, "@")
	return ok && strings.EqualFold(domain, m.Config.Domain)
}

// Kinds are those of closing and opening an account.
func (Means) Kinds() (apply, undo order.Kind) { return order.DisableAccount, order.EnableAccount }

// Subject is the account; directories do not tell capitals apart.
func (Means) Subject(o order.Order) string { return strings.ToLower(o.Object) }

// Precheck refuses what would lock the owners of the directory out.
func (m Means) Precheck(ctx context.Context, o order.Order) (any, error) {
	name, _, _ := strings.Cut(o.Object, "@")
	if slices.ContainsFunc(m.Config.BreakGlass, func(g string) bool { return strings.EqualFold(g, name) }) {
		return nil, fmt.Errorf("%s: %s", breakGlass, name)
	}
	c, err := m.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", unreachable, err)
	}
	defer func() { _ = c.Close() }()
	if err := m.locks(c); err != nil {
		return nil, err
	}
	e, err := m.find(c, name)
	switch {
	case err != nil:
		return nil, err
	case same(e.DN, m.Config.BindDN):
		return nil, fmt.Errorf("%s: %s", itself, name)
	}
	last, err := m.lastAdmin(c, e.DN)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", unreachable, err)
	}
	if last {
		return nil, fmt.Errorf("%s: %s", lastAdmin, name)
	}
	return prior{DN: e.DN, Was: e.GetAttributeValue(m.attribute())}, nil
}

// dial connects and signs in.
func (m Means) dial(ctx context.Context) (*ldap.Conn, error) {
	wait := askTime
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end))
	}
	c, err := ldap.DialURL(m.Config.URL, ldap.DialWithDialer(&net.Dialer{Timeout: wait}), ldap.DialWithTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12}))
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	c.SetTimeout(wait)
	if err := c.Bind(m.Config.BindDN, m.Config.Password); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("directory: sign in: %w", err)
	}
	return c, nil
}

func (m Means) attribute() string {
	if m.Config.Kind == ActiveDirectory {
		return control
	}
	return locked
}

// locks makes sure that a lock locks: a policy without pwdLockout ignores it.
func (m Means) locks(c *ldap.Conn) error {
	if m.Config.Kind != OpenLDAP {
		return nil
	}
	e, err := m.entry(c, m.Config.Policy, "pwdLockout")
	if err != nil {
		return fmt.Errorf("%s: %w", noLockout, err)
	}
	if e.GetAttributeValue("pwdLockout") != "TRUE" {
		return fmt.Errorf("%s: pwdLockout of %s is not TRUE", noLockout, m.Config.Policy)
	}
	return nil
}

// find looks for the one account of a name.
func (m Means) find(c *ldap.Conn, name string) (*ldap.Entry, error) {
	filter := fmt.Sprintf("(%s=%s)", m.Config.Attribute, ldap.EscapeFilter(name))
	r, err := c.Search(ldap.NewSearchRequest(m.Config.Base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 2, int(askTime.Seconds()), false,
		filter, []string{m.attribute()}, nil))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", unreachable, err)
	}
	if len(r.Entries) != 1 {
		return nil, fmt.Errorf("%s: %d accounts are called %s", unknown, len(r.Entries), name)
	}
	return r.Entries[0], nil
}

// entry reads attributes of one entry.
func (m Means) entry(c *ldap.Conn, dn string, attributes ...string) (*ldap.Entry, error) {
	r, err := c.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, int(askTime.Seconds()), false,
		"(objectClass=*)", attributes, nil))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dn, err)
	}
	if len(r.Entries) != 1 {
		return nil, fmt.Errorf("read %s: nothing there", dn)
	}
	return r.Entries[0], nil
}

// shut says whether a value of the attribute closes the account.
func (m Means) shut(value string) bool {
	if m.Config.Kind == OpenLDAP {
		return value == lockedFor
	}
	n, err := strconv.ParseInt(value, 10, 64)
	return err == nil && n&disabled != 0
}

// lastAdmin says whether dn is an administrator and no other can sign in.
func (m Means) lastAdmin(c *ldap.Conn, dn string) (bool, error) {
	admin, others, seen := false, 0, map[string]bool{}
	for todo := slices.Clone(m.Config.AdminGroups); len(todo) > 0 && len(seen) < maxGroups; todo = todo[1:] {
		if seen[strings.ToLower(todo[0])] {
			continue
		}
		seen[strings.ToLower(todo[0])] = true
		e, err := m.entry(c, todo[0], "member", "uniqueMember", m.Config.Attribute, m.attribute())
		if err != nil {
			if slices.Contains(m.Config.AdminGroups, todo[0]) { // without the list there is no guard
				return false, err
			}
			continue // a member that was deleted
		}
		members := append(e.GetAttributeValues("member"), e.GetAttributeValues("uniqueMember")...)
		switch {
		case len(members) > 0: // a group, in a group perhaps
			todo = append(todo, members...)
		case same(e.DN, dn):
			admin = true
		case m.isAccount(e) && !m.shut(e.GetAttributeValue(m.attribute())):
			others++
		}
	}
	return admin && others == 0, nil
}

// isAccount tells an account from a group without members.
func (m Means) isAccount(e *ldap.Entry) bool {
	if m.Config.Kind == ActiveDirectory {
		return e.GetAttributeValue(control) != ""
	}
	return e.GetAttributeValue(m.Config.Attribute) != ""
}

func same(a, b string) bool {
	x, err := ldap.ParseDN(a)
	y, err2 := ldap.ParseDN(b)
	return err == nil && err2 == nil && x.EqualFold(y)
}
