package alert

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/state"
)

// coalesce is how often one alert is told as updated at most. What comes
// sooner is told by the next finding or by Tick.
const coalesce = time.Second

// Handle counts a finding: it raises an alert or adds to the one that is open
// for the same rule and host. A finding that was counted before changes
// nothing, in whatever order findings arrive.
func (d *Desk) Handle(ctx context.Context, f detect.Finding) error {
	return d.HandleAll(ctx, []detect.Finding{f})
}

// HandleAll is Handle for many findings in one transaction: all are counted or
// none. During a flood it is many times faster than one by one.
func (d *Desk) HandleAll(ctx context.Context, findings []detect.Finding) error {
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		touched := map[string]*stored{}
		var order []*stored
		for _, f := range findings {
			fresh, err := d.firstTime(ctx, tx, f.ID)
			if err != nil {
				return err
			}
			if !fresh {
				continue
			}
			a, isNew, err := d.alertFor(ctx, tx, touched, f)
			if err != nil {
				return err
			}
			if isNew {
				order = append(order, a)
			}
			if err := count(ctx, tx, a, f); err != nil {
				return err
			}
		}
		return d.keep(ctx, tx, order)
	})
	if err != nil {
		return fmt.Errorf("handle %d findings: %w", len(findings), err)
	}
	return nil
}

// firstTime claims the id of a finding. It says false when somebody did so
// before: then the finding is counted already.
func (d *Desk) firstTime(ctx context.Context, tx *state.Tx, id string) (bool, error) {
	res, err := tx.ExecContext(ctx, `INSERT INTO alert_finding (id, at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, id, state.Nanos(d.now()))
	if err != nil {
		return false, fmt.Errorf("claim finding %s: %w", id, err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// alertFor finds the open alert of the finding or begins one. The second
// result says that it is the first time this transaction touches it.
func (d *Desk) alertFor(ctx context.Context, tx *state.Tx, touched map[string]*stored, f detect.Finding) (*stored, bool, error) {
	key := fmt.Sprintf("%q %q %q %v", f.Rule.ID, f.Site, f.Host, f.Drill)
	if a := touched[key]; a != nil {
		return a, false, nil
	}
	a, found, err := loadLive(ctx, tx, f)
	if err != nil {
		return nil, false, err
	}
	if !found {
		now := d.now().UTC()
		a = stored{Alert: Alert{
			ID: clock.ID("al", now), Rule: f.Rule, Severity: f.Rule.Level, Site: f.Site, Host: f.Host, State: Open,
			First: f.Time.UTC(), Last: f.Time.UTC(), RaisedAt: now, Drill: f.Drill,
		}}
	}
	touched[key] = &a
	return &a, true, nil
}

// keep stores the alerts that a transaction touched and tells what is due.
func (d *Desk) keep(ctx context.Context, tx *state.Tx, order []*stored) error {
	for _, a := range order {
		var err error
		switch {
		case a.told == 0:
			if err = record(ctx, tx, *a, "raised", "sonae", a.RaisedAt); err == nil {
				err = d.tell(ctx, tx, a, "alert.raised")
			}
		case d.now().Sub(a.toldAt) >= coalesce:
			err = d.tell(ctx, tx, a, "alert.updated")
		default:
			err = save(ctx, tx, *a)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Tick tells those updates that were held back, see coalesce, and forgets
// findings that cannot come again. Call it about every second.
func (d *Desk) Tick(ctx context.Context) error {
	if err := d.forget(ctx); err != nil {
		return err
	}
	ids, err := d.untold(ctx, d.now().Add(-coalesce))
	if err != nil || len(ids) == 0 {
		return err
	}
	err = d.db.Tx(ctx, func(tx *state.Tx) error {
		for _, id := range ids {
			a, err := load(ctx, tx, id)
			if err != nil {
				return err
			}
			if a.told == a.version {
				continue // somebody told it meanwhile
			}
			if err := d.tell(ctx, tx, &a, "alert.updated"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("tell held-back updates: %w", err)
	}
	return nil
}

// Findings are remembered for keepFindings. The bus delivers again what was not
// handled, which is a matter of hours at the worst.
const (
	keepFindings = 30 * 24 * time.Hour
	forgetEvery  = time.Minute
	forgetAtOnce = 5000 // keeps the write lock short
)

func (d *Desk) forget(ctx context.Context) error {
	now := d.now()
	if last := time.Unix(0, d.forgot.Load()); now.Sub(last) < forgetEvery && !now.Before(last) {
		return nil
	}
	d.forgot.Store(now.UnixNano())
	err := d.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(ctx, fmt.Sprintf(`DELETE FROM alert_finding WHERE id IN (SELECT id FROM alert_finding WHERE at < $1 ORDER BY at LIMIT %d)`, forgetAtOnce),
			state.Nanos(now.Add(-keepFindings)))
		return err
	})
	if err != nil {
		return fmt.Errorf("forget old findings: %w", err)
	}
	return nil
}

// count adds a finding that is new to an alert.
func count(ctx context.Context, tx *state.Tx, a *stored, f detect.Finding) error {
	a.Count++
	a.version++
	a.Severity = max(a.Severity, f.Rule.Level)
	for _, e := range f.Events {
		at := e.Time.UTC()
		if at.Before(a.First) {
			a.First = at
		}
		if at.After(a.Last) {
			a.Last = at
		}
		a.newest = append(a.newest, eventAt{e.ID, at})
		if err := addPeer(ctx, tx, a, e); err != nil {
			return err
		}
		if err := addProcess(ctx, tx, a, e); err != nil {
			return err
		}
	}
	a.newest = newest(a.newest)
	return nil
}

// maxEvents is how many events an alert names.
const maxEvents = 50

// newest keeps the newest events, each once, in an order that does not depend
// on the order of arrival.
func newest(all []eventAt) []eventAt {
	slices.SortFunc(all, func(a, b eventAt) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.ID, b.ID))
	})
	all = slices.CompactFunc(all, func(a, b eventAt) bool { return a.ID == b.ID })
	return all[:min(len(all), maxEvents)]
}

// addPeer takes over the counters of a connection. They only grow, so the
// larger of old and new counts whatever the order, and the alert's sums grow
// by the difference.
func addPeer(ctx context.Context, tx *state.Tx, a *stored, e event.Event) error {
	n, ok := connection(e)
	if !ok {
		return nil
	}
	old, known, err := loadFlow(ctx, tx, a.ID, n.id)
	if err != nil {
		return err
	}
	if known {
		n.Peer = merged(old, n.Peer)
	} else if old, err = countedBefore(ctx, tx, a.Alert, n.id); err != nil {
		return err
	}
	n.Sent, n.Received = max(n.Sent, old.Sent), max(n.Received, old.Received)
	a.Sent += n.Sent - old.Sent
	a.Received += n.Received - old.Received
	return saveFlow(ctx, tx, a.ID, n.id, n.Peer, old)
}

// merged joins two states of one connection, in either order.
func merged(a, b Peer) Peer {
	out := a
	if rank(b) > rank(a) || rank(b) == rank(a) && b.Verdict > a.Verdict {
		out.Verdict, out.Confidence = b.Verdict, b.Confidence
	}
	out.Sent, out.Received = max(a.Sent, b.Sent), max(a.Received, b.Received)
	if b.First.Before(a.First) {
		out.First = b.First
	}
	if b.Last.After(a.Last) {
		out.Last = b.Last
	}
	return out
}

func rank(p Peer) int { return slices.Index([]string{"hint", "probable", "certain"}, p.Confidence) }

type namedPeer struct {
	id string // of the connection, or of the event where there is none
	Peer
}

// connection reads the other end from a flow event, or the source from a
// log-in that came over the network.
func connection(e event.Event) (namedPeer, bool) {
	f := e.Fields
	if e.Kind == event.KindLogin {
		if f[event.FieldSrcIP] == "" {
			return namedPeer{}, false
		}
		at := e.Time.UTC()
		from := short(f[event.FieldSrcIP])
		return namedPeer{"login " + from, Peer{Address: from, Protocol: "login", First: at, Last: at}}, true
	}
	if e.Kind != event.KindFlow && e.Kind != event.KindBehaviour || f[event.FieldRemoteIP] == "" {
		return namedPeer{}, false
	}
	id := f[event.FieldFlowID]
	if id == "" {
		id = e.ID
	}
	return namedPeer{short(id), Peer{
		Address:  short(net.JoinHostPort(f[event.FieldRemoteIP], f[event.FieldRemotePort])),
		Protocol: short(f[event.FieldProtocol]), Verdict: short(f[event.FieldVerdict]), Confidence: short(f[event.FieldConfidence]),
		Sent: number(f[event.FieldSent]), Received: number(f[event.FieldReceived]),
		First: timeOr(f[event.FieldFirst], e.Time), Last: timeOr(f[event.FieldLast], e.Time),
	}}, true
}

// maxCount is the most that one connection is believed to have transferred, in
// bytes. Sums of such numbers stay within 64 bits.
const maxCount = 1 << 44

// number reads a counter; what an agent could not count is 0.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return min(n, maxCount)
}

func timeOr(s string, otherwise time.Time) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return otherwise.UTC()
	}
	return t.UTC()
}

// Bounds of texts that a watched machine chooses, in bytes: an alert must fit
// into one message whatever a machine says of itself.
const (
	maxText = 4096 // a path or command line
	maxName = 255  // an address, a name, an id
)

// short cuts a name.
func short(s string) string { return cut(s, maxName) }

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

func addProcess(ctx context.Context, tx *state.Tx, a *stored, e event.Event) error {
	f := e.Fields
	p := Process{PID: short(f[event.FieldPID]), Image: cut(f[event.FieldImage], maxText), Command: cut(f[event.FieldCommand], maxText), User: short(f[event.FieldUser])}
	if p.Image == "" && p.User == "" {
		return nil // a bare number tells nobody anything
	}
	return saveProcess(ctx, tx, a.ID, p, e.Time)
}
