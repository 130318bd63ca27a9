package baseline

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

// remoteControl are the services with which one moves from machine to machine.
var remoteControl = map[uint16]string{22: "ssh", 445: "smb", 139: "smb", 3389: "rdp", 5985: "winrm", 5986: "winrm", 135: "rpc", 5900: "vnc"}

// What counts as new. A host that talks to many places outside finds new ones
// every day; only of one that keeps to a few is a new one remarkable.
const (
	fewPlaces    = 32
	calmSince    = 7 * 24 * time.Hour
	ephemeral    = 32768 // ports from here on are given to clients, and to services that move
	leastPackets = 6
)

// novelty notes what the host does, and tells what it never did before.
func (w *Watch) novelty(h *host, o *Observation) {
	if o.Received == 0 || o.Sent == 0 || o.Proto == "tcp" && (o.empty() || o.Packets < leastPackets) {
		return
	}
	switch {
	case !o.Opened && o.Proto == "tcp" && o.Local.Port() < ephemeral:
		w.offers(h, o)
	case o.Opened && o.outside():
		w.reaches(h, o)
	case o.Opened && o.Proto == "tcp":
		w.moves(h, o)
	}
}

// offers looks at services of the host.
func (w *Watch) offers(h *host, o *Observation) {
	if !h.seen(w, idOfEnd("service", netip.AddrPortFrom(netip.IPv4Unspecified(), o.Local.Port())), o.At) || !w.learned(h, o.At) {
		return
	}
	port := strconv.Itoa(int(o.Local.Port()))
	f := map[string]string{event.FieldLocalPort: port, event.FieldSrcIP: o.Remote.Addr().String(), event.FieldApp: o.App, event.FieldFlowID: o.Flow, FieldExamples: o.Flow}
	ja := fmt.Sprintf("この機器がポート%sで接続を受けたのは、見守りを始めてから初めてです(相手 %s)。", port, o.Remote.Addr())
	en := fmt.Sprintf("This host accepted a connection on port %s for the first time since it is watched (from %s).", port, o.Remote.Addr())
	w.tell(h, o, behaviour{name: NewService, about: port, peer: o.Remote, ja: ja, en: en, fields: f})
}

// reaches looks at places outside.
func (w *Watch) reaches(h *host, o *Observation) {
	if !h.seen(w, o.placeID(), o.At) {
		return
	}
	calm := h.outside <= fewPlaces && o.At.Unix()-h.newest >= int64(calmSince/time.Second)
	h.outside++
	h.newest = o.At.Unix()
	if !calm || !w.learned(h, o.At) || vendor(o.Name) {
		return
	}
	f := map[string]string{FieldNew: "true", "PlacesOutside": strconv.Itoa(int(h.outside - 1)), event.FieldFlowID: o.Flow, FieldExamples: o.Flow,
		event.FieldSent: number64(o.Sent), event.FieldReceived: number64(o.Received), event.FieldDstPort: strconv.Itoa(int(o.Remote.Port()))}
	ja := fmt.Sprintf("この機器が外で通信する相手はこれまで%dか所だけで、%sは初めてです。", h.outside-1, o.place())
	en := fmt.Sprintf("This host talked to only %d places outside so far; %s is a new one.", h.outside-1, o.place())
	w.tell(h, o, behaviour{name: NewDestination, about: o.place(), peer: o.Remote, ja: ja, en: en, fields: f})
}

// moves looks at connections to other hosts of the site.
func (w *Watch) moves(h *host, o *Observation) {
	fresh := h.seen(w, idOfEnd("edge", o.Remote), o.At)
	service := remoteControl[o.Remote.Port()]
	if o.App == flow.LabelSSH {
		service = "ssh"
	}
	if !fresh || service == "" || !w.learned(h, o.At) {
		return
	}
	port := strconv.Itoa(int(o.Remote.Port()))
	f := map[string]string{FieldNew: "true", "LogOnService": service, event.FieldDstIP: o.Remote.Addr().String(), event.FieldDstPort: port,
		event.FieldFlowID: o.Flow, FieldExamples: o.Flow, event.FieldSent: number64(o.Sent), event.FieldReceived: number64(o.Received)}
	ja := fmt.Sprintf("この機器から%sへの%s接続は、見守りを始めてから初めてです。", o.Remote.Addr(), service)
	en := fmt.Sprintf("This host connected to %s by %s for the first time since it is watched.", o.Remote.Addr(), service)
	w.tell(h, o, behaviour{name: Lateral, about: o.Remote.Addr().String() + " " + service, peer: o.Remote, ja: ja, en: en, fields: f})
}

// clearLogOn are applications whose log-on is readable by all on the way.
var clearLogOn = map[string]bool{"telnet": true}

// cleartext tells of a password that others could read.
func (w *Watch) cleartext(h *host, o *Observation) {
	dst := o.target()
	f := map[string]string{event.FieldApp: o.App, event.FieldDstIP: dst.Addr().String(), event.FieldDstPort: strconv.Itoa(int(dst.Port())), event.FieldFlowID: o.Flow, FieldExamples: o.Flow}
	ja := fmt.Sprintf("%sへのログインで、パスワードが暗号化されずに送られました(%s)。", dst.Addr(), o.App)
	en := fmt.Sprintf("A log-on to %s sent its password unencrypted (%s).", dst.Addr(), o.App)
	w.tell(h, o, behaviour{name: ClearPassword, about: dst.String() + " " + o.App, peer: o.Remote, ja: ja, en: en, fields: f})
}
