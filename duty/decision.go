package duty

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/state"
)

// Kinds of decisions.
const (
	KindNotify    = "notice"    // whether the persons concerned are told now
	KindReview    = "review"    // a row of a decision table that asks for a person
	KindExemption = "exemption" // the second person's signature
)

// Choices.
const (
	NotifyNow  = "now"        // notice: begin, and decide again until it is done
	NotYet     = "not_yet"    // notice: wait, because …
	Notified   = "done"       // notice: everybody was told, or the substitute is in place
	NotNeeded  = "not_needed" // notice: the law does not ask for it
	MustReport = "report"     // review
	NoReport   = "no_report"  // review
	Accept     = "accept"     // exemption
	Refuse     = "refuse"     // exemption
)

var choices = map[string][]string{
	KindNotify: {NotifyNow, NotYet, Notified, NotNeeded}, KindReview: {MustReport, NoReport}, KindExemption: {Accept, Refuse},
}

// Choices are the answers that a kind of decision has; nil for an unknown kind.
func Choices(kind string) []string { return slices.Clone(choices[kind]) }

// Decision is what a person decided about the duties of an incident, on which
// facts, and why. It is what the ledger binds (type "duty", ref
// "<incident>/<no>").
type Decision struct {
	Incident string    `json:"incident"`
	No       int       `json:"no"` // from 1, without gaps
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Kind     string    `json:"kind"`
	About    string    `json:"about,omitempty"` // review: the row
	Choice   string    `json:"choice"`
	Grounds  []string  `json:"grounds,omitempty"` // notice, not yet: ids of PersonNotice.MayWaitIf
	Means    []string  `json:"means,omitempty"`   // notice, done: ids of PersonNotice.Substitute; none: each was told
	Reason   string    `json:"reason"`
	Facts    int       `json:"facts"`            // version of the facts it was made on
	Digest   string    `json:"digest,omitempty"` // exemption: the claim that was signed
	Moved    []Move    `json:"moved,omitempty"`  // what it changed in the clocks
	Salt     string    `json:"salt"`
}

// NewDecision is what a person decides.
type NewDecision struct {
	Kind    string   `json:"kind"`
	About   string   `json:"about,omitempty"`
	Choice  string   `json:"choice"`
	Grounds []string `json:"grounds,omitempty"`
	Means   []string `json:"means,omitempty"`
	Reason  string   `json:"reason"`
	Digest  string   `json:"digest,omitempty"` // exemption: of the claim that was read (Exempt.Digest)
}

// Leaf is the line of the ledger that binds the decision.
func (d Decision) Leaf() (leaf.Leaf, error) {
	return leaf.Of("duty", fmt.Sprintf("%s/%d", d.Incident, d.No), d.At, d)
}

// Key is the sentence of the chronology about the decision.
func (d Decision) Key() string {
	return "duty." + d.Kind + "-" + strings.ReplaceAll(d.Choice, "_", "-")
}

// SubjectDecided tells that somebody decided; the message is the Decision.
const SubjectDecided = "duty.decided"

// Decide records a decision about the notice or a row of a table.
//
// Errors: Invalid for what cannot be decided so or has no reason, Conflict for
// a row that waits for nobody, Missing when the duties were never started.
func (d *Desk) Decide(ctx context.Context, id string, n NewDecision, by auth.Person) error {
	if n.Kind == KindExemption {
		return fault.New(fault.Invalid, "duty.decision-kind", n.Kind)
	}
	return d.decide(ctx, id, n, by)
}

// Sign records what a second person says about the claimed exemption: who
// stated the proof cannot sign it.
//
// Errors: as Decide; Conflict also when nothing is claimed, the proof is not
// complete, or it is another than the one that was read (n.Digest); Denied for
// who stated it.
func (d *Desk) Sign(ctx context.Context, id string, n NewDecision, by auth.Person) error {
	n.Kind = KindExemption
	return d.decide(ctx, id, n, by)
}

func (d *Desk) decide(ctx context.Context, id string, n NewDecision, by auth.Person) error {
	n.Reason = tidyText(n.Reason)
	slices.Sort(n.Grounds)
	slices.Sort(n.Means)
	n.Grounds, n.Means = slices.Compact(n.Grounds), slices.Compact(n.Means)
	if err := d.rules.checkDecision(n); err != nil {
		return err
	}
	err := d.change(ctx, id, func(tx *state.Tx, c *file) error {
		before := d.judge(c)
		if err := c.open(n, before, by); err != nil {
			return err
		}
		x := Decision{Incident: id, No: len(c.decisions) + 1, At: c.now, By: by.ID, Kind: n.Kind, About: n.About, Choice: n.Choice, Grounds: n.Grounds,
			Means: n.Means, Reason: n.Reason, Facts: c.last().No, Digest: n.Digest, Salt: leaf.Salt()}
		c.decisions = append(c.decisions, x)
		x.Moved = moves(before, d.judge(c))
		return storeDecision(ctx, tx, x)
	})
	if err != nil {
		return fmt.Errorf("decide about duties of %s: %w", id, err)
	}
	return nil
}

func (r Rules) checkDecision(n NewDecision) error {
	ids := func(list, of []string) bool {
		return !slices.ContainsFunc(list, func(s string) bool { return !slices.Contains(of, s) })
	}
	switch {
	case choices[n.Kind] == nil:
		return fault.New(fault.Invalid, "duty.decision-kind", n.Kind)
	case !slices.Contains(choices[n.Kind], n.Choice):
		return fault.New(fault.Invalid, "duty.decision-choice")
	case n.Reason == "":
		return fault.New(fault.Invalid, "duty.reason-missing")
	case utf8.RuneCountInString(n.Reason) > longest:
		return fault.New(fault.Invalid, "duty.too-long", "reason", longest)
	case !ids(n.Grounds, r.PersonNotice.MayWaitIf) || !ids(n.Means, r.PersonNotice.Substitute):
		return fault.New(fault.Invalid, "duty.decision-choice")
	case n.Kind == KindNotify && n.Choice == NotYet && len(n.Grounds) == 0:
		return fault.New(fault.Invalid, "duty.grounds-missing")
	}
	return nil
}

// open says whether there is anything to decide.
func (c *file) open(n NewDecision, a Assessment, by auth.Person) error {
	switch n.Kind {
	case KindReview:
		settled := slices.ContainsFunc(c.decisions, func(d Decision) bool { return d.Kind == KindReview && d.About == n.About })
		if !slices.Contains(a.Reviews, n.About) && !settled {
			return fault.New(fault.Conflict, "duty.no-review")
		}
	case KindExemption:
		lacks := slices.DeleteFunc(slices.Clone(a.Exempt.Lacks), func(s string) bool { return s == Signature })
		switch {
		case !a.Exempt.Claimed:
			return fault.New(fault.Conflict, "duty.not-claimed")
		case n.Digest != a.Exempt.Digest:
			return fault.New(fault.Conflict, "duty.claim-changed")
		case c.stated(n.Digest) == by.ID:
			return fault.New(fault.Denied, "duty.second-person")
		case n.Choice == Accept && len(lacks) > 0:
			return fault.New(fault.Conflict, "duty.proof-incomplete")
		}
	}
	return nil
}

// stated is who made the claim as it is now.
func (c *file) stated(digest string) string {
	by := ""
	for _, s := range slices.Backward(c.statements) {
		if s.Facts.claim() != digest || s.Facts.answer("encrypted") != Yes {
			break
		}
		by = s.By
	}
	return by
}

func storeDecision(ctx context.Context, tx *state.Tx, x Decision) error {
	l, err := x.Leaf()
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO duty_decision (incident, no, body) VALUES ($1, $2, $3)`, x.Incident, x.No, state.JSON(x)); err != nil {
		return err
	}
	if err := tx.Emit(ctx, "record.duty", "record.duty:"+l.Ref, l); err != nil {
		return err
	}
	return tx.Emit(ctx, SubjectDecided, SubjectDecided+":"+l.Ref, x)
}

// Decisions returns all decisions about the duties of an incident, oldest first.
func (d *Desk) Decisions(ctx context.Context, id string) ([]Decision, error) {
	rows, err := d.db.Query(ctx, `SELECT body FROM duty_decision WHERE incident = $1 ORDER BY no`, id)
	if err != nil {
		return nil, fmt.Errorf("decisions of %s: %w", id, err)
	}
	defer rows.Close()
	all := []Decision{}
	for rows.Next() {
		var body string
		var x Decision
		if err := errors.Join(rows.Scan(&body), json.Unmarshal([]byte(body), &x)); err != nil {
			return nil, fmt.Errorf("decisions of %s: %w", id, err)
		}
		all = append(all, x)
	}
	return all, rows.Err()
}

// tidyText brings text into the one form that is stored.
func tidyText(s string) string {
	return strings.TrimSpace(strings.ReplaceAll(strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD"), "\r\n", "\n"))
}
