// Package drill plays practice incidents (訓練) through the real flow.
//
// In: an embedded capture and the process facts of a real run of a real
// client, and orders for the practice host. Out: the events that the agent of
// that host would have sent, and the answers that it would give. Always true:
// everything it makes is marked as a drill; packets go through the same
// flow.Table as on a real machine; nothing on any machine is touched, and every
// answer says so; an order is obeyed only with the hub's signature, like
// everywhere else.
package drill

import (
	"bytes"
	"context"
	"crypto/ed25519"
	_ "embed" // the recording
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/source/agentlink/wire"
	"github.com/sonae/sonae/source/pcap"
)

// TorrentCallcentre is the name of the practice incident: a PC of a call
// centre shares a file with strangers by BitTorrent.
const TorrentCallcentre = "torrent-callcentre"

// Check says whether there is a practice incident of that name: fault.Missing
// "drill.unknown" when not.
func Check(name string) error {
	if name != TorrentCallcentre {
		return fault.New(fault.Missing, "drill.unknown", name)
	}
	return nil
}

// The practice site and host. The ids are fixed, so that a second drill uses
// the same ones.
const (
	Site = "drill-callcentre"
	Host = "drill-pc"
	hub  = "192.0.2.1:8443" // an address for documentation: what the host "reaches the hub" at
)

// Next is why alerts of a drill are closed when another one begins.
const Next = "次の訓練を始めたため (the next drill began)"

// recording was made by testdata/make-capture.sh; see there how.
//
//go:embed data/torrent-callcentre.pcap
var recording []byte

//go:embed data/torrent-callcentre.json
var recordedFacts []byte

// Deps is what a drill needs from the hub. Those below the blank line serve
// the orders.
type Deps struct {
	// Begin is called first; the hub closes what is left of the last drill.
	// May be nil.
	Begin func(ctx context.Context) error
	// AddSite and ShowHost add or renew the practice site and host.
	AddSite  func(ctx context.Context, s asset.Site) error
	ShowHost func(ctx context.Context, h HostState) error
	// Publish hands a batch to the bus as if an agent had sent it.
	Publish func(ctx context.Context, b event.Batch) error
	// Record notes for the ledger that a drill began or ended; may be nil.
	Record func(ctx context.Context, what string, detail map[string]string) error
	Now    clock.Now
	Log    *slog.Logger

	OrderKey ed25519.PublicKey
	Pending  func(ctx context.Context, host string) ([]order.Signed, error)
	Result   func(ctx context.Context, r order.Result) error
	Item     func(ctx context.Context, host string, h wire.ItemHeader, body io.Reader, sums func() (sha256, sha512 string)) error
}

// HostState is the practice host as its heartbeat would tell it.
type HostState struct {
	asset.Host
	Hub      string    // ip:port at which it would reach the hub
	Action   string    // id of the isolation in force, if any
	LeaseEnd time.Time // and when it ends
}

// Drill is the practice incident on one hub. It is safe for concurrent use.
type Drill struct {
	Deps
	facts   facts
	packets []packet
	wake    chan struct{}

	mu      sync.Mutex
	playing bool
	shift   shift      // of the last play
	lease   *isolation // what is "in force" on the practice host
	done    map[string]bool
}

// facts is what the kernel said about the client while it ran.
type facts struct {
	Address   string   `json:"host"`
	PID       int      `json:"pid"`
	Image     string   `json:"image"`
	SHA256    string   `json:"sha256"`
	Command   string   `json:"command"`
	Cwd       string   `json:"cwd"`
	User      string   `json:"user"`
	Started   float64  `json:"started"` // Unix seconds
	Status    string   `json:"status"`
	Libraries []string `json:"libraries"`
	Files     []string `json:"files"`
	TCP       string   `json:"tcp"`
	UDP       string   `json:"udp"`
	Routes    string   `json:"routes"`
}

// packet is one recorded frame.
type packet struct {
	pcap.Packet
	data []byte
}

// New reads the embedded recording.
func New(d Deps) (*Drill, error) {
	out := &Drill{Deps: d, wake: make(chan struct{}, 1), done: map[string]bool{}}
	out.Log = d.Log.With("part", "drill")
	if err := json.Unmarshal(recordedFacts, &out.facts); err != nil {
		return nil, fmt.Errorf("read recorded facts: %w", err)
	}
	err := pcap.Read(bytes.NewReader(recording), func(p pcap.Packet) error {
		out.packets = append(out.packets, packet{p, bytes.Clone(p.Data)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read recorded capture: %w", err)
	}
	out.shift = shift{from: out.began(), to: out.began(), speed: 1}
	return out, nil
}

// began is when the recorded client started.
func (d *Drill) began() time.Time {
	return time.UnixMilli(int64(d.facts.Started * 1000)).UTC()
}

// shift moves recorded times to the time of a play, faster than they were.
type shift struct {
	from, to time.Time
	speed    time.Duration
}

func (s shift) at(recorded time.Time) time.Time {
	return s.to.Add(recorded.Sub(s.from) / s.speed)
}

// speed makes the 22 s of the recording less than 5 s.
const speed = 5

// step is how long events gather before they are handed over, like in an agent.
const step = 200 * time.Millisecond

// claim lets one play run at a time.
func (d *Drill) claim() (shift, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.playing {
		return shift{}, fault.New(fault.Busy, "drill.running")
	}
	d.playing = true
	d.shift = shift{from: d.began(), to: d.Now().UTC(), speed: speed}
	return d.shift, nil
}

func (d *Drill) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.playing = false
}

// site is the practice site.
func site() asset.Site {
	return asset.Site{ID: Site, Name: "訓練コールセンター", Kind: asset.Contractor, Contact: "訓練用の拠点です。実在の連絡先はありません。", Drill: true}
}

// host is the practice host as it stands now.
func (d *Drill) host() HostState {
	h := HostState{Hub: hub, Host: asset.Host{
		ID: Host, Name: "訓練用PC", Site: Site, Class: "pc", OS: "Linux", Agent: "drill", Addresses: []string{d.facts.Address},
		Services: []asset.Service{{
			ID: "drill-phone", Name: "予約電話の受付(訓練)",
			Effect: "この席では予約の電話を受けられなくなります(訓練)", Load: "1時間あたり約40件の電話(訓練用の値)",
		}},
		EnrolledAt: d.Now().UTC(), LastSeen: d.Now().UTC(), Health: asset.Health{SensorOn: true}, Drill: true,
	}}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lease != nil {
		h.Health.Isolated, h.Action, h.LeaseEnd = true, d.lease.order.Action, d.lease.end
	}
	return h
}

// process is the event of the client's start.
func (d *Drill) process(s shift) event.Event {
	f := d.owner()
	f["CurrentDirectory"], f["Hashes"] = d.facts.Cwd, "SHA256="+d.facts.SHA256
	return event.Event{Time: s.to, Kind: event.KindProcess, Product: "linux", Category: "process_creation", Fields: f}
}

// owner is what an agent adds to a connection of the client.
func (d *Drill) owner() map[string]string {
	return map[string]string{
		event.FieldPID: strconv.Itoa(d.facts.PID), event.FieldImage: d.facts.Image,
		event.FieldCommand: d.facts.Command, event.FieldUser: d.facts.User,
	}
}
