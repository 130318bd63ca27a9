package archive

import (
	"time"

	"github.com/sonae/sonae/event"
)

// Class is what decides how long events are kept.
type Class string

// Classes. All but ClassCase follow from the kind of an event.
const (
	ClassAccess  Class = "access"  // log-ins, and processes that people started
	ClassNetwork Class = "network" // connections
	ClassLog     Class = "log"     // lines of system logs
	ClassHealth  Class = "health"  // processor, memory and disk of a host
	ClassOther   Class = "other"   // kinds that are not known
	ClassCase    Class = "case"    // what was held for an incident that is over
)

// Retention says how long each class is kept. A class without an entry is kept
// for good, as is one with 0.
type Retention map[Class]time.Duration

const year = 8766 * time.Hour // 365.25 days

// DefaultRetention keeps logs of access, log-in and network for one year at
// hand and five more in the archive, which here is the same, evidence of cases
// seven years, the health of hosts 90 days. No law that Sonae knows names a
// number for the former; a site changes them by configuration.
func DefaultRetention() Retention {
	return Retention{ClassAccess: 6 * year, ClassNetwork: 6 * year, ClassLog: 6 * year, ClassOther: 6 * year, ClassCase: 7 * year, ClassHealth: 90 * 24 * time.Hour}
}

// classOf returns the class of a kind.
func classOf(kind event.Kind) Class {
	switch kind {
	case event.KindLogin, event.KindProcess:
		return ClassAccess
	case event.KindFlow:
		return ClassNetwork
	case event.KindLog:
		return ClassLog
	case event.KindHealth:
		return ClassHealth
	}
	return ClassOther
}
