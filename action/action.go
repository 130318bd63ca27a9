// Package action is an order's life: planned, approved, applied on a lease,
// verified, released or failed.
//
// In: a request from a person, an approval from another, results from agents
// and devices.
// Out: Action, signed orders (action/order), entries for the chronology.
// Always true: the requester never approves; nothing reaches an agent without
// approval and a lease; an order that would cut the hub off is refused.
package action

import (
	"time"

	"github.com/sonae/sonae/action/order"
)

// Kind is what an action does.
type Kind string

// Kinds of actions.
const (
	Isolate  Kind = "isolate"  // the host talks to the hub and to nothing else
	Preserve Kind = "preserve" // collect evidence; needs no approval, changes nothing on the host
	Block    Kind = "block"    // a gateway or a device in the network lets nothing of some addresses pass

	// What an agent does to one thing on its own machine; the rest goes on.
	Freeze         Kind = "freeze"          // a process and its children stand still, their memory stays
	Kill           Kind = "kill"            // a frozen process ends for good
	StopService    Kind = "stop-service"    // a service stops and cannot be started
	DisableAccount Kind = "disable-account" // an account cannot log in
	CutVM          Kind = "cut-vm"          // a virtual machine has no network
	DenyShare      Kind = "deny-share"      // a shared folder cannot be opened
	Unmount        Kind = "unmount"         // a share of another machine, or a removable volume, is not mounted
	BlockPeer      Kind = "block-peer"      // the machine does not talk to some addresses
	DropSession    Kind = "drop-session"    // some clients of a file server are thrown out of its shares
)

// Means is how a block is carried out: by a gateway's agent, or by a device
// that the hub tells.
type Means string

// Means of blocking.
const (
	Gateway    Means = "gateway"    // nftables on a machine with an agent
	PortDown   Means = "port-down"  // the switch port is switched off (SNMP)
	VLAN       Means = "vlan"       // the switch port is moved to another VLAN (SNMP)
	Disconnect Means = "disconnect" // the session at an access point or switch is ended (RADIUS)
	CoA        Means = "coa"        // the session is moved to another VLAN (RADIUS)
	Hook       Means = "hook"       // another product is told over HTTP
	List       Means = "list"       // another product fetches the list of what is blocked
)

// State is the stage of an action.
type State string

// States. Requested waits for approval; Approved waits for the agent; Applied
// waits for verification; Verified is in force; Released, Expired, Refused and
// Failed are ends.
const (
	Requested State = "requested"
	Approved  State = "approved"
	Applied   State = "applied"
	Verified  State = "verified"
	Releasing State = "releasing"
	Released  State = "released"
	Expired   State = "expired"
	Refused   State = "refused"
	Failed    State = "failed"
)

// Consequence is one thing that stops when the action is applied.
type Consequence struct {
	Service string `json:"service"`
	Effect  string `json:"effect"`
	Load    string `json:"load"`
}

// Check is one half of the two-way verification.
type Check struct {
	Name    string    `json:"name"` // hub-reachable | forbidden-blocked | device-answers | block-holds | process-still …
	Target  string    `json:"target"`
	OK      bool      `json:"ok"`
	Detail  string    `json:"detail"`
	Checked time.Time `json:"checked"`
}

// Action is a measure (措置).
type Action struct {
	ID           string         `json:"id"`
	Kind         Kind           `json:"kind"`
	State        State          `json:"state"`
	Incident     string         `json:"incident"`
	Host         string         `json:"host"`
	Site         string         `json:"site"`
	Reason       string         `json:"reason"`
	Consequences []Consequence  `json:"consequences"`
	Keep         []string       `json:"keep"`      // addresses that stay reachable: the hub's
	Forbidden    string         `json:"forbidden"` // ip:port that must not answer afterwards
	Lease        time.Duration  `json:"lease"`
	RequestedBy  string         `json:"requested_by"`
	RequestedAt  time.Time      `json:"requested_at"`
	DecidedBy    string         `json:"decided_by"`
	DecidedAt    time.Time      `json:"decided_at"`
	AppliedAt    time.Time      `json:"applied_at"`
	VerifiedAt   time.Time      `json:"verified_at"`
	ExpiresAt    time.Time      `json:"expires_at"` // end of the lease
	EndedAt      time.Time      `json:"ended_at"`
	Checks       []Check        `json:"checks"`
	Failure      string         `json:"failure"`
	Drill        bool           `json:"drill"`
	Bag          string         `json:"bag"`               // evidence bag that the action fills (preserve)
	PID          int            `json:"pid"`               // process of interest, 0: none known
	Packets      *order.Packets `json:"packets,omitempty"` // which packets are wanted (preserve)
	Start        uint64         `json:"start,omitempty"`   // when that process began, see order.Order
	Image        string         `json:"image,omitempty"`   // its program
	Also         []string       `json:"also,omitempty"`    // what else is taken by decision: order.WholeMemory, order.Snapshot
	Cause        string         `json:"cause"`             // why it ended: order | code | lease | renewed | killed | gone | cancelled
	ReleasedBy   string         `json:"released_by"`       // person id of who released it early or cancelled it
	WrongCodes   int            `json:"wrong_codes"`       // wrong release codes typed on the console
	ReleasedAt   time.Time      `json:"released_at"`       // when ReleasedBy asked for it
	LastSign     time.Time      `json:"last_sign"`         // when the agent last said something about it

	// Of a block. Host is the machine that is blocked, empty when it is not in
	// the register.
	Means   Means    `json:"means,omitempty"`
	Via     string   `json:"via,omitempty"`      // id of the gateway's host or of the device that carries it out
	ViaName string   `json:"via_name,omitempty"` // its name at the time
	Targets []string `json:"targets,omitempty"`  // IP addresses, or hardware addresses in lower case with colons

	// Of what an agent does to one thing.
	Process *order.Process `json:"process,omitempty"` // freeze, kill
	Object  string         `json:"object,omitempty"`  // name of the service, the account, the virtual machine or the share
	Cuts    []string       `json:"cuts,omitempty"`    // cut-vm: interfaces that lose their network, as the machine told before
	KeptBy  string         `json:"kept_by,omitempty"` // person id of who decided that it stays
	KeptAt  time.Time      `json:"kept_at,omitzero"`
	Renewal string         `json:"renewal,omitempty"` // order that renews the lease and was not answered yet

	// Of what nobody asked for at the time.
	Auto  string `json:"auto,omitempty"`  // standing approval that it follows: id of a policy, or Guard; empty: people decided
	Alert string `json:"alert,omitempty"` // alert that it answers
	Tell  string `json:"tell,omitempty"`  // who is to be told, as the policy says
	Step  string `json:"step,omitempty"`  // step of a playbook that asked for it
}
