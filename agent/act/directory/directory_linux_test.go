package directory

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/actiontest"
	"github.com/sonae/sonae/agent/act/contain"
)

const agentEnv, configEnv = "SONAE_DIRECTORY_TEST_AGENT", "SONAE_DIRECTORY_TEST_CONFIG"

func TestMain(m *testing.M) {
	if dir := os.Getenv(agentEnv); dir != "" {
		now := actiontest.Now()
		c, err := Load(os.Getenv(configEnv))
		if err != nil {
			panic(err)
		}
		actiontest.Serve(contain.NewGroup(contain.Config{Dir: dir, Now: now, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))},
			actiontest.Crashing(Means{Config: c, Now: now})))
		return
	}
	os.Exit(m.Run())
}

// The attribute of Active Directory is taught to slapd, which knows nothing of
// its meaning: what is tested with it is how it is changed.
const server = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
objectclass ( 1.2.840.113556.1.5.9 NAME 'adUser' SUP top AUXILIARY MAY userAccountControl )
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
database mdb
suffix dc=hospital
rootdn cn=root,dc=hospital
directory %s
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=sonae,dc=hospital" write by * read
overlay ppolicy
ppolicy_default cn=policy,dc=hospital
`

const entries = `dn: dc=hospital
objectClass: domain
dc: hospital

dn: cn=policy,dc=hospital
objectClass: device
objectClass: pwdPolicy
cn: policy
pwdAttribute: userPassword
pwdLockout: TRUE

dn: cn=weak,dc=hospital
objectClass: device
objectClass: pwdPolicy
cn: weak
pwdAttribute: userPassword

dn: cn=sonae,dc=hospital
objectClass: person
objectClass: uidObject
cn: sonae
sn: sonae
uid: sonae
userPassword: service

dn: cn=admins,dc=hospital
objectClass: groupOfNames
cn: admins
member: uid=boss,dc=hospital
member: cn=deputies,dc=hospital
member: uid=gone,dc=hospital
member: cn=nobody,dc=hospital

dn: cn=nobody,dc=hospital
objectClass: device
cn: nobody

dn: cn=deputies,dc=hospital
objectClass: groupOfNames
cn: deputies
member: uid=deputy,dc=hospital
`

func person(name, flags string) string {
	return fmt.Sprintf("\ndn: uid=%[1]s,dc=hospital\nobjectClass: inetOrgPerson\nobjectClass: adUser\nuid: %[1]s\ncn: %[1]s\nsn: %[1]s\nuserPassword: secret\nuserAccountControl: %[2]s\n", name, flags)
}

// lab is a real slapd on the loopback interface.
type lab struct {
	t    *testing.T
	addr string
	c    Config
	path string // of the configuration
	dir  string // of the agent's state
}

func newLab(t *testing.T, kind string) *lab {
	t.Helper()
	slapd, err := exec.LookPath("slapd")
	if err != nil {
		if slapd = "/usr/sbin/slapd"; exec.Command(slapd, "-VV").Run() != nil {
			t.Skip("slapd is not installed (Debian: apt install slapd)")
		}
	}
	base := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(base, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := os.Mkdir(base+"/data", 0o700); err != nil {
		t.Fatal(err)
	}
	conf := write("slapd.conf", fmt.Sprintf(server, base+"/data"), 0o600)
	ldif := write("entries.ldif", entries+person("tester", "512")+person("boss", "512")+person("deputy", "514")+"pwdAccountLockedTime: 000001010000Z\n"+person("glass", "512"), 0o600)
	if out, err := exec.Command(slapd, "-T", "add", "-f", conf, "-l", ldif).CombinedOutput(); err != nil {
		t.Fatalf("slapadd: %v: %s", err, out)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, addr: free.Addr().String(), dir: filepath.Join(base, "state")}
	_ = free.Close() // slapd takes it
	cmd := exec.Command(slapd, "-d", "0", "-f", conf, "-h", "ldap://"+l.addr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	l.c = Config{URL: "ldap://" + l.addr, Kind: kind, Domain: "hospital.example", BindDN: "cn=sonae,dc=hospital", Password: "service", Base: "dc=hospital",
		Attribute: "uid", Policy: "cn=policy,dc=hospital", AdminGroups: []string{"cn=admins,dc=hospital"}, BreakGlass: []string{"Glass"}}
	b, err := json.Marshal(l.c)
	if err != nil {
		t.Fatal(err)
	}
	l.path = write("directory.json", string(b), 0o600)
	for end := time.Now().Add(30 * time.Second); !l.signsIn("tester"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("slapd does not answer")
		}
	}
	return l
}

func (l *lab) command() *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), agentEnv+"="+l.dir, configEnv+"="+l.path)
	return cmd
}

// signsIn says whether the directory lets somebody in.
func (l *lab) signsIn(name string) bool {
	c, err := ldap.DialURL("ldap://" + l.addr)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	return c.Bind("uid="+name+",dc=hospital", "secret") == nil
}

// admin is another program that changes the directory.
func (l *lab) admin() *ldap.Conn {
	l.t.Helper()
	c, err := ldap.DialURL("ldap://" + l.addr)
	if err == nil {
		err = c.Bind("cn=sonae,dc=hospital", "service")
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (l *lab) value(name, attribute string) string {
	l.t.Helper()
	r, err := l.admin().Search(ldap.NewSearchRequest("uid="+name+",dc=hospital", ldap.ScopeBaseObject, 0, 1, 10, false, "(objectClass=*)", []string{attribute}, nil))
	if err != nil {
		l.t.Fatal(err)
	}
	return r.Entries[0].GetAttributeValue(attribute)
}

func disable(name string) order.Order { return order.Order{Kind: order.DisableAccount, Object: name} }

func refused() map[string]order.Order {
	return map[string]order.Order{"break-glass": disable("glass@hospital.example"), "the last administrator": disable("boss@hospital.example"),
		"unknown": disable("other@hospital.example"), "everybody": disable("*@hospital.example"), "itself": disable("sonae@hospital.example"),
		"another domain": disable("tester@clinic.example"), "of the machine": disable("tester")}
}

func TestLockingAnAccountOfOpenLDAPKeepsTheContract(t *testing.T) {
	actiontest.Run(t, func(t *testing.T) *actiontest.Subject {
		l := newLab(t, OpenLDAP)
		return &actiontest.Subject{Dir: l.dir, Command: l.command, Crash: true, Apply: disable("tester@hospital.example"), Undo: order.EnableAccount,
			InForce:  func() bool { return !l.signsIn("tester") && l.signsIn("boss") },
			AsBefore: func() bool { return l.signsIn("tester") && l.value("tester", locked) == "" },
			Refused:  refused()}
	})
}

func TestDisablingAnAccountAsInActiveDirectoryKeepsTheContract(t *testing.T) {
	actiontest.Run(t, func(t *testing.T) *actiontest.Subject {
		l := newLab(t, ActiveDirectory)
		return &actiontest.Subject{Dir: l.dir, Command: l.command, Crash: true, Apply: disable("tester@hospital.example"), Undo: order.EnableAccount,
			InForce:  func() bool { return l.value("tester", control) == "514" && l.value("boss", control) == "512" },
			AsBefore: func() bool { return l.value("tester", control) == "512" },
			Refused:  refused()}
	})
}

// Others change other flags of the same value all the time: none of their
// changes is lost, and the account is closed and opened all the same.
func TestNoChangeOfOthersIsLost(t *testing.T) {
	l := newLab(t, ActiveDirectory)
	m := Means{Config: l.c, Now: time.Now}
	o := disable("tester@hospital.example")
	p, err := m.Precheck(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	row := contain.Row{Order: o, Prior: b}
	other := l.admin()
	if err := other.Modify(swap("uid=tester,dc=hospital", control, "512", "66048")); err != nil { // the password never expires
		t.Fatal(err)
	}
	if err := m.Apply(t.Context(), row, time.Hour); err != nil {
		t.Fatal(err)
	}
	if v := l.value("tester", control); v != "66050" {
		t.Fatalf("closed as %s, want the other flag kept", v)
	}
	var all sync.WaitGroup
	var lost error
	all.Go(func() { // flags 0x100, 0x800 … one by one
		for bit := int64(0x100); bit <= 0x100000; bit <<= 1 {
			for {
				now := l.value("tester", control)
				var n int64
				if _, err := fmt.Sscan(now, &n); err != nil {
					lost = err
					return
				}
				if n&bit != 0 || other.Modify(swap("uid=tester,dc=hospital", control, now, fmt.Sprint(n|bit))) == nil {
					break
				}
			}
		}
	})
	for range 10 {
		_ = m.Undo(t.Context(), row)             // it may give up: somebody changes it all the time
		_ = m.Apply(t.Context(), row, time.Hour) // as above
	}
	all.Wait()
	if lost != nil {
		t.Fatal(lost)
	}
	if err := m.Undo(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	var n int64
	if _, err := fmt.Sscan(l.value("tester", control), &n); err != nil || n&0x1fff00 != 0x1fff00 || n&disabled != 0 {
		t.Errorf("the value is %#x: flags were lost", n)
	}
}

func TestAnAdministratorIsClosedWhileAnotherIsNot(t *testing.T) {
	l := newLab(t, ActiveDirectory)
	m := Means{Config: l.c, Now: time.Now}
	if err := l.admin().Modify(swap("uid=deputy,dc=hospital", control, "514", "512")); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Precheck(t.Context(), disable("boss@hospital.example")); err != nil {
		t.Errorf("another administrator of a group in the group is left: %v", err)
	}
	m.Config.AdminGroups = []string{"cn=nothing,dc=hospital"}
	if _, err := m.Precheck(t.Context(), disable("tester@hospital.example")); err == nil {
		t.Error("without the list of administrators there is no guard")
	}
	m.Config, m.Config.Kind, m.Config.Policy = l.c, OpenLDAP, "cn=weak,dc=hospital"
	if _, err := m.Precheck(t.Context(), disable("tester@hospital.example")); err == nil || !strings.HasPrefix(err.Error(), noLockout) {
		t.Errorf("a policy that locks nobody: %v", err)
	}
}

func TestAConfigurationThatGivesThePasswordAwayIsRefused(t *testing.T) {
	good := Config{URL: "ldaps://dc.hospital.example", Kind: ActiveDirectory, Domain: "hospital.example", Base: "dc=hospital", Attribute: "sAMAccountName", AdminGroups: []string{"cn=x"}}
	for name, tt := range map[string]struct {
		spoil func(*Config)
		mode  os.FileMode
		ok    bool
	}{
		"good":           {func(*Config) {}, 0o600, true},
		"read by all":    {func(*Config) {}, 0o644, false},
		"without TLS":    {func(c *Config) { c.URL = "ldap://dc.hospital.example" }, 0o600, false},
		"unknown kind":   {func(c *Config) { c.Kind = "nis" }, 0o600, false},
		"no admins":      {func(c *Config) { c.AdminGroups = nil }, 0o600, false},
		"without policy": {func(c *Config) { c.Kind = OpenLDAP }, 0o600, false},
	} {
		c := good
		tt.spoil(&c)
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "directory.json")
		if err := os.WriteFile(path, b, tt.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
