package smb

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hirochachacha/go-smb2"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent/act/actiontest"
	"github.com/sonae/sonae/agent/act/contain"
	"github.com/sonae/sonae/agent/samba"
	"github.com/sonae/sonae/agent/samba/sambatest"
	"github.com/sonae/sonae/e2e/netns"
)

const (
	agentEnv = "SONAE_SMB_TEST_AGENT"
	confEnv  = "SONAE_SMB_TEST_CONF"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(agentEnv); dir != "" {
		now, s := actiontest.Now(), samba.Server{Conf: os.Getenv(confEnv)}
		own := func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("10.69.1.2")} }
		actiontest.Serve(contain.NewGroup(contain.Config{Dir: dir, Now: now, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))},
			actiontest.Crashing(Sessions{Samba: s, Own: own, Now: now}), actiontest.Crashing(Shares{Samba: s, Now: now})))
		return
	}
	os.Exit(m.Run())
}

// lab is a file server with two shares, and two clients that use one of them.
type lab struct {
	t       *testing.T
	samba   *sambatest.Samba
	server  *netns.Host
	clients [2]*client
}

var labs atomic.Int32

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	w, err := netns.New(fmt.Sprintf("s%d", labs.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	l := &lab{t: t}
	if l.server, err = w.Add("fs", "10.69.1.2/24"); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"pa", "pb"} {
		h, err := w.Add(name, fmt.Sprintf("10.69.%d.2/24", i+2))
		if err != nil {
			t.Fatal(err)
		}
		l.clients[i] = &client{t: t, host: h}
	}
	l.samba = sambatest.Start(t, sambatest.Config{Address: "10.69.1.2", Shares: []string{"data", "other"},
		Command: func(name string, args ...string) *exec.Cmd {
			return l.server.Command(context.Background(), name, args...)
		},
		Dial: func(ctx context.Context) (net.Conn, error) {
			return l.clients[0].host.Dial(ctx, "tcp", "10.69.1.2:445")
		}})
	return l
}

func (l *lab) command(dir string) func() *exec.Cmd {
	return func() *exec.Cmd {
		cmd := exec.Command("ip", "netns", "exec", l.server.NS, os.Args[0])
		cmd.Env = append(os.Environ(), agentEnv+"="+dir, confEnv+"="+l.samba.Conf)
		return cmd
	}
}

// client uses shares as a PC does: it stays connected, and comes back when the
// connection is lost.
type client struct {
	t       *testing.T
	host    *netns.Host
	session *smb2.Session
	conn    net.Conn
}

const clientTime = 3 * time.Second

// works says whether it writes to a share and reads it back.
func (c *client) works(share string) bool {
	if c.session != nil && c.uses(share) {
		return true
	}
	c.close()
	ctx, stop := context.WithTimeout(context.Background(), clientTime)
	defer stop()
	conn, err := c.host.Dial(ctx, "tcp", "10.69.1.2:445")
	if err != nil {
		return false
	}
	c.conn = conn
	_ = conn.SetDeadline(time.Now().Add(clientTime))
	d := smb2.Dialer{Initiator: &smb2.NTLMInitiator{User: sambatest.User, Password: sambatest.Password}}
	if c.session, err = d.DialContext(ctx, conn); err != nil {
		return false
	}
	return c.uses(share)
}

func (c *client) uses(share string) bool {
	_ = c.conn.SetDeadline(time.Now().Add(clientTime))
	sh, err := c.session.Mount(share)
	if err != nil {
		return false
	}
	name := strings.ReplaceAll(c.host.NS, "-", "") + ".txt"
	if err := sh.WriteFile(name, []byte("the same work as always"), 0o644); err != nil {
		return false
	}
	b, err := sh.ReadFile(name)
	return err == nil && len(b) > 0
}

// reaches says whether it gets a connection at all.
func (c *client) reaches() bool {
	ctx, stop := context.WithTimeout(context.Background(), 400*time.Millisecond)
	defer stop()
	conn, err := c.host.Dial(ctx, "tcp", "10.69.1.2:445")
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// served says whether Samba has a session of it.
func (l *lab) served(c *client) bool {
	all, err := samba.Server{Conf: l.samba.Conf}.Sessions(context.Background())
	if err != nil {
		l.t.Error(err)
	}
	return slices.ContainsFunc(all, func(s samba.Session) bool { return s.Client == c.host.Addrs[0].Addr() })
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
	}
	c.session, c.conn = nil, nil
}

// patience is for what another process does.
func (l *lab) await(what string, so func() bool) {
	l.t.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("not in time: %s", what)
		}
	}
}

func TestDroppingASessionKeepsTheContract(t *testing.T) {
	actiontest.Run(t, func(t *testing.T) *actiontest.Subject {
		l, dir := newLab(t), t.TempDir()
		bad, good := l.clients[0], l.clients[1]
		l.await("both work", func() bool { return bad.works("data") && good.works("data") })
		to := func(targets ...string) order.Order { return order.Order{Kind: order.DropSession, Targets: targets} }
		return &actiontest.Subject{Dir: dir, Command: l.command(dir), Crash: true, Short: 8 * time.Second, Apply: to("10.69.2.2"), Undo: order.AdmitClient,
			InForce:  func() bool { return !bad.reaches() && !l.served(bad) && good.works("data") },
			AsBefore: func() bool { return bad.works("data") && good.works("data") && !strings.Contains(l.nft(), "sonae") },
			Reboot:   func() { l.nft("flush", "ruleset"); l.samba.Restart() },
			Refused: map[string]order.Order{"the machine itself": to("10.69.1.2"), "loopback": to("127.0.0.1"), "a network": to("10.69.2.0/24"),
				"everybody": to("0.0.0.0"), "nobody": to(), "a name": to("pc-7.example")}}
	})
}

func (l *lab) nft(args ...string) string {
	if len(args) == 0 {
		args = []string{"list", "tables"}
	}
	out, err := l.server.Run(context.Background(), "nft", args...)
	if err != nil {
		l.t.Error(err)
	}
	return out
}

func TestDenyingAShareKeepsTheContract(t *testing.T) {
	actiontest.Run(t, func(t *testing.T) *actiontest.Subject {
		l, dir := newLab(t), t.TempDir()
		a, b := l.clients[0], l.clients[1]
		l.await("both work", func() bool { return a.works("data") && b.works("other") })
		deny := func(object string) order.Order { return order.Order{Kind: order.DenyShare, Object: object} }
		return &actiontest.Subject{Dir: dir, Command: l.command(dir), Crash: true, Short: 8 * time.Second, Apply: deny("DATA"), Undo: order.AllowShare,
			InForce: func() bool { return !a.works("data") && b.works("other") },
			AsBefore: func() bool {
				_, err := os.Stat(filepath.Join(l.samba.Dir, DenyFile))
				return a.works("data") && b.works("other") && os.IsNotExist(err)
			},
			Reboot:  l.samba.Restart,
			Refused: map[string]order.Order{"no such share": deny("nothing"), "no such place": deny("/srv/nothing"), "all settings": deny("global"), "nothing": deny("")}}
	})
}
