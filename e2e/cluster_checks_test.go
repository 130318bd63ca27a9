//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/ready/drill"
)

// ask calls the API where the hub may be away.
func (w *person) ask(ctx context.Context, path string, out any) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.hub.base+"/api/v1"+path, nil)
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	res, err := w.hub.client.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK && json.NewDecoder(res.Body).Decode(out) == nil
}

// measured reports how long writers waited and what each part cost.
func (x *cluster) measured(t *testing.T) {
	t.Helper()
	var gaps []time.Duration
	for _, killed := range x.kills {
		i := slices.IndexFunc(x.acks, func(at time.Time) bool { return at.After(killed) })
		if i < 0 {
			t.Error("nobody was answered after the last kill")
			continue
		}
		gaps = append(gaps, x.acks[i].Sub(killed))
	}
	slices.Sort(gaps)
	longest := time.Duration(0)
	for i := 1; i < len(x.acks); i++ {
		longest = max(longest, x.acks[i].Sub(x.acks[i-1]))
	}
	n := len(gaps)
	t.Logf("%d hubs killed, %d starts failed; an entry is acknowledged again %s after a kill (median), %s at most; longest time without one %s",
		n, x.spoiled, gaps[n/2].Round(time.Millisecond), gaps[n-1].Round(time.Millisecond), longest.Round(time.Millisecond))
	if longest > x.back {
		t.Errorf("nobody could write for %s, want %s at most", longest, x.back)
	}
	events := int64(0)
	for _, n := range promised(t, x.agents) {
		events += n
	}
	var hubs, nats time.Duration
	for _, r := range x.runs {
		hubs += cpu(t, r.process)
	}
	for _, s := range x.nats {
		nats += s.cpu(t)
	}
	t.Logf("%d events in %s (%.0f a second); CPU: hubs %s, NATS %s, storage %s", events, x.lasted.Round(time.Second), float64(events)/x.lasted.Seconds(),
		hubs.Round(time.Millisecond), nats.Round(time.Millisecond), x.store.cpu(t).Round(time.Millisecond))
}

// oneAlertEach wants one alert for what each machine did again and again, with
// every time counted once, and at most one open one of each rule for the
// drills.
func (x *cluster) oneAlertEach(t *testing.T) {
	t.Helper()
	var l list[alert.Alert]
	x.admin.at(x.hubs[2]).do(t, http.MethodGet, "/alerts?limit=200", nil, &l, 0)
	byHost, drills := map[string][]alert.Alert{}, map[string]int{}
	for _, a := range l.Items {
		switch {
		case a.Host == drill.Host && a.State != alert.Closed:
			drills[a.Rule.ID]++
		case a.Host == drill.Host && a.Reason != drill.Next:
			t.Errorf("alert %s of a drill was closed because of %q", a.ID, a.Reason)
		case a.Host != drill.Host && a.Rule.ID == "p2p-process":
			byHost[a.Host] = append(byHost[a.Host], a)
		}
	}
	for rule, n := range drills {
		if n != 1 {
			t.Errorf("%d alerts of %s are open for the practice host", n, rule)
		}
	}
	if len(drills) == 0 || x.drills == 0 {
		t.Errorf("%d drills were accepted, and %d alerts of them are open", x.drills, len(drills))
	}
	for _, a := range x.agents {
		batches := 0
		host := ""
		for id := range promised(t, []*loaded{a}) {
			host, _, _ = strings.Cut(id, ".")
			batches++
		}
		if got := byHost[host]; len(got) != 1 || got[0].Count != batches {
			counts := []int{}
			for _, g := range got {
				counts = append(counts, g.Count)
			}
			t.Errorf("%s: %d alerts with %v findings, want one with %d", host, len(got), counts, batches)
		}
	}
	t.Logf("%d drills accepted; %d alerts in all", x.drills, l.Total)
}

// pagesAnswer opens pages at every hub.
func (x *cluster) pagesAnswer(t *testing.T) {
	t.Helper()
	for _, h := range x.hubs {
		for _, path := range []string{"/", "/alerts", "/incidents", "/incidents/" + x.in.ID, "/search", "/settings"} {
			if page := x.admin.at(h).page(t, path); !strings.Contains(page, "</html>") {
				t.Errorf("page %s of %s is cut off", path, h.host.Name)
			}
		}
	}
}

// livePages wants the open page of an incident to change at every hub when
// somebody writes at one.
func (x *cluster) livePages(t *testing.T) {
	t.Helper()
	const text = "別のハブで書いた記録"
	path := "/incidents/" + x.in.ID
	seen := make(chan string)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	for _, h := range x.hubs {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.base+"/live?path="+url.QueryEscape(path), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.AddCookie(&http.Cookie{Name: "__Host-sonae_session", Value: x.admin.token})
		client := *h.client
		client.Timeout = 0 // the stream lasts
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer res.Body.Close()
			lines := bufio.NewScanner(res.Body)
			lines.Buffer(nil, 4<<20)
			for lines.Scan() {
				if strings.Contains(lines.Text(), text) {
					select {
					case seen <- h.host.Name:
					case <-ctx.Done():
					}
					return
				}
			}
		}()
	}
	x.admin.at(x.hubs[0]).do(t, http.MethodPost, path+"/entries", map[string]string{"text": text}, nil, http.StatusCreated)
	began, missing := time.Now(), len(x.hubs)
	for ; missing > 0; missing-- {
		select {
		case <-seen:
		case <-ctx.Done():
			t.Fatalf("%d of %d hubs did not show on an open page what was written at another", missing, len(x.hubs))
		}
	}
	t.Logf("open pages at all hubs showed a new entry within %s", time.Since(began).Round(time.Millisecond))
}

// orderAcross asks for evidence at a hub that the machine is not connected to,
// and takes the sealed bag from every hub.
func (x *cluster) orderAcross(t *testing.T) {
	t.Helper()
	var near, far *hubProcess
	await(t, time.Minute, "the machine being connected to one hub", func() bool {
		near, far = nil, nil
		for _, h := range x.hubs {
			if h.metric("sonae_agent_order_streams") == "1" {
				near = h
			} else {
				far = h
			}
		}
		return near != nil && far != nil
	})
	at := x.admin.at(far)
	var a action.Action
	at.do(t, http.MethodPost, "/actions", map[string]any{"kind": "preserve", "incident": x.in.ID, "host": x.pc.ID, "reason": "記録を残すため"}, &a, http.StatusCreated)
	began := time.Now()
	await(t, 2*time.Minute, "the evidence being sealed", func() bool {
		at.do(t, http.MethodGet, "/actions/"+a.ID, nil, &a, 0)
		var b evidence.Bag
		return a.Bag != "" && at.ask(t.Context(), "/evidence/"+a.Bag, &b) && b.State != evidence.Collecting
	})
	t.Logf("ordered at %s, connected to %s, sealed after %s: %s", far.host.Name, near.host.Name, time.Since(began).Round(time.Millisecond), a.State)
	for _, h := range x.hubs {
		var b evidence.Bag
		x.admin.at(h).do(t, http.MethodGet, "/evidence/"+a.Bag, nil, &b, 0)
		if b.State != evidence.Sealed || len(b.Items) == 0 {
			t.Errorf("bag at %s: %s with %d items", h.host.Name, b.State, len(b.Items))
		}
		status, body := x.admin.at(h).call(t, http.MethodPost, "/evidence/"+a.Bag+"/zip", map[string]string{"purpose": "確認"})
		if status != http.StatusOK {
			t.Errorf("bag from %s: status %d: %s", h.host.Name, status, body)
			continue
		}
		file := filepath.Join(t.TempDir(), "bag.zip")
		if err := os.WriteFile(file, body, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := h.host.Run(t.Context(), x.sonae, "verify", "--key", filepath.Join(h.dir, "ledger-key.txt"), file); err != nil {
			t.Errorf("bag from %s: %v: %s", h.host.Name, err, out)
		}
	}
}

// metric reads one value from the loopback door.
func (p *hubProcess) metric(name string) string {
	client := http.Client{Transport: &http.Transport{DialContext: p.host.Dial, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	res, err := client.Get("http://127.0.0.1:8080/metrics")
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return value
		}
	}
	return ""
}

// span is a time in which a hub says that it leads something.
type span struct {
	hub      string
	from, to time.Time
}

var leadLine = regexp.MustCompile(`^time=(\S+) .*msg="this hub (leads|leads no longer)".* lead=(\S+)`)

// oneLeader wants no two hubs to lead the same at the same time.
func (x *cluster) oneLeader(t *testing.T) {
	t.Helper()
	spans := map[string][]span{}
	for _, r := range x.runs {
		for what, s := range r.spans(t) {
			spans[what] = append(spans[what], s...)
		}
	}
	for _, what := range []string{"ledger", "archive", "watch", "practice"} {
		list := spans[what]
		slices.SortFunc(list, func(a, b span) int { return a.from.Compare(b.from) })
		var gaps []time.Duration
		for i := 1; i < len(list); i++ {
			if list[i].from.Before(list[i-1].to) {
				t.Errorf("%s: %s leads from %s, and %s until %s", what, list[i].hub, list[i].from, list[i-1].hub, list[i-1].to)
			}
			gaps = append(gaps, list[i].from.Sub(list[i-1].to))
		}
		slices.Sort(gaps)
		if len(gaps) < 2 {
			t.Errorf("%s: %d changes of the leader, want several", what, len(gaps))
			continue
		}
		t.Logf("%s: %d changes of the leader, %s without one (median), %s at most", what, len(gaps), gaps[len(gaps)/2].Round(time.Millisecond), gaps[len(gaps)-1].Round(time.Millisecond))
	}
}

// spans reads from a hub's log when it led what.
func (r *run) spans(t *testing.T) map[string][]span {
	t.Helper()
	b, err := os.ReadFile(r.log)
	if err != nil {
		t.Fatal(err)
	}
	out, end := map[string][]span{}, r.killed
	if end.IsZero() {
		end = time.Now()
	}
	for line := range bytes.Lines(b) {
		m := leadLine.FindSubmatch(line)
		if m == nil {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		what := string(m[3])
		if string(m[2]) == "leads" {
			out[what] = append(out[what], span{r.hub, at, end})
		} else if n := len(out[what]); n > 0 {
			out[what][n-1].to = at
		}
	}
	return out
}

// verifies checks the copy of every hub, with checkpoints that were seen
// through all of them.
func (x *cluster) verifies(t *testing.T) {
	t.Helper()
	if len(x.seen) < 3 {
		t.Fatalf("%d checkpoints were seen", len(x.seen))
	}
	x.settles(t)
	for _, h := range x.hubs {
		args := append([]string{"verify", "--state", x.db}, x.store.flags()...)
		for _, file := range x.seen {
			args = append(args, "--against", file)
		}
		began := time.Now()
		out, err := h.host.Run(t.Context(), x.sonae, append(args, h.dir)...)
		if err != nil {
			t.Errorf("verify %s: %v\n%s", h.host.Name, err, differencesIn(string(out)))
		}
		t.Logf("verified %s with %d checkpoints in %s", h.host.Name, len(x.seen), time.Since(began).Round(time.Millisecond))
	}
}

// settles waits until nothing is on its way to the ledger, which cannot be
// seen offline, and every hub has all of it.
func (x *cluster) settles(t *testing.T) {
	t.Helper()
	await(t, 2*time.Minute, "everything being recorded and every hub having it", func() bool {
		leaves := map[string]bool{}
		for _, h := range x.hubs {
			all, err := h.metrics()
			if err != nil || !h.idle() {
				return false
			}
			leaves[all["sonae_ledger_leaves"]] = true
		}
		return len(leaves) == 1 && !leaves[""]
	})
}

// differencesIn leaves notes away, of which there are many after kills.
func differencesIn(out string) string {
	var lines []string
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "note:") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// changedByteIsNamed changes one byte of a segment in the storage, and wants
// verify to name it. The hubs have ended.
func (x *cluster) changedByteIsNamed(t *testing.T) {
	t.Helper()
	verify := func() (string, int) {
		h := x.hubs[0]
		out, err := h.host.Command(t.Context(), x.sonae, append(append([]string{"verify", "--state", x.db}, x.store.flags()...), h.dir)...).CombinedOutput()
		return string(out), exitCode(err)
	}
	before, code := verify()
	var all []string
	err := filepath.WalkDir(filepath.Join(x.store.objects, "archive", "segments"), func(file string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(file, ".parquet") && !strings.Contains(before, filepath.Base(file)) { // else replaced, and no evidence any more
			all = append(all, file)
		}
		return err
	})
	if err != nil || code != 0 || len(all) == 0 {
		t.Fatalf("no segment in the storage, or not intact: %v\n%s", err, differencesIn(before))
	}
	file := all[x.dice(len(all))]
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[x.dice(len(b))] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := verify(); code != 1 || !strings.Contains(out, "DIFFERS") || !strings.Contains(out, filepath.Base(file)) {
		t.Errorf("verify: exit %d, want 1 and %s named:\n%s", code, filepath.Base(file), out)
	}
}

// everyEventOnce compares what lies in the storage with what the machines had
// promised.
func (x *cluster) everyEventOnce(t *testing.T) {
	t.Helper()
	ar, err := archive.Open(t.Context(), filepath.Join(t.TempDir(), "archive"), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		archive.Shared(blob.Sub(x.store.open(t), "archive"), "test"))
	if err != nil {
		t.Fatal(fmt.Errorf("open the shared archive: %w", err))
	}
	holdsOnce(t, ar, promised(t, x.agents))
}
