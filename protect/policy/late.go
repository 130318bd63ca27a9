package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/alert"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ready/asset"
)

// Rules of the alerts.
const (
	RuleLate  = "sonae-backup-late"  // the newest backup of a machine is too old
	RuleNever = "sonae-backup-never" // there is none at all
)

// Back is the reason with which an alert ends by itself.
const Back = "新しいバックアップができた (backed up again)"

// oldEvery is how often it is looked for old backups.
const oldEvery = time.Minute

// machine is what is late on one machine.
type machine struct {
	host     asset.Host
	newest   time.Time // the oldest of the newest backups of its late policies; zero: one has none
	policies []string  // names
	key      string    // what is late, in one word
}

// old tells of machines whose backups are too old or missing, and ends the alerts
// of those that have one again.
func (w *Round) old(ctx context.Context, policies []Policy) error {
	now := w.moment()
	if now.Sub(w.late).Abs() < oldEvery {
		return nil
	}
	all, err := w.lateMachines(ctx, policies, now)
	if err != nil {
		return err
	}
	for id, m := range all {
		if w.told[id] == m.key {
			continue
		}
		if err := w.deps.Alerts.Handle(ctx, m.finding(now)); err != nil {
			return fmt.Errorf("tell of old backups of %s: %w", id, err)
		}
		w.told[id] = m.key
	}
	if err := w.endAlerts(ctx, all); err != nil {
		return err
	}
	w.late = now
	return nil
}

func (w *Round) lateMachines(ctx context.Context, policies []Policy, now time.Time) (map[string]*machine, error) {
	fresh, err := w.Freshness(ctx, policies)
	if err != nil {
		return nil, err
	}
	name := map[string]string{}
	for _, p := range policies {
		name[p.ID] = p.Name
	}
	all := map[string]*machine{}
	for _, f := range fresh {
		if !f.Late(now) {
			continue
		}
		m := all[f.Host]
		if m == nil {
			h, err := w.deps.Hosts.Host(ctx, f.Host)
			if fault.Of(err) == fault.Missing || err == nil && !h.RemovedAt.IsZero() {
				continue // it is gone: nobody waits for its backups
			}
			if err != nil {
				return nil, err
			}
			m = &machine{host: h, newest: f.Newest}
			all[f.Host] = m
		}
		if f.Newest.Before(m.newest) {
			m.newest = f.Newest
		}
		m.policies = append(m.policies, name[f.Policy])
		m.key += f.Policy + " " + f.Newest.Format(time.RFC3339Nano) + "\n"
	}
	for id := range w.told {
		if all[id] == nil {
			delete(w.told, id)
		}
	}
	return all, nil
}

// endAlerts closes the alerts of machines that are not late any more, or late in
// another way.
func (w *Round) endAlerts(ctx context.Context, late map[string]*machine) error {
	for _, rule := range []string{RuleLate, RuleNever} {
		open, err := w.open(ctx, rule)
		if err != nil {
			return err
		}
		for _, a := range open {
			if m := late[a.Host]; m != nil && m.rule() == rule {
				continue
			}
			if err := w.deps.Alerts.Close(ctx, a.ID, Back, auth.Person{ID: system}); err != nil && fault.Of(err) != fault.Conflict {
				return fmt.Errorf("end alert of old backups: %w", err)
			}
		}
	}
	return nil
}

// open lists the alerts of a rule that are not closed.
func (w *Round) open(ctx context.Context, rule string) (out []alert.Alert, _ error) {
	for _, state := range []alert.State{alert.Open, alert.Acked} {
		for from := 0; ; from += most {
			all, total, err := w.deps.Alerts.List(ctx, alert.Filter{State: state, Rule: rule, Limit: most, Offset: from})
			if err != nil {
				return nil, fmt.Errorf("alerts of old backups: %w", err)
			}
			out = append(out, all...)
			if len(all) == 0 || from+len(all) >= total {
				break
			}
		}
	}
	return out, nil
}

func (m machine) rule() string {
	if m.newest.IsZero() {
		return RuleNever
	}
	return RuleLate
}

// finding is the alarm. The same old backup gives the same finding.
func (m machine) finding(now time.Time) detect.Finding {
	sum := sha256.Sum256([]byte(m.rule() + " " + m.host.ID + " " + m.key))
	id := hex.EncodeToString(sum[:16])
	newest := ""
	if !m.newest.IsZero() {
		newest = m.newest.UTC().Format(time.RFC3339)
	}
	e := event.Event{ID: "backup-" + id, Time: now, Site: m.host.Site, Host: m.host.ID, Kind: event.KindHealth, Product: "sonae", Service: "backup",
		Fields: map[string]string{"Newest": newest, "Policies": strings.Join(m.policies, ", ")}}
	return detect.Finding{ID: id, Time: now, Site: m.host.Site, Host: m.host.ID, Events: []event.Event{e}, Rule: m.words()}
}

func (m machine) words() detect.Rule {
	slices.Sort(m.policies)
	name, ja, en := hostName(m.host), names(m.policies, "ja"), names(m.policies, "en")
	next := detect.Text{"ja": "1. 「守り」の実行の一覧で、失敗の理由を確かめる。 2. 機器が動いていて、ハブに届くかを確かめる。 3. 「今すぐ実行」でバックアップを取る。 4. 取れない理由が分からなければ、侵入者が止めた疑いも調べる。新しいバックアップができれば、この警報は自動で終わります。",
		"en": "1. See in Protection > Runs why it failed. 2. See whether the machine runs and reaches the hub. 3. Back it up with Run now. 4. If nobody knows why it fails, look whether an intruder stopped it. The alert ends by itself when there is a new backup."}
	if m.newest.IsZero() {
		return detect.Rule{ID: RuleNever, Level: event.High,
			Title: detect.Text{"ja": "一度もバックアップが取れていない機器がある", "en": "A machine has never been backed up"},
			What: detect.Text{"ja": name + " は、方針(" + ja + ")で定めた時間を過ぎても、まだ一度もバックアップが取れていません。",
				"en": name + " has no backup at all, although the time that its policies (" + en + ") allow is over."},
			Affects: detect.Text{"ja": "今この機器が壊れるか暗号化されると、データは戻りません。", "en": "If it breaks or is encrypted now, its data is gone."}, Next: next}
	}
	at := m.newest.In(clock.Tokyo()).Format("2006-01-02 15:04")
	return detect.Rule{ID: RuleLate, Level: event.High,
		Title: detect.Text{"ja": "バックアップが古くなっている", "en": "Backups are too old"},
		What: detect.Text{"ja": name + " の最後のバックアップは " + at + " です。方針(" + ja + ")で定めた間隔を過ぎています。",
			"en": "The newest backup of " + name + " is of " + at + ". That is older than its policies (" + en + ") allow."},
		Affects: detect.Text{"ja": "今この機器が壊れるか暗号化されると、" + at + " より後のデータは戻りません。",
			"en": "If it breaks or is encrypted now, everything after " + at + " is lost."}, Next: next}
}
