package hook

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
)

// List is a list that other products fetch. Nothing is sent: what is blocked
// is on the list until the lease ends.
type List struct{ now clock.Now }

// NewList returns the connector of lists.
func NewList(now clock.Now) List { return List{now} }

// Find notes since when the target is on the list. A list names IP addresses.
func (l List) Find(_ context.Context, _ device.Device, _ device.Secrets, target string) (device.Place, error) {
	if _, err := netip.ParseAddr(target); err != nil {
		return device.Place{}, fmt.Errorf("target-unusable: %s", target)
	}
	since, err := json.Marshal(l.now().UTC())
	return device.Place{Key: target, Before: since}, err
}

// Block has nothing to do.
func (List) Block(context.Context, device.Device, device.Secrets, string, device.Place) error {
	return nil
}

// Check says whether the list was fetched since the target is on it.
func (List) Check(_ context.Context, d device.Device, _ device.Secrets, _ string, p device.Place) (bool, string, error) {
	var since time.Time
	if err := json.Unmarshal(p.Before, &since); err != nil {
		return false, "", fmt.Errorf("state before: %w", err)
	}
	if d.FetchedAt.After(since) {
		return true, "fetched", nil
	}
	return false, "not fetched yet", nil
}

// Restore has nothing to do: what ended is not listed.
func (List) Restore(context.Context, device.Device, device.Secrets, string, device.Place) error {
	return nil
}

// Test says when the list was fetched last.
func (List) Test(_ context.Context, d device.Device, _ device.Secrets) (string, error) {
	if d.FetchedAt.IsZero() {
		return "", fmt.Errorf("never-fetched: nobody has fetched the list yet")
	}
	return "fetched at " + d.FetchedAt.UTC().Format(time.RFC3339), nil
}

// Lists is what the handler needs of the devices.
type Lists interface {
	ListSecret(ctx context.Context, id string) (string, error)
	Listed(ctx context.Context, id string) ([]string, error)
}

// Handler answers GET …/{id} with what a list publishes: one address a line.
// The secret comes as a bearer token or as the password of any user: it never
// stands in the address, which is logged all over.
func Handler(lists Lists, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		secret, err := lists.ListSecret(r.Context(), id)
		if err != nil && fault.Of(err) == "" {
			log.Error("block list", "device", id, "err", err)
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		if !authentic(r, secret) { // also where there is no such list: nobody learns which there are
			w.Header().Set("WWW-Authenticate", `Basic realm="sonae block list"`)
			http.Error(w, "the token does not fit", http.StatusUnauthorized)
			return
		}
		all, err := lists.Listed(r.Context(), id)
		if err != nil {
			log.Error("block list", "device", id, "err", err)
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		write(w, r, all)
	})
}

func authentic(r *http.Request, secret string) bool {
	_, given, ok := r.BasicAuth()
	if !ok {
		given, ok = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	return ok && secret != "" && subtle.ConstantTimeCompare([]byte(given), []byte(secret)) == 1
}

func write(w http.ResponseWriter, r *http.Request, all []string) {
	text := ""
	if len(all) > 0 {
		text = strings.Join(all, "\n") + "\n"
	}
	sum := sha256.Sum256([]byte(text))
	tag := `"` + hex.EncodeToString(sum[:16]) + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "no-cache")
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, text) // whoever went away asks again
}
