// Package evidence preserves items so that a court accepts them.
//
// In: items that agents stream, with the hash they computed at the source.
// Out: Bag (BagIt, RFC 8493) with custody record, ledger proof and time stamp.
// Always true: an item is stored only when both hashes agree; a sealed bag is
// never changed; every hand-over is a custody record.
package evidence

import (
	"strconv"
	"time"

	"github.com/sonae/sonae/action"
)

// State of a bag.
type State string

// States of a bag.
const (
	Collecting State = "collecting"
	Sealed     State = "sealed"
	Broken     State = "broken" // collection ended with items missing; what arrived is sealed all the same
)

// Item is one preserved thing.
type Item struct {
	Bag       string    `json:"bag"`
	Path      string    `json:"path"` // below data/ in the bag, slash separated
	Title     string    `json:"title"`
	Method    string    `json:"method"` // how it was taken: command or file, exactly
	Bytes     int64     `json:"bytes"`
	SHA256    string    `json:"sha256"`
	SHA512    string    `json:"sha512"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
	Error     string    `json:"error,omitempty"` // why it is missing or partial
	// TookMS is how long taking it needed, in milliseconds: on the machine by its
	// clock, then on the way by the hub's.
	TookMS int64 `json:"took_ms,omitempty"`
}

// Custody is one line of the custody record (保管記録).
type Custody struct {
	Bag     string    `json:"bag"`
	No      int       `json:"no"`
	At      time.Time `json:"at"`
	What    string    `json:"what"` // ordered | received | missing | refused | witnessed | infected | cancelled | sealed | viewed | exported | handed-over
	By      string    `json:"by"`   // person id, host id or "sonae"
	To      string    `json:"to"`
	Purpose string    `json:"purpose"`
	Witness string    `json:"witness"` // 立会人
	// Approver is who approved that it was taken, where that was said.
	Approver string `json:"approver,omitempty"`
	Prev     string `json:"prev"` // digest of the line before
	Salt     string `json:"salt"`
	Item     string `json:"item,omitempty"`   // path of the item it is about; empty: the whole bag
	SHA256   string `json:"sha256,omitempty"` // of that item, as the hub computed it
}

// Bag is the package of evidence from one host, or of events that a person
// picked out of the archive (then Host and Site are those that all share).
type Bag struct {
	ID       string    `json:"id"`
	Incident string    `json:"incident"`
	Host     string    `json:"host"`
	Site     string    `json:"site"`
	Action   string    `json:"action"`
	State    State     `json:"state"`
	OpenedAt time.Time `json:"opened_at"`
	OpenedBy string    `json:"opened_by"`
	SealedAt time.Time `json:"sealed_at"`
	Digest   string    `json:"digest"` // SHA-256 of tagmanifest-sha256.txt
	Items    []Item    `json:"items"`
	Kept     int       `json:"kept,omitempty"` // items that are not missing, once sealed
	Bytes    int64     `json:"bytes"`
	Stamped  bool      `json:"stamped"` // an RFC 3161 token is inside
	Drill    bool      `json:"drill"`
	// Cancelled says that a person ended the collection before it was complete.
	Cancelled bool    `json:"cancelled,omitempty"`
	Picked    *Picked `json:"picked,omitempty"` // set when a person picked events out of the archive; Action is empty then
}

// Line returns what the chronology should say of a closed bag; false while it
// is open.
func (b Bag) Line() (action.Line, bool) {
	if b.State == Collecting {
		return action.Line{}, false
	}
	l := action.Line{Key: "evidence." + string(b.State), OccurredAt: b.SealedAt, Unique: b.ID + "/sealed", Args: map[string]string{
		"host": b.Host, "bag": b.ID, "count": strconv.Itoa(b.Kept), "bytes": strconv.FormatInt(b.Bytes, 10), "digest": b.Digest}}
	if b.Picked != nil && b.State == Sealed {
		l.Key = "evidence.events"
		l.Args = b.Picked.line(l.Args)
	}
	return l, true
}
