package changes

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/agent/collect"
)

func deps(t *testing.T) Deps {
	t.Helper()
	return Deps{Dir: t.TempDir(), Now: func() time.Time { return time.Unix(1_764_000_000, 0) }, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// said takes what was told, one line an event.
func said(q *collect.Queue) []string {
	var out []string
	for len(q.Events()) > 0 {
		e := <-q.Events()
		f := e.Fields
		line := f["Event"] + f["Change"]
		for _, k := range []string{"TargetUser", "Group", "Privileged", "TargetFilename", "Shell", "LocalPort", "Protocol", "Image", "Scope"} {
			if f[k] != "" {
				line += " " + f[k]
			}
		}
		out = append(out, line)
	}
	return out
}

func TestAPortThatIsNew(t *testing.T) {
	d := deps(t)
	at := func(proto, local, image string) Listener {
		return Listener{Proto: proto, Local: netip.MustParseAddrPort(local), PID: 7, Image: image, User: "root"}
	}
	now := []Listener{at("tcp", "0.0.0.0:22", "/usr/sbin/sshd")}
	q := collect.NewQueue(16)
	NewPorts(d, func() []Listener { return now }).look(q)
	if got := said(q); len(got) != 1 || got[0] != "baseline" {
		t.Fatalf("first: %v", got)
	}
	p := NewPorts(d, func() []Listener { return now }) // after a restart
	now = append(now, at("tcp", "0.0.0.0:4444", "/tmp/x"), at("tcp", "127.0.0.1:5432", "/usr/bin/postgres"), at("udp", "0.0.0.0:51000", "/usr/bin/dig"),
		at("tcp", "0.0.0.0:22", "/tmp/sshd")) // the old port, another program
	p.look(q)
	want := []string{" 4444 tcp /tmp/x network", " 5432 tcp /usr/bin/postgres loopback", " 22 tcp /tmp/sshd network"}
	if diff := cmp.Diff(want, said(q)); diff != "" {
		t.Error(diff)
	}
	if p.look(q); len(q.Events()) != 0 {
		t.Errorf("told twice: %v", said(q))
	}
}
