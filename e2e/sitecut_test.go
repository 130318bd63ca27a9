//go:build e2e

package e2e

import (
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/e2e/netns"
	"github.com/sonae/sonae/incident"
)

// campus is a hospital in two segments: a file server, the repository of its
// copies and the line to the outside at gateway A, a ward behind gateway B, and
// a machine that must keep running.
type campus struct {
	*fence               // its gate is gateway A, its pc the one in the ward
	inner  *agentProcess // gateway B
	files  *agentProcess
	copies *netns.Host
}

// each is one thing of every stage, in the order of the ministry.
type each[T any] [3]T

// stageTime is how long a stage may take on a busy machine, with an agent that
// is killed and started again in it.
const stageTime = time.Minute

// TestSiteCut: one person asks for the cutting of a site, another approves it
// once, and real agents carry it out path by path, the backup path first; one
// of them is killed in the middle. It is undone in reverse, once by an order
// and once by the kernel without the hub.
func TestSiteCut(t *testing.T) {
	t.Parallel()
	c := newCampus(t)
	c.written(t)
	running := each[[]*transfer]{
		{c.send(t, c.files.host, c.copies, 0), c.send(t, c.files.host, c.copies, 1)},
		{c.send(t, c.files.host, c.out, 0), c.send(t, c.out, c.files.host, 1)},
		{c.send(t, c.pc.host, c.files.host, 0), c.send(t, c.files.host, c.pc.host, 1)},
	}
	free := c.send(t, c.kept.host, c.files.host, 0)
	cut := c.cut(t)
	c.stoppedInOrder(t, cut, running)
	c.hubIsReached(t)
	if !grows(free, free.bytes()) {
		t.Error("the transfer of the machine that must keep running stopped")
	}
	c.undone(t, cut)
	c.flows(t)
	c.endsWithoutTheHub(t)
	c.told(t, cut)
	c.campusIntact(t)
}

func newCampus(t *testing.T) *campus {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	programs := build(t)
	w := newWorld(t, "sc")
	c := &campus{fence: &fence{story: &story{world: w}}}
	hub := add(t, w, "hub", "192.168.10.5/24", "2001:db8:10::5/64") // v1
	files := add(t, w, "files", "192.168.20.10/24", "2001:db8:20::10/64")
	c.copies = add(t, w, "copies", "192.168.30.30/24", "2001:db8:30::30/64")
	c.out = add(t, w, "out", "198.51.100.7/24", "2001:db8:99::7/64") // v4
	kept := add(t, w, "kept", "192.168.51.20/24", "2001:db8:51::20/64")
	b := add(t, w, "b", "192.168.60.2/24", "2001:db8:60::2/64")
	ward, line, err := w.Behind(b, "ward", "192.168.50.10/24", "2001:db8:50::10/64")
	if err != nil || line != wardLine {
		t.Fatalf("the ward is behind %q, %v", line, err)
	}
	a := w.Gateway()
	for _, h := range []*netns.Host{files, kept, ward, a, b} {
		if err := h.Separate(); err != nil {
			t.Fatal(err)
		}
	}
	c.hub = startHub(t, hub, programs.hub)
	c.admin = c.hub.join(t, c.hub.link, "admin", "病院 情報担当")
	c.site(t, "hospital", "中央病院", "hospital", "")
	c.second = c.admin.invite(t, "second", "病院 副責任者", "", "approver")
	gateway := agentProcess{program: programs.agent, flags: []string{"--gateway"}}
	c.files = c.admin.enrol(t, files, programs.agent, "hospital", "fs-01")
	c.kept = c.admin.enrol(t, kept, programs.agent, "hospital", "monitor-01")
	c.pc = c.admin.enrol(t, ward, programs.agent, "hospital", "ward-pc-01")
	c.gate = c.admin.enrolWith(t, a, gateway, "hospital", "gw-a")
	c.inner = c.admin.enrolWith(t, b, gateway, "hospital", "gw-b")
	await(t, time.Minute, "both gateways and the address that must be kept being known", func() bool {
		return c.host(t, c.gate.ID).Health.Gateway && c.host(t, c.inner.ID).Health.Gateway && slices.Contains(c.host(t, c.kept.ID).Addresses, "192.168.51.20")
	})
	c.admin.do(t, http.MethodPut, "/hosts/"+c.kept.ID, map[string]any{"name": "monitor-01", "class": "pc", "keep": "生体情報モニターを映している", "services": []any{}}, nil, 0)
	c.admin.do(t, http.MethodPost, "/incidents", map[string]any{"title": "暗号化の疑い", "severity": "critical", "sites": []string{"hospital"}}, &c.room, http.StatusCreated)
	return c
}

// Interfaces: of gateway A to the outside, of gateway B to the ward.
const (
	outLine  = "v4"
	wardLine = "v7"
)

// written writes down how the site is cut, in another order than it will be.
// What must not be cut cannot be written.
func (c *campus) written(t *testing.T) {
	t.Helper()
	sections := []action.Section{
		{Stage: action.Border, Name: "病棟の境界", Stops: "病棟から電子カルテが見えない", Kind: action.Block, Via: c.inner.ID, Targets: []string{"line:" + wardLine}},
		{Stage: action.ExternalLine, Name: "インターネット", Stops: "メールと検索が止まる", Kind: action.Block, Via: c.gate.ID, Targets: []string{"line:" + outLine}},
		{Stage: action.BackupPath, Name: "控えの倉庫", Stops: "夜の控えが取れない", Kind: action.Block, Via: c.gate.ID, Targets: []string{c.copies.IP(), c.copies.Addrs[1].Addr().String()}},
	}
	never := action.Section{Stage: action.Border, Name: "モニター", Kind: action.Block, Via: c.gate.ID, Targets: []string{c.kept.host.IP()}}
	status, body := c.admin.call(t, http.MethodPut, "/sites/hospital/cut", map[string]any{"sections": append(slices.Clone(sections), never)})
	if status != http.StatusForbidden || !strings.Contains(string(body), "生体情報モニター") {
		t.Errorf("a path of a machine that must keep running: %d %s", status, body)
	}
	c.admin.do(t, http.MethodPut, "/sites/hospital/cut", map[string]any{"sections": sections}, nil, 0)
}

// cut asks, is refused the own approval, and lets a second person approve. The
// agent of gateway A is killed when it has the backup path behind it and the
// outside line before it.
func (c *campus) cut(t *testing.T) (cut action.Cutting) {
	t.Helper()
	cut = c.asked(t, map[string]any{"lease_seconds": 600})
	c.follow(t, &cut, "the outside line being begun", func() bool { return cut.Stage != action.BackupPath })
	c.gate.process.Kill9()
	t.Logf("the agent of gateway A was killed %s after the approval", time.Since(cut.DecidedAt).Round(time.Millisecond))
	c.gate.start(t)
	c.follow(t, &cut, "the whole site being cut", func() bool { return cut.State == action.CutHolds })
	for _, n := range cut.Notes {
		t.Logf("%s after the approval: %s %s", n.At.Sub(cut.DecidedAt).Round(time.Millisecond), n.Key, n.Args["stage_key"])
		if n.Key == "open" {
			t.Errorf("not everything held: %v", n.Args)
		}
	}
	for _, p := range cut.Parts {
		a := c.action(t, p.Action)
		if a.State != action.Verified || len(a.Checks) == 0 {
			t.Errorf("%s is %s, checks %+v", p.Name, a.State, a.Checks)
		}
		for _, k := range a.Checks {
			if !k.OK {
				t.Errorf("%s: check %s failed: %s", p.Name, k.Name, k.Detail)
			}
		}
	}
	return cut
}

// asked is a cutting that one person asked for and another approved.
func (c *campus) asked(t *testing.T, more map[string]any) (cut action.Cutting) {
	t.Helper()
	more["site"], more["incident"], more["reason"] = "hospital", c.room.ID, "暗号化が広がっているため"
	c.admin.do(t, http.MethodPost, "/cuttings", more, &cut, http.StatusCreated)
	c.admin.do(t, http.MethodPost, "/cuttings/"+cut.ID+"/approve", nil, nil, http.StatusForbidden)
	c.second.do(t, http.MethodPost, "/cuttings/"+cut.ID+"/approve", nil, &cut, 0)
	return cut
}

// follow looks at a cutting until it is as wanted.
func (c *campus) follow(t *testing.T, cut *action.Cutting, what string, ok func() bool) {
	t.Helper()
	id := cut.ID
	await(t, 3*stageTime, what, func() bool {
		*cut = action.Cutting{}
		c.admin.do(t, http.MethodGet, "/cuttings/"+id, nil, cut, 0)
		return ok()
	})
}

func (c *campus) action(t *testing.T, id string) (a action.Action) {
	t.Helper()
	c.admin.do(t, http.MethodGet, "/actions/"+id, nil, &a, 0)
	return a
}

// began is when each stage began, or was begun to be undone.
func began(cut action.Cutting, key string) (at each[time.Time]) {
	for _, n := range cut.Notes {
		if i := slices.Index(action.Stages(), action.Stage(strings.TrimPrefix(n.Args["stage_key"], "cut.stage."))); n.Key == key && i >= 0 {
			at[i] = n.At
		}
	}
	return at
}

// stoppedInOrder: on every path the last byte came before the first of the next
// stopped, soon after its stage began, and not after it was said to hold.
func (c *campus) stoppedInOrder(t *testing.T, cut action.Cutting, running each[[]*transfer]) {
	t.Helper()
	start, held := began(cut, "stage"), began(cut, "held")
	var before time.Time
	for i, s := range action.Stages() {
		var latest time.Time
		for _, r := range running[i] {
			last := r.lastByte()
			t.Logf("%s: last byte %s after the stage began, said to hold after %s", s, last.Sub(start[i]).Round(time.Millisecond), held[i].Sub(start[i]).Round(time.Millisecond))
			if !last.After(before) {
				t.Errorf("%s stopped %s before the stage ahead of it", s, before.Sub(last))
			}
			if last.Before(start[i]) || last.Sub(start[i]) > stageTime || last.After(held[i]) {
				t.Errorf("%s: last byte at %s, stage begun at %s, said to hold at %s", s, last, start[i], held[i])
			}
			if last.After(latest) {
				latest = last
			}
		}
		before = latest
	}
}

// hubIsReached: every agent still speaks with the hub, also through lines that
// are cut.
func (c *campus) hubIsReached(t *testing.T) {
	t.Helper()
	since := time.Now()
	for _, a := range []*agentProcess{c.files, c.kept, c.pc, c.gate, c.inner} {
		await(t, stageTime, "a heartbeat of "+a.host.Name, func() bool { return c.host(t, a.ID).LastSeen.After(since) })
	}
}

// beat is a datagram every few milliseconds, and when the first arrived.
type beat struct {
	mu    sync.Mutex
	first time.Time
}

func (b *beat) at() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.first
}

// beat sends datagrams until the test ends.
func (c *campus) beat(t *testing.T, from, to *netns.Host) *beat {
	t.Helper()
	l, err := to.ListenPacket(t.Context(), "udp", net.JoinHostPort(to.IP(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := from.Dial(t.Context(), "udp", l.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, done := &beat{}, make(chan struct{})
	var both sync.WaitGroup
	t.Cleanup(func() { close(done); _ = l.Close(); _ = conn.Close(); both.Wait() })
	both.Go(func() {
		if _, _, err := l.ReadFrom(make([]byte, 8)); err == nil {
			b.mu.Lock()
			b.first = time.Now()
			b.mu.Unlock()
		}
	})
	both.Go(func() {
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
				_, _ = conn.Write([]byte("beat")) // while it is cut, or nobody reads any more: that is what is looked at
			}
		}
	})
	return b
}

// undone releases it: what was cut last passes first.
func (c *campus) undone(t *testing.T, cut action.Cutting) {
	t.Helper()
	beats := each[*beat]{c.beat(t, c.files.host, c.copies), c.beat(t, c.files.host, c.out), c.beat(t, c.pc.host, c.files.host)}
	time.Sleep(time.Second) // silence can only be observed over time
	for i, s := range action.Stages() {
		if at := beats[i].at(); !at.IsZero() {
			t.Errorf("%s is cut and a datagram passed", s)
		}
	}
	c.second.do(t, http.MethodPost, "/cuttings/"+cut.ID+"/release", map[string]string{"reason": "原因を取り除いた"}, nil, 0)
	c.follow(t, &cut, "the cutting being released", func() bool { return cut.State == action.CutReleased })
	start, after := began(cut, "undo"), time.Time{}
	for i := len(beats) - 1; i >= 0; i-- {
		await(t, stageTime, "a datagram on the path of "+string(action.Stages()[i]), func() bool { return !beats[i].at().IsZero() })
		at := beats[i].at()
		t.Logf("%s: first datagram %s after it was begun to be undone", action.Stages()[i], at.Sub(start[i]).Round(time.Millisecond))
		if !at.After(start[i]) || !at.After(after) {
			t.Errorf("%s: first datagram at %s, undone from %s, the stage before at %s", action.Stages()[i], at, start[i], after)
		}
		after = at
	}
}

// flows runs a new transfer on every path.
func (c *campus) flows(t *testing.T) {
	t.Helper()
	c.send(t, c.files.host, c.copies, 1)
	c.send(t, c.files.host, c.out, 0)
	c.send(t, c.pc.host, c.files.host, 0)
}

// endsWithoutTheHub: the backup path alone on a short lease; nobody is there to
// release it when it ends, and the hub that comes back says that it did.
func (c *campus) endsWithoutTheHub(t *testing.T) {
	t.Helper()
	r := c.send(t, c.files.host, c.copies, 0)
	cut := c.asked(t, map[string]any{"only": "backup", "lease_seconds": 10})
	c.follow(t, &cut, "the backup path being cut", func() bool { return cut.State != action.CutBegun })
	b := c.action(t, cut.Parts[0].Action)
	if late := r.lastByte().Sub(b.VerifiedAt); late > 0 {
		t.Errorf("a byte came %s after the backup path was said to be cut", late)
	}
	c.hub.kill9(t, func() {
		opens := c.beat(t, c.files.host, c.copies)
		await(t, stageTime, "a datagram on the backup path", func() bool { return !opens.at().IsZero() })
		late := opens.at().Sub(b.ExpiresAt)
		t.Logf("the backup path is open %s after the end of the lease, without the hub", late.Round(time.Millisecond))
		if late < 0 {
			t.Errorf("the backup path opened %s too early", -late)
		}
	})
	c.follow(t, &cut, "the cutting saying that it ended", func() bool { return cut.State == action.CutExpired })
}

// told: the chronology tells every step in its order, in Japanese, without a
// line typed by hand, and leads to the cutting.
func (c *campus) told(t *testing.T, cut action.Cutting) {
	t.Helper()
	want := []string{"cut.requested", "cut.approved", "cut.stage", "cut.held", "cut.stage", "cut.held", "cut.stage", "cut.held", "cut.done",
		"cut.releasing", "cut.undo", "cut.undo", "cut.undo", "cut.released"}
	var l list[incident.Entry]
	await(t, stageTime, "the chronology telling that the lease ended", func() bool {
		c.admin.do(t, http.MethodGet, "/incidents/"+c.room.ID+"/entries?limit=500", nil, &l, 0)
		return slices.ContainsFunc(l.Items, func(e incident.Entry) bool { return e.Key == "cut.expired" })
	})
	var keys []string
	for _, e := range l.Items {
		if e.Key == "" {
			t.Errorf("entry %d was typed: %q", e.No, e.Text)
		}
		if e.Ref == cut.ID {
			keys = append(keys, e.Key)
		}
	}
	if !slices.Equal(keys, want) {
		t.Errorf("the chronology says %v", keys)
	}
	for _, k := range []string{"action.approved.block", "action.applied.block", "action.verified.block", "action.released.block", "action.expired.block.lease"} {
		if !slices.ContainsFunc(l.Items, func(e incident.Entry) bool { return e.Key == k }) {
			t.Errorf("the chronology lacks %s", k)
		}
	}
	page := c.admin.page(t, "/incidents/"+c.room.ID+"?lang=ja")
	for _, say := range []string{"病院 情報担当 が 中央病院 について、拠点の遮断（バックアップ経路・外部回線・セグメントの境界）を申請した", "病院 副責任者 が、遮断の手順の全体を承認した",
		"バックアップ経路の遮断を始めた", "外部回線の遮断が、すべて効いていることを確かめた", "セグメントの境界の遮断を解き始めた", "遮断の手順を、すべて解いた", "期限どおりにすべて解けた", `href="/cuttings/` + cut.ID + `"`} {
		if !strings.Contains(page, say) {
			t.Errorf("the page of the incident does not say %q", say)
		}
	}
	if page := c.admin.page(t, "/cuttings/"+cut.ID+"?lang=ja"); !strings.Contains(page, "控えの倉庫") || !strings.Contains(page, "解除済み") {
		t.Error("the page of the cutting does not say what became of it")
	}
}

// campusIntact ends everything in order and verifies what the hub left.
func (c *campus) campusIntact(t *testing.T) {
	t.Helper()
	for _, a := range []*agentProcess{c.files, c.kept, c.pc, c.gate, c.inner} {
		a.process.Kill9()
	}
	c.hub.process.Stop()
	if err := c.verify(c.hub.dir); err != nil {
		t.Error(err)
	}
}
