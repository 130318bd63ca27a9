package hub

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/evidence/antivirus"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/protect/anomaly"
	copies "github.com/sonae/sonae/protect/copy"
	"github.com/sonae/sonae/protect/dispatch"
	restoredrill "github.com/sonae/sonae/protect/drill"
	"github.com/sonae/sonae/protect/history"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/policy"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restore"
	"github.com/sonae/sonae/protect/vault"
)

// openProtection makes what backs up and brings back: the repositories first,
// which all of the rest work on.
func (h *Hub) openProtection() error {
	if err := h.openKeeper(); err != nil {
		return err
	}
	from := repositories{h.keeper}
	h.openBackups()
	h.drills = restoredrill.New(h.state, restoredrill.Deps{Hosts: h.assets, Now: h.cfg.Now, Log: h.log, Dir: h.cfg.path("restore-drill"),
		Source: restoredrill.Kept{Program: "restic", Dir: h.cfg.path("restore-drill"), Password: h.keeper.Password, View: h.viewOf},
		Clean:  func(ctx context.Context, host string) (time.Time, bool, error) { return h.anomalies.CleanOf(ctx, host) }, Received: from.received})
	h.copies = copies.New(h.state, copies.Deps{Source: from, Keys: h.keys, Eject: copies.Ejector(h.cfg.path("hooks", "eject")), Now: h.cfg.Now, Log: h.log})
	if err := h.openRestores(from); err != nil {
		return err
	}
	h.anomalies = anomaly.New(h.state, anomaly.Deps{Source: scored{from, h}, Drills: scored{from, h}, Room: h.incidents, Decoys: h.decoysOf, Now: h.cfg.Now, Log: h.log})
	h.history = history.New(history.Deps{Runs: h.backups, Vault: h.keeper, Copies: h.copies, Drills: h.drills, Restores: h.restores, Anomalies: h.anomalies, Hosts: h.assets, Room: h.incidents, Now: h.cfg.Now, Log: h.log})
	h.openForecasts()
	return nil
}

// openBackups makes what plans backups, and what orders them of machines.
func (h *Hub) openBackups() {
	h.jobs = dispatch.New(dispatch.Deps{Key: h.keys.Order(), Password: h.keeper.Ready, Taker: h.taker, Wake: func(host string) { h.link.Wake(host) }, Tools: h.keeper.Handed, Now: h.cfg.Now, Log: h.log})
	h.backups = policy.New(h.state, policy.Deps{Hosts: h.assets, People: h.people, Alerts: h.alerts, Orders: h.jobs, Copies: kept{h}, Drills: proofs{h}, Cut: h.keeper.IsCut, Arrived: h.arrived, Forecast: estimates{h}, Now: h.cfg.Now, Log: h.log})
}

// arrived are the snapshots that the repository of a machine has not received since
// a time: none where another hub has it, which alone knows.
func (h *Hub) arrived(ctx context.Context, host string, since time.Time, ids []string) ([]string, error) {
	repo, err := h.keeper.Repository(ctx, host)
	var f *fault.Error
	switch {
	case errors.As(err, &f) && f.Key == "vault.elsewhere":
		return nil, nil
	case fault.Of(err) == fault.Missing:
		return ids, nil
	case err != nil:
		return nil, err
	}
	received := map[string]bool{}
	for _, r := range repo.Receipts() {
		if r.Kind == restic.Snapshots && !r.At.Before(since) {
			received[r.Name], received[policy.Short(r.Name)] = true, true
		}
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return received[id] }), nil
}

// taker is who wanted jobs of a kind done.
func (h *Hub) taker(k job.Kind) dispatch.Taker {
	if k == job.Restore {
		return h.restores
	}
	return h.backups
}

// openRestores makes what looks into backups and brings data back.
func (h *Hub) openRestores(from repositories) error {
	deps := restore.Deps{Source: from, Sender: sender{h}, Listed: h.listed, Now: h.cfg.Now, Log: h.log,
		Clean: func(ctx context.Context, agent string) ([]anomaly.Point, error) {
			return h.anomalies.Points(ctx, agent)
		}}
	if h.cfg.Clamd != "" {
		client, err := antivirus.New(h.cfg.Clamd)
		if err != nil {
			return fault.New(fault.Invalid, "config.clamd").With(err)
		}
		deps.Scanners = append(deps.Scanners, restore.Clamd(client))
	}
	h.restores = restore.New(h.state, deps)
	return nil
}

// listed is the threat list that names a file by one of its hashes.
func (h *Hub) listed(hashes ...string) string {
	hit, ok := h.engine.Lists().Event(&event.Event{Fields: map[string]string{"Hashes": strings.Join(hashes, "\n")}}, h.cfg.Now())
	if !ok {
		return ""
	}
	return hit.List.Name
}

// sender orders restores of machines, each with a pass of its own.
type sender struct{ *Hub }

// Send opens the pass of a restore and orders it.
func (s sender) Send(ctx context.Context, r restore.Request) error {
	o := vault.Opening{For: r.ID, Agent: r.From.Agent, Host: r.Host, Incident: r.Incident, Why: r.Reason, AsOf: r.Seen(), AskedBy: r.AskedBy, ApprovedBy: r.ApprovedBy}
	if r.From.AsOf.IsZero() { // else a person says until when
		o.Snapshot = r.Latest()
	}
	token, err := s.keeper.OpenPass(ctx, o)
	if err != nil {
		return err
	}
	return s.jobs.BeginReading(ctx, r.Job(), dispatch.Reading{Token: token, Of: r.From.Agent})
}

// Stop takes the order and the pass back.
func (s sender) Stop(ctx context.Context, r restore.Request) error {
	return errors.Join(s.jobs.Stop(ctx, r.Host, r.ID), s.keeper.ClosePass(ctx, r.ID))
}

// closePass ends the pass of a restore that is over.
func (h *Hub) closePass(ctx context.Context, r restore.Request) error {
	if r.State != restore.Restored && r.State != restore.Failure {
		return nil
	}
	return h.keeper.ClosePass(ctx, r.ID)
}

// viewOf is a repository as it was at a time, zero: as it is now, and the folder that it lies in.
func (h *Hub) viewOf(ctx context.Context, host string, at time.Time) (restic.Backend, string, error) {
	view, err := h.keeper.View(ctx, host, at)
	if err != nil {
		return nil, "", err
	}
	return view, filepath.Join(h.cfg.path("repositories"), host, "repository"), nil
}

// repositories are those of the keeper, as the others need them.
type repositories struct{ keeper *vault.Vault }

// Repositories are those that hold something to score.
func (r repositories) Repositories(ctx context.Context) ([]anomaly.Repository, error) {
	all, err := r.keeper.Repositories(ctx, "")
	var out []anomaly.Repository
	for _, one := range all {
		if one.Snapshots > 0 {
			out = append(out, anomaly.Repository{ID: one.Agent, Site: one.Site, Host: one.Agent, Stamp: one.Last.Format(time.RFC3339Nano)})
		}
	}
	return out, err
}

// Open opens a repository as it is now.
func (r repositories) Open(ctx context.Context, agent string) (*restic.Repository, func() error, error) {
	in, err := r.Reader(ctx, agent, time.Time{})
	return in, func() error { return nil }, err
}

// Facts are when the hub received each snapshot, and whether reading the
// repository again found damage.
func (r repositories) Facts(ctx context.Context, agent string) (func(string) anomaly.Facts, error) {
	received, err := r.received(ctx, agent)
	if err != nil {
		return nil, err
	}
	state, err := r.keeper.Get(ctx, agent)
	if err != nil {
		return nil, err
	}
	return func(id string) anomaly.Facts {
		return anomaly.Facts{Received: received(id), Damaged: state.Read.State == vault.LevelDamaged}
	}, nil
}

// received is when the hub received each snapshot, by its id.
func (r repositories) received(ctx context.Context, agent string) (func(string) time.Time, error) {
	repo, err := r.keeper.Repository(ctx, agent)
	if err != nil {
		return nil, err
	}
	at := map[string]time.Time{}
	for _, receipt := range repo.Receipts() {
		if receipt.Kind == restic.Snapshots {
			at[receipt.Name] = receipt.At
		}
	}
	return func(id string) time.Time { return at[id] }, nil
}

// Agents are those of a site that have backed up something.
func (r repositories) Agents(ctx context.Context, site string) ([]string, error) {
	all, err := r.keeper.Repositories(ctx, site)
	var out []string
	for _, one := range all {
		if !one.Begun.IsZero() {
			out = append(out, one.Agent)
		}
	}
	return out, err
}

// Repository is one as it is now, and what opens it.
func (r repositories) Repository(ctx context.Context, agent string) (restic.Backend, []string, error) {
	view, err := r.keeper.View(ctx, agent, time.Time{})
	if err != nil {
		return nil, nil, err
	}
	password, err := r.keeper.Password(ctx, agent)
	return view, []string{password}, err
}

// Reader reads one as it was at a time, its indexes loaded.
func (r repositories) Reader(ctx context.Context, agent string, at time.Time) (*restic.Repository, error) {
	in, err := r.keeper.ReaderOf(ctx, agent, at)
	if err != nil {
		return nil, err
	}
	return in, in.Load(ctx)
}

// kept tells policies what copies there are besides the machine itself.
type kept struct{ *Hub }

// CopiesOf tells of the hub's own repository of each machine and of its copies, as
// each policy of the machine has them.
func (k kept) CopiesOf(ctx context.Context, hosts []string) (all []policy.Copy, err error) {
	policies, err := k.backups.Policies(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, host := range hosts {
		r, err := k.keeper.Get(ctx, host)
		if fault.Of(err) == fault.Missing {
			continue
		}
		if err != nil {
			return nil, err
		}
		more, err := k.Hub.copies.Copies(ctx, host)
		if err != nil {
			return nil, err
		}
		made, err := k.backups.Made(ctx, host, policiesOf(policies, host))
		if err != nil {
			return nil, err
		}
		has, err := k.holds(ctx, host, r)
		if err != nil {
			return nil, err
		}
		for id, runs := range made {
			if r.Snapshots > 0 {
				all = append(all, atHub(host, r).Holding(id, runs, has))
			}
			for _, c := range more {
				x := elsewhere(host, c).Holding(id, runs, upTo(c))
				x.Generations = min(x.Generations, c.Snapshots)
				all = append(all, x)
			}
		}
	}
	return all, nil
}

// policiesOf are those that a machine is in.
func policiesOf(all []policy.Policy, host string) []policy.Policy {
	return slices.DeleteFunc(slices.Clone(all), func(p policy.Policy) bool { return !slices.Contains(p.Hosts, host) })
}

// holds says of a run whether the hub still has a snapshot that it made: some go
// with time.
func (k kept) holds(ctx context.Context, host string, r vault.Repository) (func(policy.Made) bool, error) {
	if r.Snapshots == 0 {
		return nil, nil
	}
	repo, err := k.keeper.Repository(ctx, host)
	if err != nil {
		return nil, err
	}
	var received []time.Time // the oldest first
	for _, x := range repo.Receipts() {
		if x.Kind == restic.Snapshots {
			received = append(received, x.At)
		}
	}
	return func(m policy.Made) bool {
		n, _ := slices.BinarySearchFunc(received, m.From, time.Time.Compare)
		return n < len(received) && !received[n].After(m.At)
	}, nil
}

// upTo says of a run whether a copy can have it: what the hub had received when the
// copy was made last. A machine's own clock, by which snapshots are dated, makes no
// copy newer.
func upTo(c copies.Copy) func(policy.Made) bool {
	return func(m policy.Made) bool { return c.Snapshots > 0 && !m.At.After(c.At) && !m.At.Before(c.Oldest) }
}

func atHub(host string, r vault.Repository) policy.Copy {
	c := policy.Copy{Host: host, Medium: policy.AtHub, Place: r.Name, AppendOnly: true, Damage: r.Trouble}
	switch r.Read.State {
	case vault.LevelDamaged:
		c.Damage = string(r.Read.State)
	case vault.LevelSound, vault.LevelStale:
		c.ReadBack = r.Read.Since
	}
	return c
}

func elsewhere(host string, c copies.Copy) policy.Copy {
	out := policy.Copy{Host: host, Place: c.Place, Site: c.Where}
	switch c.Kind {
	case copies.Lock:
		out.Medium = policy.Objects
		if c.Unreachable {
			out.LockedUntil = c.LockedUntil
		}
	case copies.Media:
		out.Medium, out.Offline = policy.Taken, c.Unreachable
	default:
		out.Medium, out.AppendOnly = policy.Second, c.Unreachable
	}
	if c.Verified {
		out.ReadBack = c.ReadAt
	}
	return out
}

// proofs tells policies what restore drills proved.
type proofs struct{ *Hub }

func (p proofs) ProofsOf(ctx context.Context, hosts []string) (all []policy.Proof, err error) {
	policies, err := p.backups.Policies(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, host := range hosts {
		shown, err := p.drills.Shown(ctx, host)
		if err != nil {
			return nil, err
		}
		of := policiesOf(policies, host)
		for _, x := range shown {
			for _, about := range drilled(x, of) {
				all = append(all, policy.Proof{Host: host, Policy: about.Policy, Source: about.Source, At: x.At, Passed: x.Passed, What: string(x.Level), Path: "/protect/drills"})
			}
		}
	}
	return all, nil
}

// drilled is what a drill showed something of. Snapshots say it themselves. Where a
// drill found something wrong and nobody knows in what, it is of all that it can be
// of; where it passed, only of what it cannot but be of.
func drilled(x restoredrill.Shown, policies []policy.Policy) (of []restoredrill.Thing) {
	if x.Policy != "" {
		return []restoredrill.Thing{x.Thing}
	}
	if x.Level == restoredrill.Bytes {
		return []restoredrill.Thing{{}}
	}
	policies = slices.DeleteFunc(slices.Clone(policies), func(p policy.Policy) bool { return x.Class != "" && x.Class != p.Class })
	if !x.Passed {
		for _, p := range policies {
			of = append(of, restoredrill.Thing{Policy: p.ID})
		}
		return of
	}
	if len(x.Paths) == 0 {
		return only(sourcesOf(policies, ""))
	}
	for _, path := range x.Paths {
		of = append(of, only(sourcesOf(policies, path))...)
	}
	return of
}

// sourcesOf are the sources of policies that a path in a snapshot can be of; all
// where it is empty.
func sourcesOf(policies []policy.Policy, path string) (of []restoredrill.Thing) {
	for _, p := range policies {
		for _, s := range p.Sources {
			if path == "" || s.Holds(path) {
				of = append(of, restoredrill.Thing{Policy: p.ID, Source: s.Name})
			}
		}
	}
	return of
}

// only is what there is but one of.
func only(all []restoredrill.Thing) []restoredrill.Thing {
	if len(all) == 1 {
		return all
	}
	return nil
}

// doubtBackups calls the backups suspect that a machine makes while its site is
// cut off.
func (h *Hub) doubtBackups(ctx context.Context, s vault.Suspect) error {
	_, err := h.backups.Doubt(ctx, policy.Call{Site: s.Site, Hosts: []string{s.Agent}, Since: s.At, Why: "遮断 / cut " + s.Cut}, vault.Hub)
	return err
}

// followBackups tells a new incident what happened to the backups of its
// machines.
func (h *Hub) followBackups(ctx context.Context, m incident.OpenedMessage) error {
	return h.history.Follow(ctx, m.Incident)
}

// alarmCopy makes a finding of a copy that people must look after: the alert
// comes of it, and what is kept of the machine is frozen if somebody did it.
func (h *Hub) alarmCopy(ctx context.Context, t copies.Trouble) error {
	site := t.Place.Site
	r, err := h.keeper.Get(ctx, t.Result.Agent)
	switch {
	case err == nil:
		site = r.Site
	case fault.Of(err) != fault.Missing: // a copy of another hub's machine has none here
		return err
	}
	f := t.Finding(site)
	return h.publish(ctx, "finding."+f.Host, "finding:"+f.ID, []detect.Finding{f})
}

// noteRestore writes down what became of a restore that belongs to an incident.
func (h *Hub) noteRestore(ctx context.Context, r restore.Request) error {
	if r.Incident == "" {
		return nil
	}
	return h.incidents.Note(ctx, r.Incident, incident.Note{Key: "restore." + string(r.State), OccurredAt: r.At, Source: "restore", Ref: r.ID,
		Unique: "restore/" + r.ID + "/" + string(r.State), Args: r.Args()})
}
