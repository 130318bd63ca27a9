package antivirus_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sonae/sonae/evidence/antivirus"
	"github.com/sonae/sonae/evidence/antivirus/clamdtest"
)

func client(t *testing.T, address string) *antivirus.Client {
	t.Helper()
	c, err := antivirus.New(address)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRealClamd(t *testing.T) {
	d := clamdtest.Start(t)
	c := client(t, d.Address)
	if v, err := c.Version(t.Context()); err != nil || !strings.HasPrefix(v, "ClamAV ") {
		t.Errorf("version %q, %v", v, err)
	}
	for name, tt := range map[string]struct {
		body string
		want antivirus.Result
	}{
		"empty":               {"", antivirus.Result{Verdict: antivirus.Clean}},
		"clean":               {strings.Repeat("letter to the ward\n", 20_000), antivirus.Result{Verdict: antivirus.Clean}},
		"infected":            {"x" + clamdtest.Marker, antivirus.Result{Verdict: antivirus.Infected, Signature: clamdtest.Signature}},
		"infected at the end": {strings.Repeat("x", 300<<10) + clamdtest.Marker, antivirus.Result{Verdict: antivirus.Infected, Signature: clamdtest.Signature}},
		"too large":           {strings.Repeat("x", 8*clamdtest.MaxStream), antivirus.Result{Verdict: antivirus.TooLarge}},
	} {
		if got, err := c.Scan(t.Context(), strings.NewReader(tt.body)); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := c.Scan(t.Context(), io.MultiReader(strings.NewReader("x"), brokenReader{})); !errors.Is(err, syscall.EIO) {
		t.Errorf("a file that cannot be read: %v", err)
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte(clamdtest.Marker), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := c.File(t.Context(), path); err != nil || got.Verdict != antivirus.Infected {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := c.File(t.Context(), "/dev/zero"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a device: %v", err)
	}
	d.Stop()
	if got, err := c.Scan(t.Context(), strings.NewReader("x")); err == nil || got.Verdict != "" {
		t.Errorf("nobody answers, but %+v", got)
	}
	d.Start()
	if got, err := c.Scan(t.Context(), strings.NewReader("x")); err != nil || got.Verdict != antivirus.Clean {
		t.Errorf("after a restart: %+v, %v", got, err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, syscall.EIO }

// TestWhateverAnswersIsNeverClean: half answers, silence and nonsense are
// errors.
func TestWhateverAnswersIsNeverClean(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing": "", "half": "stream: ", "nonsense": "HTTP/1.1 200 OK\r\n\r\n", "unknown command": "UNKNOWN COMMAND\x00", "no name": "stream:  FOUND\x00",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.CopyN(io.Discard, conn, 10+4+1+4)
			_, _ = conn.Write([]byte(answer))
			_ = conn.Close()
		}()
		got, err := client(t, "tcp:"+l.Addr().String()).Scan(t.Context(), strings.NewReader("x"))
		if err == nil || got.Verdict != "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		_ = l.Close()
	}
}

func TestSilenceEndsWithTheContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := client(t, "tcp:"+l.Addr().String()).Scan(ctx, bytes.NewReader(make([]byte, 64<<20))); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for _, good := range []string{"unix:/run/clamav/clamd.ctl", "tcp:192.0.2.1:3310", "tcp:[2001:db8::1]:3310"} {
		if _, err := antivirus.New(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "/run/clamd", "unix:run", "tcp:host", "tcp::3310", "http://x"} {
		if _, err := antivirus.New(bad); !errors.Is(err, antivirus.ErrAddress) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
