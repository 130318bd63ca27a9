package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/fault"
)

// StatedFacts are facts with the reason why they are stated anew.
type StatedFacts struct {
	duty.Facts
	Reason string `json:"reason,omitempty" maxLength:"4000" doc:"needed when something is said otherwise than a person said before"`
}

// DutiesAt asks for the duties as they were at a time. (Exported like Paging.)
type DutiesAt struct {
	ByID
	At time.Time `query:"at" doc:"what was on record then, evaluated as of then; now when absent"`
}

// Signature is what a second person says about the proof of strong encryption.
type Signature struct {
	Choice string `json:"choice" enum:"accept,refuse"`
	Reason string `json:"reason" minLength:"1" maxLength:"4000"`
	Digest string `json:"digest" minLength:"64" maxLength:"64" doc:"exempt.digest of the duties: the proof that was read"`
}

// HolidayFile is a list of holidays as the Cabinet Office publishes it.
type HolidayFile struct {
	Check   bool   `query:"check" doc:"only say what would change"`
	Source  string `query:"source" maxLength:"200" doc:"where the file is from"`
	RawBody []byte `contentType:"text/csv"`
}

// HolidayResult is on which days a list differs, and what that does.
type HolidayResult struct {
	Items []duty.HolidayChange `json:"items" nullable:"false"`
	Total int                  `json:"total" doc:"how many there are"`
	Moved []duty.Moved         `json:"moved" nullable:"false" doc:"open incidents whose clocks it moves, with old and new end and the article"`
}

// HolidayYear says what is known of a year.
type HolidayYear struct {
	Year      int  `json:"year"`
	Announced bool `json:"announced" doc:"published, not only computed from the law"`
}

// LawData is what deadlines are computed with, and what is not computed.
type LawData struct {
	Rules    string         `json:"rules"`
	Holidays []duty.Holiday `json:"holidays"`
	Source   string         `json:"source" doc:"of the holidays"`
	Years    []HolidayYear  `json:"years"`
	Pending  []duty.Pending `json:"pending" doc:"known to be coming; nothing is computed from it"`
}

func (s *server) dutyOperations() {
	register(s, operation{"get-duties", http.MethodGet, "/incidents/{id}/duties", "What the law asks, and until when; also as of a past time", 0}, incidentRule[DutiesAt](s, auth.View, "report"),
		func(ctx context.Context, _ auth.Person, in *DutiesAt) (*body[duty.Assessment], error) {
			if !in.At.IsZero() {
				a, _, err := s.Duties.At(ctx, in.ID, in.At)
				return &body[duty.Assessment]{a}, err
			}
			a, err := s.Duties.Assess(ctx, in.ID)
			return &body[duty.Assessment]{a}, err
		})
	register(s, operation{"set-facts", http.MethodPut, "/incidents/{id}/facts", "State the facts that the duties follow from", 0},
		incidentRule[withBody[StatedFacts]](s, auth.Report, "report"),
		func(ctx context.Context, who auth.Person, in *withBody[StatedFacts]) (*none, error) {
			return nil, s.Duties.Restate(ctx, in.ID, in.Body.Facts, in.Body.Reason, who)
		})
	register(s, operation{"list-facts", http.MethodGet, "/incidents/{id}/facts", "Every statement of the facts, with what it changed in the clocks, oldest first", 0}, incidentRule[ByID](s, auth.View, "report"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[duty.Statement]], error) {
			all, err := s.Duties.History(ctx, in.ID)
			return paged(all, len(all)), err
		})
	s.dutyDecisions()
	s.dutyData()
}

// DutyDecision is what somebody decided about the duties.
type DutyDecision duty.Decision

// NewDutyDecision is such a decision as it comes.
type NewDutyDecision duty.NewDecision

func (s *server) dutyDecisions() {
	register(s, operation{"list-duty-decisions", http.MethodGet, "/incidents/{id}/duty-decisions", "Decisions about the duties, oldest first", 0}, incidentRule[ByID](s, auth.View, "report"),
		func(ctx context.Context, _ auth.Person, in *ByID) (*body[page[DutyDecision]], error) {
			all, err := s.Duties.Decisions(ctx, in.ID)
			out := make([]DutyDecision, len(all))
			for i, d := range all {
				out[i] = DutyDecision(d)
			}
			return paged(out, len(out)), err
		})
	register(s, operation{"decide-duty", http.MethodPost, "/incidents/{id}/duty-decisions", "Decide about the notice to persons, or a row of a decision table", 0},
		incidentRule[withBody[NewDutyDecision]](s, auth.Report, "report"),
		func(ctx context.Context, who auth.Person, in *withBody[NewDutyDecision]) (*none, error) {
			return nil, s.Duties.Decide(ctx, in.ID, duty.NewDecision(in.Body), who)
		})
	register(s, operation{"sign-exemption", http.MethodPost, "/incidents/{id}/exemption", "Accept or refuse the proof of strong encryption, as a second person", 0},
		incidentRule[withBody[Signature]](s, auth.Approve, "report"),
		func(ctx context.Context, who auth.Person, in *withBody[Signature]) (*none, error) {
			return nil, s.Duties.Sign(ctx, in.ID, duty.NewDecision{Choice: in.Body.Choice, Reason: in.Body.Reason, Digest: in.Body.Digest}, who)
		})
}

func (s *server) dutyData() {
	register(s, operation{"list-authorities", http.MethodGet, "/authorities", "Whom to tell outside, and who checked the numbers when", 0}, rule[none]{auth.View, "report", anywhere[none]},
		func(ctx context.Context, _ auth.Person, _ *none) (*body[page[duty.Authority]], error) {
			all, err := s.Duties.Contacts(ctx)
			return paged(all, len(all)), err
		})
	register(s, operation{"save-authority", http.MethodPut, "/authorities/{id}", "Write how to reach an authority; new makes one of the site's own", 0}, rule[withBody[duty.NewContact]]{auth.Administer, "report", anywhere[withBody[duty.NewContact]]},
		func(ctx context.Context, who auth.Person, in *withBody[duty.NewContact]) (*none, error) {
			return nil, s.Duties.SaveContact(ctx, in.ID, in.Body, who)
		})
	register(s, operation{"get-law", http.MethodGet, "/law", "Holidays that deadlines are counted with, and law that is only coming", 0}, rule[none]{auth.View, "report", anywhere[none]}, s.lawData)
	register(s, operation{"update-holidays", http.MethodPost, "/law/holidays", "Take over a list of holidays in the Cabinet Office's format (CSV, Shift_JIS or UTF-8)", 0}, rule[HolidayFile]{auth.Administer, "report", anywhere[HolidayFile]}, s.updateHolidays)
}

func (s *server) lawData(ctx context.Context, _ auth.Person, _ *none) (*body[LawData], error) {
	h, _, err := s.Duties.HolidaysNow(ctx)
	if err != nil {
		return nil, err
	}
	r := s.Duties.Rules()
	out := LawData{Rules: r.Name(), Holidays: h.List(), Source: h.Source, Pending: r.Pending}
	years := h.Years()
	for _, y := range slices.Sorted(maps.Keys(years)) {
		out.Years = append(out.Years, HolidayYear{y, years[y]})
	}
	return &body[LawData]{out}, nil
}

func (s *server) updateHolidays(ctx context.Context, who auth.Person, in *HolidayFile) (*body[HolidayResult], error) {
	days, err := duty.ParseHolidayCSV(bytes.NewReader(in.RawBody))
	if err != nil {
		return nil, fault.New(fault.Invalid, "duty.holidays", err.Error())
	}
	var e duty.HolidayEffect
	if in.Check {
		e, err = s.Duties.PreviewHolidays(ctx, days)
		if fault.Of(err) == fault.Conflict { // nothing would change: that is an answer
			e, err = duty.HolidayEffect{Changes: []duty.HolidayChange{}, Moved: []duty.Moved{}}, nil
		}
	} else {
		sum := sha256.Sum256(in.RawBody)
		e, err = s.Duties.UpdateHolidays(ctx, duty.HolidayUpdate{By: who.ID, Source: in.Source, SHA256: hex.EncodeToString(sum[:]), Days: days})
	}
	return &body[HolidayResult]{HolidayResult{e.Changes, len(e.Changes), e.Moved}}, err
}
