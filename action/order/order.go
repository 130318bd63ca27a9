// Package order is the signed instruction from the hub to one agent, and the
// agent's answer.
//
// In: what action decided. Out: Order and Result on the wire. Always true: an
// order names its host, its time of issue and its expiry, and carries an
// Ed25519 signature over exactly these bytes; whoever lacks the hub's key
// cannot make one. Standard library only: the agent links it.
package order

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Kind is what the agent is told to do.
type Kind string

// Kinds of orders.
const (
	Isolate  Kind = "isolate"
	Release  Kind = "release"
	Preserve Kind = "preserve"
	Cancel   Kind = "cancel"  // stop collecting evidence for an action; what was taken stays
	Block    Kind = "block"   // a gateway or a device: let nothing of Targets pass
	Unblock  Kind = "unblock" // undo Block

	Freeze Kind = "freeze" // every process of the tree of Process stands still, with its memory
	Thaw   Kind = "thaw"   // undo Freeze
	Kill   Kind = "kill"   // end the tree of Process; cannot be undone

	StopService    Kind = "stop-service"    // Object stops, and cannot be started meanwhile
	StartService   Kind = "start-service"   // undo StopService
	DisableAccount Kind = "disable-account" // nobody logs in as Object, and who did is logged off
	EnableAccount  Kind = "enable-account"  // undo DisableAccount
	CutVM          Kind = "cut-vm"          // take the network from the virtual machine of Object
	JoinVM         Kind = "join-vm"         // undo CutVM
	DenyShare      Kind = "deny-share"      // nobody reaches the share of Object
	AllowShare     Kind = "allow-share"     // undo DenyShare
	Unmount        Kind = "unmount"         // the volume that is mounted on Object is taken away from the machine
	Mount          Kind = "mount"           // undo Unmount
	BlockPeer      Kind = "block-peer"      // this machine speaks with none of Targets
	UnblockPeer    Kind = "unblock-peer"    // undo BlockPeer
	DropSession    Kind = "drop-session"    // the SMB sessions of Targets end, and they get no other
	AdmitClient    Kind = "admit-client"    // undo DropSession

	Backup  Kind = "backup"  // do the job (protect/job) whose id is Action and whose digest is Digest
	Restore Kind = "restore" // the same, the other way; Cancel with its Action stops either

	Show Kind = "show" // Note appears on the screens of whoever sits at the machine
)

// Order is an instruction (指示).
type Order struct {
	ID        string        `json:"id"`
	Kind      Kind          `json:"kind"`
	Host      string        `json:"host"`   // host id it is addressed to
	Action    string        `json:"action"` // action id
	IssuedAt  time.Time     `json:"issued_at"`
	ExpiresAt time.Time     `json:"expires_at"` // after this the agent must not start it
	Lease     time.Duration `json:"lease,omitempty"`
	Keep      []string      `json:"keep,omitempty"`      // hub addresses "ip:port" that stay open
	Forbidden string        `json:"forbidden,omitempty"` // "ip:port" to probe after isolating
	CodeHash  string        `json:"code_hash,omitempty"` // hex SHA-256 of the release code printed for the console
	Bag       string        `json:"bag,omitempty"`       // evidence bag id (preserve)
	PID       int           `json:"pid,omitempty"`       // process of interest (preserve)
	Start     uint64        `json:"start,omitempty"`     // when that process began, as /proc/PID/stat says; 0: not known
	Image     string        `json:"image,omitempty"`     // its program; empty: not known
	Also      []string      `json:"also,omitempty"`      // WholeMemory, Snapshot: what is taken by decision only (preserve)
	Targets   []string      `json:"targets,omitempty"`   // addresses, or hardware addresses, of what is blocked, or "line:IFACE" of a gateway; peers also as "ip:port" or by name
	Process   *Process      `json:"process,omitempty"`   // root of the tree (freeze, thaw, kill)
	Object    string        `json:"object,omitempty"`    // service unit, account, "VM" or "VM/interface", share or path, where a volume is mounted
	Drill     bool          `json:"drill,omitempty"`
	Packets   *Packets      `json:"packets,omitempty"` // which packets (preserve); nil: those of the last minutes
	Digest    string        `json:"digest,omitempty"`  // hex SHA-256 of the job that is fetched (backup, restore)
	Note      *Note         `json:"note,omitempty"`    // what appears (show); Action is the number of the message then
}

// line begins the target of a block that is an interface of the gateway: an
// external line, or the border of a segment.
const line = "line:"

// lineName is an interface as Linux may call it; IFNAMSIZ bounds it.
var lineName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}$`)

// LineOf is the interface of a gateway that a target means, if it means one.
func LineOf(target string) (name string, ok bool) {
	name, ok = strings.CutPrefix(target, line)
	return name, ok && lineName.MatchString(name)
}

// Process names one process for good: a number is given again, a number with
// the time of its start is not.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`           // clock ticks since boot: field 22 of /proc/PID/stat, proc_pid_stat(5)
	Image string `json:"image,omitempty"` // for the reader
}

// Note is what people at a machine read.
type Note struct {
	Title  string        `json:"title"`
	Text   string        `json:"text"`
	Button string        `json:"button"` // by which a person says that they have seen it
	Urgent bool          `json:"urgent,omitempty"`
	For    time.Duration `json:"for"` // how long it stays, ns
}

// What a Check of a Note says, Target being the session and its account.
const (
	NoteShown = "note-shown"
	NoteSeen  = "note-seen"
)

// What is taken by decision only (Order.Also).
const (
	WholeMemory = "ram"      // the whole memory, where the site has supplied a tool
	Snapshot    = "snapshot" // copies of virtual machines and disks by the site's own commands
)

// Wants says whether something is to be taken that is taken by decision only.
func (o Order) Wants(what string) bool { return slices.Contains(o.Also, what) }

// Packets says which of the packets that a machine keeps are wanted: those of a
// window of time that have one of the hosts as an end or belong to one of the
// flows, all of the window where neither is named.
type Packets struct {
	From  time.Time `json:"from,omitzero"` // zero: as far back as they are kept
	To    time.Time `json:"to,omitzero"`   // zero: until now
	Hosts []string  `json:"hosts,omitempty"`
	Flows []Flow    `json:"flows,omitempty"`
	Only  bool      `json:"only,omitempty"` // nothing else is collected
}

// Flow is the two ends of a connection, "address:port", and "tcp" or "udp".
type Flow struct {
	Proto string `json:"proto"`
	A     string `json:"a"`
	B     string `json:"b"`
}

// Signed is an order as it travels: the exact bytes and their signature.
type Signed struct {
	Body []byte `json:"body"` // JSON of Order
	Sig  []byte `json:"sig"`  // Ed25519 over domain + Body
}

// domain keeps the signature from being valid for anything else.
const domain = "sonae order v1\n"

// Errors that Open returns; the agent reports them to the hub.
var (
	ErrSignature = errors.New("order: the signature is not the hub's")
	ErrAddress   = errors.New("order: addressed to another host")
	ErrExpired   = errors.New("order: expired")
	ErrEarly     = errors.New("order: issued in the future")
)

// Sign makes the travelling form.
func Sign(key ed25519.PrivateKey, o Order) (Signed, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return Signed{}, fmt.Errorf("sign order %s: %w", o.ID, err)
	}
	return Signed{Body: body, Sig: ed25519.Sign(key, append([]byte(domain), body...))}, nil
}

// skew is how far the clocks of hub and agent may differ.
const skew = 2 * time.Minute

// Open checks signature, address and time, and returns the order. It does not
// know whether the order was carried out before: the agent keeps those ids.
func Open(key ed25519.PublicKey, host string, now time.Time, s Signed) (Order, error) {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, append([]byte(domain), s.Body...), s.Sig) {
		return Order{}, ErrSignature
	}
	var o Order
	if err := json.Unmarshal(s.Body, &o); err != nil {
		return Order{}, fmt.Errorf("open order: %w", err)
	}
	switch {
	case o.Host != host:
		return o, fmt.Errorf("%w: %s", ErrAddress, o.Host)
	case now.After(o.ExpiresAt):
		return o, fmt.Errorf("%w at %s", ErrExpired, o.ExpiresAt.Format(time.RFC3339))
	case o.IssuedAt.After(now.Add(skew)):
		return o, fmt.Errorf("%w: %s", ErrEarly, o.IssuedAt.Format(time.RFC3339))
	}
	return o, nil
}

// Read returns what an order says without checking anything: for those who
// compare it with its digest.
func Read(s Signed) (Order, error) {
	var o Order
	if err := json.Unmarshal(s.Body, &o); err != nil {
		return Order{}, fmt.Errorf("read order: %w", err)
	}
	return o, nil
}

// Phase is what a result reports.
type Phase string

// Phases of an order on the agent.
const (
	Applied  Phase = "applied"  // done, checks enclosed
	Released Phase = "released" // undone by order, by code, or by the end of the lease
	Progress Phase = "progress" // evidence: an item was handed over
	Done     Phase = "done"     // evidence: all items were handed over
	Rejected Phase = "rejected" // not carried out; Detail says why
	Failed   Phase = "failed"   // tried, and undone
)

// Check is one observed fact after applying.
type Check struct {
	Name   string    `json:"name"` // hub-reachable | forbidden-blocked | device-answers | block-holds | note-shown | note-seen …
	Target string    `json:"target"`
	OK     bool      `json:"ok"`
	Detail string    `json:"detail"`
	At     time.Time `json:"at"`
}

// Result is what the agent answers.
type Result struct {
	Order  string    `json:"order"`
	Action string    `json:"action"`
	Kind   Kind      `json:"kind"`
	Host   string    `json:"host"` // set by the hub from the certificate
	Phase  Phase     `json:"phase"`
	Cause  string    `json:"cause,omitempty"` // order | code | lease, for Released
	Checks []Check   `json:"checks,omitempty"`
	Detail string    `json:"detail,omitempty"`
	At     time.Time `json:"at"`
	// Report is JSON of job.Report (backup, restore).
	Report json.RawMessage `json:"report,omitempty"`
}

// Digest returns the hex SHA-256 of the exact bytes that were signed: what the
// ledger holds of an order.
func Digest(s Signed) string {
	sum := sha256.Sum256(s.Body)
	return hex.EncodeToString(sum[:])
}
