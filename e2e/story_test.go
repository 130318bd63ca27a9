//go:build e2e

package e2e

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/e2e/netns"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/source/pcap"
)

type list[T any] struct {
	Items []T `json:"items"`
	Total int `json:"total"`
}

// story is the world of the first incident: a hospital with the hub, its call
// centre with two PCs, and the internet with a swarm.
type story struct {
	world  *netns.World
	hub    *hubProcess
	pc     *agentProcess // where the client will run
	quiet  *agentProcess // where only decent things run
	admin  *person       // administrator and responder of the hospital
	second *person       // approver
	guest  *person       // of the contractor
	swarm  swarm
}

// lease is how long the isolation lasts; long enough for both to be killed
// within it.
const lease = 40 * time.Second

// TestStory is the sentence of the product, told by real programs: a PC at the
// call centre starts a real BitTorrent client, and becomes a contained,
// preserved, reported incident, whatever is killed in between.
func TestStory(t *testing.T) {
	s := newStory(t, "st")
	s.decent(t)

	first := s.startClient(t)
	a := s.alert(t, "bittorrent-certain")
	if late := a.RaisedAt.Sub(first()); late > 5*time.Second {
		t.Errorf("the alert came %s after the first bytes of BitTorrent, want 5 s at most", late)
	} else {
		t.Logf("alert %s after the first bytes of BitTorrent", late.Round(time.Millisecond))
	}
	s.alertSaysWhatHappened(t, a.ID)
	s.hub.kill9(t, nil)

	in := s.open(t, a)
	s.pc.kill9(t)
	bag := s.evidence(t, in)

	iso := s.isolate(t, in, a)
	s.cutOff(t)
	s.diesAndComesBack(t, iso)
	s.endsWithTheLease(t, iso)

	s.clocksAndReport(t, in)
	s.chronologyIsComplete(t, in)
	s.oneAlert(t)
	t.Parallel() // nothing is timed from here on
	s.played(t, in, "File sharing (P2P) at a contractor", func(f *duty.Facts) {
		f.P2P, f.Shared, f.Confirmed = duty.Yes, duty.Unknown, 40
	})
	s.provable(t, bag)
	s.nothingAcknowledgedIsMissing(t)
}

func newStory(t *testing.T, name string) *story {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	programs := build(t)
	w := newWorld(t, name)
	s := &story{world: w}
	hub := add(t, w, "hub", "192.168.10.5/24", "2001:db8:10::5/64")
	pc := add(t, w, "pc", "192.168.50.10/24", "2001:db8:50::10/64")
	quiet := add(t, w, "quiet", "192.168.51.20/24", "2001:db8:51::20/64")
	for _, h := range []*netns.Host{pc, quiet} {
		if err := h.Separate(); err != nil {
			t.Fatal(err)
		}
	}
	s.swarm = newSwarm(t, w, 48<<20, 150)

	s.hub = startHub(t, hub, programs.hub)
	s.admin = s.hub.join(t, s.hub.link, "admin", "病院 情報担当")
	s.site(t, "hospital", "中央病院", "hospital", "")
	s.site(t, "callcentre", "委託先コールセンター", "contractor", "hospital")
	s.second = s.admin.invite(t, "second", "病院 副責任者", "", "approver")
	s.guest = s.admin.invite(t, "guest", "委託先 責任者", "callcentre", "contractor")
	s.pc = s.admin.enrol(t, pc, programs.agent, "callcentre", "cc-pc-07")
	s.quiet = s.admin.enrol(t, quiet, programs.agent, "callcentre", "cc-pc-08")
	s.admin.do(t, http.MethodPut, "/hosts/"+s.pc.ID, map[string]any{"name": "cc-pc-07", "class": "pc", "keep": "",
		"services": []asset.Service{{ID: "phone", Name: "予約電話の受付", Effect: "この席では予約の電話を受けられなくなります", Load: "1時間あたり約40件"}}}, nil, 0)
	for _, a := range []*agentProcess{s.pc, s.quiet} {
		await(t, 20*time.Second, "the sensor of "+a.host.Name, func() bool { return s.host(t, a.ID).Health.SensorOn })
	}
	return s
}

func (s *story) site(t *testing.T, id, name, kind, principal string) {
	t.Helper()
	s.admin.do(t, http.MethodPut, "/sites/"+id, map[string]string{"name": name, "kind": kind, "principal": principal, "contact": ""}, nil, 0)
}

func (s *story) host(t *testing.T, id string) (h asset.Host) {
	t.Helper()
	s.admin.do(t, http.MethodGet, "/hosts/"+id, nil, &h, 0)
	return h
}

// sensorLosing is the rule about sensors that lose packets. Where several
// machines share two processors they may, and it is no news about the PC.
const sensorLosing = "6d2f4b8a-1f0c-4d57-8a51-90b7c2d3e604"

func (s *story) alerts(t *testing.T, query string) []alert.Alert {
	t.Helper()
	var l list[alert.Alert]
	s.admin.do(t, http.MethodGet, "/alerts"+query, nil, &l, 0)
	return slices.DeleteFunc(l.Items, func(a alert.Alert) bool { return a.Rule.ID == sensorLosing })
}

// startClient starts a capture and then the client. The returned function
// tells when the first bytes of BitTorrent passed, as the capture saw them.
func (s *story) startClient(t *testing.T) func() time.Time {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pc.pcap")
	dump := start(t, s.pc.host, "tcpdump", "-i", "eth0", "-U", "--immediate-mode", "-s", "600", "-Z", "root", "-w", file)
	await(t, 10*time.Second, "tcpdump's start", func() bool {
		info, err := os.Stat(file)
		return err == nil && info.Size() >= 24
	})
	s.swarm.transmission(t, s.pc.host)
	return func() time.Time {
		dump.Kill9()
		return firstBitTorrent(t, file)
	}
}

func firstBitTorrent(t *testing.T, file string) (first time.Time) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var now time.Time
	table := flow.New(flow.Config{Emit: func(f flow.Flow) {
		if first.IsZero() && f.Label == "bittorrent" {
			first = now
		}
	}})
	err = pcap.Read(f, func(p pcap.Packet) error {
		now = p.At
		table.Packet(p.At, p.Link, p.Data)
		return nil
	})
	if first.IsZero() {
		t.Fatalf("no BitTorrent in the capture (%v)", err) // the last packet may be cut: the writer was killed
	}
	return first
}

// alert waits for the alert of a rule on the PC.
func (s *story) alert(t *testing.T, rule string) (found alert.Alert) {
	t.Helper()
	await(t, 60*time.Second, "an alert of "+rule, func() bool {
		for _, a := range s.alerts(t, "?host="+s.pc.ID) {
			if a.Rule.ID == rule || strings.HasSuffix(a.Rule.ID, rule) {
				found = a
				return true
			}
		}
		return false
	})
	return found
}

// alertSaysWhatHappened: what, on which PC, whose site, to which peers, how
// many bytes left, by which process and user, in plain Japanese.
func (s *story) alertSaysWhatHappened(t *testing.T, id string) {
	t.Helper()
	var a alert.Alert
	await(t, 30*time.Second, "the alert naming peers, bytes and process", func() bool {
		s.admin.do(t, http.MethodGet, "/alerts/"+id, nil, &a, 0)
		return len(a.Peers) >= 3 && a.Sent > 0 && len(a.Process) > 0
	})
	if a.Site != "callcentre" || a.Host != s.pc.ID || !strings.Contains(a.Process[0].Image, "transmission") || a.Process[0].User != "root" {
		t.Errorf("alert is of site %q, host %q, process %+v", a.Site, a.Host, a.Process)
	}
	var peers []string
	for _, p := range a.Peers {
		peers = append(peers, p.Address)
	}
	for _, want := range []string{"203.0.113.7:51414", "198.51.100.23:51415", "192.0.2.61:51416"} {
		if !slices.Contains(peers, want) {
			t.Errorf("peer %s is not among %v", want, peers)
		}
	}
	page := s.admin.page(t, "/alerts/"+id+"?lang=ja")
	for _, want := range []string{"BitTorrent", "cc-pc-07", "委託先コールセンター", "203.0.113.7", "transmission"} {
		if !strings.Contains(page, want) {
			t.Errorf("the alert's page does not say %q", want)
		}
	}
}

// open makes the alert an incident.
func (s *story) open(t *testing.T, a alert.Alert) (in incident.Incident) {
	t.Helper()
	s.admin.do(t, http.MethodPost, "/incidents", map[string]any{"title": "委託先PCでのファイル共有ソフトの使用", "severity": "high", "alerts": []string{a.ID}}, &in, http.StatusCreated)
	return in
}

// evidence waits for the bag, killing the hub while it is filled.
func (s *story) evidence(t *testing.T, in incident.Incident) string {
	t.Helper()
	bags := func() []evidence.Bag {
		var l list[evidence.Bag]
		s.admin.do(t, http.MethodGet, "/evidence?incident="+in.ID, nil, &l, 0)
		return l.Items
	}
	await(t, 60*time.Second, "evidence arriving", func() bool { b := bags(); return len(b) == 1 })
	s.hub.kill9(t, nil)
	var b evidence.Bag
	await(t, 120*time.Second, "a sealed bag", func() bool {
		l := bags()
		if len(l) != 1 {
			t.Fatalf("%d bags, want 1", len(l))
		}
		b = l[0]
		return b.State == evidence.Sealed || b.State == evidence.Broken
	})
	if b.State != evidence.Sealed {
		t.Errorf("bag is %s", b.State)
	}
	s.admin.do(t, http.MethodGet, "/evidence/"+b.ID, nil, &b, 0)
	all := ""
	for _, i := range b.Items {
		all += i.Path + "\n"
	}
	for _, want := range []string{"network/packets.pcapng", "network/proc-net/tcp.txt", "network/proc-net/route.txt", "network/nft.json", "process/list.jsonl", "/exe"} {
		if !strings.Contains(all, want) {
			t.Errorf("no item %q among\n%s", want, all)
		}
	}
	return b.ID
}

// isolate requests, is refused the own approval, and has a second person
// approve. It returns the verified action.
func (s *story) isolate(t *testing.T, in incident.Incident, a alert.Alert) (iso action.Action) {
	t.Helper()
	request := map[string]any{"kind": "isolate", "incident": in.ID, "host": s.pc.ID, "reason": "ファイル共有を止めるため",
		"forbidden": "203.0.113.7:51414", "lease_seconds": int(lease.Seconds())}
	var plan action.Action
	s.admin.do(t, http.MethodPost, "/actions/plan", request, &plan, 0)
	if len(plan.Consequences) != 1 || !strings.Contains(plan.Consequences[0].Effect, "電話") {
		t.Errorf("the plan does not show what stops: %+v", plan.Consequences)
	}
	s.admin.do(t, http.MethodPost, "/actions", request, &iso, http.StatusCreated)
	s.admin.do(t, http.MethodPost, "/actions/"+iso.ID+"/approve", nil, nil, http.StatusForbidden)
	s.guest.do(t, http.MethodPost, "/actions/"+iso.ID+"/approve", nil, nil, http.StatusForbidden)
	s.second.do(t, http.MethodPost, "/actions/"+iso.ID+"/approve", nil, nil, 0)
	await(t, 20*time.Second, "the isolation being verified", func() bool {
		s.admin.do(t, http.MethodGet, "/actions/"+iso.ID, nil, &iso, 0)
		return iso.State == action.Verified
	})
	if took := iso.VerifiedAt.Sub(iso.DecidedAt); took > 2*time.Second {
		t.Errorf("isolation was verified %s after the approval, want 2 s at most", took)
	} else {
		t.Logf("isolation verified %s after the approval", took.Round(time.Millisecond))
	}
	for _, c := range iso.Checks {
		if !c.OK {
			t.Errorf("check %s of %s failed: %s", c.Name, c.Target, c.Detail)
		}
	}
	return iso
}

// leaving counts the packets of the PC, of either protocol, that passed the
// router to or from anybody but the hub.
func (s *story) leaving(t *testing.T) int {
	t.Helper()
	const rules = `add table inet watch; add chain inet watch forward { type filter hook forward priority 0; };
		add rule inet watch forward ip saddr 192.168.50.10 ip daddr != 192.168.10.5 counter;
		add rule inet watch forward ip6 saddr 2001:db8:50::10 ip6 daddr != 2001:db8:10::5 counter;`
	nft := func(args ...string) string {
		out, err := exec.Command("ip", append([]string{"netns", "exec", s.world.Router(), "nft"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("nft: %v: %s", err, out)
		}
		return string(out)
	}
	if !strings.Contains(nft("list", "tables"), "watch") {
		nft(rules)
	}
	n := 0
	for _, m := range regexp.MustCompile(`counter packets (\d+)`).FindAllStringSubmatch(nft("list", "table", "inet", "watch"), -1) {
		v, _ := strconv.Atoi(m[1]) // the pattern matches digits only
		n += v
	}
	return n
}

// silent checks that nothing leaves the PC for a while.
func (s *story) silent(t *testing.T, when string, d time.Duration) {
	t.Helper()
	before := s.leaving(t)
	time.Sleep(d) // silence can only be observed over time
	if after := s.leaving(t); after != before {
		t.Errorf("%s: %d packets left the isolated PC", when, after-before)
	}
}

// cutOff: 0 bytes reach peers, and the agent still speaks to the hub.
func (s *story) cutOff(t *testing.T) {
	t.Helper()
	seen := s.host(t, s.pc.ID).LastSeen
	s.silent(t, "after verification", 3*time.Second)
	await(t, 15*time.Second, "a heartbeat during the isolation", func() bool { return s.host(t, s.pc.ID).LastSeen.After(seen) })
	if h := s.host(t, s.pc.ID); !h.Health.Isolated {
		t.Error("the host does not say that it is isolated")
	}
}

// diesAndComesBack kills both programs during the isolation: it stays.
func (s *story) diesAndComesBack(t *testing.T, iso action.Action) {
	t.Helper()
	s.hub.kill9(t, func() { s.silent(t, "while the hub is dead", 2*time.Second) })
	s.pc.process.Kill9()
	s.silent(t, "while the agent is dead", 2*time.Second)
	s.pc.start(t)
	s.silent(t, "after both came back", 2*time.Second)
	if left := time.Until(iso.ExpiresAt); left < time.Second {
		t.Fatalf("the lease ended %s ago: this part of the test took too long", -left)
	}
}

// endsWithTheLease: nothing before, everything soon after.
func (s *story) endsWithTheLease(t *testing.T, iso action.Action) {
	t.Helper()
	if left := time.Until(iso.ExpiresAt) - time.Second; left > 0 {
		s.silent(t, "until the lease ends", left)
	}
	before := s.leaving(t)
	await(t, 60*time.Second, "packets leaving after the lease", func() bool { return s.leaving(t) > before })
	if early := time.Until(iso.ExpiresAt); early > 0 {
		t.Errorf("the isolation ended %s too early", early)
	}
	await(t, 30*time.Second, "the action saying that the lease ended", func() bool {
		s.admin.do(t, http.MethodGet, "/actions/"+iso.ID, nil, &iso, 0)
		return iso.State == action.Expired || iso.State == action.Released
	})
}

func (s *story) clocksAndReport(t *testing.T, in incident.Incident) {
	t.Helper()
	var as duty.Assessment
	s.admin.do(t, http.MethodGet, "/incidents/"+in.ID+"/duties", nil, &as, 0)
	facts := as.Facts
	facts.Personal, facts.Sensitive, facts.BadIntent, facts.Maximum = duty.Yes, duty.Yes, duty.Yes, 1200
	s.admin.do(t, http.MethodPut, "/incidents/"+in.ID+"/facts", facts, nil, 0)
	s.admin.do(t, http.MethodGet, "/incidents/"+in.ID+"/duties", nil, &as, 0)
	kinds := map[string]bool{}
	for _, c := range as.Clocks {
		kinds[c.Kind] = true
		if c.Due.IsZero() || c.Basis == "" || c.Fact == "" {
			t.Errorf("clock without date, article or fact: %+v", c)
		}
	}
	for _, want := range []string{"prompt", "final", "contractor"} {
		if !kinds[want] {
			t.Errorf("no clock of kind %s in %v", want, kinds)
		}
	}
	var doc struct{ ID, Digest string }
	s.admin.do(t, http.MethodPost, "/incidents/"+in.ID+"/reports", nil, &doc, http.StatusCreated)
	for lang, want := range map[string]string{"ja": "未記入", "en": "Missing"} {
		file := filepath.Join(t.TempDir(), lang+".html")
		var page []byte
		await(t, 15*time.Second, "the report with its proof", func() bool {
			_, page = s.admin.call(t, http.MethodGet, "/incidents/"+in.ID+"/reports/"+doc.ID+"/html?lang="+lang, nil)
			if err := os.WriteFile(file, page, 0o644); err != nil {
				t.Fatal(err)
			}
			return s.verify(file) == nil
		})
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the %s report does not mark what is missing with %q", lang, want)
		}
	}
}

// verify runs `sonae verify` with the hub's public key.
func (s *story) verify(path string) error {
	out, err := exec.Command(s.hub.program, "verify", "--key", filepath.Join(s.hub.dir, "ledger-key.txt"), path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// chronologyIsComplete: every step is there without a line typed by hand, and
// the numbers have no gap.
func (s *story) chronologyIsComplete(t *testing.T, in incident.Incident) {
	t.Helper()
	want := []string{"incident.opened", "alert.linked", "action.requested.preserve", "action.verified.preserve", "evidence.sealed",
		"action.requested.isolate", "action.approved", "action.applied.isolate", "action.verified.isolate", "duty.changed", "document.made"}
	var l list[incident.Entry]
	missing := want
	for deadline := time.Now().Add(30 * time.Second); len(missing) > 0; time.Sleep(100 * time.Millisecond) {
		s.admin.do(t, http.MethodGet, "/incidents/"+in.ID+"/entries?limit=500", nil, &l, 0)
		missing = slices.DeleteFunc(slices.Clone(want), func(k string) bool {
			return slices.ContainsFunc(l.Items, func(e incident.Entry) bool { return e.Key == k })
		})
		if time.Now().After(deadline) {
			t.Fatalf("the chronology lacks %v: %+v", missing, l.Items)
		}
	}
	seen := map[string]bool{}
	for i, e := range l.Items {
		if e.No != i+1 {
			t.Errorf("entry %d has number %d", i+1, e.No)
		}
		if e.Unique != "" && seen[e.Unique] {
			t.Errorf("entry %d says again %q", e.No, e.Unique)
		}
		seen[e.Unique] = true
	}
}

// oneAlert: whatever was killed, there is one alert, and none of decent use.
func (s *story) oneAlert(t *testing.T) {
	t.Helper()
	n := 0
	for _, a := range s.alerts(t, "?host="+s.pc.ID+"&limit=200") {
		if strings.HasSuffix(a.Rule.ID, "bittorrent-certain") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d alerts of one rule on one PC, want 1", n)
	}
	if l := s.alerts(t, "?host="+s.quiet.ID); len(l) != 0 {
		t.Errorf("alerts of decent use: %+v", l)
	}
	status, body := s.guest.call(t, http.MethodGet, "/sites/hospital", nil)
	if status != http.StatusForbidden {
		t.Errorf("the contractor reads another site: %d %s", status, body)
	}
}

// provable: bag and hub are intact for police and court, and one changed byte
// is named.
func (s *story) provable(t *testing.T, bag string) {
	t.Helper()
	dir := t.TempDir()
	status, body := s.admin.call(t, http.MethodPost, "/evidence/"+bag+"/zip", map[string]string{"purpose": "警察への提出"})
	if status != http.StatusOK {
		t.Fatalf("zip: %d %s", status, body)
	}
	file := filepath.Join(dir, "bag.zip")
	if err := os.WriteFile(file, body, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.verify(file); err != nil {
		t.Error(err)
	}
	unpack(t, dir, file)
	check := exec.Command("sha256sum", "--quiet", "-c", "manifest-sha256.txt")
	manifests, err := filepath.Glob(filepath.Join(dir, "*", "manifest-sha256.txt"))
	if err != nil || len(manifests) != 1 {
		t.Fatalf("manifests %v, %v", manifests, err)
	}
	check.Dir = filepath.Dir(manifests[0])
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("sha256sum -c: %v: %s", err, out)
	}

	s.stopAgents(t)
	if err := s.hub.process.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.hub.process.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the hub does not stop")
	}
	if err := s.verify(s.hub.dir); err != nil {
		t.Errorf("after everything: %v", err)
	}
	segments, err := filepath.Glob(filepath.Join(s.hub.dir, "archive", "segments", "*", "*", "*", "*.parquet"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	b, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(segments[0], b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.verify(s.hub.dir); err == nil || !strings.Contains(err.Error(), filepath.Base(segments[0])) {
		t.Errorf("one changed byte in %s: %v", segments[0], err)
	}
}

// stopAgents ends both agents and waits until the hub has stored what they
// handed over: what they still hold stays in their spools.
func (s *story) stopAgents(t *testing.T) {
	t.Helper()
	for _, a := range []*agentProcess{s.pc, s.quiet} {
		await(t, 60*time.Second, "an empty spool on "+a.host.Name, func() bool { return s.host(t, a.ID).Health.Spool == 0 })
		a.process.Kill9()
	}
	await(t, 30*time.Second, "the hub having stored everything", func() bool {
		out, err := s.hub.host.Run(t.Context(), "curl", "-sS", "http://127.0.0.1:8080/metrics")
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`(?m)^sonae_bus_waiting_messages\{join="archive"\} 0$`).MatchString(out)
	})
}

func unpack(t *testing.T, dir, file string) {
	t.Helper()
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if err := os.CopyFS(dir, z); err != nil {
		t.Fatal(err)
	}
}

// nothingAcknowledgedIsMissing compares the batches that the agents put into
// their spools, which are empty now, with those in the archive's manifest.
func (s *story) nothingAcknowledgedIsMissing(t *testing.T) {
	t.Helper()
	stored := map[string]int{}
	b, err := os.ReadFile(filepath.Join(s.hub.dir, "archive", "manifest.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var m struct {
			Batches []string `json:"batches"`
		}
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("manifest: %v: %s", err, line)
		}
		for _, id := range m.Batches {
			stored[id]++
		}
	}
	taken := 0
	for _, a := range []*agentProcess{s.pc, s.quiet} {
		for _, log := range a.logs {
			b, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`msg="batch spooled".* batch=(\S+)`).FindAllStringSubmatch(string(b), -1) {
				taken++
				if stored[m[1]] != 1 {
					t.Errorf("batch %s was spooled and is stored %d times", m[1], stored[m[1]])
				}
			}
		}
	}
	if taken < 20 {
		t.Errorf("only %d batches were spooled: the comparison says nothing", taken)
	}
	t.Logf("%d spooled batches, all stored once", taken)
}
