package hook

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/fault"
)

// utm is a product with an address list, over HTTPS with a certificate of its
// own authority.
type utm struct {
	*httptest.Server
	mu     sync.Mutex
	listed []string
	deaf   bool // it accepts, and does nothing
}

func newUTM(t *testing.T) *utm {
	u := &utm{}
	u.Server = httptest.NewTLSServer(u)
	t.Cleanup(u.Close)
	return u
}

func (u *utm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if r.Header.Get("X-Key") != "k-123" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	switch r.Method {
	case http.MethodPost:
		var in struct{ Name, IP string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Name != "sonae-"+in.IP {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if !slices.Contains(u.listed, in.IP) {
			u.listed = append(u.listed, in.IP)
		}
		w.WriteHeader(http.StatusCreated)
	case http.MethodDelete:
		if !u.deaf {
			u.listed = slices.DeleteFunc(u.listed, func(s string) bool { return strings.HasSuffix(r.URL.Path, "/"+s) })
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		_, _ = io.WriteString(w, strings.Join(u.listed, "\n"))
	}
}

func (u *utm) device() (device.Device, device.Secrets) {
	headers := []string{"X-Key: {secret}", "Content-Type: application/json"}
	return device.Device{Name: "UTM", Means: action.Hook,
		CA:      string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: u.Certificate().Raw})),
		Block:   device.Request{Method: "POST", URL: u.URL + "/list", Headers: headers, Body: `{"name":"sonae-{target}","ip":"{target}"}`, Status: []int{201}},
		Unblock: device.Request{Method: "DELETE", URL: u.URL + "/list/{target}", Headers: headers},
		Check:   device.Request{Method: "GET", URL: u.URL + "/list", Headers: headers, Contains: "{target}"},
	}, device.Secrets{"secret": "k-123"}
}

func TestUTMIsToldAndAsked(t *testing.T) {
	u := newUTM(t)
	d, s := u.device()
	var c Connector
	check := func(want bool) {
		t.Helper()
		held, detail, err := c.Check(t.Context(), d, s, "10.1.0.7", device.Place{})
		if held != want || err != nil {
			t.Errorf("held %v %q %v", held, detail, err)
		}
	}
	check(false)
	for range 2 {
		if err := c.Block(t.Context(), d, s, "10.1.0.7", device.Place{}); err != nil {
			t.Fatal(err)
		}
	}
	check(true)
	u.deaf = true
	if err := c.Restore(t.Context(), d, s, "10.1.0.7", device.Place{}); err == nil || !strings.HasPrefix(err.Error(), "not-taken") {
		t.Errorf("a device that keeps the block is believed: %v", err)
	}
	u.deaf = false
	if err := c.Restore(t.Context(), d, s, "10.1.0.7", device.Place{}); err != nil {
		t.Fatal(err)
	}
	check(false)
	if _, err := c.Test(t.Context(), d, s); err != nil {
		t.Error(err)
	}
}

func TestUTMThatRefusesOrIsAnotherIsAnError(t *testing.T) {
	u := newUTM(t)
	d, s := u.device()
	var c Connector
	if err := c.Block(t.Context(), d, device.Secrets{"secret": "guess"}, "10.1.0.7", device.Place{}); err == nil || !strings.HasPrefix(err.Error(), "device-refused") {
		t.Errorf("wrong secret: %v", err)
	}
	other := d
	other.CA = ""
	if err := c.Block(t.Context(), other, s, "10.1.0.7", device.Place{}); err == nil || !strings.Contains(err.Error(), x509.UnknownAuthorityError{}.Error()) {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	if len(u.listed) != 0 {
		t.Errorf("listed %v", u.listed)
	}
	bare := d
	bare.Check = device.Request{}
	if _, err := c.Test(t.Context(), bare, device.Secrets{"secret": "guess"}); err == nil {
		t.Error("a wrong secret passes the test")
	}
	u.Close()
	if err := c.Block(t.Context(), d, s, "10.1.0.7", device.Place{}); err == nil || !strings.HasPrefix(err.Error(), "device-silent") {
		t.Errorf("without an answer: %v", err)
	}
}

// shelf is a list with two addresses.
type shelf struct{ addresses []string }

func (s *shelf) ListSecret(_ context.Context, id string) (string, error) {
	if id != "dev-1" {
		return "", fault.New(fault.Missing, "device.unknown")
	}
	return "token-1", nil
}

func (s *shelf) Listed(context.Context, string) ([]string, error) { return s.addresses, nil }

func TestListIsFetchedWithItsTokenOnly(t *testing.T) {
	s := &shelf{addresses: []string{"10.1.0.7", "2001:db8::7"}}
	mux := http.NewServeMux()
	mux.Handle("GET /blocklist/{id}", Handler(s, slog.New(slog.DiscardHandler)))
	get := func(id, tag string, auth func(*http.Request)) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/blocklist/"+id, nil)
		r.Header.Set("If-None-Match", tag)
		auth(r)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	basic := func(r *http.Request) { r.SetBasicAuth("utm", "token-1") }
	w := get("dev-1", "", basic)
	if w.Code != 200 || w.Body.String() != "10.1.0.7\n2001:db8::7\n" || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	tag := w.Header().Get("ETag")
	if w := get("dev-1", tag, func(r *http.Request) { r.Header.Set("Authorization", "Bearer token-1") }); w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("unchanged: %d", w.Code)
	}
	s.addresses = nil
	if w := get("dev-1", tag, basic); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("ETag") == tag {
		t.Errorf("empty: %d %q", w.Code, w.Body)
	}
	for name, w := range map[string]*httptest.ResponseRecorder{
		"no token":    get("dev-1", "", func(*http.Request) {}),
		"wrong token": get("dev-1", "", func(r *http.Request) { r.SetBasicAuth("utm", "guess") }),
		"empty token": get("dev-2", "", func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }),
		"no list":     get("dev-2", "", basic),
	} {
		if w.Code != 401 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

func TestListHoldsOnceItWasFetched(t *testing.T) {
	now := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	l := NewList(func() time.Time { return now })
	p, err := l.Find(t.Context(), device.Device{}, nil, "10.1.0.7")
	if err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]bool{-time.Minute: false, time.Second: true} {
		held, _, err := l.Check(t.Context(), device.Device{FetchedAt: now.Add(after)}, nil, "10.1.0.7", p)
		if held != want || err != nil {
			t.Errorf("fetched %s after: held %v, %v", after, held, err)
		}
	}
	if _, err := l.Find(t.Context(), device.Device{}, nil, "aa:bb:cc:00:00:07"); err == nil {
		t.Error("a hardware address is on a list of IP addresses")
	}
}
