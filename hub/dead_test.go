package hub_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sonae/sonae/hub"
	"github.com/sonae/sonae/hub/hubtest"
)

// TestDeadLettersAreForTheOwner asks through the socket, which only the owner
// of the folder can open.
func TestDeadLettersAreForTheOwner(t *testing.T) {
	t.Parallel()
	h := hubtest.Start(t)
	for path, want := range map[string]int{"GET /dead": 200, "GET /dead?after=x": 400, "POST /dead/7": 404, "POST /dead/x": 400} {
		method, path, _ := strings.Cut(path, " ")
		if status, body := owner(t, h.Dir, method, path); status != want || status == 200 && strings.TrimSpace(body) != "[]" && strings.TrimSpace(body) != "null" {
			t.Errorf("%s %s: %d %s", method, path, status, body)
		}
		res, err := h.HTTP().Get(h.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if b, _ := io.ReadAll(res.Body); strings.HasPrefix(string(b), "[") {
			t.Errorf("%s answers at the pages' door: %s", path, b)
		}
	}
}

// owner asks the hub through the socket in its folder.
func owner(t *testing.T, dir, method, path string) (int, string) {
	t.Helper()
	socket, closed, err := hub.ControlSocket(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = closed() }() // opened for reading only
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://hub"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}
