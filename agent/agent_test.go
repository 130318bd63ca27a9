package agent_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/agent"
	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/agent/linktest"
	"github.com/sonae/sonae/agent/owner"
	"github.com/sonae/sonae/agent/sensor"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

// recorder is an Actor that notes what it is told and changes nothing.
type recorder struct {
	mu   sync.Mutex
	done []string
	on   string
}

func (r *recorder) Do(_ context.Context, o order.Order) order.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = append(r.done, o.ID)
	r.on = o.Action
	return order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Phase: order.Applied, At: time.Now()}
}
func (r *recorder) Resume(context.Context) []order.Result         { return nil }
func (r *recorder) Run(ctx context.Context, _ func(order.Result)) { <-ctx.Done() }
func (r *recorder) Status() (string, time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.on, time.Time{}, r.on != ""
}
func (r *recorder) orders() []string { r.mu.Lock(); defer r.mu.Unlock(); return slices.Clone(r.done) }

// start runs an agent in dir until stop is called or the test ends.
func start(t *testing.T, dir string, id link.Identity, parts agent.Parts) (a *agent.Agent, stop func()) {
	t.Helper()
	return startAt(t, dir, id, time.Now, parts)
}

// startAt is start on a machine with a clock of its own.
func startAt(t *testing.T, dir string, id link.Identity, now func() time.Time, parts agent.Parts, with ...func(*agent.Config)) (a *agent.Agent, stop func()) {
	t.Helper()
	cfg := agent.Config{Dir: dir, Version: "v0-test", OS: "test", Heartbeat: 100 * time.Millisecond, FlushEvery: 50 * time.Millisecond}
	for _, w := range with {
		w(&cfg)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	c, err := link.Dial(dir, id, log)
	if err != nil {
		t.Fatal(err)
	}
	a, err = agent.New(cfg, c, now, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := a.Run(ctx, parts); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		c.Close()
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return a, stop
}

// TestConnectionIsReportedAtOnceWithItsOwner sends real DHT packets over the
// loopback interface past a real sensor.
func TestConnectionIsReportedAtOnceWithItsOwner(t *testing.T) {
	h := linktest.Start(t)
	_, id := h.Enrol("callcentre")
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	finder := owner.New(owner.Config{})
	open := make(chan error, 1)
	start(t, t.TempDir(), id, agent.Parts{
		OpenSensor: func() (agent.Sensor, error) {
			s, err := sensor.Open(sensor.Config{Interfaces: []string{"lo"}, RingBytes: 1 << 20})
			select {
			case open <- err:
			default:
			}
			return s, err
		},
		Owner: func(proto string, local, remote netip.AddrPort) (agent.Process, bool) {
			p, ok := finder.Of(proto, local, remote)
			return agent.Process{PID: p.PID, Image: p.Image, Command: p.Command, User: p.User}, ok
		},
	})
	if err := <-open; errors.Is(err, os.ErrPermission) {
		t.Skip("capturing is not permitted")
	} else if err != nil {
		t.Fatal(err)
	}
	linktest.Await(t, "the sensor", func() bool {
		host, err := h.Registry.Host(t.Context(), id.Host)
		return err == nil && host.Health.SensorOn
	})
	conn, err := net.Dial("udp", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	port := strconv.Itoa(conn.LocalAddr().(*net.UDPAddr).Port)
	sent := time.Now()
	fmt.Fprintf(conn, "d1:ad2:id20:%se1:q4:ping1:t2:aa1:y1:qe", strings.Repeat("x", 20))
	var got event.Event
	linktest.Await(t, "the connection", func() bool {
		for _, e := range h.Events(event.KindFlow) {
			if e.Fields[event.FieldSrcPort] == port && e.Fields[event.FieldPhase] == "identified" {
				got = e
				return true
			}
		}
		return false
	})
	t.Logf("at the hub after %v", time.Since(sent))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]string{event.FieldApp: "bittorrent", event.FieldPID: strconv.Itoa(os.Getpid()), event.FieldImage: self, event.FieldProtocol: "udp"} {
		if got.Fields[k] != want {
			t.Errorf("%s: got %q, want %q", k, got.Fields[k], want)
		}
	}
	if got.Site != "callcentre" || got.Host != id.Host {
		t.Errorf("got site %s, host %s", got.Site, got.Host)
	}
}

// packets is a Sensor that sees one packet again and again.
type packets struct{ frame []byte }

func (s packets) Run(ctx context.Context, lanes []sensor.Lane) error {
	for ctx.Err() == nil {
		lanes[0].Packet(time.Now(), flow.LinkRaw, s.frame)
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}
func (packets) Queues() int         { return 1 }
func (packets) Stats() sensor.Stats { return sensor.Stats{} }

// TestOwnerThatIsKnownLate: whoever looks for owners may not look as often as
// connections are opened; the connection waits for its owner, but not for long.
func TestOwnerThatIsKnownLate(t *testing.T) {
	for name, c := range map[string]struct {
		asked int32 // from this question on the owner is known
		pid   string
	}{
		"known at the third question": {3, "4711"},
		"never known":                 {1 << 30, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := linktest.Start(t)
			_, id := h.Enrol("callcentre")
			var asked atomic.Int32
			start(t, t.TempDir(), id, agent.Parts{
				OpenSensor: func() (agent.Sensor, error) { return packets{dhtPing()}, nil },
				Owner: func(string, netip.AddrPort, netip.AddrPort) (agent.Process, bool) {
					return agent.Process{PID: 4711}, asked.Add(1) >= c.asked
				},
			})
			var got []event.Event
			linktest.Await(t, "the connection", func() bool {
				for _, e := range h.Events(event.KindFlow) {
					if e.Fields[event.FieldPhase] == "identified" {
						got = append(got, e)
					}
				}
				return len(got) > 0
			})
			if len(got) != 1 || got[0].Fields[event.FieldPID] != c.pid {
				t.Errorf("%d events, process %q, want one with %q", len(got), got[0].Fields[event.FieldPID], c.pid)
			}
		})
	}
}

// TestOnlyAMirrorTellsOfOtherMachines: what passes by says nothing about a PC,
// but it is what a sensor at a mirror port is there for.
func TestOnlyAMirrorTellsOfOtherMachines(t *testing.T) {
	frame := dhtPing()
	copy(frame[12:], []byte{10, 9, 0, 7, 203, 0, 113, 7})
	h := linktest.Start(t)
	_, pc := h.Enrol("callcentre")
	_, mirror := h.Enrol("callcentre")
	parts := agent.Parts{OpenSensor: func() (agent.Sensor, error) { return packets{frame}, nil },
		Owner: func(string, netip.AddrPort, netip.AddrPort) (agent.Process, bool) {
			return agent.Process{PID: 4711}, true
		}}
	start(t, t.TempDir(), pc, parts)
	startAt(t, t.TempDir(), mirror, time.Now, parts, func(c *agent.Config) { c.Mirror = true })
	var got []event.Event
	linktest.Await(t, "the connection", func() bool {
		got = h.Events(event.KindFlow)
		return len(got) > 0
	})
	time.Sleep(300 * time.Millisecond) // the other agent has had as much time by now
	for _, e := range append(got, h.Events(event.KindFlow)...) {
		if e.Host != mirror.Host || e.Fields[flow.FieldSensor] != agent.SensorMirror || e.Fields[event.FieldLocalIP] != "10.9.0.7" || e.Fields[event.FieldPID] != "" {
			t.Errorf("told by %s: %v", e.Host, e.Fields)
		}
	}
}

// dhtPing is a DHT question within this machine as an IPv4 packet.
func dhtPing() []byte {
	body := fmt.Sprintf("d1:ad2:id20:%se1:q4:ping1:t2:aa1:y1:qe", strings.Repeat("x", 20))
	udp := binary.BigEndian.AppendUint16(nil, 40001)
	udp = binary.BigEndian.AppendUint16(udp, 40002)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(body)))
	udp = append(append(udp, 0, 0), body...)
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1}
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(udp)))
	return append(ip, udp...)
}

// TestWithoutSensor: an agent that may not capture goes on and says so.
func TestWithoutSensor(t *testing.T) {
	h := linktest.Start(t)
	_, id := h.Enrol("callcentre")
	dir := t.TempDir()
	start(t, dir, id, agent.Parts{
		OpenSensor: func() (agent.Sensor, error) {
			return sensor.Open(sensor.Config{Interfaces: []string{"no-such-if"}})
		},
		Collectors: []collect.Collector{once{}},
	})
	linktest.Await(t, "an event", func() bool { return len(h.Events(event.KindLog)) == 1 })
	linktest.Await(t, "a heartbeat", func() bool {
		host, err := h.Registry.Host(t.Context(), id.Host)
		return err == nil && host.Hub == h.Addr && !host.Health.SensorOn && host.Agent == "v0-test"
	})
	linktest.Await(t, "the status", func() bool {
		st, err := agent.ReadStatus(dir, time.Now())
		return err == nil && strings.Contains(st.Sensor, "no-such-if") && st.Connected == h.Addr && st.Sources["once"] == "here" && !st.LastAnswer.IsZero()
	})
	if _, err := agent.ReadStatus(dir, time.Now().Add(time.Hour)); !errors.Is(err, agent.ErrNotRunning) {
		t.Errorf("an old status: got %v", err)
	}
}

// once gives one event that is far too long, and ends.
type once struct{}

func (once) Name() string   { return "once" }
func (once) Status() string { return "here" }
func (once) Run(_ context.Context, q *collect.Queue) error {
	q.Put(event.Event{Kind: event.KindLog, Time: time.Now(), Raw: strings.Repeat("長", 1<<20), Fields: map[string]string{"CommandLine": strings.Repeat("x", 1<<20)}})
	return errors.New("nothing more")
}

// orders for a host, as the hub makes them.
func anOrder(id, host string) order.Order {
	return order.Order{ID: id, Kind: order.Isolate, Host: host, Action: "ac-" + id, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
}

func TestOnlyTheHubsOrdersAreCarriedOut(t *testing.T) {
	h := linktest.Start(t)
	_, id := h.Enrol("callcentre")
	_, forged, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	bad, err := order.Sign(forged, anOrder("or-forged", id.Host))
	if err != nil {
		t.Fatal(err)
	}
	h.Send(id.Host, bad)
	changed, err := order.Sign(h.Signer, anOrder("or-changed", id.Host))
	if err != nil {
		t.Fatal(err)
	}
	changed.Body = []byte(strings.Replace(string(changed.Body), "isolate", "release", 1))
	h.Send(id.Host, changed)
	other, err := order.Sign(h.Signer, anOrder("or-other", "ho-other"))
	if err != nil {
		t.Fatal(err)
	}
	h.Send(id.Host, other)
	late := anOrder("or-late", id.Host)
	late.ExpiresAt = time.Now().Add(-time.Second)
	h.Issue(late)
	early := anOrder("or-early", id.Host)
	early.IssuedAt = time.Now().Add(time.Hour)
	h.Issue(early)
	h.Issue(anOrder("or-good", id.Host))

	act := &recorder{}
	start(t, t.TempDir(), id, agent.Parts{Actor: act})
	linktest.Await(t, "the answers", func() bool { return len(h.Answers()) >= 3 })
	linktest.Await(t, "the reports", func() bool { return len(h.Events(event.KindHealth)) >= 4 })
	if got := act.orders(); !slices.Equal(got, []string{"or-good"}) {
		t.Errorf("carried out %v, want or-good only", got)
	}
	phases := map[string]order.Phase{}
	for _, r := range h.Answers() {
		phases[r.Order] = r.Phase
	}
	if len(phases) != 3 || phases["or-late"] != order.Rejected || phases["or-early"] != order.Rejected || phases["or-good"] != order.Applied {
		t.Errorf("answered %v", phases)
	}
	reasons := map[string]bool{}
	for _, e := range h.Events(event.KindHealth) {
		if e.Fields["Event"] == "order-refused" {
			reasons[e.Fields["Reason"]] = true
		}
	}
	for _, r := range []string{"signature", "address", "expired", "early"} {
		if !reasons[r] {
			t.Errorf("no report of an order refused for its %s", r)
		}
	}
	linktest.Await(t, "the isolation in the register", func() bool {
		host, err := h.Registry.Host(t.Context(), id.Host)
		return err == nil && host.Health.Isolated && host.Action == "ac-or-good"
	})
}

func TestOrderIsCarriedOutOnce(t *testing.T) {
	h := linktest.Start(t)
	_, id := h.Enrol("callcentre")
	dir := t.TempDir()
	act := &recorder{}
	s := h.Issue(anOrder("or-1", id.Host))
	_, stop := start(t, dir, id, agent.Parts{Actor: act})
	linktest.Await(t, "the answer", func() bool { return len(h.Answers()) == 1 })
	h.Send(id.Host, s) // the hub lost the answer
	h.Stop()
	h.Listen(h.Addr)
	linktest.Await(t, "the stream", func() bool { return h.Port.Stats().Streams == 1 && h.Port.Stats().Orders >= 2 })
	stop()
	_, _ = start(t, dir, id, agent.Parts{Actor: act}) // remembers across a restart, and answers again
	linktest.Await(t, "the answer again", func() bool { return len(h.Answers()) >= 2 })
	if got := act.orders(); len(got) != 1 {
		t.Errorf("carried out %d times", len(got))
	}
	if r := h.Answers(); r[1].Order != r[0].Order || r[1].Phase != order.Applied {
		t.Errorf("answered %+v", r)
	}
}

func TestEvidenceOrderReportsItsSteps(t *testing.T) {
	h := linktest.Start(t)
	_, id := h.Enrol("callcentre")
	o := anOrder("or-1", id.Host)
	o.Kind, o.Bag = order.Preserve, "bg-1"
	h.Issue(o)
	start(t, t.TempDir(), id, agent.Parts{Preserve: func(_ context.Context, o order.Order, report func(order.Result)) {
		for _, p := range []order.Phase{order.Progress, order.Progress, order.Done} {
			report(order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Phase: p, At: time.Now()})
		}
	}})
	linktest.Await(t, "the answers", func() bool { return len(h.Answers()) == 3 })
	if r := h.Answers(); r[0].Phase != order.Progress || r[2].Phase != order.Done {
		t.Errorf("answered %+v", r)
	}
}

func TestOrderForAMissingOrganIsRejected(t *testing.T) {
	h := linktest.Start(t)
	_, id := h.Enrol("callcentre")
	h.Issue(anOrder("or-1", id.Host))
	start(t, t.TempDir(), id, agent.Parts{})
	linktest.Await(t, "the answer", func() bool { return len(h.Answers()) == 1 })
	if r := h.Answers()[0]; r.Phase != order.Rejected {
		t.Errorf("answered %+v", r)
	}
}

// TestFullDiskIsSaid: an order that cannot be noted is not carried out, and the
// hub is told why although the answer cannot be queued.
func TestFullDiskIsSaid(t *testing.T) {
	h := linktest.Start(t)
	_, id := h.Enrol("callcentre")
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("needs the right to mount: %s", out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	act := &recorder{}
	_, stop := start(t, dir, id, agent.Parts{Actor: act})
	t.Cleanup(stop)
	linktest.Await(t, "the stream", func() bool { return h.Port.Stats().Streams == 1 })
	hog, err := os.Create(dir + "/hog")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = hog.Write(make([]byte, 1<<20)) // ends with no space
	_ = hog.Close()
	h.Issue(anOrder("or-1", id.Host))
	h.Port.Wake(id.Host)
	linktest.Await(t, "the answer", func() bool { return len(h.Answers()) >= 1 })
	if r := h.Answers()[0]; r.Phase != order.Failed || !strings.HasPrefix(r.Detail, "not-noted") || len(act.orders()) != 0 {
		t.Errorf("answered %+v, carried out %v", r, act.orders())
	}
}

// TestEventsOutliveTheHub: what was observed while the hub was away arrives.
func TestEventsOutliveTheHub(t *testing.T) {
	h := linktest.Start(t)
	_, id := h.Enrol("callcentre")
	h.Stop()
	dir := t.TempDir()
	_, stop := start(t, dir, id, agent.Parts{Collectors: []collect.Collector{counting(300)}})
	stop() // before the hub ever answered
	h.Listen(h.Addr)
	start(t, dir, id, agent.Parts{})
	linktest.Await(t, "all events", func() bool { return len(h.Events(event.KindLog)) == 300 })
	for i, e := range h.Events(event.KindLog) {
		if e.Raw != strconv.Itoa(i) {
			t.Fatalf("event %d is %s", i, e.Raw)
		}
	}
}

// TestFindingsOutliveTelemetry: a long time without the hub costs the oldest
// telemetry, which is counted, and nothing of what the agent found.
func TestFindingsOutliveTelemetry(t *testing.T) {
	h := linktest.Start(t)
	_, id := h.Enrol("callcentre")
	h.Stop()
	dir := t.TempDir()
	small := func(c *agent.Config) { c.SpoolBytes = 4 << 20 }
	told := make(chan struct{})
	a, stop := startAt(t, dir, id, time.Now, agent.Parts{Collectors: []collect.Collector{noise{12, told}},
		OpenSensor: func() (agent.Sensor, error) { return packets{dhtPing()}, nil }}, small)
	select {
	case <-told:
	case <-time.After(time.Minute):
		t.Fatal("the noise was not taken")
	}
	stop()
	if a.Dropped() == 0 {
		t.Error("nothing was dropped, or not counted")
	}
	h.Listen(h.Addr)
	startAt(t, dir, id, time.Now, agent.Parts{}, small)
	linktest.Await(t, "what was found before the noise", func() bool {
		return slices.ContainsFunc(h.Events(event.KindFlow), func(e event.Event) bool { return e.Fields[event.FieldPhase] == "identified" })
	})
	linktest.Await(t, "how much was dropped", func() bool {
		host, err := h.Registry.Host(t.Context(), id.Host)
		return err == nil && host.Health.Dropped == a.Dropped()
	})
}

// noise gives so many megabytes that do not compress, some time after the
// beginning.
type noise struct {
	megabytes int
	told      chan struct{}
}

func (noise) Name() string   { return "noise" }
func (noise) Status() string { return "" }
func (n noise) Run(ctx context.Context, q *collect.Queue) error {
	time.Sleep(500 * time.Millisecond)
	for range 2 * n.megabytes * 32 {
		b := make([]byte, 16<<10)
		_, _ = rand.Read(b) // never fails
		if !q.Wait(ctx, event.Event{Kind: event.KindLog, Time: time.Now(), Raw: hex.EncodeToString(b)}) {
			return ctx.Err()
		}
	}
	close(n.told)
	return nil
}

// counting gives so many numbered events.
type counting int

func (counting) Name() string   { return "counting" }
func (counting) Status() string { return "" }
func (n counting) Run(ctx context.Context, q *collect.Queue) error {
	for i := range int(n) {
		if !q.Wait(ctx, event.Event{Kind: event.KindLog, Time: time.Now(), Raw: strconv.Itoa(i)}) {
			return ctx.Err()
		}
	}
	return nil
}

// In closed networks clocks are wrong; the hub's time counts for its orders.
func TestMachineWithAWrongClockObeys(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"behind": -50 * time.Hour, "ahead": 50 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			h := linktest.Start(t)
			_, id := h.Enrol("callcentre")
			h.Issue(anOrder("or-good", id.Host))
			late := anOrder("or-late", id.Host)
			late.ExpiresAt = time.Now().Add(-time.Second)
			h.Issue(late)
			act := &recorder{}
			startAt(t, t.TempDir(), id, func() time.Time { return time.Now().Add(wrong) }, agent.Parts{Actor: act})
			linktest.Await(t, "the answers", func() bool { return len(h.Answers()) >= 2 })
			if got := act.orders(); !slices.Equal(got, []string{"or-good"}) {
				t.Errorf("carried out %v, want or-good only", got)
			}
		})
	}
}

func TestDrillOrderNeverTouchesAMachineInUse(t *testing.T) {
	h := linktest.Start(t)
	_, id := h.Enrol("callcentre")
	o := anOrder("or-drill", id.Host)
	o.Drill = true
	h.Issue(o)
	act := &recorder{}
	start(t, t.TempDir(), id, agent.Parts{Actor: act})
	linktest.Await(t, "the answer", func() bool { return len(h.Answers()) == 1 })
	if r := h.Answers()[0]; r.Phase != order.Rejected || len(act.orders()) != 0 {
		t.Errorf("answered %+v, carried out %v", r, act.orders())
	}
}

func TestCollectionIsCancelledByOrder(t *testing.T) {
	h := linktest.Start(t)
	_, id := h.Enrol("callcentre")
	o := anOrder("or-1", id.Host)
	o.Kind, o.Bag, o.Action = order.Preserve, "bg-1", "ac-1"
	h.Issue(o)
	began := make(chan struct{})
	start(t, t.TempDir(), id, agent.Parts{Preserve: func(ctx context.Context, o order.Order, report func(order.Result)) {
		close(began)
		<-ctx.Done()
		report(order.Result{Order: o.ID, Action: o.Action, Kind: o.Kind, Phase: order.Failed, Detail: context.Cause(ctx).Error(), At: time.Now()})
	}})
	<-began
	for i, action := range []string{"ac-1", "ac-2"} {
		c := anOrder(fmt.Sprintf("or-%d", i+2), id.Host)
		c.Kind, c.Action = order.Cancel, action
		h.Issue(c)
	}
	linktest.Await(t, "the answers", func() bool { return len(h.Answers()) == 3 })
	said := map[string]order.Result{}
	for _, r := range h.Answers() {
		said[r.Order] = r
	}
	if r := said["or-1"]; r.Phase != order.Failed || r.Detail != agent.ErrCancelled.Error() {
		t.Errorf("the collection answered %+v", r)
	}
	if a, b := said["or-2"], said["or-3"]; a.Phase != order.Done || a.Detail != "" || b.Detail != "nothing-runs" {
		t.Errorf("cancelling answered %+v and %+v", a, b)
	}
}
