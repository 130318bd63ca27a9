// Package asset is the register of sites, hosts and the services they carry.
//
// In: what administrators enter, enrolments, heartbeats of agents. Out: Site,
// Host, Service: whose machine it is and what stops when it stops. Always
// true: a host belongs to exactly one site, and its site comes from the
// enrolment token, never from what the agent says.
package asset

import "time"

// SiteKind is what a site is to the hospital.
type SiteKind string

// Kinds of sites.
const (
	Hospital   SiteKind = "hospital"
	Contractor SiteKind = "contractor"
	DataCentre SiteKind = "datacentre"
	Office     SiteKind = "office"
)

// Site is a place with its own people, machines and rights (拠点).
type Site struct {
	ID        string   `json:"id"` // short, lower case, used in subjects and certificates: [a-z0-9-]{1,32}
	Name      string   `json:"name"`
	Kind      SiteKind `json:"kind"`
	Principal string   `json:"principal"` // site id of who entrusts work to it (委託元); empty for the hospital
	Contact   string   `json:"contact"`   // whom to call, free text
	Drill     bool     `json:"drill"`
}

// Service is work that depends on hosts, with the effect of stopping it.
type Service struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Effect string `json:"effect"` // what stops for patients or callers, one sentence
	Load   string `json:"load"`   // how much, e.g. 「1時間あたり約40件の電話」

	// What stands still while the service is stopped, and whose data it holds, as
	// people stated it. Nil: nobody has said; empty or 0: there is none.
	Wards   []string `json:"wards,omitzero" required:"false" doc:"wards that depend on it; absent: not stated"`
	Clinics []string `json:"clinics,omitzero" required:"false" doc:"outpatient clinics that depend on it; absent: not stated"`
	Calls   *int     `json:"calls_per_hour,omitempty" doc:"telephone calls an hour that are not taken"`
	Yen     *int     `json:"yen_per_hour,omitempty" doc:"yen an hour that are lost"`
	Persons *int     `json:"persons,omitempty" doc:"persons whose data it holds"`
	Data    []string `json:"data,omitzero" required:"false" doc:"classes of that data: personal, sensitive, property, my_number; absent: not stated"`
}

// DataClasses are the classes of personal data, see Service.Data: 個人情報,
// 要配慮個人情報, 財産的被害のおそれがある情報, 特定個人情報.
func DataClasses() []string { return []string{"personal", "sensitive", "property", "my_number"} }

// Host is one machine with an agent.
type Host struct {
	ID         string    `json:"id"` // made by the hub at enrolment
	Name       string    `json:"name"`
	Site       string    `json:"site"`
	Class      string    `json:"class"` // pc | server | medical | vm …
	OS         string    `json:"os"`
	Agent      string    `json:"agent"` // version of the agent
	Addresses  []string  `json:"addresses"`
	Services   []Service `json:"services"`
	Keep       string    `json:"keep"` // why it must not be isolated without the director (keep-list); empty: may be
	EnrolledAt time.Time `json:"enrolled_at"`
	LastSeen   time.Time `json:"last_seen"`
	Health     Health    `json:"health"`
	Drill      bool      `json:"drill"`

	Hub       string    `json:"hub"`        // ip:port at which the agent reaches the hub, from the last heartbeat
	Action    string    `json:"action"`     // id of the isolation in force, from the last heartbeat
	LeaseEnd  time.Time `json:"lease_end"`  // and when it ends by itself
	RemovedAt time.Time `json:"removed_at"` // no longer trusted since; zero: trusted
}

// Health is what the last heartbeat said.
type Health struct {
	CPU        float64       `json:"cpu"`                   // share 0–1 of all processors
	Memory     float64       `json:"memory"`                // share used 0–1
	Disk       float64       `json:"disk"`                  // share used 0–1 of the fullest volume
	Spool      int64         `json:"spool"`                 // bytes waiting in the agent's spool
	Dropped    uint64        `json:"dropped"`               // events the agent had to drop since start
	Offset     time.Duration `json:"offset"`                // agent clock minus hub clock
	Isolated   bool          `json:"isolated"`              // an isolation is in force
	SensorOn   bool          `json:"sensor_on"`             // packets are being seen
	SensorDrop uint64        `json:"sensor_drop"`           // packets the kernel dropped
	SensorSeen uint64        `json:"sensor_seen,omitempty"` // packets that were seen
	// SensorLosing says that more packets were lost within a minute than may be,
	// by default one in a hundred: what is not detected may be there all the same.
	SensorLosing bool      `json:"sensor_losing,omitempty"`
	RingBytes    int64     `json:"ring_bytes,omitempty"` // of packets kept on the machine's disk; 0: none are kept
	RingSince    time.Time `json:"ring_since,omitzero"`  // of the oldest of them
	RingLost     uint64    `json:"ring_lost,omitempty"`  // packets that the disk was too slow or too full for
	RingOff      bool      `json:"ring_off,omitempty"`   // nothing can be written now
	Gateway      bool      `json:"gateway"`              // it forwards others' packets and can block them
	Measures     []Measure `json:"measures,omitempty"`   // what thresholds are compared with
	VMs          []VM      `json:"vms,omitempty"`        // virtual machines that it runs
}

// VM is a virtual machine of a host.
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

// Measure is a number that the agent measured, see detect/threshold.
type Measure struct {
	Name   string  `json:"name"`
	Object string  `json:"object,omitempty"`
	Value  float64 `json:"value"`
	Detail string  `json:"detail,omitempty"`
}
