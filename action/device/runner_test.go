package device_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/device"
	"github.com/sonae/sonae/action/device/hook"
	"github.com/sonae/sonae/action/device/snmp"
	"github.com/sonae/sonae/action/device/snmptest"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/secret"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

// The hub of these tests is the real state, desk and runner, with a real
// switch (net-snmp). For kill -9 it is a process of its own.

const hubEnv = "SONAE_DEVICE_TEST_HUB"

func TestMain(m *testing.M) {
	if snmptest.Main() {
		return
	}
	if dir := os.Getenv(hubEnv); dir != "" {
		hubMain(dir)
		return
	}
	os.Exit(statetest.Main(m))
}

var (
	tanaka = auth.Person{ID: "pe-1", Roles: []auth.Role{auth.Responder}}
	suzuki = auth.Person{ID: "pe-2", Roles: []auth.Role{auth.Approver, auth.Responder}}
)

// nobody is a register without machines.
type nobody struct{}

func (nobody) Host(context.Context, string) (asset.Host, error) {
	return asset.Host{}, fault.New(fault.Missing, "asset.host-unknown")
}
func (nobody) HubAddress(context.Context, string) (string, error)               { return "", nil }
func (nobody) HostsNamed(context.Context, string, string) ([]asset.Host, error) { return nil, nil }
func (nobody) HostsAt(context.Context, string) ([]asset.Host, error)            { return nil, nil }
func (nobody) Hubs(context.Context) ([]string, error)                           { return []string{"192.0.2.1:8443"}, nil }
func key() ed25519.PrivateKey                                                   { return ed25519.NewKeyFromSeed(make([]byte, 32)) }
func public() ed25519.PublicKey                                                 { return key().Public().(ed25519.PublicKey) }
func connectors() map[action.Means]device.Connector {
	return map[action.Means]device.Connector{action.PortDown: snmp.Connector{}, action.VLAN: snmp.Connector{}, action.Hook: hook.Connector{}, action.List: hook.NewList(time.Now)}
}

type hub struct {
	db     *state.DB
	store  *device.Store
	desk   *action.Desk
	runner *device.Runner
}

func newHub(db *state.DB, keys *secret.Keys, log *slog.Logger) hub {
	h := hub{db: db, store: device.NewStore(db, keys, time.Now)}
	h.desk = action.New(db, key(), nobody{}, h.store, time.Now, log)
	h.runner = device.NewRunner(h.store, h.desk, public(), connectors(), time.Now, log)
	return h
}

// block requests and approves.
func (h hub) block(ctx context.Context, via string, lease time.Duration, targets ...string) (action.Action, error) {
	a, err := h.desk.Request(ctx, action.NewRequest{Kind: action.Block, Incident: "in-1", Reason: "送信", Via: via, Targets: targets, Lease: lease}, tanaka)
	if err != nil {
		return a, err
	}
	return h.desk.Approve(ctx, a.ID, suzuki)
}

// bench is a hub in this process.
type bench struct {
	hub
	t *testing.T
	*snmptest.Switch
}

const pc, printer = "02:00:00:00:00:07", "02:00:00:00:00:08"

func newBench(t *testing.T) *bench {
	t.Helper()
	keys, err := secret.Open(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{hub: newHub(statetest.Open(t), keys, slog.New(slog.NewTextHandler(t.Output(), nil))), t: t, Switch: aSwitch(t)}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.runner.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return b
}

func aSwitch(t *testing.T) *snmptest.Switch {
	return snmptest.New(t, map[string]int{pc: 3, printer: 4}, map[string]string{"10.1.0.7": pc, "10.1.0.8": printer})
}

func (h hub) add(ctx context.Context, address string, m action.Means) (device.Device, error) {
	return h.store.Save(ctx, device.Device{Site: "hospital", Name: "SW-3F", Means: m, Address: address, SNMP: "3",
		User: snmptest.User, Auth: "SHA", Priv: "AES", VLAN: 99}, device.Secrets{"auth": snmptest.Auth, "priv": snmptest.Priv}, suzuki)
}

func (b *bench) device(m action.Means) device.Device {
	b.t.Helper()
	d, err := b.add(b.t.Context(), b.Address, m)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *bench) blocked(via string, lease time.Duration, targets ...string) action.Action {
	b.t.Helper()
	a, err := b.block(b.t.Context(), via, lease, targets...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.runner.Wake()
	return a
}

func (b *bench) state(id string, want action.State, within time.Duration) action.Action {
	b.t.Helper()
	var a action.Action
	var err error
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if a, err = b.desk.Get(b.t.Context(), id); err != nil {
			b.t.Fatal(err)
		}
		if a.State == want {
			return a
		}
	}
	b.t.Fatalf("action is %s %q %+v, want %s within %s", a.State, a.Failure, a.Checks, want, within)
	return a
}

func (b *bench) port(n, want string) {
	b.t.Helper()
	if got := b.Value(snmptest.AdminStatus + n); got != want {
		b.t.Errorf("port %s is %s, want %s", n, got, want)
	}
}

// offWithin blocks the pc for 5 s and wants its port to be off in time; a
// machine that is busy with other tests has three tries.
func (b *bench) offWithin(device string, limit time.Duration) action.Action {
	b.t.Helper()
	for try := 1; ; try++ {
		a := b.blocked(device, 5*time.Second, "10.1.0.7")
		start := time.Now()
		for b.Value(snmptest.AdminStatus+"103") != "2" && time.Since(start) < 10*time.Second {
			time.Sleep(5 * time.Millisecond)
		}
		took := time.Since(start)
		b.t.Logf("the port was off %d ms after the order", took.Milliseconds())
		if took <= limit {
			return a
		}
		if try == 3 {
			b.t.Fatalf("the port was off %s after the order, want %s", took, limit)
		}
		b.state(a.ID, action.Expired, 20*time.Second)
	}
}

func TestPortIsOffWithinASecondOfTheOrderAndOnAfterTheLease(t *testing.T) {
	b := newBench(t)
	d := b.device(action.PortDown)
	a := b.offWithin(d.ID, time.Second)
	got := b.state(a.ID, action.Verified, 3*time.Second)
	if len(got.Checks) != 2 || !got.Checks[0].OK || !got.Checks[1].OK || got.Checks[1].Detail != "interface 103 is off" {
		t.Errorf("checks %+v", got.Checks)
	}
	b.port("104", "1")
	if err := b.store.Remove(t.Context(), d.ID, suzuki); fault.Of(err) != fault.Conflict {
		t.Errorf("a device that holds a block was removed: %v", err)
	}
	b.state(a.ID, action.Expired, 10*time.Second)
	b.port("103", "1")
	err := b.store.Remove(t.Context(), d.ID, suzuki)
	for end := time.Now().Add(2 * time.Second); err != nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) { // told before it is noted
		err = b.store.Remove(t.Context(), d.ID, suzuki)
	}
	if err != nil {
		t.Error(err)
	}
}

func TestReleasePutsTheVLANBack(t *testing.T) {
	b := newBench(t)
	a := b.blocked(b.device(action.VLAN).ID, time.Minute, pc)
	b.state(a.ID, action.Verified, 5*time.Second)
	if v := b.Value(snmptest.PVID + "3"); v != "99" {
		t.Errorf("VLAN %s", v)
	}
	if err := b.desk.Release(t.Context(), a.ID, "終わった", tanaka); err != nil {
		t.Fatal(err)
	}
	b.state(a.ID, action.Released, 5*time.Second)
	if v := b.Value(snmptest.PVID + "3"); v != "10" {
		t.Errorf("VLAN %s", v)
	}
}

// The end of a lease finds the device silent: everybody must hear of it, and
// it is undone when the device is back.
func TestDeviceThatCannotBeToldToRestoreIsAlarmedAndToldLater(t *testing.T) {
	b := newBench(t)
	a := b.blocked(b.device(action.PortDown).ID, 5*time.Second, pc)
	b.state(a.ID, action.Verified, 4*time.Second)
	b.Stop()
	got := b.state(a.ID, action.Releasing, 20*time.Second)
	if !strings.HasPrefix(got.Failure, "not-restored: device-silent") {
		t.Errorf("failure %q", got.Failure)
	}
	alarms := func() (n int) {
		if err := b.db.QueryRow(t.Context(), `SELECT COUNT(*) FROM outbox WHERE subject = 'device.stuck'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for end := time.Now().Add(60 * time.Second); alarms() == 0 && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	b.port("103", "2")
	b.Start()
	b.state(a.ID, action.Expired, 30*time.Second)
	b.port("103", "1")
	if n := alarms(); n != 1 {
		t.Errorf("%d alarms, want 1", n)
	}
}

// A switch that lost its power, or somebody at its console, lifts a block: it
// is told again.
func TestBlockThatSomebodyLiftsIsPutBack(t *testing.T) {
	b := newBench(t)
	a := b.blocked(b.device(action.PortDown).ID, time.Minute, pc)
	b.state(a.ID, action.Verified, 5*time.Second)
	b.Set(snmptest.AdminStatus+"103", "integer", "1")
	for end := time.Now().Add(15 * time.Second); b.Value(snmptest.AdminStatus+"103") != "2" && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	b.port("103", "2")
}

func TestEndOfOneBlockLeavesAnotherOnTheSamePort(t *testing.T) {
	b := newBench(t)
	d := b.device(action.PortDown)
	one := b.blocked(d.ID, time.Minute, pc)
	b.state(one.ID, action.Verified, 5*time.Second)
	two := b.blocked(d.ID, time.Minute, "10.1.0.7")
	b.state(two.ID, action.Verified, 5*time.Second)
	for _, a := range []struct{ id, after string }{{one.ID, "2"}, {two.ID, "1"}} {
		if err := b.desk.Release(t.Context(), a.id, "終わった", tanaka); err != nil {
			t.Fatal(err)
		}
		b.state(a.id, action.Released, 5*time.Second)
		b.port("103", a.after)
	}
}

func TestWhatADeviceCannotDoFails(t *testing.T) {
	b := newBench(t)
	a := b.blocked(b.device(action.PortDown).ID, time.Minute, "10.1.0.99")
	if got := b.state(a.ID, action.Failed, 5*time.Second); !strings.HasPrefix(got.Failure, "target-not-found") {
		t.Errorf("failure %q", got.Failure)
	}
	_, err := b.block(t.Context(), a.Via, time.Minute, "127.0.0.1")
	if fault.Of(err) != fault.Invalid {
		t.Errorf("the switch itself: %v", err)
	}
}

func TestSecretsAreSealedAndStayWhenLeftEmpty(t *testing.T) {
	b := newBench(t)
	d := b.device(action.PortDown)
	var body, sealed string
	if err := b.db.QueryRow(t.Context(), `SELECT c.body, d.sealed FROM device d JOIN device_change c ON c.id = d.id WHERE d.id = $1`, d.ID).Scan(&body, &sealed); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(body+sealed, snmptest.Auth) || strings.Contains(body+sealed, snmptest.Priv) {
		t.Error("a secret lies open in the state")
	}
	d.Name = "SW-4F"
	d.Means = action.VLAN // what a device is does not change
	if _, err := b.store.Save(t.Context(), d, nil, suzuki); err != nil {
		t.Fatal(err)
	}
	got, err := b.store.Get(t.Context(), d.ID)
	if err != nil || got.Name != "SW-4F" || got.Means != action.PortDown || got.Version != 2 {
		t.Errorf("%+v %v", got, err)
	}
	if detail, err := b.runner.Test(t.Context(), d.ID); err != nil || detail != "Test switch; 2 machines known" {
		t.Errorf("%q %v", detail, err)
	}
	bad := device.Device{Site: "hospital", Name: "UTM", Means: action.Hook, Block: device.Request{Method: "POST", URL: "https://utm/{secret}"}}
	if _, err := b.store.Save(t.Context(), bad, nil, suzuki); fault.Of(err) != fault.Invalid {
		t.Errorf("a secret in an address: %v", err)
	}
}

func TestListPublishesWhatIsBlockedAndOnlyThat(t *testing.T) {
	b := newBench(t)
	d, err := b.store.Save(t.Context(), device.Device{Site: "hospital", Name: "UTM", Means: action.List}, device.Secrets{"secret": "token-1"}, suzuki)
	if err != nil {
		t.Fatal(err)
	}
	a := b.blocked(d.ID, 5*time.Second, "10.1.0.7", "2001:db8::7")
	b.state(a.ID, action.Applied, 5*time.Second) // nobody has fetched it
	want := func(list string) {
		t.Helper()
		if got, err := b.store.Listed(t.Context(), d.ID); err != nil || strings.Join(got, " ") != list {
			t.Errorf("listed %v, %v, want %q", got, err, list)
		}
	}
	want("10.1.0.7 2001:db8::7")
	b.state(a.ID, action.Verified, 4*time.Second)
	b.state(a.ID, action.Expired, 10*time.Second)
	want("")
}

// child is a hub in a process of its own.
func child(t *testing.T, dir, address string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), hubEnv+"="+dir, "SONAE_DEVICE_TEST_SWITCH="+address)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, bufio.NewScanner(out)
}

// hubMain blocks the pc for 6 s unless that was done before, and tells how the
// action is.
func hubMain(dir string) {
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	keys, err := secret.Open(filepath.Join(dir, "keys"))
	must(err)
	db, err := state.Open(ctx, filepath.Join(dir, "state.db"), log)
	must(err)
	h := newHub(db, keys, log)
	all, _, err := h.desk.List(ctx, action.Filter{})
	must(err)
	if len(all) == 0 {
		d, err := h.add(ctx, os.Getenv("SONAE_DEVICE_TEST_SWITCH"), action.PortDown)
		must(err)
		a, err := h.block(ctx, d.ID, 6*time.Second, pc)
		must(err)
		all = append(all, a)
	}
	go func() { must(h.runner.Run(ctx)) }()
	for last := action.State(""); ; time.Sleep(10 * time.Millisecond) {
		a, err := h.desk.Get(ctx, all[0].ID)
		must(err)
		if a.State != last {
			last = a.State
			text, err := json.Marshal(a)
			must(err)
			fmt.Println(string(text))
		}
	}
}

func until(t *testing.T, out *bufio.Scanner, want action.State) action.Action {
	t.Helper()
	for out.Scan() {
		var a action.Action
		if err := json.Unmarshal(out.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		if a.State == want {
			return a
		}
		t.Logf("action is %s %s", a.State, a.Failure)
	}
	t.Fatalf("the hub ended before the action was %s", want)
	return action.Action{}
}

// A hub that is killed while a block is in force must not leave a machine cut
// off for good.
func TestKilledHubRestoresWhenItIsBack(t *testing.T) {
	s := aSwitch(t)
	dir := t.TempDir()
	cmd, out := child(t, dir, s.Address)
	until(t, out, action.Verified)
	_ = cmd.Process.Kill() // kill -9
	_ = cmd.Wait()
	time.Sleep(7 * time.Second)
	if v := s.Value(snmptest.AdminStatus + "103"); v != "2" {
		t.Fatalf("the port is %s while no hub lives", v)
	}
	_, out = child(t, dir, s.Address)
	until(t, out, action.Expired)
	if v := s.Value(snmptest.AdminStatus + "103"); v != "1" {
		t.Errorf("the port is %s, want 1 (up)", v)
	}
}
