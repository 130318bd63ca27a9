package baseline

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

// Log source of behaviours, and their names, which stand in Service.
const (
	Product  = "sonae"
	Category = "network_behaviour"

	Exfiltration   = "exfiltration"
	Beacon         = "beacon"
	Tunnel         = "dns_tunnel"
	ScanVertical   = "scan_vertical"
	ScanHorizontal = "scan_horizontal"
	BruteForce     = "brute_force"
	Lateral        = "lateral_movement"
	NewService     = "new_service"
	NewDestination = "unknown_destination"
	ClearPassword  = "cleartext_credentials"
	Border         = "segment_border"
)

// MadeOf is the category of the events without which a behaviour is never found.
func MadeOf(name string) string {
	if name == Tunnel {
		return "dns"
	}
	return "network_connection"
}

// Fields of a behaviour beyond those of a connection in package event.
const (
	FieldBehaviour = "Behaviour"      // its name, as Service
	FieldLearned   = "Learned"        // "true" when the host was watched long enough to say what is new
	FieldSince     = "WatchedSince"   // RFC 3339: since when the host was watched
	FieldNew       = "NeverSeen"      // "true" when it was never seen of this host before
	FieldCount     = "Count"          // of connections, ports, hosts, names or log-ons
	FieldExamples  = "Flows"          // ids of the first connections, with commas
	FieldFrom      = "WindowFrom"     // RFC 3339
	FieldTo        = "WindowTo"       //
	FieldScore     = "Score"          // 0 to 1, where there is one
	FieldHour      = "HourOfWeek"     // e.g. "Mon 03"
	FieldUsual     = "UsualBytesSent" // most bytes to the outside in this hour, lately
	FieldReason    = "Reason"         // a sentence in English
	FieldReasonJa  = "ReasonJa"       // the same in Japanese
	FieldDomain    = "Domain"         // of a tunnel
)

// again is how long the same is not told again.
const again = 24 * time.Hour

// behaviour is one that is about to be told.
type behaviour struct {
	name   string
	about  string // what makes it another one of the same host
	peer   netip.AddrPort
	ja, en string
	fields map[string]string
}

// tell makes the event of a behaviour, unless the same was told lately.
func (w *Watch) tell(h *host, o *Observation, b behaviour) {
	t, fresh := w.things[told].get(w.join(o.Site, o.Host, b.name, b.about))
	ms := o.At.UnixMilli()
	if !fresh && ms-t.last < again.Milliseconds() && ms-t.last > -again.Milliseconds() {
		return
	}
	t.last = ms
	f := b.fields
	if f == nil {
		f = map[string]string{}
	}
	f[FieldBehaviour], f[FieldReason], f[FieldReasonJa] = b.name, b.en, b.ja
	if h != nil {
		f[FieldLearned] = strconv.FormatBool(w.learned(h, o.At))
		f[FieldSince] = time.Unix(h.first, 0).UTC().Format(time.RFC3339)
	}
	f[event.FieldLocalIP] = o.Local.Addr().String()
	f[event.FieldProtocol] = o.Proto
	if b.peer.IsValid() {
		f[event.FieldRemoteIP] = b.peer.Addr().String()
		if b.peer.Port() != 0 {
			f[event.FieldRemotePort] = strconv.Itoa(int(b.peer.Port()))
		}
	}
	if o.Name != "" && b.peer.Addr() == o.Remote.Addr() {
		f[flow.FieldName] = o.Name
	}
	w.out = append(w.out, event.Event{
		ID: behaviourID(o.Site, o.Host, b.name, b.about, o.At), Time: o.At.UTC(), Site: o.Site, Host: o.Host, Kind: event.KindBehaviour,
		Product: Product, Category: Category, Service: b.name, Fields: f, Raw: b.ja + " / " + b.en,
	})
}

// behaviourID is the same when the same events come again.
func behaviourID(site, host, name, about string, at time.Time) string {
	sum := sha256.New()
	for _, p := range []string{site, host, name, about, at.UTC().Format(time.RFC3339Nano)} {
		fmt.Fprintf(sum, "%d:%s", len(p), p)
	}
	return "be-" + hex.EncodeToString(sum.Sum(nil))[:32]
}

// proof are the fields that most behaviours have.
func (t *thing) proof(at time.Time) map[string]string {
	f := map[string]string{FieldFrom: time.UnixMilli(t.from).UTC().Format(time.RFC3339), FieldTo: at.UTC().Format(time.RFC3339)}
	if len(t.flows) > 0 {
		f[FieldExamples] = strings.Join(t.flows, ",")
		f[event.FieldFlowID] = t.flows[0]
	}
	return f
}

func number64(n int64) string { return strconv.FormatInt(n, 10) }

func score(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }

// bytesText writes an amount as people read it, in powers of 1000.
func bytesText(n int64) string {
	v, unit := float64(n), "B"
	for _, u := range []string{"kB", "MB", "GB", "TB"} {
		if v < 1000 {
			break
		}
		v, unit = v/1000, u
	}
	if unit == "B" {
		return number64(n) + " B"
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + unit
}

var days = [...]struct{ ja, en string }{{"月", "Mon"}, {"火", "Tue"}, {"水", "Wed"}, {"木", "Thu"}, {"金", "Fri"}, {"土", "Sat"}, {"日", "Sun"}}

// hourText names an hour of the week.
func hourText(hour int) (ja, en string) {
	d := days[hour/24]
	return fmt.Sprintf("%s曜 %d時台", d.ja, hour%24), fmt.Sprintf("%s %02d", d.en, hour%24)
}
