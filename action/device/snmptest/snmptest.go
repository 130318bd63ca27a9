// Package snmptest runs a real net-snmp agent with the tables of a managed
// switch, for tests.
//
// In: which machine is behind which port. Out: an address that answers SNMP
// versions 2c and 3 and can be written to. Always true: it listens on loopback
// only and ends with the test.
package snmptest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What the switch is told by.
const (
	Community = "write-me"
	User      = "sonae"
	Auth      = "auth-secret-1"
	Priv      = "priv-secret-1"
	stateEnv  = "SONAE_SNMPTEST_STATE"
)

// Objects that tests read.
const (
	AdminStatus = ".1.3.6.1.2.1.2.2.1.7."
	PVID        = ".1.3.6.1.2.1.17.7.1.4.5.1.1."
	Egress      = ".1.3.6.1.2.1.17.7.1.4.3.1.2."
	Untagged    = ".1.3.6.1.2.1.17.7.1.4.3.1.4."
)

// Switch is a running agent.
type Switch struct {
	Address string
	t       testing.TB
	state   string
	conf    string
	mu      sync.Mutex
	cmd     *exec.Cmd
}

// value is one object as pass_persist writes it.
type value struct{ Type, Value string }

// Main serves the tables when this process was started by snmpd. Call it first
// in TestMain; it returns false when it was not.
func Main() bool {
	path := os.Getenv(stateEnv)
	if path == "" {
		return false
	}
	serve(path)
	return true
}

// New starts a switch: ports 1 to 8 are interfaces 101 to 108 in VLAN 10; each
// of machines (hardware address → port) is known, and addresses (IPv4 →
// hardware address) as well. Without old, the switch knows VLANs and has lists
// of their ports.
func New(t testing.TB, machines map[string]int, addresses map[string]string) *Switch {
	t.Helper()
	if _, err := exec.LookPath("snmpd"); err != nil {
		t.Skip("snmpd is not installed")
	}
	all := map[string]value{}
	for port := 1; port <= 8; port++ {
		p := strconv.Itoa(port)
		all[".1.3.6.1.2.1.17.1.4.1.2."+p] = value{"integer", strconv.Itoa(100 + port)}
		all[AdminStatus+strconv.Itoa(100+port)] = value{"integer", "1"}
		all[PVID+p] = value{"gauge", "10"}
	}
	for vlan, ports := range map[string]string{"10": "FF", "99": "00"} {
		all[Egress+vlan], all[Untagged+vlan] = value{"octet", ports}, value{"octet", ports}
	}
	for mac, port := range machines {
		all[".1.3.6.1.2.1.17.7.1.2.2.1.2.1"+dotted(t, mac)] = value{"integer", strconv.Itoa(port)}
	}
	for ip, mac := range addresses {
		hw, err := net.ParseMAC(mac)
		if err != nil {
			t.Fatal(err)
		}
		all[".1.3.6.1.2.1.4.22.1.2.1."+ip] = value{"octet", fmt.Sprintf("% X", []byte(hw))}
	}
	s := &Switch{t: t, state: filepath.Join(t.TempDir(), "switch.json"), Address: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	if err := write(s.state, all); err != nil {
		t.Fatal(err)
	}
	s.configure()
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

func (s *Switch) configure() {
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	text := "rwcommunity " + Community + " 127.0.0.1\ncreateUser " + User + " SHA " + Auth + " AES " + Priv + "\nrwuser " + User + " priv\nsysDescr Test switch\n"
	for _, tree := range []string{".1.3.6.1.2.1.17", ".1.3.6.1.2.1.2.2", ".1.3.6.1.2.1.4.22.1.2"} {
		text += "pass_persist -p 10 " + tree + " " + self + "\n"
	}
	s.conf = filepath.Join(filepath.Dir(s.state), "switch.conf") // snmpd writes a snmpd.conf of its own beside it
	if err := os.WriteFile(s.conf, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Start starts the agent again, with the tables as they are.
func (s *Switch) Start() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd = exec.Command("snmpd", "-f", "-Le", "-C", "-c", s.conf, "-I", "-ipNetToMediaTable,-ifTable,-ifXTable,-ip,-at,-interfaces,-interface", "udp:"+s.Address)
	s.cmd.Env = append(os.Environ(), stateEnv+"="+s.state, "SNMP_PERSISTENT_DIR="+filepath.Dir(s.state), "MIBS=")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if s.answers(AdminStatus+"101") && s.answers(PVID+"1") && s.answers(".1.3.6.1.2.1.4.22.1.2.1") {
			return
		}
	}
	s.t.Fatal("snmpd does not answer")
}

// answers says whether the tables can be read: the programs behind them start
// with the first question.
func (s *Switch) answers(object string) bool {
	return exec.Command("snmpgetnext", "-v2c", "-c", Community, "-t", "0.5", "-r", "0", "-m", "", s.Address, object).Run() == nil
}

// Stop ends the agent and what it started.
func (s *Switch) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Value is what an object is now; "" when there is none.
func (s *Switch) Value(object string) string {
	s.t.Helper()
	all, err := read(s.state)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(all[object].Value)
}

// Set changes the switch as if somebody did it on its console.
func (s *Switch) Set(object, kind, v string) {
	s.t.Helper()
	all, err := read(s.state)
	if err == nil {
		all[object] = value{kind, v}
		err = write(s.state, all)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func dotted(t testing.TB, mac string) string {
	hw, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, b := range hw {
		out += fmt.Sprintf(".%d", b)
	}
	return out
}

func freePort(t testing.TB) int {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

func read(path string) (map[string]value, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all map[string]value
	return all, json.Unmarshal(b, &all)
}

func write(path string, all map[string]value) error {
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// serve speaks the pass_persist protocol of snmpd.conf(5).
func serve(path string) {
	in := bufio.NewScanner(os.Stdin)
	next := func() string { in.Scan(); return strings.TrimRight(in.Text(), "\r\n") }
	for in.Scan() {
		switch strings.TrimSpace(in.Text()) {
		case "PING":
			fmt.Println("PONG")
		case "get":
			answer(path, next(), false)
		case "getnext":
			answer(path, next(), true)
		case "set":
			object, what := next(), next()
			fmt.Println(change(path, object, what))
		}
	}
}

func answer(path, object string, after bool) {
	all, err := read(path)
	if err != nil {
		fmt.Println("NONE")
		return
	}
	if after {
		object = following(all, object)
	}
	v, ok := all[object]
	if !ok {
		fmt.Println("NONE")
		return
	}
	fmt.Printf("%s\n%s\n%s\n", object, v.Type, v.Value)
}

func following(all map[string]value, object string) string {
	best := ""
	for o := range all {
		if compare(o, object) > 0 && (best == "" || compare(o, best) < 0) {
			best = o
		}
	}
	return best
}

func compare(a, b string) int {
	return slices.CompareFunc(strings.Split(strings.Trim(a, "."), "."), strings.Split(strings.Trim(b, "."), "."), func(x, y string) int {
		m, _ := strconv.Atoi(x)
		n, _ := strconv.Atoi(y)
		return m - n
	})
}

func change(path, object, what string) string {
	all, err := read(path)
	old, ok := all[object]
	if err != nil || !ok {
		return "not-writable"
	}
	kind, v, _ := strings.Cut(what, " ")
	v = strings.TrimSuffix(strings.TrimPrefix(v, `"`), `"`)
	if old.Type == "octet" && kind == "string" { // snmpd writes octets that can be printed as they are
		v = fmt.Sprintf("%X", v)
	}
	all[object] = value{old.Type, strings.ToUpper(strings.TrimSpace(v))}
	if err := write(path, all); err != nil {
		return "inconsistent-value"
	}
	return "DONE"
}
