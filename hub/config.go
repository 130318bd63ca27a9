// Package hub wires the stages together and holds no behaviour of its own.
//
// In: Config. Out: a running hub: bus, archive, ledger, state, stages, pages
// and API in one process. Always true: parts open in the order of their
// dependence and close in reverse; flow.go is the only place where one stage
// hears of another.
package hub

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/bus"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/witness"
	"github.com/sonae/sonae/state"
)

// Config is all that can be set.
type Config struct {
	// Dir holds everything the hub keeps: keys, state, bus, archive, ledger,
	// evidence. Backing it up backs up the hub, with State if that is set.
	Dir string
	// State is the address of a PostgreSQL database (postgres://…), without a
	// password; empty: a SQLite file in Dir.
	State string
	// Listen is the address of pages and API over HTTPS.
	Listen string
	// Local is the address of pages and API over plain HTTP. It must be a
	// loopback address; empty: none.
	Local string
	// Agents is the address of the agents' port (TLS with client certificates).
	Agents string
	// Names are additional host names and addresses for the certificate.
	Names []string
	// Passphrase is a file whose content encrypts the keys at rest; empty:
	// keys lie in files that only the owner can read.
	Passphrase string
	// TSA is the address of an RFC 3161 time stamp authority; empty: none.
	TSA string
	// TSARoots is a PEM file with the authority's root certificates.
	TSARoots string
	// Clamd is the socket of an antivirus program that looks at evidence,
	// unix:/PATH or tcp:HOST:PORT; empty: none.
	Clamd string
	// Browser is the Chromium that prints documents as PDF: a program or its
	// path; empty: the first that is installed, if any; off: none.
	Browser string
	// Witnesses are asked to cosign the ledger's checkpoints; empty: nobody is.
	Witnesses []witness.Peer
	// MinFree is how many bytes the disk must have left for intake; below it
	// agents are told to wait. Backups stop earlier: see backupFree.
	MinFree uint64
	// Hub is the name of this hub, different from those of others that share
	// what follows; empty: the name of the machine.
	Hub string
	// Keys is the folder with the keys, which all hubs of an installation have
	// the same; empty: one in Dir.
	Keys string
	// Bus is the NATS cluster that several hubs share; nil: a bus in Dir.
	Bus *bus.External
	// Store is where segments, evidence and ledger lie so that several hubs
	// can use them; Dir then holds copies. Nil: they lie in Dir.
	Store *blob.S3
	// Leaf makes this hub hand on what its agents send to the hub of the main
	// site; nil: it keeps it for itself.
	Leaf *bus.Leaf
	// Leaves is where hubs of other sites hand on; an empty address: nowhere.
	Leaves bus.LeafListen
	// Window is how long events wait for others before they are stored
	// together; searches of this hub see them meanwhile. 0: ten seconds, or one
	// where other hubs see them only once they are stored.
	Window time.Duration
	// Keep is how long events of each class are kept; nil: as by default.
	Keep archive.Retention
	// Quotas bound what one site or host may send.
	Quotas bus.Quotas
	// Stall is how long a reader of a page, stream or download may take nothing
	// before it is cut off.
	Stall time.Duration
	// Silent is how long a machine may be quiet before an alert says so; 0: three
	// minutes.
	Silent time.Duration
	// Sensors say something to the hub itself.
	Sensors Sensors
	// Domains are own names, which no threat list may name.
	Domains []string
	// Now tells the time.
	Now clock.Now
}

// Default is the configuration of `sonae serve` without flags.
func Default() Config {
	return Config{Dir: "data", Listen: ":8443", Local: "127.0.0.1:8080", Agents: ":8444", MinFree: 256 << 20, Stall: defaultStall, Now: time.Now}
}

// Validate names the field that cannot be right.
func (c Config) Validate() error {
	if c.Dir == "" {
		return fault.New(fault.Invalid, "config.dir")
	}
	if u, err := url.Parse(c.State); c.State != "" && (err != nil || !state.IsPostgres(c.State)) {
		return fault.New(fault.Invalid, "config.state")
	} else if _, secret := u.User.Password(); secret || u.Query().Has("password") {
		return fault.New(fault.Invalid, "config.state-password")
	}
	if c.Bus != nil && (c.Store == nil || c.State == "") {
		return fault.New(fault.Invalid, "config.shared")
	}
	if c.Bus != nil && slices.ContainsFunc(c.Bus.URLs, noPlainAddress) {
		return fault.New(fault.Invalid, "config.nats")
	}
	if err := c.Sensors.validate(); err != nil {
		return err
	}
	if c.Local != "" {
		host, _, err := net.SplitHostPort(c.Local)
		if err != nil {
			return fault.New(fault.Invalid, "config.local", c.Local).With(err)
		}
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return fault.New(fault.Invalid, "config.local", c.Local).With(fmt.Errorf("plain HTTP is for loopback addresses only"))
		}
	}
	return nil
}

// noPlainAddress says whether an address of a server cannot be read or holds a
// secret, which the list of processes would show.
func noPlainAddress(address string) bool {
	u, err := url.Parse(address)
	return err != nil || u.Host == "" || u.User != nil
}

// state is where the state lies.
func (c Config) state() string {
	if c.State != "" {
		return c.State
	}
	return c.path("state.db")
}

// backupFree is how many bytes of the disk backups leave: eight times MinFree, 2 GiB
// by default. Events, evidence and what was decided lie on the same disk, and one
// machine that sends too much must not stop the hub.
func (c Config) backupFree() int64 { return int64(min(c.MinFree, math.MaxInt64/8) * 8) }

func (c Config) window() time.Duration {
	switch {
	case c.Window > 0:
		return c.Window
	case c.Bus != nil:
		return time.Second
	}
	return 10 * time.Second
}

// keys is where the keys lie.
func (c Config) keys() string {
	if c.Keys != "" {
		return c.Keys
	}
	return c.path("keys")
}

// hub is the name of this hub.
func (c Config) hub() string {
	if c.Hub != "" {
		return c.Hub
	}
	if name, err := os.Hostname(); err == nil {
		return name
	}
	return "hub"
}

func (c Config) path(elem ...string) string {
	return filepath.Join(append([]string{c.Dir}, elem...)...)
}

// names are the host names and addresses that the certificate covers: those
// of the machine and those configured.
func (c Config) names() (names []string, ips []net.IP) {
	names = []string{"localhost"}
	if h, err := os.Hostname(); err == nil {
		names = append(names, h)
	}
	ips = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				ips = append(ips, n.IP)
			}
		}
	}
	for _, n := range c.Names {
		if ip := net.ParseIP(n); ip != nil {
			ips = append(ips, ip)
		} else {
			names = append(names, n)
		}
	}
	return names, ips
}
