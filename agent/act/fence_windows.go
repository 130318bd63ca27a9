package act

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/tailscale/wf"
	"golang.org/x/sys/windows"
)

// What the isolation is called in the Windows Filtering Platform. The provider
// and the sublayer are ours alone.
var (
	wfpProvider = wf.ProviderID(windows.GUID{Data1: 0x6f3c3a51, Data2: 0x7f0e, Data3: 0x4c1f, Data4: [8]byte{0x9d, 0x51, 0x0a, 0x53, 0x6f, 0x6e, 0x61, 0x65}})
	wfpSublayer = wf.SublayerID(windows.GUID{Data1: 0x6f3c3a52, Data2: 0x7f0e, Data3: 0x4c1f, Data4: [8]byte{0x9d, 0x51, 0x0a, 0x53, 0x6f, 0x6e, 0x61, 0x65}})
)

// Weights within the sublayer: what permits is asked first.
const (
	wfpPermit = 2
	wfpBlock  = 1
)

// fence is the isolation in the Windows Filtering Platform: filters at the
// layers where connections begin and are accepted, for IPv4 and IPv6. Filters
// of a session that is not dynamic stay when the process ends and go with the
// next start of the system; the agent, which the service manager starts again,
// ends them with the lease. When a filter changes, Windows asks it about the
// packets of running connections, too.
type fence struct{ log *slog.Logger }

func (fence) session() (*wf.Session, error) {
	s, err := wf.New(&wf.Options{Name: "Sonae", Description: "isolation of this machine"})
	if err != nil {
		return nil, fmt.Errorf("open the Windows Filtering Platform: %w", err)
	}
	return s, nil
}

// apply closes everything but keep. What permits is added first, so that the
// hub can be reached at every moment; nothing is left when a step fails. The
// lease is the agent's to end.
func (f fence) apply(keep []netip.AddrPort, _ time.Duration) error {
	s, err := f.session()
	if err != nil {
		return err
	}
	defer s.Close()
	if err := clear(s); err != nil {
		return err
	}
	if err := build(s, keep); err != nil {
		return errors.Join(err, clear(s))
	}
	return nil
}

func build(s *wf.Session, keep []netip.AddrPort) error {
	if err := s.AddProvider(&wf.Provider{ID: wfpProvider, Name: "Sonae"}); err != nil {
		return fmt.Errorf("isolation provider: %w", err)
	}
	if err := s.AddSublayer(&wf.Sublayer{ID: wfpSublayer, Name: "Sonae isolation", Provider: wfpProvider, Weight: 0xffff}); err != nil {
		return fmt.Errorf("isolation sublayer: %w", err)
	}
	for _, r := range wfpRules(keep) {
		id, err := windows.GenerateGUID()
		if err != nil {
			return fmt.Errorf("isolation filter: %w", err)
		}
		r.ID, r.Sublayer, r.Provider = wf.RuleID(id), wfpSublayer, wfpProvider
		if err := s.AddRule(r); err != nil {
			return fmt.Errorf("isolation filter %q: %w", r.Name, err)
		}
	}
	return nil
}

// wfpRules lists what stays open, then what closes the rest.
func wfpRules(keep []netip.AddrPort) []*wf.Rule {
	v4 := []wf.LayerID{wf.LayerALEAuthConnectV4, wf.LayerALEAuthRecvAcceptV4}
	v6 := []wf.LayerID{wf.LayerALEAuthConnectV6, wf.LayerALEAuthRecvAcceptV6}
	var rules []*wf.Rule
	add := func(name string, layers []wf.LayerID, action wf.Action, weight uint64, conditions ...*wf.Match) {
		for _, l := range layers {
			rules = append(rules, &wf.Rule{Name: "Sonae: " + name, Layer: l, Action: action, Weight: weight, Conditions: conditions})
		}
	}
	is := func(field wf.FieldID, value any) *wf.Match {
		return &wf.Match{Field: field, Op: wf.MatchTypeEqual, Value: value}
	}
	both := append(append([]wf.LayerID{}, v4...), v6...)
	add("loopback", both, wf.ActionPermit, wfpPermit, &wf.Match{Field: wf.FieldFlags, Op: wf.MatchTypeFlagsAllSet, Value: uint32(wf.ConditionFlagIsLoopback)})
	for _, k := range keep {
		layer := v4[:1] // the hub is spoken to, it does not call
		if k.Addr().Is6() {
			layer = v6[:1]
		}
		add("hub", layer, wf.ActionPermit, wfpPermit, is(wf.FieldIPRemoteAddress, k.Addr()), is(wf.FieldIPRemotePort, k.Port()), is(wf.FieldIPProtocol, uint8(wf.IPProtoTCP)))
	}
	udp := is(wf.FieldIPProtocol, uint8(wf.IPProtoUDP))
	add("DHCP", v4, wf.ActionPermit, wfpPermit, udp, is(wf.FieldIPLocalPort, uint16(68)), is(wf.FieldIPRemotePort, uint16(67)))
	add("DHCPv6", v6, wf.ActionPermit, wfpPermit, udp, is(wf.FieldIPLocalPort, uint16(546)), is(wf.FieldIPRemotePort, uint16(547)))
	for kind := uint16(133); kind <= 136; kind++ { // router and neighbour discovery, RFC 4861; the type stands where ports do
		add("neighbour discovery", v6, wf.ActionPermit, wfpPermit, is(wf.FieldIPProtocol, uint8(wf.IPProtoICMPV6)), is(wf.FieldIPLocalPort, kind))
	}
	add("isolation", both, wf.ActionBlock, wfpBlock)
	return rules
}

// remove ends the isolation; none being there is a success.
func (f fence) remove() error {
	s, err := f.session()
	if err != nil {
		return err
	}
	defer s.Close()
	return clear(s)
}

// clear removes what is ours, the filters that block first.
func clear(s *wf.Session) error {
	rules, err := ours(s)
	if err != nil {
		return err
	}
	for _, action := range []wf.Action{wf.ActionBlock, wf.ActionPermit} {
		for _, r := range rules {
			if r.Action != action {
				continue
			}
			if err := s.DeleteRule(r.ID); err != nil {
				return fmt.Errorf("remove isolation filter %q: %w", r.Name, err)
			}
		}
	}
	gone := func(err error) bool {
		return err == nil || errors.Is(err, errNoSublayer) || errors.Is(err, errNoProvider)
	}
	if err := s.DeleteSublayer(wfpSublayer); !gone(err) {
		return fmt.Errorf("remove isolation sublayer: %w", err)
	}
	if err := s.DeleteProvider(wfpProvider); !gone(err) {
		return fmt.Errorf("remove isolation provider: %w", err)
	}
	return nil
}

// FWP_E_PROVIDER_NOT_FOUND and FWP_E_SUBLAYER_NOT_FOUND of fwpmtypes.h.
const (
	errNoProvider = windows.Errno(0x80320005)
	errNoSublayer = windows.Errno(0x80320007)
)

func ours(s *wf.Session) ([]*wf.Rule, error) {
	all, err := s.Rules()
	if err != nil {
		return nil, fmt.Errorf("list filters: %w", err)
	}
	var out []*wf.Rule
	for _, r := range all {
		if r.Sublayer == wfpSublayer {
			out = append(out, r)
		}
	}
	return out, nil
}

// state says whether filters of ours are there. They run as long as they are.
func (f fence) state() (present, running bool, err error) {
	s, err := f.session()
	if err != nil {
		return false, false, err
	}
	defer s.Close()
	rules, err := ours(s)
	if err != nil {
		return false, false, err
	}
	blocks := 0
	for _, r := range rules {
		if r.Action == wf.ActionBlock {
			blocks++
		}
	}
	return len(rules) > 0, blocks == 4, nil
}

// dropped is not counted by these filters.
func (fence) dropped() (packets, bytes uint64, err error) { return 0, 0, errors.ErrUnsupported }

// syncDir has nothing to do: NTFS keeps names in its own log.
func syncDir(string) error { return nil }

// lock waits until no other process works on the state.
func lock(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	h, all := windows.Handle(f.Fd()), new(windows.Overlapped)
	if err := windows.LockFileEx(h, windows.LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, all); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { _ = windows.UnlockFileEx(h, 0, 1, 0, all); _ = f.Close() }, nil
}
