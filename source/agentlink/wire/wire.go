// Package wire is what hub and agent say to each other over HTTPS.
//
// In and out: plain values and their encodings. Always true: it knows no
// transport and no storage, so that the agent can link it; decoding is bounded
// in memory whatever the other side sends.
//
// The agent speaks to the hub's agent port only, with TLS 1.3 and, except for
// enrolment, a client certificate from the hub's own authority:
//
//	POST /agent/v1/enroll     EnrollRequest → EnrollReply (JSON, no certificate yet)
//	POST /agent/v1/batch      EncodeBatch body → 204 once the bus has synced it; 503 when full
//	POST /agent/v1/heartbeat  Heartbeat → HeartbeatReply
//	GET  /agent/v1/orders     endless NDJSON of order.Signed; an empty line every 10 s
//	POST /agent/v1/results    order.Result → 204
//	PUT  /agent/v1/evidence   one item: header Sonae-Item (base64 JSON ItemHeader), body, trailers Sonae-Sha256, Sonae-Sha512 → 204
package wire

import "time"

// EnrollRequest asks for a certificate with a one-time token.
type EnrollRequest struct {
	Token     string   `json:"token"`
	Name      string   `json:"name"` // host name
	OS        string   `json:"os"`
	Agent     string   `json:"agent"` // version
	Addresses []string `json:"addresses"`
	CSR       []byte   `json:"csr"` // PKCS #10, DER; the key never leaves the machine
}

// EnrollReply is the agent's identity.
type EnrollReply struct {
	Host        string `json:"host"`
	Site        string `json:"site"`
	Certificate []byte `json:"certificate"` // PEM, leaf first
	CA          []byte `json:"ca"`          // PEM of the hub's authority, pinned from now on
	OrderKey    []byte `json:"order_key"`   // Ed25519 public key that signs orders, pinned from now on
}

// Health is what a machine says of itself, see asset.Health.
type Health struct {
	CPU        float64 `json:"cpu"`
	Memory     float64 `json:"memory"`
	Disk       float64 `json:"disk"`
	Spool      int64   `json:"spool"`
	Dropped    uint64  `json:"dropped"`
	Isolated   bool    `json:"isolated"`
	SensorOn   bool    `json:"sensor_on"`
	SensorDrop uint64  `json:"sensor_drop"`
	Gateway    bool    `json:"gateway,omitempty"` // it forwards others' packets and can block them
	SensorSeen uint64  `json:"sensor_seen,omitempty"`
	// SensorLosing says that more packets were lost within a minute than may be.
	SensorLosing bool      `json:"sensor_losing,omitempty"`
	RingBytes    int64     `json:"ring_bytes,omitempty"` // of packets kept on disk
	RingSince    time.Time `json:"ring_since,omitzero"`  // of the oldest of them
	RingLost     uint64    `json:"ring_lost,omitempty"`  // packets that the disk was too slow or too full for
	RingOff      bool      `json:"ring_off,omitempty"`   // nothing can be written now
	Measures     []Measure `json:"measures,omitempty"`   // what thresholds are compared with, at most MaxMeasures
	VMs          []VM      `json:"vms,omitempty"`        // virtual machines that it runs, at most MaxVMs
}

// Bounds of what is told about virtual machines; of more, none is told.
const (
	MaxVMs   = 200
	MaxLinks = 16
)

// VM is a virtual machine of a host, at most MaxLinks of its interfaces.
type VM struct {
	Name  string `json:"name"`
	Runs  bool   `json:"runs,omitempty"`
	Links []Link `json:"links,omitempty"`
}

// Link is an interface of a virtual machine.
type Link struct {
	MAC string `json:"mac"`
	To  string `json:"to"` // network, bridge or card
	Up  bool   `json:"up,omitempty"`
}

// MaxMeasures bounds the measures of a heartbeat.
const MaxMeasures = 64

// Measure is a number that a threshold can be set for.
type Measure struct {
	Name   string  `json:"name"`             // disk, inodes, fills, service, certificate, clock, clock-spread, backup, backup-failed
	Object string  `json:"object,omitempty"` // the volume, the service, the certificate: what it is measured of
	Value  float64 `json:"value"`            // shares 0–1, days, hours, seconds, or 1 for what is wrong: see detect/threshold
	Detail string  `json:"detail,omitempty"` // for people: why it cannot be reached, which sources agree
}

// Heartbeat says that the agent lives, every 5 s.
type Heartbeat struct {
	At        time.Time `json:"at"`
	Agent     string    `json:"agent"`
	OS        string    `json:"os"`
	Addresses []string  `json:"addresses"`
	Hub       string    `json:"hub"` // ip:port at which the agent reaches the hub: what isolation must keep
	Health    Health    `json:"health"`
	Action    string    `json:"action"`    // id of the isolation in force, if any
	LeaseEnd  time.Time `json:"lease_end"` // and when it ends
}

// HeartbeatReply carries the hub's clock, for the offset.
type HeartbeatReply struct {
	At time.Time `json:"at"`
}

// Refusal is the body of every answer that is not a success. Key names a
// sentence of the catalogue ("fault.<Key>").
type Refusal struct {
	Key string `json:"key"`
}

// ItemHeader announces one evidence item.
type ItemHeader struct {
	Bag       string    `json:"bag"`
	Path      string    `json:"path"`
	Title     string    `json:"title"`
	Method    string    `json:"method"`
	StartedAt time.Time `json:"started_at"`
	Error     string    `json:"error,omitempty"`
	// Took is how long the machine needed before it could send, by its clock.
	Took time.Duration `json:"took,omitempty"`
}

// Headers and trailers of an evidence item.
const (
	HeaderItem    = "Sonae-Item"
	TrailerSHA256 = "Sonae-Sha256"
	TrailerSHA512 = "Sonae-Sha512"
)
