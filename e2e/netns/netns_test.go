package netns

import (
	"io"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestHostsReachEachOtherThroughTheRouter(t *testing.T) {
	w, err := New("nt")
	if err != nil {
		t.Skipf("needs root and network namespaces: %v", err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	a, err := w.Add("a", "192.0.2.7/24", "2001:db8:1::7/64")
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.Add("b", "198.51.100.9/24", "2001:db8:2::9/64")
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range b.Addrs {
		l, err := b.Listen(t.Context(), "tcp", net.JoinHostPort(addr.Addr().String(), "7000"))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := l.Accept()
			if err == nil {
				_, _ = c.Write([]byte("hello from " + c.RemoteAddr().String()))
				_ = c.Close()
			}
			_ = l.Close()
		}()
		c, err := a.Dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if want := "hello from " + c.LocalAddr().String(); err != nil || string(got) != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
}

func TestSeparatedHostSeesItsOwnProcessesOnly(t *testing.T) {
	w, err := New("np")
	if err != nil {
		t.Skipf("needs root and network namespaces: %v", err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	h, err := w.Add("a", "192.0.2.7/24")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Separate(); err != nil {
		t.Fatal(err)
	}
	out, err := h.Run(t.Context(), "sh", "-c", "ls -d /proc/[0-9]*; ip -o addr show eth0")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out, "/proc/"); n == 0 || n > 4 {
		t.Errorf("it sees %d processes:\n%s", n, out)
	}
	if !strings.Contains(out, "192.0.2.7") {
		t.Errorf("it is not on its own network:\n%s", out)
	}
}

// TestChildrenEndAndStrangersDoNot: a program that ended left a child, which
// ends with the World; who has the number of its group elsewhere lives on.
func TestChildrenEndAndStrangersDoNot(t *testing.T) {
	w, err := New("nk")
	if err != nil {
		t.Skipf("needs root and network namespaces: %v", err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	h, err := w.Add("a", "192.0.2.7/24")
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.Start(h.Command(t.Context(), "sh", "-c", "sleep 600 >/dev/null 2>&1 & exit 0"))
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	stranger := exec.Command("sleep", "600")
	stranger.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = stranger.Wait(); close(ended) }()
	t.Cleanup(func() { _ = stranger.Process.Kill(); <-ended })
	other := &Process{Cmd: p.Cmd, done: p.done, group: group{id: stranger.Process.Pid, net: h.NS}} // as if the number had been given again
	other.Kill9()
	select {
	case <-ended:
		t.Error("a stranger was killed")
	default:
	}
	if n := p.group.kill(); n != 1 {
		t.Errorf("%d children were left to kill, want 1", n)
	}
	p.Kill9()
	if n := p.group.kill(); n != 0 {
		t.Errorf("%d children live", n)
	}
}
