package cause

import (
	"context"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/state"
)

// Interview is what a person who was there told (聞き取り). It holds personal
// data: only those with the right to report read it.
type Interview struct {
	ID       string    `json:"id"`
	Incident string    `json:"incident"`
	Who      string    `json:"who"`
	Position string    `json:"position"` // department and duty
	HeardBy  string    `json:"heard_by"` // person id
	HeardAt  time.Time `json:"heard_at"`
	Consent  string    `json:"consent"`
	Text     string    `json:"text"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
}

// Consents: 同意あり(書面), 同意あり(口頭), 断られた.
func Consents() []string { return []string{"written", "oral", "refused"} }

// NewInterview is what was heard.
type NewInterview struct {
	Who      string // at most 200 characters, as Position
	Position string
	HeardBy  string // person id; the writer when empty
	HeardAt  time.Time
	Consent  string // one of Consents
	Text     string // at most 8000 characters; empty when the person refused
}

// AddInterview keeps an interview. The line of the chronology names nobody.
//
// Errors: Invalid without a name, a time in the past, or what the person
// consented to; and for notes of somebody who refused.
func (d *Desk) AddInterview(ctx context.Context, in string, n NewInterview, by auth.Person) (Interview, error) {
	if err := clean(text{"who", &n.Who, 200, true}, text{"position", &n.Position, 200, false}, text{"heard-by", &n.HeardBy, 100, false}, text{"notes", &n.Text, 8000, false}); err != nil {
		return Interview{}, err
	}
	if err := known("cause.consent", n.Consent, Consents()...); err != nil {
		return Interview{}, err
	}
	switch now := d.moment(); {
	case n.Consent == "refused" && n.Text != "":
		return Interview{}, fault.New(fault.Invalid, "cause.refused-notes")
	case n.Consent != "refused" && n.Text == "":
		return Interview{}, fault.New(fault.Invalid, "cause.missing-notes")
	case n.HeardAt.IsZero() || n.HeardAt.After(now):
		return Interview{}, fault.New(fault.Invalid, "cause.heard-at")
	default:
		if n.HeardBy == "" {
			n.HeardBy = by.ID
		}
		v := Interview{ID: clock.ID("iv", now), Incident: in, Who: n.Who, Position: n.Position, HeardBy: n.HeardBy, HeardAt: state.Time(state.Nanos(n.HeardAt)),
			Consent: n.Consent, Text: n.Text, At: now, By: by.ID}
		note := incident.Note{Key: "cause.interview", OccurredAt: v.HeardAt, Args: map[string]string{"person": v.HeardBy, "consent_key": "cause.consent." + v.Consent}}
		return v, d.create(ctx, kindInterview, v.ID, in, v, note, by)
	}
}

// Interviews returns the interviews of an incident, in the order in which they
// were written.
func (d *Desk) Interviews(ctx context.Context, in string) ([]Interview, error) {
	return list[Interview](ctx, d, kindInterview, in)
}

// What a lesson is for.
const (
	ForRule     = "rule"
	ForPlaybook = "playbook"
	ForRisk     = "risk"
)

// Targets of lessons.
func Targets() []string { return []string{ForRule, ForPlaybook, ForRisk} }

// Lesson is what others learn of an incident (教訓). It waits where it is for,
// until somebody says what became of it.
type Lesson struct {
	ID         string    `json:"id"`
	Incident   string    `json:"incident"`
	Text       string    `json:"text"`
	Target     string    `json:"target"`
	Ref        string    `json:"ref"` // id of the rule or playbook; "": a new one is needed
	Answer     string    `json:"answer"`
	AnsweredBy string    `json:"answered_by"`
	AnsweredAt time.Time `json:"answered_at"` // zero: it waits
	At         time.Time `json:"at"`
	By         string    `json:"by"`
}

// Waits says whether nobody answered it yet.
func (l Lesson) Waits() bool { return l.AnsweredAt.IsZero() }

// AddLesson keeps a lesson; ref may be empty.
func (d *Desk) AddLesson(ctx context.Context, in, what, target, ref string, by auth.Person) (Lesson, error) {
	if err := clean(text{"lesson", &what, 1000, true}, text{"ref", &ref, 200, false}); err != nil {
		return Lesson{}, err
	}
	if err := known("cause.target", target, Targets()...); err != nil {
		return Lesson{}, err
	}
	now := d.moment()
	l := Lesson{ID: clock.ID("le", now), Incident: in, Text: what, Target: target, Ref: ref, At: now, By: by.ID}
	note := incident.Note{Key: "cause.lesson", Args: map[string]string{"text": l.Text, "target_key": "cause.target." + l.Target}}
	return l, d.create(ctx, kindLesson, l.ID, in, l, note, by)
}

// AnswerLesson says what became of a lesson. Conflict when somebody did.
func (d *Desk) AnswerLesson(ctx context.Context, in, id, answer string, by auth.Person) error {
	if err := clean(text{"answer", &answer, 1000, true}); err != nil {
		return err
	}
	now := d.moment()
	return alter(ctx, d, kindLesson, in, id, by, func(l *Lesson) (incident.Note, error) {
		if !l.Waits() {
			return incident.Note{}, fault.New(fault.Conflict, "cause.answered")
		}
		l.Answer, l.AnsweredBy, l.AnsweredAt = answer, by.ID, now
		return incident.Note{Key: "cause.lesson-answered", Args: map[string]string{"text": l.Text, "answer": answer}}, nil
	})
}

// Lessons returns the lessons of an incident, of all when in is empty, in the
// order in which they were written.
func (d *Desk) Lessons(ctx context.Context, in string) ([]Lesson, error) {
	return list[Lesson](ctx, d, kindLesson, in)
}

// LessonsFor returns the lessons that wait at a target; with a ref those for it
// alone.
func (d *Desk) LessonsFor(ctx context.Context, target, ref string) ([]Lesson, error) {
	all, err := d.Lessons(ctx, "")
	var out []Lesson
	for _, l := range all {
		if l.Target == target && l.Waits() && (ref == "" || l.Ref == ref) {
			out = append(out, l)
		}
	}
	return out, err
}
