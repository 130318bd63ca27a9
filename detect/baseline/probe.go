package baseline

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

// What counts as a scan: one source that knocks at many doors, and finds no
// work behind them.
const (
	verticalWindow = time.Hour
	leastPorts     = 16 // ports of one target

	horizontalWindow = 10 * time.Minute
	leastTargets     = 20  // targets inside: machines that are switched off are asked for, too
	leastOutside     = 10  // targets outside that do not answer, while others do
	leastDead        = 100 // targets outside, when none answers: an uplink that is down looks like this
)

// probe looks at connections that came to nothing.
func (w *Watch) probe(h *host, o *Observation) {
	src, dst := o.opener(), o.target()
	if o.App != "" || o.Proto != "tcp" && o.Proto != "udp" {
		w.answered(o)
		return
	}
	if o.Proto == "udp" {
		if w.deaf(o) && dst.Port() < ephemeral && !finds[src.Port()] {
			w.knock(h, o, src, dst)
		}
		return
	}
	if !o.SYN || !o.empty() || o.Packets > 8 {
		w.answered(o)
		return
	}
	w.knock(h, o, src, dst)
	if !w.deaf(o) {
		return
	}
	w.sweep(h, o, src, dst)
}

// finds are ports from which answers come to questions that were put to all:
// they look like datagrams that nobody answers. Traceroute, whose datagrams want
// no answer either, goes to ports from 33434 on.
var finds = map[uint16]bool{53: true, 67: true, 68: true, 123: true, 137: true, 138: true, 161: true, 1900: true, 3702: true, 5353: true, 5355: true}

// deaf says that the target did not let the source in.
func (w *Watch) deaf(o *Observation) bool {
	back := o.Received
	if !o.Opened {
		back = o.Sent
	}
	return back == 0 || o.Refused && o.Packets <= 4
}

// answered notes that something outside answers, so that the uplink works.
func (w *Watch) answered(o *Observation) {
	if !o.Opened || !o.outside() || o.Received == 0 {
		return
	}
	t, _ := w.things[answering].get(w.join(o.Site, o.Host))
	t.fresh(o.At, horizontalWindow)
	t.count++
}

// knock looks for many ports of one target.
func (w *Watch) knock(h *host, o *Observation, src, dst netip.AddrPort) {
	w.join(o.Site, o.Host, o.Proto)
	t, _ := w.things[vertical].get(w.with(noPort(src), noPort(dst)))
	t.fresh(o.At, verticalWindow)
	t.example(o.Flow)
	if !t.add(uint64(dst.Port())) {
		return
	}
	if t.count++; t.count < leastPorts {
		return
	}
	f := t.proof(o.At)
	scanned(f, o, src, dst.Addr().String(), t.count)
	ja := fmt.Sprintf("%sが%sの%d個のポートを順に試しました(%s)。", src.Addr(), dst.Addr(), t.count, o.Proto)
	en := fmt.Sprintf("%s tried %d ports of %s one after the other (%s).", src.Addr(), t.count, dst.Addr(), o.Proto)
	w.tell(h, o, behaviour{name: ScanVertical, about: src.Addr().String() + " " + dst.Addr().String(), peer: netip.AddrPortFrom(o.Remote.Addr(), 0), ja: ja, en: en, fields: f})
}

func scanned(f map[string]string, o *Observation, src netip.AddrPort, to string, n int64) {
	f[FieldCount] = number64(n)
	f[event.FieldSrcIP] = src.Addr().String()
	f[event.FieldDstIP] = to
	f[event.FieldInitiated] = strconv.FormatBool(o.Opened)
}

// sweep looks for one port of many targets. What the host reached before is
// left out: a server that is down is no news.
func (w *Watch) sweep(h *host, o *Observation, src, dst netip.AddrPort) {
	if o.Opened && w.learned(h, o.At) && h.knows(idOfEnd("edge", dst)) {
		return
	}
	outside := o.Opened && o.outside()
	w.join(o.Site, o.Host, strconv.FormatBool(outside))
	t, _ := w.things[horizontal].get(w.with(netip.AddrPortFrom(src.Addr(), dst.Port())))
	t.fresh(o.At, horizontalWindow)
	t.example(o.Flow)
	if !t.add(idOfEnd("target", noPort(dst))) {
		return
	}
	t.count++
	least := int64(leastTargets)
	if outside {
		least = leastDead
		if a := w.things[answering].peek(w.join(o.Site, o.Host)); a != nil && a.count > 0 && o.At.UnixMilli()-a.last < horizontalWindow.Milliseconds() {
			least = leastOutside
		}
	}
	if t.count < least {
		return
	}
	f := t.proof(o.At)
	scanned(f, o, src, dst.Addr().String(), t.count)
	f[event.FieldDstPort] = strconv.Itoa(int(dst.Port()))
	ja := fmt.Sprintf("%sが、10分以内に%d台のポート%dを試し、どれも応じませんでした。", src.Addr(), t.count, dst.Port())
	en := fmt.Sprintf("%s tried port %d of %d machines within ten minutes, and none of them let it in.", src.Addr(), dst.Port(), t.count)
	w.tell(h, o, behaviour{name: ScanHorizontal, about: src.Addr().String() + " " + strconv.Itoa(int(dst.Port())), peer: netip.AddrPortFrom(o.Remote.Addr(), o.Remote.Port()), ja: ja, en: en, fields: f})
}

// What counts as guessing passwords: many short sessions of a log-on service
// that look alike, and end soon.
const (
	guessWindow  = 10 * time.Minute
	leastGuesses = 15
	leastFailed  = 8 // sessions, when the log of the target says that they failed
	mostAlike    = 0.25
	longestGuess = time.Minute
)

// logOns are services by port, with the most bytes that the server sends to
// somebody who does not get in. OpenSSH 9.2 sends 3.7 to 3.9 kB when one key is
// refused, and 4.9 to 5.1 kB when the shortest command has run; keys of RSA and
// more attempts add up to 0.9 kB. Where the packets were seen, the dissector of
// SSH says who got in, and the size decides nothing.
var logOns = map[uint16]struct {
	name string
	most int64
}{
	21: {"ftp", 0}, // one that carries a file is as short: only the log of the target tells
	22: {"ssh", 4800}, 23: {"telnet", 4000}, 445: {"smb", 2000}, 139: {"smb", 2000}, 3389: {"rdp", 8000}, 5900: {"vnc", 3000},
}

// session looks at short sessions of a log-on service.
func (w *Watch) session(h *host, o *Observation) {
	src, dst := o.opener(), o.target()
	service, known := logOns[dst.Port()]
	if o.App == flow.LabelSSH { // on whatever port
		service, known = logOns[22], true
	}
	back := o.Received
	if !o.Opened {
		back = o.Sent
	}
	if !known || o.LoggedIn || o.Proto != "tcp" || o.empty() || back == 0 || o.At.Sub(o.First) > longestGuess {
		return
	}
	t, _ := w.things[guesses].get(w.guessKey(o, src.Addr(), service.name))
	t.fresh(o.At, guessWindow)
	t.example(o.Flow)
	t.mark(o.First, back)
	if t.count++; !t.guessing(service.most) {
		return
	}
	f := t.proof(o.At)
	scanned(f, o, src, dst.Addr().String(), t.count)
	f[event.FieldDstPort], f["LogOnService"], f["FailuresLogged"] = strconv.Itoa(int(dst.Port())), service.name, number64(t.out)
	ja := fmt.Sprintf("%sから%s(%s)へ、10分以内に%d回、短いログインの試みがありました。", src.Addr(), dst.Addr(), service.name, t.count)
	en := fmt.Sprintf("%s tried to log on to %s (%s) %d times within ten minutes, each time for a moment.", src.Addr(), dst.Addr(), service.name, t.count)
	w.tell(h, o, behaviour{name: BruteForce, about: src.Addr().String() + " " + dst.Addr().String() + " " + service.name, peer: o.Remote, ja: ja, en: en, fields: f})
}

// guessKey is the same for sessions and for the log of the target.
func (w *Watch) guessKey(o *Observation, src netip.Addr, service string) []byte {
	w.join(o.Site, o.Host, service)
	if o.Kind == Connection && o.Opened {
		w.with(noPort(o.Remote))
	}
	return w.with(netip.AddrPortFrom(src, 0))
}

// guessing says whether the sessions are guesses: by what the log says of them,
// else by their sizes. out counts failures and in successes of the log.
func (t *thing) guessing(most int64) bool {
	if t.in > t.out {
		return false // a program at work
	}
	if t.out >= leastFailed && t.count >= leastFailed {
		return true
	}
	if t.count < leastGuesses {
		return false
	}
	var room [maxTimes]int64
	mid, _, scatter := spread(append(room[:0], t.sizes...))
	return mid <= most && scatter <= mostAlike
}

// logOn notes what the log of a target says.
func (w *Watch) logOn(o *Observation) {
	t, _ := w.things[guesses].get(w.guessKey(o, o.Remote.Addr(), o.Service))
	t.fresh(o.At, guessWindow)
	if o.Failed {
		t.out++
	} else {
		t.in++
	}
}
