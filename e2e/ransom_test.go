//go:build e2e

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
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
	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/bench/guard/proof"
	"github.com/sonae/sonae/bench/guard/tally"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/e2e/netns"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence"
	"github.com/sonae/sonae/evidence/antivirus"
	"github.com/sonae/sonae/evidence/antivirus/clamdtest"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ready/asset"
)

// siege is a hospital whose file server is attacked at night.
type siege struct {
	*story
	files  *proof.Tree
	encsim string
	inbox  string // what is written there is scanned
	work   string // not watched
	clamd  *clamdtest.Clamd
}

// Rules about what the guard froze, and what clamd found.
const (
	guardFrozen = "3b1f0c52-7d6e-4a83-9c1d-5e2a40f7b918"
	virusFound  = "2b9c1e57-70d4-4c36-9b0e-6f3f6c1a4d88"
)

// TestRansom: a script brings a program, in which clamd finds something; it
// encrypts a share and stands still after a few files, its memory with the key
// and what clamd says of it become evidence, the machine is isolated with a
// second person's approval, the program, which somebody let go on, is caught and killed,
// the machine released, and the chronology tells all of it without a line typed
// by hand.
func TestRansom(t *testing.T) {
	s := newSiege(t)
	s.brought(t)
	attack, sum := s.attack(t)
	a := s.alert(t, guardFrozen)
	if lost := len(s.files.Lost()); lost > 200 {
		t.Errorf("%d of %d files are lost", lost, s.files.Len())
	} else {
		t.Logf("%d of %d files are lost", lost, s.files.Len())
	}
	if !stopped(t, attack) {
		t.Error("the attack runs on")
	}
	in, frozen := s.room(t, a)
	bag := s.memoryIsKept(t, in, sum)
	s.virusIsKept(t, bag)
	iso := s.isolate(t, in, a)
	s.thawed(t, in, frozen, attack)
	s.killed(t, in, frozen, attack)
	s.admin.do(t, http.MethodPost, "/actions/"+iso.ID+"/release", map[string]string{"reason": "鍵と証拠を保全し、終了させたため"}, nil, 0)
	s.ended(t, iso.ID)
	s.told(t, in, "alert.linked", "action.frozen", "action.verified.preserve", "evidence.sealed", "action.requested.isolate", "action.verified.isolate",
		"action.released.part.order", "action.verified.freeze", "action.released.part.killed", "action.requested.part", "action.approved.part", "action.verified.kill", "action.released.order")
	t.Parallel() // nothing is timed from here on
	s.played(t, in, "Ransomware", func(f *duty.Facts) {
		f.Personal, f.Sensitive, f.BadIntent, f.Ransomware, f.IdenticalCopy, f.Maximum = duty.Yes, duty.Yes, duty.Yes, duty.Yes, duty.Unknown, 4800
	})
	s.provableRansom(t, bag)
}

func newSiege(t *testing.T) *siege {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	programs := build(t)
	w := newWorld(t, "rw")
	s := &siege{story: &story{world: w}, work: t.TempDir(), clamd: clamdtest.Start(t)}
	hub := add(t, w, "hub", "192.168.10.5/24", "2001:db8:10::5/64")
	server := add(t, w, "files", "192.168.50.10/24", "2001:db8:50::10/64")
	add(t, w, "outside", "203.0.113.7/24", "2001:db8:99::7/64")
	s.plant(t)
	s.hub = startHubWith(t, hub, hubProcess{program: programs.hub, args: []string{"serve", "--clamd", s.clamd.Address}, dir: filepath.Join(t.TempDir(), "hub")})
	s.admin = s.hub.join(t, s.hub.link, "admin", "病院 情報担当")
	s.site(t, "hospital", "中央病院", "hospital", "")
	s.second = s.admin.invite(t, "second", "病院 副責任者", "", "approver")
	s.site(t, "callcentre", "委託先コールセンター", "contractor", "hospital")
	s.guest = s.admin.invite(t, "guest", "委託先 責任者", "callcentre", "contractor")
	s.pc = s.admin.enrolWith(t, server, agentProcess{program: programs.agent, flags: []string{"--interface", "eth0", "--guard", s.files.Dir, "--clamd", s.clamd.Address, "--clamd-folder", s.inbox}}, "hospital", "files-01")
	s.admin.do(t, http.MethodPut, "/hosts/"+s.pc.ID, map[string]any{"name": "files-01", "class": "server", "keep": "",
		"services": []asset.Service{{ID: "phone", Name: "予約電話の受付", Effect: "予約の電話の台帳を開けなくなります", Load: "1時間あたり約40件"}}}, nil, 0)
	return s
}

// plant makes the share on a volume that nobody else uses, and builds the
// simulator.
func (s *siege) plant(t *testing.T) {
	t.Helper()
	v, err := proof.Tmpfs(s.work, 256)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	if s.files, err = proof.Plant(v, 40, 25, 7); err != nil {
		t.Fatal(err)
	}
	s.inbox = filepath.Join(s.work, "inbox")
	if err := os.Mkdir(s.inbox, 0o700); err != nil {
		t.Fatal(err)
	}
	s.encsim = filepath.Join(s.work, "built")
	if out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", s.encsim, "../bench/guard/encsim").CombinedOutput(); err != nil {
		t.Fatalf("build encsim: %v: %s", err, out)
	}
}

// brought lets a script bring the program, with what clamd knows in it, and
// waits for the alert of the machine.
func (s *siege) brought(t *testing.T) {
	t.Helper()
	s.sources(t, "antivirus", "on, ")
	target := filepath.Join(s.inbox, "backup-helper")
	script := `cat "$1" > "$3"; printf %s "$2" >> "$3"; chmod 700 "$3"; sleep 1`
	if out, err := s.pc.host.Command(t.Context(), "/bin/bash", "-c", script, "sh", s.encsim, clamdtest.Marker, target).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.encsim = target
	if a := s.alert(t, virusFound); a.Host != s.pc.ID || a.Severity != event.High {
		t.Errorf("alert of %s, %s", a.Host, a.Severity)
	}
}

// sources waits until the agent says of a collector what is wanted.
func (s *siege) sources(t *testing.T, name, want string) {
	t.Helper()
	await(t, 30*time.Second, name+": "+want, func() bool {
		out, err := exec.Command(s.pc.program, "status", "--dir", s.pc.dir).CombinedOutput()
		return err == nil && regexp.MustCompile(name+" +"+want).Match(out)
	})
}

// attack starts the simulator on the server once the guard works, and returns
// it with the hash of its key.
func (s *siege) attack(t *testing.T) (*netns.Process, [sha256.Size]byte) {
	t.Helper()
	s.sources(t, "guard", "(ebpf|fanotify)")
	page, err := tally.Create(filepath.Join(s.work, "tally"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = page.Close() })
	cmd := s.pc.host.Command(t.Context(), s.encsim, "-dir", s.files.Dir, "-token", s.files.Token, "-tally", filepath.Join(s.work, "tally"), "-threads", "4", "-shuffle", "-rate", "10", "-rename") // slow, so that it still runs when it was let go on
	said := logged(t, cmd, "the attack")
	p, err := s.pc.host.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	var sum [sha256.Size]byte
	await(t, 20*time.Second, "the hash of the key", func() bool {
		b, err := os.ReadFile(said)
		if err != nil {
			return false
		}
		d, err := hex.DecodeString(strings.TrimSpace(string(b)))
		return err == nil && copy(sum[:], d) == sha256.Size
	})
	return p, sum
}

// stopped says whether every thread of a process stands still.
func stopped(t *testing.T, p *netns.Process) bool {
	t.Helper()
	tasks, err := filepath.Glob("/proc/" + strconv.Itoa(p.Process.Pid) + "/task/*/stat")
	if err != nil || len(tasks) == 0 {
		return false
	}
	return !slices.ContainsFunc(tasks, func(file string) bool {
		b, err := os.ReadFile(file)
		return err == nil && !bytes.Contains(b, []byte(") T ")) && !bytes.Contains(b, []byte(") t "))
	})
}

// room is the incident that the freeze opened, or opens one, and the freeze as
// an action in it.
func (s *siege) room(t *testing.T, a alert.Alert) (in incident.Incident, frozen action.Action) {
	t.Helper()
	var l list[action.Action]
	await(t, 30*time.Second, "the freeze as an action", func() bool {
		s.admin.do(t, http.MethodGet, "/actions?host="+s.pc.ID, nil, &l, 0)
		i := slices.IndexFunc(l.Items, func(x action.Action) bool { return x.Kind == action.Freeze && x.State == action.Verified })
		if i >= 0 {
			frozen = l.Items[i]
		}
		return i >= 0 && frozen.Incident != ""
	})
	s.admin.do(t, http.MethodGet, "/incidents/"+frozen.Incident, nil, &in, 0)
	if frozen.Process == nil || frozen.Process.PID == 0 || frozen.Auto == "" {
		t.Errorf("the freeze: %+v", frozen)
	}
	return in, frozen
}

// memoryIsKept waits for the bag and finds the key in the core of the process.
func (s *siege) memoryIsKept(t *testing.T, in incident.Incident, sum [sha256.Size]byte) string {
	t.Helper()
	var b evidence.Bag
	await(t, 180*time.Second, "a sealed bag", func() bool {
		var l list[evidence.Bag]
		s.admin.do(t, http.MethodGet, "/evidence?incident="+in.ID, nil, &l, 0)
		if len(l.Items) > 0 {
			b = l.Items[0]
		}
		return b.State == evidence.Sealed
	})
	cores, err := filepath.Glob(filepath.Join(s.hub.dir, "evidence", b.ID, "data", "process", "*", "core.elf"))
	if err != nil || len(cores) == 0 {
		s.admin.do(t, http.MethodGet, "/evidence/"+b.ID, nil, &b, 0)
		for _, i := range b.Items {
			t.Log(i.Path, i.Missing())
		}
		t.Fatalf("no core in the bag: %v", err)
	}
	for _, core := range cores {
		f, err := os.Open(core)
		if err != nil {
			t.Fatal(err)
		}
		found := proof.Holds(f, sum)
		f.Close()
		if found {
			return b.ID
		}
	}
	t.Errorf("the key is in none of %v", cores)
	return b.ID
}

// virusIsKept: what clamd says of the program stands in the bag, under its seal.
func (s *siege) virusIsKept(t *testing.T, id string) {
	t.Helper()
	f, err := os.Open(filepath.Join(s.hub.dir, "evidence", id, "data", evidence.ScanFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := false
	for d := json.NewDecoder(f); ; {
		var line evidence.Scan
		if err := d.Decode(&line); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if line.Verdict == antivirus.Infected && line.Signature == clamdtest.Signature && strings.HasSuffix(line.Path, "/exe.bin") {
			found = true
		}
	}
	if !found {
		b, _ := os.ReadFile(f.Name())
		t.Errorf("the program's file is not among what clamd found:\n%s", b)
	}
}

// thawed lets the frozen program go on, by one person and with a reason, and
// makes it stand still again by order: what runs is frozen before it is killed.
func (s *siege) thawed(t *testing.T, in incident.Incident, frozen action.Action, attack *netns.Process) {
	t.Helper()
	s.second.do(t, http.MethodPost, "/actions/"+frozen.ID+"/release", map[string]string{"reason": "控えの仕事と言われたため"}, nil, 0)
	s.ended(t, frozen.ID)
	await(t, 20*time.Second, "the program going on", func() bool { return !stopped(t, attack) })
	var again action.Action
	s.admin.do(t, http.MethodPost, "/actions", map[string]any{"kind": action.Freeze, "incident": in.ID, "host": s.pc.ID, "reason": "控えの仕事ではなかった",
		"process": frozen.Process}, &again, http.StatusCreated)
	s.second.do(t, http.MethodPost, "/actions/"+again.ID+"/approve", nil, nil, 0)
	await(t, 30*time.Second, "the program standing still again", func() bool {
		s.admin.do(t, http.MethodGet, "/actions/"+again.ID, nil, &again, 0)
		return again.State == action.Verified
	})
	if !stopped(t, attack) {
		t.Error("the program runs although its freeze is verified")
	}
}

// killed asks for the end of the process, which another person approves.
func (s *siege) killed(t *testing.T, in incident.Incident, frozen action.Action, attack *netns.Process) {
	t.Helper()
	var k action.Action
	s.admin.do(t, http.MethodPost, "/actions", map[string]any{"kind": action.Kill, "incident": in.ID, "host": s.pc.ID, "reason": "証拠を保全したので終了させる",
		"process": order.Process{PID: frozen.Process.PID, Start: frozen.Process.Start, Image: frozen.Process.Image}}, &k, http.StatusCreated)
	s.admin.do(t, http.MethodPost, "/actions/"+k.ID+"/approve", nil, nil, http.StatusForbidden)
	s.second.do(t, http.MethodPost, "/actions/"+k.ID+"/approve", nil, nil, 0)
	select {
	case <-attack.Done():
	case <-time.After(60 * time.Second):
		t.Fatal("the process was not killed")
	}
	await(t, 30*time.Second, "the kill being verified", func() bool {
		s.admin.do(t, http.MethodGet, "/actions/"+k.ID, nil, &k, 0)
		return k.State == action.Verified
	})
}

// ended waits for the end of an action.
func (s *siege) ended(t *testing.T, id string) {
	t.Helper()
	var a action.Action
	await(t, 60*time.Second, "the end of "+id, func() bool {
		s.admin.do(t, http.MethodGet, "/actions/"+id, nil, &a, 0)
		return a.State == action.Released || a.State == action.Expired
	})
}

// told wants entries of these keys, in numbers without a gap.
func (s *siege) told(t *testing.T, in incident.Incident, want ...string) {
	t.Helper()
	var l list[incident.Entry]
	await(t, 30*time.Second, "the chronology having everything", func() bool {
		s.admin.do(t, http.MethodGet, "/incidents/"+in.ID+"/entries?limit=500", nil, &l, 0)
		return !slices.ContainsFunc(want, func(k string) bool {
			return !slices.ContainsFunc(l.Items, func(e incident.Entry) bool { return e.Key == k })
		})
	})
	for i, e := range l.Items {
		if e.No != i+1 {
			t.Errorf("entry %d has number %d", i+1, e.No)
		}
	}
}

// provableRansom: the bag and the hub's folder verify.
func (s *siege) provableRansom(t *testing.T, bag string) {
	t.Helper()
	status, body := s.admin.call(t, http.MethodPost, "/evidence/"+bag+"/zip", map[string]string{"purpose": "警察への提出"})
	file := filepath.Join(s.work, "bag.zip")
	if err := os.WriteFile(file, body, 0o600); err != nil || status != http.StatusOK {
		t.Fatalf("zip: %d %v", status, err)
	}
	if err := s.verify(file); err != nil {
		t.Error(err)
	}
	s.pc.process.Kill9()
	await(t, time.Minute, "everything being recorded", s.hub.idle)
	s.hub.process.Stop()
	if err := s.verify(s.hub.dir); err != nil {
		t.Error(err)
	}
}
