// Package device tells switches, access points and other products in the
// network to block machines, and to undo that.
//
// In: devices that administrators entered, signed orders to them. Out:
// order.Result, alarms about devices that cannot be told. Always true: what a
// device must be told to undo is on the disk before it is told to block; it is
// undone at the end of the lease, by whichever hub lives then, and tried until
// it worked; secrets are sealed in the state and are never shown.
package device

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/fault"
)

// Device is one way of one product to block.
type Device struct {
	ID      string       `json:"id,omitempty"`
	Site    string       `json:"site"`
	Name    string       `json:"name"`
	Means   action.Means `json:"means"`
	Address string       `json:"address,omitempty"` // host:port; empty for hooks and lists

	// SNMP
	SNMP     string `json:"snmp,omitempty"`     // 2c | 3
	User     string `json:"user,omitempty"`     // version 3
	Auth     string `json:"auth,omitempty"`     // SHA | SHA256 | SHA512
	Priv     string `json:"priv,omitempty"`     // AES | AES256
	Router   string `json:"router,omitempty"`   // host:port that knows which IP address has which hardware address; empty: the device itself
	Never    []int  `json:"never,omitempty"`    // interfaces (ifIndex) that are never touched
	Machines int    `json:"machines,omitempty"` // how many machines a port may have to be touched; 0: one

	VLAN   int `json:"vlan,omitempty"`   // where the blocked go
	Normal int `json:"normal,omitempty"` // where they are otherwise (RADIUS)

	// Hook
	Block   Request `json:"block,omitzero"`
	Unblock Request `json:"unblock,omitzero"`
	Check   Request `json:"check,omitzero"` // says whether a target is blocked; optional
	CA      string  `json:"ca,omitempty"`   // PEM of the authority of its certificate; empty: those of the system

	Version   int       `json:"version,omitempty"`
	SetBy     string    `json:"set_by,omitempty"`
	FetchedAt time.Time `json:"fetched_at,omitzero"` // list: when it was fetched last
}

// Request is what a hook sends. {target} in URL, headers and body is the
// address, {secret} in headers and body the secret.
type Request struct {
	Method   string   `json:"method,omitempty"`
	URL      string   `json:"url,omitempty"`
	Headers  []string `json:"headers,omitempty"` // "Name: value"
	Body     string   `json:"body,omitempty"`
	Status   []int    `json:"status,omitempty"`   // what counts as done; empty: 200 to 299
	Contains string   `json:"contains,omitempty"` // what the answer must contain
}

// Secrets of a device by name: community, auth, priv, secret.
type Secrets map[string]string

// SecretNames are the secrets that a means has.
func SecretNames(m action.Means) []string {
	switch m {
	case action.PortDown, action.VLAN:
		return []string{"community", "auth", "priv"}
	case action.Disconnect, action.CoA, action.Hook, action.List:
		return []string{"secret"}
	}
	return nil
}

// Means lists what a device can be.
func Means() []action.Means {
	return []action.Means{action.PortDown, action.VLAN, action.Disconnect, action.CoA, action.Hook, action.List}
}

// Place is where a target is on a device, and how it was there before.
type Place struct {
	Key    string          `json:"key"`    // the same for all targets that one change blocks, such as a port
	Before json.RawMessage `json:"before"` // what the connector needs to undo it
}

// Connector speaks to one sort of device. Every method but Find and Test may
// be called again with the same arguments.
type Connector interface {
	// Find changes nothing. An error means that the target cannot be blocked
	// here: a stable word, ": " and the particulars.
	Find(ctx context.Context, d Device, s Secrets, target string) (Place, error)
	Block(ctx context.Context, d Device, s Secrets, target string, p Place) error
	// Check asks the device whether the block holds.
	Check(ctx context.Context, d Device, s Secrets, target string, p Place) (held bool, detail string, err error)
	// Restore undoes Block and makes sure of it.
	Restore(ctx context.Context, d Device, s Secrets, target string, p Place) error
	// Test says what the device answers, changing nothing.
	Test(ctx context.Context, d Device, s Secrets) (detail string, err error)
}

// Hold is what a device was told, until it was told to undo it.
type Hold struct {
	Action  string    `json:"action"`
	Order   string    `json:"order"`
	Device  string    `json:"device"`
	Spots   []Spot    `json:"spots"`
	Begun   time.Time `json:"begun"`
	EndsAt  time.Time `json:"ends_at"`
	Phase   Phase     `json:"phase"`
	Cause   string    `json:"cause,omitempty"` // why it ends: order | lease | failed
	Failure string    `json:"failure,omitempty"`
	Held    bool      `json:"held"`    // as last checked
	Checked time.Time `json:"checked"` // when
	Tries   int       `json:"tries"`   // to undo it
	Next    time.Time `json:"next"`    // when to try again
	Alarmed bool      `json:"alarmed"`
	EndedAt time.Time `json:"ended_at"`
}

// Spot is one target in its place.
type Spot struct {
	Target string `json:"target"`
	Place  Place  `json:"place"`
}

// Phase is how far a hold is.
type Phase string

// Phases of a hold.
const (
	Applying  Phase = "applying" // the device may have been told
	Holding   Phase = "holding"
	Restoring Phase = "restoring"
	Ended     Phase = "ended"
)

// Stuck says that a device cannot be told to undo a block ("device.stuck").
type Stuck struct {
	Device  string    `json:"device"`
	Name    string    `json:"name"`
	Site    string    `json:"site"`
	Action  string    `json:"action"`
	Targets []string  `json:"targets"`
	Why     string    `json:"why"`
	At      time.Time `json:"at"`
}

// Bounds of what administrators may enter.
const (
	maxName = 100
	maxText = 4000
	maxVLAN = 4094
)

// check says what of a device cannot be right.
func (d *Device) check() error {
	bad := func(field string) error { return fault.New(fault.Invalid, "device.field", field) }
	d.Name = strings.TrimSpace(d.Name)
	switch {
	case d.Name == "" || utf8.RuneCountInString(d.Name) > maxName:
		return bad("name")
	case !slices.Contains(Means(), d.Means):
		return bad("means")
	case d.Machines < 0 || d.Machines > 64 || len(d.Never) > 256:
		return bad("machines")
	case (d.Means == action.VLAN || d.Means == action.CoA) && (d.VLAN < 1 || d.VLAN > maxVLAN):
		return bad("vlan")
	case d.Means == action.CoA && (d.Normal < 1 || d.Normal > maxVLAN || d.Normal == d.VLAN):
		return bad("normal")
	}
	switch d.Means {
	case action.PortDown, action.VLAN:
		return d.checkSNMP(bad)
	case action.Disconnect, action.CoA:
		if !hostPort(d.Address) {
			return bad("address")
		}
	case action.Hook:
		return d.checkHook(bad)
	}
	return nil
}

func (d *Device) checkSNMP(bad func(string) error) error {
	switch {
	case !hostPort(d.Address):
		return bad("address")
	case d.Router != "" && !hostPort(d.Router):
		return bad("router")
	case d.SNMP != "2c" && d.SNMP != "3":
		return bad("snmp")
	case d.SNMP == "3" && (d.User == "" || !slices.Contains([]string{"SHA", "SHA256", "SHA512"}, d.Auth) || !slices.Contains([]string{"AES", "AES256"}, d.Priv)):
		return bad("user")
	}
	return nil
}

func (d *Device) checkHook(bad func(string) error) error {
	for name, r := range map[string]Request{"block": d.Block, "unblock": d.Unblock, "check": d.Check} {
		if name == "check" && r.URL == "" {
			continue
		}
		u, err := url.Parse(strings.ReplaceAll(r.URL, "{target}", "192.0.2.1"))
		switch {
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || strings.Contains(r.URL, "{secret}"):
			return bad(name) // a secret in an address ends up in logs
		case !slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, r.Method):
			return bad(name)
		case len(r.Body) > maxText || len(r.Headers) > 20:
			return bad(name)
		}
		for _, h := range r.Headers {
			if k, _, ok := strings.Cut(h, ":"); !ok || k == "" || strings.ContainsAny(h, "\r\n") || len(h) > maxText {
				return bad(name)
			}
		}
	}
	return nil
}

func hostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err == nil && host != "" && port != "" && len(s) <= 260
}

// own are the addresses of a device, which it must never block; names are
// resolved, and one that cannot be resolved now has none.
func (d Device) own(ctx context.Context) []string {
	var out []string
	for _, a := range []string{d.Address, d.Router, hostOf(d.Block.URL), hostOf(d.Unblock.URL)} {
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			host = a
		}
		if host == "" {
			continue
		}
		found, err := net.DefaultResolver.LookupHost(ctx, host)
		if err == nil {
			out = append(out, found...)
		}
	}
	return out
}

func hostOf(address string) string {
	u, err := url.Parse(strings.ReplaceAll(address, "{target}", "x"))
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// Carrier is the device as action sees it.
func (s *Store) Carrier(ctx context.Context, id string) (action.Carrier, error) {
	d, err := s.Get(ctx, id)
	if err != nil {
		return action.Carrier{}, fmt.Errorf("carrier: %w", err)
	}
	ctx, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	return action.Carrier{ID: d.ID, Name: d.Name, Site: d.Site, Means: d.Means, Addresses: d.own(ctx)}, nil
}
