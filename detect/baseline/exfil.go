package baseline

import (
	"fmt"
	"time"

	"github.com/sonae/sonae/event"
)

// What counts as taking data out. Mail, pictures and forms stay below; a
// download answers with more than it is asked.
const (
	leastOut    = 16 << 20 // bytes to one place that it has not talked to before
	leastMore   = 64 << 20 // bytes to any place, when it is many times the usual
	manyTimes   = 4        //
	outPerIn    = 5        // bytes out for each byte in
	outWindow   = 24 * time.Hour
	tellAgainAt = 4 // times as much as was told
)

// grown is how many bytes of a connection were not counted yet.
func (w *Watch) grown(o *Observation) (sent, received int64) {
	if o.Flow == "" {
		return o.Sent, o.Received
	}
	key := w.join(o.Site, o.Host, o.Flow)
	t := w.things[connections].peek(key)
	if t == nil {
		if o.Done { // most connections are told of once, when they ended
			return o.Sent, o.Received
		}
		t, _ = w.things[connections].get(key)
	}
	sent, received = max(o.Sent-t.out, 0), max(o.Received-t.in, 0)
	t.out, t.in = max(t.out, o.Sent), max(t.in, o.Received)
	if o.Done {
		w.things[connections].drop(key)
	}
	return sent, received
}

// leave looks at bytes that left the site.
func (w *Watch) leave(h *host, o *Observation, sent, received int64) {
	if !o.outside() || sent+received == 0 {
		return
	}
	at := o.At.In(w.conf.Zone)
	h.turn(at)
	h.sent += sent
	h.daily += sent
	t, _ := w.things[destinations].get(w.placeKey(o))
	t.fresh(o.At, outWindow)
	t.out += sent
	t.in += received
	t.example(o.Flow)
	if w.exfiltrates(h, o, t, hourOfWeek(at)) && (t.count == 0 || t.out >= t.count*tellAgainAt) {
		t.count = t.out
		w.tellExfiltration(h, o, t, hourOfWeek(at))
	}
}

func (w *Watch) exfiltrates(h *host, o *Observation, t *thing, hour int) bool {
	if t.out < leastOut || t.out < outPerIn*t.in {
		return false
	}
	if !w.learned(h, o.At) {
		return t.out >= w.conf.Unlearned
	}
	usual := max(h.usual(hour), h.dayMax/8)
	if !before(h, o) {
		return t.out > usual
	}
	return t.out >= leastMore && t.out >= manyTimes*max(usual, h.dayMax)
}

// before says whether the host talked to the place before today.
func before(h *host, o *Observation) bool {
	day, there := h.since(o.placeID())
	return there && day < o.At.Unix()/86400-1
}

// placeKey is the key of a host and a place outside.
func (w *Watch) placeKey(o *Observation) []byte {
	if o.Name != "" {
		return w.join(o.Site, o.Host, domainOf(o.Name))
	}
	w.join(o.Site, o.Host)
	return w.with(noPort(o.Remote))
}

func (w *Watch) tellExfiltration(h *host, o *Observation, t *thing, hour int) {
	hourJa, hourEn := hourText(hour)
	usual, place, isNew := h.usual(hour), o.place(), !before(h, o)
	f := t.proof(o.At)
	f[event.FieldSent], f[event.FieldReceived] = number64(t.out), number64(t.in)
	f[FieldHour], f[FieldUsual] = hourEn, number64(usual)
	f[FieldNew] = fmt.Sprint(isNew)
	out, in := bytesText(t.out), bytesText(t.in)
	ja := fmt.Sprintf("%sへ%sを送り、受け取ったのは%sです。", place, out, in)
	en := fmt.Sprintf("Sent %s to %s and received %s.", out, place, in)
	if w.learned(h, o.At) {
		ja += fmt.Sprintf("この機器が外へ送る量は、%sには普段多くて%sです。", hourJa, bytesText(usual))
		en += fmt.Sprintf(" In this hour of the week (%s) this host usually sends at most %s outside.", hourEn, bytesText(usual))
	} else {
		ja += "この機器の普段の量は、まだ学習していません。"
		en += " What is usual for this host has not been learned yet."
	}
	if isNew {
		ja += fmt.Sprintf("%sと通信したことは、これまでにありません。", place)
		en += fmt.Sprintf(" It has never talked to %s before.", place)
	}
	w.tell(h, o, behaviour{name: Exfiltration, about: fmt.Sprint(place, " ", t.count), peer: o.Remote, ja: ja, en: en, fields: f})
}
