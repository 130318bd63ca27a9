package watcher

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/agent/collect"
)

var noon = time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)

// post keeps what is sent to it, or refuses it.
type post struct {
	got  []Notice
	fail bool
}

func (p *post) name() string { return "post" }
func (p *post) send(_ context.Context, n Notice) error {
	if p.fail {
		return errors.New("no network")
	}
	p.got = append(p.got, n)
	return nil
}

// world is a Watcher with a clock and a hub that tests switch off.
type world struct {
	*Watcher
	t        *testing.T
	dir      string
	at       time.Time
	answered time.Time
	post     *post
	q        *collect.Queue
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), at: noon, post: &post{}, q: collect.NewQueue(256)}
	w.restart()
	return w
}

func (w *world) restart() {
	w.Watcher = New(Config{Hook: &Hook{}}, Deps{Dir: w.dir, Agent: "sv1", Hub: "https://hub", Answered: func() time.Time { return w.answered },
		Now: func() time.Time { return w.at }, Log: slog.New(slog.NewTextHandler(w.t.Output(), nil))})
	w.senders = []sender{w.post}
}

// goes lets time go by with a hub that answers or not.
func (w *world) goes(d time.Duration, up bool) {
	for end := w.at.Add(d); w.at.Before(end); w.at = w.at.Add(lookEvery) {
		if up {
			w.answered = w.at
		}
		if n, ok := w.step(w.at, w.answered); ok {
			w.say(w.q, n)
		}
		w.deliver(w.t.Context())
	}
}

func (w *world) said() string {
	out := ""
	for _, n := range w.post.got {
		out += map[bool]string{true: "gone ", false: "back "}[n.Gone]
	}
	return out
}

func TestASilenceIsToldOnceAndItsEndOnce(t *testing.T) {
	w := newWorld(t)
	w.goes(time.Hour, true)
	w.goes(4*time.Minute, false)
	w.goes(time.Hour, true)
	if w.said() != "" {
		t.Fatalf("said %q of a short silence", w.said())
	}
	last := w.answered
	w.goes(10*time.Hour, false)
	if w.said() != "gone " || !w.post.got[0].Since.Equal(last) {
		t.Fatalf("said %q, since %v", w.said(), w.post.got)
	}
	w.restart()
	w.goes(time.Hour, false)
	if w.said() != "gone " {
		t.Fatalf("said %q after a restart", w.said())
	}
	w.goes(30*time.Second, true) // it answers a little, and goes again
	w.goes(time.Hour, false)
	if w.said() != "gone " {
		t.Fatalf("said %q of a hub that comes and goes", w.said())
	}
	w.goes(time.Hour, true)
	if w.said() != "gone back " {
		t.Errorf("said %q", w.said())
	}
}

func TestAHubThatComesAndGoesIsNoStorm(t *testing.T) {
	w := newWorld(t)
	for range 100 {
		w.goes(6*time.Minute, false)
		w.goes(2*time.Minute, true)
	}
	if n, most := len(w.post.got), 2*int(800*time.Minute/apart+1); n == 0 || n > most {
		t.Errorf("%d messages in %v, more than %d", n, 800*time.Minute, most)
	}
}

func TestWhatCouldNotBeSentIsTriedAgainWhileItMatters(t *testing.T) {
	w := newWorld(t)
	w.post.fail = true
	w.goes(10*time.Minute, false)
	w.restart()
	w.post.fail = false
	w.goes(time.Minute, false)
	if w.said() != "gone " {
		t.Fatalf("said %q", w.said())
	}
	w = newWorld(t)
	w.post.fail = true
	w.goes(10*time.Minute, false)
	w.goes(10*time.Minute, true)
	w.post.fail = false
	w.goes(10*time.Minute, true)
	if w.said() != "" {
		t.Errorf("said %q of what is over", w.said())
	}
}

// authority writes the certificate of a test server where a CA is expected.
func authority(t *testing.T, s *httptest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAHookGetsTheNotice(t *testing.T) {
	var got map[string]any
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") != "Bearer s3cret" || json.Unmarshal(b, &got) != nil {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer s.Close()
	n := Notice{Gone: true, Agent: "sv1", Hub: "https://hub", Since: noon, At: noon.Add(time.Hour)}
	h := &Hook{URL: s.URL, Token: "s3cret", CA: authority(t, s)}
	if err := h.send(t.Context(), n); err != nil || got["agent"] != "sv1" || !strings.Contains(got["text"].(string), "応答") {
		t.Errorf("got %v, %v", got, err)
	}
	h.Token = "wrong"
	if err := h.send(t.Context(), n); err == nil {
		t.Error("a refusal was taken for success")
	}
	h.CA = ""
	if err := h.send(t.Context(), n); err == nil {
		t.Error("a certificate that nobody knows was trusted")
	}
}

// mailServer speaks SMTP with STARTTLS as far as one message needs.
func mailServer(t *testing.T, cert tls.Certificate, starttls bool) (address string, messages <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	out := make(chan string, 4)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serveMail(c, cert, starttls, out)
		}
	}()
	return l.Addr().String(), out
}

func serveMail(c net.Conn, cert tls.Certificate, starttls bool, out chan<- string) {
	defer func() { c.Close() }()
	say := func(s string) { fmt.Fprintf(c, "%s\r\n", s) }
	in := bufio.NewReader(c)
	secure := false
	say("220 test")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch word := strings.ToUpper(strings.Fields(line + " x")[0]); word {
		case "EHLO":
			if starttls && !secure {
				say("250-test\r\n250 STARTTLS")
			} else {
				say("250-test\r\n250 8BITMIME")
			}
		case "STARTTLS":
			say("220 go")
			c = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
			in, secure = bufio.NewReader(c), true
		case "DATA":
			say("354 go")
			var text strings.Builder
			for line != ".\r\n" && err == nil {
				line, err = in.ReadString('\n')
				text.WriteString(line)
			}
			out <- fmt.Sprintf("secure=%v\n%s", secure, text.String())
			say("250 ok")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func TestMailGoesOverTLSOnly(t *testing.T) {
	s := httptest.NewTLSServer(nil) // for its certificate, which is for 127.0.0.1
	defer s.Close()
	address, messages := mailServer(t, s.TLS.Certificates[0], true)
	m := &Mail{Server: address, From: "sonae@hospital.example", To: []string{"it@hospital.example"}, CA: authority(t, s)}
	n := Notice{Gone: true, Agent: "sv1", Hub: "https://hub", Since: noon, At: noon.Add(time.Hour)}
	if err := m.send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if got := <-messages; !strings.Contains(got, "secure=true") || !strings.Contains(got, "it@hospital.example") {
		t.Errorf("got %q", got)
	}
	m.CA = ""
	if err := m.send(t.Context(), n); err == nil {
		t.Error("a certificate that nobody knows was trusted")
	}
	plain, _ := mailServer(t, tls.Certificate{}, false)
	m = &Mail{Server: plain, From: m.From, To: m.To, CA: authority(t, s)}
	if err := m.send(t.Context(), n); err == nil {
		t.Error("a server without TLS was told")
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]Config{
		"too soon":        {After: time.Second},
		"no receiver":     {Mail: &Mail{Server: "m:25", From: "a@b"}},
		"no port":         {Mail: &Mail{Server: "m", From: "a@b", To: []string{"c@d"}}},
		"a hook in clear": {Hook: &Hook{URL: "http://chat.example/x"}},
	} {
		if c.Check() == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if New(Config{}, Deps{Now: time.Now}) != nil {
		t.Error("it watches without anybody to tell")
	}
}
