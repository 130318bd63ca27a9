package ui

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/search"
	"github.com/sonae/sonae/state/statetest"
)

// withEvents gives the house a real archive with the events of the story, and
// the stage that keeps searches; more are further batches.
func (h *house) withEvents(t *testing.T, more ...[]event.Event) *house {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	now := func() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.now }
	a, err := archive.Open(t.Context(), t.TempDir(), log, archive.WithClock(now))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	for i, list := range append([][]event.Event{talks(), nights(), programs(), records()}, more...) {
		id := fmt.Sprintf("ba-%d", i)
		for n := range list {
			list[n].ID = fmt.Sprintf("%s-%d", id, n)
		}
		if _, err := a.Append(t.Context(), []event.Batch{{ID: id, Site: list[0].Site, Host: list[0].Host, SentAt: start, Events: list}}); err != nil {
			t.Fatal(err)
		}
	}
	db := statetest.Open(t)
	h.archive, h.searches = a, search.New(db, a, now, log)
	h.withRules(t, db, a, now, log)
	h.withThresholds(t, db, log)
	h.withNotices(t, db, log)
	h.withTasks(t, db, log)
	return h
}

// talks are the connections of the machine in the story: file sharing among
// what is usual.
func talks() []event.Event {
	var out []event.Event
	for n := range 120 {
		f := map[string]string{event.FieldPhase: "update", event.FieldProtocol: "tcp", event.FieldInitiated: "true", event.FieldLocalIP: "198.51.100.7",
			event.FieldSrcIP: "198.51.100.7", event.FieldSrcPort: strconv.Itoa(40000 + n), event.FieldFlowID: "fl-" + strconv.Itoa(n)}
		peer, port, app, image, sent := "192.0.2.53", "53", "dns", "/usr/lib/systemd/systemd-resolved", 80+n
		switch {
		case n < 24:
			peer, port, app, image, sent = fmt.Sprintf("203.0.113.%d", 7+n%5), "6881", "bittorrent", "/usr/bin/transmission-daemon", 52_000+n*811
			f[event.FieldVerdict], f[event.FieldConfidence], f[event.FieldUser] = "bt.handshake", "certain", "operator7"
		case n%3 == 0:
			peer, port, app, image, sent = "192.0.2.80", "443", "tls", "/usr/bin/firefox", 9_000+n*13
			f[event.FieldUser] = "operator7"
		}
		f[event.FieldDstIP], f[event.FieldRemoteIP], f[event.FieldDstPort], f[event.FieldRemotePort] = peer, peer, port, port
		f[event.FieldApp], f[event.FieldImage], f[event.FieldSent], f[event.FieldReceived] = app, image, strconv.Itoa(sent), strconv.Itoa(sent*3)
		at := start.Add(-time.Duration(n) * 11 * time.Minute)
		if n < 24 {
			at = start.Add(-30*time.Second - time.Duration(n)*9*time.Second)
		}
		out = append(out, event.Event{Time: at, Site: "callcentre", Host: "ho-1", Kind: event.KindFlow, Product: "sonae", Category: "network_connection", Service: "flow", Fields: f})
	}
	return out
}

// nights are log-ins at the hospital, some of them failures in the night.
func nights() []event.Event {
	var out []event.Event
	for n := range 30 {
		action, user, from := "login", []string{"tanaka", "suzuki", "<b>op</b>"}[n%3], "192.0.2.21"
		at := start.Add(-time.Duration(n*40) * time.Minute)
		if n%5 == 0 {
			action, user, from = "failure", "root", "203.0.113.99"
			at = start.Add(-11*time.Hour - time.Duration(n)*time.Minute)
		}
		out = append(out, event.Event{Time: at, Site: "hospital", Host: "ho-2", Kind: event.KindLogin, Product: "linux", Category: "authentication", Service: "sshd",
			Fields: map[string]string{"Action": action, event.FieldUser: user, event.FieldSrcIP: from, event.FieldSrcPort: "50022", "Method": "password"},
			Raw:    fmt.Sprintf("%s password for %s from %s port 50022 ssh2", map[string]string{"login": "Accepted", "failure": "Failed"}[action], user, from)})
	}
	return out
}

// programs are processes of the machine in the story.
func programs() []event.Event {
	var out []event.Event
	for n, p := range []struct{ image, command, parent string }{
		{"/usr/bin/transmission-daemon", `transmission-daemon --download-dir /home/<b>op</b>/"共有"`, "/usr/bin/bash"},
		{"/usr/bin/bash", "bash -l", "/usr/bin/gnome-terminal"},
		{"/usr/bin/curl", "curl -sS https://updates.example/パッチ一覧.json", "/usr/bin/bash"},
	} {
		out = append(out, event.Event{Time: start.Add(-time.Duration(5+n) * time.Minute), Site: "callcentre", Host: "ho-1", Kind: event.KindProcess, Product: "linux", Category: "process_creation",
			Fields: map[string]string{event.FieldImage: p.image, event.FieldCommand: p.command, "ParentImage": p.parent, event.FieldUser: "operator7", event.FieldPID: strconv.Itoa(4242 - n),
				"Hashes": "SHA256=" + strings.Repeat("275a021b", 8)}})
	}
	return out
}

// records are lines of system logs.
func records() []event.Event {
	var out []event.Event
	for n := range 40 {
		out = append(out, event.Event{Time: start.Add(-time.Duration(n*33) * time.Minute), Site: "hospital", Host: "ho-2", Kind: event.KindLog, Product: "linux", Service: "kernel",
			Fields: map[string]string{"Priority": "6", "Unit": "kernel"}, Raw: fmt.Sprintf("usb 1-1.%d: New USB device found, USB Mass Storage 検出", n%4)})
	}
	return out
}

// located tells where events are kept, as the archive does.
func (h *house) located(_ context.Context, ids []string) ([]evidence.Location, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []evidence.Location
	if h.unsealed > 0 {
		h.unsealed--
		return nil, nil
	}
	for _, id := range ids {
		out = append(out, evidence.Location{ID: id, Segment: "segments/1.parquet", Leaf: leaf.Leaf{Type: "segment", Ref: "segment/1", Digest: strings.Repeat("0c", 32), At: start}})
	}
	return out, nil
}

func (h evidenceOf) AddEvents(_ context.Context, in string, events []event.Event, found []evidence.Location, purpose string, by auth.Person) (evidence.Bag, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if purpose == "" {
		return evidence.Bag{}, fault.New(fault.Invalid, "evidence.why-kept")
	}
	b := evidence.Bag{ID: fmt.Sprintf("bag-%d", len(h.bagList)+1), Incident: in, Host: events[0].Host, Site: events[0].Site, State: evidence.Sealed, OpenedAt: h.now, OpenedBy: by.ID,
		SealedAt: h.now, Digest: strings.Repeat("c5", 32), Picked: &evidence.Picked{SHA256: strings.Repeat("d5", 32), Purpose: purpose, Segments: []string{found[0].Leaf.Ref}}}
	for _, e := range events {
		b.Picked.IDs = append(b.Picked.IDs, e.ID)
	}
	h.bagList = append(h.bagList, b)
	return b, nil
}

// rulesOf is a real rulebook, but for what the page of a search needs to see: a
// draft that quotes the search, and a test that counts what the archive finds.
type rulesOf struct {
	*search.Rulebook
	*house
}

func (h rulesOf) Draft(_ context.Context, d search.RuleDraft) (string, error) {
	if strings.Contains(d.Query, "|") {
		return "", fault.New(fault.Invalid, "search.no-events")
	}
	y := fmt.Sprintf("title: %s\nlevel: %s\ndetection:\n  # %s\n  condition: selection\n", d.Title, d.Severity, d.Query)
	if d.Threshold != nil {
		y += fmt.Sprintf("correlation: %d in %s by %v\n", d.Threshold.Count, d.Threshold.Window, d.Threshold.By)
	}
	if g := d.Together; g != nil {
		y += fmt.Sprintf("together: %s %g of %q with %q in %s by %v\n", g.Kind, g.Least, g.Field, g.With, g.Window, g.By)
	}
	return y, nil
}

func (h rulesOf) BackTest(ctx context.Context, yaml string, from, to time.Time, sites []string) (search.BackTest, error) {
	_, query, _ := strings.Cut(yaml, "# ")
	query, _, _ = strings.Cut(query, "\n")
	b := search.BackTest{From: from, To: to, Until: to}
	days := map[time.Time]int64{}
	err := h.archive.Search(ctx, archive.Search{Query: query, From: from, To: to, Sites: sites, Limit: 1000}, func(p archive.Part) error {
		for _, e := range p.Events {
			b.Matches++
			days[e.Time.Truncate(24*time.Hour)]++
			if len(b.Examples) < 3 {
				b.Examples = append(b.Examples, e)
			}
		}
		b.Scanned = p.Progress.Rows
		return nil
	})
	for d := from.Truncate(24 * time.Hour); d.Before(to); d = d.Add(24 * time.Hour) {
		b.Days = append(b.Days, search.TestDay{Day: d, Matches: days[d], Alerts: min(days[d], 1)})
		b.Alerts += min(days[d], 1)
	}
	b.AlertsPerDay = float64(b.Alerts) / to.Sub(from).Hours() * 24
	return b, err
}

func (h rulesOf) Enable(ctx context.Context, yaml string, by auth.Person) (search.Rule, error) {
	h.mu.Lock()
	h.ruleList++
	id := fmt.Sprintf("ru-%d", h.ruleList)
	h.mu.Unlock()
	title, _, _ := strings.Cut(strings.TrimPrefix(yaml, "title: "), "\n")
	r, err := h.Rulebook.Enable(ctx, fmt.Sprintf("title: %q\nid: %s\nlogsource: {product: linux}\ndetection:\n  s: {Unit: none}\n  condition: s\n", title, id), by)
	if err != nil {
		return r, err
	}
	return r, h.Reload(ctx)
}

// SwitchOff takes effect at once: no bus tells of it.
func (h rulesOf) SwitchOff(ctx context.Context, id, reason string, by auth.Person) error {
	return errors.Join(h.Rulebook.SwitchOff(ctx, id, reason, by), h.Reload(ctx))
}

// wires are connections with their course: one that was identified and ended,
// one that nobody knows, one from outside to a server.
func wires() []event.Event {
	var out []event.Event
	add := func(at time.Time, phase, site, host, src, dst, port string, sent, received int, more ...string) {
		f := map[string]string{event.FieldFlowID: "wire-" + src + "-" + dst, event.FieldPhase: phase, event.FieldProtocol: "tcp", event.FieldInitiated: "true", event.FieldLocalIP: src, event.FieldSrcIP: src, event.FieldSrcPort: "51234",
			event.FieldDstIP: dst, event.FieldRemoteIP: dst, event.FieldDstPort: port, event.FieldRemotePort: port, event.FieldSent: strconv.Itoa(sent), event.FieldReceived: strconv.Itoa(received)}
		for i := 0; i+1 < len(more); i += 2 {
			f[more[i]] = more[i+1]
		}
		out = append(out, event.Event{Time: at, Site: site, Host: host, Kind: event.KindFlow, Product: "sonae", Category: "network_connection", Service: "flow", Fields: f})
	}
	known := []string{event.FieldApp, "bittorrent", event.FieldConfidence, "certain", event.FieldVerdict, "bt.handshake", event.FieldProof, "13426974546f7272656e742070726f746f636f6c0000000000100005", event.FieldProofAt, "0",
		event.FieldImage, "/usr/bin/transmission-daemon", event.FieldUser, "operator7", "DestinationHostname", "<b>peer</b>.example"}
	add(start.Add(-4*time.Minute), "identified", "callcentre", "ho-1", "198.51.100.7", "203.0.113.7", "6881", 220, 68, known...)
	add(start.Add(-2*time.Minute), "end", "callcentre", "ho-1", "198.51.100.7", "203.0.113.7", "6881", 1_200_345, 52_000, known...)
	add(start.Add(-3*time.Minute), "end", "callcentre", "ho-1", "198.51.100.7", "203.0.113.99", "8443", 40_000, 3_000)
	add(start.Add(-26*time.Hour), "end", "hospital", "ho-2", "203.0.113.50", "198.51.100.7", "443", 9_000, 800, event.FieldApp, "tls", event.FieldConfidence, "certain", event.FieldVerdict, "tls", "tls.ja4", "t13d1516h2_8daaf6152771_02713d6af862")
	return out
}
