package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/action/order"
	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/bus"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/keep"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/protect/vault"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/ready/drill"
	"github.com/sonae/sonae/source/agentlink/wire"
)

// partitioned are the subjects whose messages must stay in order for each
// host, as published.
var partitioned = []string{"event.*.*"}

// streams are the first tokens of all subjects.
var streams = []string{"event", "match", "finding", "alert", "notify", "incident", "action", "cutting", "order", "evidence", "duty", "decision", "playbook", "task", "document", "sheet", "rule", "drill",
	"device", "protect", "copy", "restore", "record"}

// flow joins the stages. Nothing else in Sonae knows who listens to whom.
func (h *Hub) flow() []bus.Join {
	return []bus.Join{
		h.archiving(), // remember everything
		bus.OnBytes("event.>", "detect", h.find).Partitioned(), // event    → finding, match
		h.correlating(),                                                              // match    → finding
		h.watching(),                                                                 // event    → event: what a host does
		bus.On("finding.>", "alert", h.raise),                                        // finding  → alert
		bus.On("incident.opened", "opened", h.opened),                                // incident → clocks, alerts, evidence
		bus.On("incident.changed", "hold", h.hold),                                   // incident → its events stay
		bus.On("action.>", "chronology-action", h.noteAction),                        // action   → chronology, bag
		bus.On("cutting.>", "chronology-cutting", h.noteCutting),                     // cutting  → chronology
		bus.On("order.issued", "dispatch", h.dispatch).Each(),                        // decision → endpoint
		bus.On("device.stuck", "alarm", h.alarm),                                     // a block that cannot be undone → alert
		bus.On("drill.changed", "alarm-drill", h.alarmDrill),                         // a restore drill that did not pass → alert
		bus.On("alert.>", "notify", h.tell).Led(),                                    // alert    → people, until one answers
		bus.On("incident.changed", "notify-taken", h.takenOver).Led(),                // incident → somebody commands: nobody else is told
		bus.On("action.>", "notify-policy", h.tellPolicy).Led(),                      // action   → people whom a standing policy names
		bus.On("duty.changed", "notify-duty", h.tellClocks).Led(),                    // facts    → a clock that was met calls nobody
		bus.On("decision.changed", "notify-decision", h.tellReviews).Led(),           // decided  → what was reviewed calls nobody
		bus.On("playbook.changed", "notify-step", h.tellStep).Led(),                  // a late step of a playbook → people, until it is over
		bus.On("incident.record", "notify-record", h.tellRecord).Led(),               // a promised call or improvement that is due → people, until it is done
		bus.On("notify.line", "chronology-notify", h.noteTold),                       // told     → chronology
		bus.On("alert.>", "block", h.answer).Led(),                                   // alert    → action, where people approved that beforehand
		bus.On("finding.>", "frozen", h.frozen).Led(),                                // finding  → what an agent froze by itself → incident, action
		bus.On("finding.>", "cut-repositories", h.cutRepositories).Led(),             // finding  → nothing more is taken into the repositories of its site
		bus.On("cutting.>", "cut-by-hand", h.cutByHand),                              // cutting  → the same, where people cut the path to the copies
		bus.On(vault.SubjectSuspect, "doubt-backups", h.doubtBackups),                // a path was cut → what is backed up meanwhile is suspect
		bus.On("protect.vault", "chronology-vault", h.noteVault),                     // repository → chronology
		bus.On("protect.vault", "follow-vault", h.keeper.Follow).Each(),              // repository → the hub where it lies, for what is on its way
		bus.On("alert.>", "keep-frozen", h.keepFrozen).Led(),                         // alert    → evidence of what was frozen
		bus.On("evidence.infected", "virus", h.infected),                             // bag      → event: a virus in it
		bus.On("evidence.sealed", "chronology-evidence", h.noteBag),                  // bag      → chronology
		bus.On("document.made", "chronology-document", h.noteDocument),               // document → chronology
		bus.On("sheet.kept", "chronology-sheet", h.noteSheet),                        // kept sheet → chronology
		bus.On("document.noted", "chronology-document-noted", h.noteOfDocument),      // who approved or looked at it → chronology
		bus.On("duty.changed", "chronology-duty", h.noteFacts),                       // facts    → chronology
		bus.On("decision.changed", "chronology-decision", h.noteDecision),            // decided  → chronology
		bus.On("duty.decided", "chronology-decided", h.noteDuty),                     // what people decided about a duty → chronology
		bus.On("duty.decided", "notify-decided", h.tellDecided).Led(),                // a decision that was due calls nobody any more
		bus.On(duty.SubjectHolidays, "chronology-holidays", h.noteHolidays),          // new holidays → chronology of incidents whose clocks moved
		bus.On(duty.SubjectHolidays, "task-holidays", h.followHolidays),              // new holidays → times of tasks that come from clocks
		bus.On(duty.SubjectHolidays, "notify-holidays", h.tellHolidays).Led(),        // new holidays → a clock that moved away calls nobody
		bus.On("playbook.changed", "chronology-playbook", h.noteRun),                 // a step of a playbook → chronology
		bus.On("task.changed", "chronology-task", h.noteTask),                        // a task, a role, hours, a hand-over → chronology
		bus.On("task.changed", "task-command", h.tasks.Follow),                       // a hand-over that was signed → command
		bus.On("task.changed", "notify-task", h.tellTask).Led(),                      // a late task → people, until it is over
		bus.On("incident.changed", "task-post", h.followCommand),                     // who commands → who held the role, from when to when
		bus.On("duty.changed", "task-clocks", h.followClocks),                        // facts    → times of tasks that come from clocks
		bus.On("copy.harmed", "alarm-copy", h.alarmCopy),                             // a copy that is damaged, touched or late → finding
		bus.On("incident.opened", "chronology-before", h.followBackups),              // incident → what happened to the backups of its machines
		bus.On("incident.changed", "chronology-scope", h.history.Follow),             // a scope that grew → the same
		bus.On("protect.run", "chronology-run", h.history.Run),                       // a backup that failed or is in doubt → chronology
		bus.On("protect.vault", "chronology-path", h.history.Path),                   // a path that was cut → other incidents of the site
		bus.On("incident.record", "chronology-clean", h.history.Said),                // a clean point → chronology
		bus.On("restore.changed", "chronology-restore", h.noteRestore),               // a restore for an incident → chronology
		bus.On("restore.changed", "close-pass", h.closePass),                         // a restore that is over → nothing of its repository is read any more
		bus.On("action.>", "playbook", h.books.Result),                               // action   → the step that asked for it
		bus.On("playbook.changed", "plan-times", h.plans.Measure),                    // a step of a restore plan → how long it took
		bus.OnBatch("record.>", "ledger", 256, 200*time.Millisecond, h.record).Led(), // every change leaves a trace

		bus.On("rule.changed", "rules", h.reloadRules).Each(),      // what people want to be told → engine
		bus.On("rule.lists", "lists", h.reloadLists).Each(),        // what others call dangerous → engine
		bus.On("drill.asked", drillJoin, h.playDrill).Led().Once(), // what people want to practise → event

		// whoever looks at a page sees it change
		bus.On("alert.>", "live-alert", h.show("alert")).Each(),
		bus.On("incident.>", "live-incident", h.show("incident")).Each(),
		bus.On("action.>", "live-action", h.show("action")).Each(),
		bus.On("cutting.>", "live-cutting", h.show("action")).Each(),
		bus.On("evidence.>", "live-evidence", h.show("evidence")).Each(),
		bus.On("document.>", "live-document", h.show("document")).Each(),
		bus.On("sheet.>", "live-sheet", h.show("sheet")).Each(),
		bus.On("duty.>", "live-duty", h.show("duty")).Each(),
		bus.On("decision.>", "live-decision", h.show("decision")).Each(),
		bus.On("notify.>", "live-notify", h.show("notify")).Each(),
		bus.On("playbook.>", "live-playbook", h.show("playbook")).Each(),
		bus.On("task.>", "live-task", h.show("task")).Each(),
		bus.On("protect.>", "live-protect", h.show("protect")).Each(),
		bus.On("protect.vault", "live-vault", h.show("vault")).Each(),
		bus.On("drill.changed", "live-drill", h.show("restore-drill")).Each(),
		bus.On("copy.>", "live-copy", h.show("copy")).Each(),
		bus.On("restore.>", "live-restore", h.show("restore")).Each(),
	}
}

// archiving remembers everything: events are shown to searches as they come,
// and stored every ten seconds, or when there are windowBytes of them. While
// one window is stored the next one fills, so that the archive must be able to
// show two.
func (h *Hub) archiving() bus.Join {
	return bus.OnArrival("event.>", "archive", 4096, h.cfg.window(), windowBytes, h.preview, h.remember)
}

// windowBytes is about how many bytes of events are stored at once.
const windowBytes = 96 << 20

// preview shows a batch to searches before it is stored, and returns its id if
// the archive holds it now, and how much memory it takes.
func (h *Hub) preview(ctx context.Context, body []byte) (held string, size int) {
	b, err := wire.DecodeStamped(body)
	if err != nil { // remember says so
		return "", len(body)
	}
	if ids := h.archive.Preview(ctx, []event.Batch{b}); len(ids) == 1 {
		return ids[0], b.Size()
	}
	return "", len(body)
}

// remember stores batches of events and puts their segments into the ledger.
func (h *Hub) remember(ctx context.Context, arrived []bus.Arrived[string]) error {
	var held []string
	for _, m := range arrived {
		if m.Value != "" {
			held = append(held, m.Value)
		}
	}
	segments, missing, err := h.archive.Seal(ctx, held)
	if err != nil {
		return err
	}
	if err := h.recordAll(ctx, segments); err != nil {
		return err
	}
	return h.rememberRest(ctx, slices.DeleteFunc(arrived, func(m bus.Arrived[string]) bool {
		return m.Value != "" && !slices.Contains(missing, m.Value)
	}))
}

// rememberRest stores the batches that the archive does not hold. What a few
// kilobytes unpack to is bounded by the wire for one batch only, so many are
// stored a portion at a time.
func (h *Hub) rememberRest(ctx context.Context, arrived []bus.Arrived[string]) error {
	var batches []event.Batch
	size := 0
	for _, m := range arrived {
		b, err := wire.DecodeStamped(m.Body)
		if err != nil { // agentlink checked it before it was published
			h.log.Error("stored batch cannot be read", "err", err)
			continue
		}
		batches, size = append(batches, b), size+b.Size()
		if size >= maxPortion {
			if err := h.seal(ctx, batches); err != nil {
				return err
			}
			batches, size = nil, 0
		}
	}
	return h.seal(ctx, batches)
}

// maxPortion is about how many bytes of events are in memory at once.
const maxPortion = 32 << 20

func (h *Hub) seal(ctx context.Context, batches []event.Batch) error {
	segments, err := h.archive.Append(ctx, batches)
	if err != nil {
		return err
	}
	return h.recordAll(ctx, segments)
}

func (h *Hub) recordAll(ctx context.Context, segments []leaf.Leaf) error {
	for _, leaf := range segments {
		if err := h.putOnRecord(ctx, leaf); err != nil {
			return err
		}
	}
	return nil
}

// putOnRecord hands a leaf to the ledger; it is on the bus for good when this
// returns.
func (h *Hub) putOnRecord(ctx context.Context, l leaf.Leaf) error {
	return h.publish(ctx, "record."+l.Type, l.Type+" "+l.Ref+" "+l.Digest, l)
}

// lead does work on one hub of all, again whenever it ended.
func (h *Hub) lead(ctx context.Context, what string, work func(context.Context) error) error {
	for ctx.Err() == nil {
		if err := h.bus.Lead(ctx, what, work); err != nil && ctx.Err() == nil {
			h.log.Error("what one hub does for all ended early", "what", what, "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	return nil
}

// keepLedger writes the ledger and asks witnesses, until ctx ends.
func (h *Hub) keepLedger(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.ledger.Lead(ctx) })
	g.Go(func() error { return h.bus.Handle(ctx, "ledger") })
	g.Go(func() error { return h.askWitnesses(ctx) })
	return g.Wait()
}

// record puts leaves into the ledger, all at once: the ledger signs many as
// quickly as one.
func (h *Hub) record(ctx context.Context, bodies [][]byte) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, body := range bodies {
		var l leaf.Leaf
		if err := json.Unmarshal(body, &l); err != nil {
			h.log.Error("leaf cannot be read", "err", err)
			continue
		}
		g.Go(func() error { _, err := h.ledger.Append(ctx, l); return err })
	}
	return g.Wait()
}

func (h *Hub) find(ctx context.Context, body []byte) error {
	b, err := h.heard(ctx, body)
	if err != nil {
		h.log.Error("stored batch cannot be read", "err", err)
		return nil
	}
	found, matches := h.engine.Judge(b)
	groups, err := detect.Parcels(found, maxFindings)
	if err != nil {
		return err
	}
	for i, found := range groups {
		if err := h.publish(ctx, "finding."+b.Host, fmt.Sprintf("findings of %s/%d", b.ID, i), found); err != nil {
			return err
		}
	}
	parts, err := detect.MatchParcels(matches, maxFindings)
	if err != nil {
		return err
	}
	for i, part := range parts {
		m := keep.Message{ID: fmt.Sprintf("matches of %s/%d", b.ID, i), Matches: part}
		if err := h.publish(ctx, "match."+b.Host, m.ID, m); err != nil {
			return err
		}
	}
	return nil
}

// maxFindings bounds a message of findings or matches, in bytes; the bus
// carries 5 MiB.
const maxFindings = 1 << 20

// correlating counts what belongs together as it comes, on one hub for all
// machines. The messages are acknowledged once a state that contains them is
// durable: after a window as long as that of the archive, or 4,096 messages.
func (h *Hub) correlating() bus.Join {
	take := func(ctx context.Context, body []byte) (struct{}, int) { return struct{}{}, h.counts.Take(ctx, body) }
	save := func(ctx context.Context, _ []bus.Arrived[struct{}]) error { return h.counts.Save(ctx) }
	return bus.OnArrival("match.>", "correlate", 4096, h.cfg.window(), windowBytes, take, save).Led()
}

// correlate counts until ctx ends, from where the hub that did so before ended.
func (h *Hub) correlate(ctx context.Context) error {
	if err := h.counts.Begin(ctx); err != nil {
		return err
	}
	return h.bus.Handle(ctx, "correlate")
}

// watching learns what is usual for hosts, and tells as events what they do, on
// one hub for all.
func (h *Hub) watching() bus.Join {
	take := func(ctx context.Context, body []byte) (struct{}, int) { return struct{}{}, h.habits.Take(ctx, body) }
	save := func(ctx context.Context, _ []bus.Arrived[struct{}]) error { return h.habits.Save(ctx) }
	return bus.OnArrival("event.>", "baseline", 4096, h.cfg.window(), windowBytes, take, save).Led()
}

// watchHosts watches until ctx ends, from where the hub that did so before
// ended, and keeps what it learned.
func (h *Hub) watchHosts(ctx context.Context) error {
	if err := h.habits.Begin(ctx); err != nil {
		return err
	}
	err := h.bus.Handle(ctx, "baseline")
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer stop()
	return errors.Join(err, h.habits.Keep(last))
}

// lastWords bounds what is done after this hub may no longer lead: another one
// begins two seconds later.
const lastWords = 1500 * time.Millisecond

// opened starts everything that an incident needs from its first second: the
// legal clocks, the chronology of its alerts, and the evidence of its hosts.
// What cannot be done, such as evidence of a machine that is gone, must keep
// neither the rest nor other incidents waiting.
func (h *Hub) opened(ctx context.Context, m incident.OpenedMessage) error {
	errs := []error{h.lasting(h.startClocks(ctx, m.Incident), m), h.hold(ctx, m.Incident), h.lasting(h.followCommand(ctx, m.Incident), m)}
	by, err := h.people.Person(ctx, m.Incident.OpenedBy)
	if fault.Of(err) == fault.Missing { // opened by the hub itself
		by, err = auth.Person{ID: m.Incident.OpenedBy}, nil
	}
	if err != nil {
		return err
	}
	for _, id := range m.Alerts {
		errs = append(errs, h.lasting(h.linked(ctx, m.Incident, id, by), m))
	}
	return errors.Join(errs...)
}

// hold keeps the events of an incident's hosts, or of its sites where no host
// is named, until it is closed.
func (h *Hub) hold(ctx context.Context, in incident.Incident) error {
	if in.Drill {
		return nil
	}
	if in.State == incident.Ended {
		return h.archive.Unhold(ctx, in.ID)
	}
	hold := archive.Hold{Incident: in.ID, Hosts: in.Scope.Hosts}
	if len(hold.Hosts) == 0 {
		hold.Sites = in.Scope.Sites
	}
	return h.archive.Hold(ctx, hold)
}

// lasting drops errors that trying again cannot help.
func (h *Hub) lasting(err error, m incident.OpenedMessage) error {
	switch fault.Of(err) {
	case fault.Invalid, fault.Missing, fault.Conflict, fault.Denied:
		h.log.Error("incident opened, but not all of it could be started", "incident", m.Incident.ID, "err", err)
		return nil
	}
	return err
}

func (h *Hub) linked(ctx context.Context, in incident.Incident, id string, by auth.Person) error {
	if err := h.alerts.Link(ctx, id, in.ID); err != nil {
		return err
	}
	a, err := h.alerts.Get(ctx, id)
	if err != nil {
		return err
	}
	if err := h.noteAlert(ctx, in.ID, a); err != nil {
		return err
	}
	return h.actions.PreserveFirst(ctx, h.suspect(ctx, preserve(in, a), a), by)
}

// beforeAlert is how far before an alert packets are preserved, where a machine
// keeps them that long.
const beforeAlert = 10 * time.Minute

func preserve(in incident.Incident, a alert.Alert) action.NewRequest {
	q := action.NewRequest{Incident: in.ID, Host: a.Host, Reason: in.Title, Drill: in.Drill}
	if !a.First.IsZero() && !in.Drill {
		q.Packets = &order.Packets{From: a.First.Add(-beforeAlert)}
	}
	if len(a.Process) > 0 {
		q.PID, _ = strconv.Atoi(a.Process[0].PID) // not a number: no process of interest
	}
	return q
}

// startClocks states the first facts; a contractor's site is one of them.
func (h *Hub) startClocks(ctx context.Context, in incident.Incident) error {
	contractor := ""
	for _, id := range in.Scope.Sites {
		s, err := h.assets.Site(ctx, id)
		if fault.Of(err) == fault.Missing { // a slip in the scope must not stop the clocks
			continue
		}
		if err != nil {
			return err
		}
		if s.Kind == asset.Contractor {
			contractor = id
		}
	}
	return h.duties.Start(ctx, in, contractor)
}

func (h *Hub) followCommand(ctx context.Context, in incident.Incident) error {
	return h.tasks.FollowCommand(ctx, in.ID)
}

func (h *Hub) followClocks(ctx context.Context, c duty.Changed) error {
	return h.tasks.FollowClocks(ctx, c.Incident)
}

func (h *Hub) followHolidays(ctx context.Context, m duty.HolidaysMoved) error {
	return h.tasks.FollowClocks(ctx, m.Incident)
}

func (h *Hub) dispatch(_ context.Context, o action.Issued) error {
	if o.Host == drill.Host {
		h.practice.Wake()
	}
	if strings.HasPrefix(o.Host, action.DevicePrefix) {
		h.runner.Wake()
		return nil
	}
	h.link.Wake(o.Host)
	return nil
}

// show wakes the pages that show a topic. Site is empty where a message has
// none: then it concerns all.
func (h *Hub) show(topic string) func(context.Context, struct{ Site string }) error {
	return func(_ context.Context, m struct{ Site string }) error {
		h.live.Notify(topic, m.Site)
		return nil
	}
}

func (h *Hub) publish(ctx context.Context, subject, id string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("publish %s: %w", subject, err)
	}
	return h.bus.Publish(ctx, subject, id, body)
}
