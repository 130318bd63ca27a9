package ui

import (
	"context"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/fault"
)

// law are the real rules; pages are about what they show.
func law() duty.Rules {
	r, err := duty.LoadRules()
	if err != nil {
		panic(err)
	}
	return r
}

func (h dutiesOf) Rules() duty.Rules { return law() }

func (h dutiesOf) Restate(_ context.Context, id string, f duty.Facts, reason string, _ auth.Person) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.Maximum > 0 && f.Confirmed > f.Maximum {
		return fault.New(fault.Invalid, "duty.count")
	}
	a := h.duties[id]
	a.Facts = f
	h.duties[id] = a
	h.reasons = append(h.reasons, reason)
	return nil
}

// claimed are facts with all that the page of duties can show.
func claimed() duty.Facts {
	return duty.Facts{KnownAt: start.Add(-90 * time.Minute), LegalClass: "private_business", Personal: duty.Yes, Sensitive: duty.Yes, Property: duty.No, BadIntent: duty.Unknown,
		Public: duty.No, MyNumber: duty.No, PublicSystem: duty.No, Encrypted: duty.Yes, Maximum: 1200, Contractor: "callcentre", Ransomware: duty.Yes, IdenticalCopy: duty.Yes, NoIndicator: duty.Yes,
		Exemption: duty.Proof{Algorithm: "AES-256-XTS", Listed: duty.Yes, Unreadable: duty.Yes, KeyApart: duty.Yes},
		Knowledge: []duty.Knowledge{{Side: duty.OwnSide, Who: "医事課", What: "見慣れない画面が出た", At: start.Add(-90 * time.Minute)},
			{Side: duty.ContractorSide, Who: "コールセンター 班長", At: start.Add(-80 * time.Minute)}}}
}

func (h dutiesOf) At(_ context.Context, id string, at time.Time) (duty.Assessment, duty.Statement, error) {
	if at.Before(start.Add(-24 * time.Hour)) {
		return duty.Assessment{}, duty.Statement{}, fault.New(fault.Missing, "duty.nothing-known")
	}
	return duty.Evaluate(law(), claimed(), at), duty.Statement{Incident: id, No: 2, At: start.Add(-time.Hour), By: "pe-responder"}, nil
}

func (h dutiesOf) History(_ context.Context, id string) ([]duty.Statement, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := duty.Facts{KnownAt: start.Add(-60 * time.Minute), LegalClass: "private_business", Contractor: "callcentre"}
	was, is := start.Add(4*24*time.Hour), start.Add(3*24*time.Hour)
	return []duty.Statement{{Incident: id, No: 1, At: start.Add(-time.Hour), By: "sonae", Facts: first},
		{Incident: id, No: 2, At: start.Add(-30 * time.Minute), By: "pe-responder", Facts: claimed(), Reason: "医事課が先に気づいていた",
			Moved: []duty.Move{{Clock: "appi_26.prompt", From: was, To: is, Was: duty.Unknown, Is: duty.Yes, Fact: "duty.fact.known", Basis: "個人情報保護法 第26条 [P]"},
				{Clock: "mynumber_29_4.prompt", From: was, Was: duty.Unknown, Is: duty.No, Fact: "duty.fact.known", Basis: "番号利用法 第29条の4 [P]"}}}}, nil
}

func (h dutiesOf) Decisions(_ context.Context, id string) ([]duty.Decision, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := []duty.Decision{{Incident: id, No: 1, At: start.Add(-10 * time.Minute), By: "pe-responder", Kind: duty.KindNotify, Choice: duty.NotYet, Grounds: []string{"facts_too_thin_to_help"},
		Reason: "誰の情報か、まだわからない", Facts: 2}}
	return append(all, h.dutyDecided...), nil
}

func (h dutiesOf) Decide(_ context.Context, id string, n duty.NewDecision, by auth.Person) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n.Reason == "" {
		return fault.New(fault.Invalid, "duty.reason-missing")
	}
	h.dutyDecided = append(h.dutyDecided, duty.Decision{Incident: id, No: 2 + len(h.dutyDecided), At: start, By: by.ID, Kind: n.Kind, About: n.About, Choice: n.Choice, Grounds: n.Grounds, Means: n.Means, Reason: n.Reason, Facts: 2})
	return nil
}

func (h dutiesOf) Sign(ctx context.Context, id string, n duty.NewDecision, by auth.Person) error {
	n.Kind = duty.KindExemption
	return h.Decide(ctx, id, n, by)
}

func (h dutiesOf) Contacts(context.Context) ([]duty.Authority, error) {
	var all []duty.Authority
	for _, c := range law().Contacts {
		all = append(all, duty.Authority{ID: c.ID, Phone: c.Phone, Mail: c.Mail, AsOf: c.AsOf.Time, Source: c.Source, Confidence: c.Confidence})
	}
	all[5].VerifiedAt, all[5].VerifiedBy, all[5].ChangedAt, all[5].ChangedBy, all[5].Note = start, "pe-admin", start, "pe-admin", "漏えい等報告の窓口"
	return append(all, duty.Authority{ID: "au-1", Own: true, Name: "顧問弁護士", Phone: "03-0000-0000", ChangedAt: start, ChangedBy: "pe-admin"}), nil
}

func (h dutiesOf) SaveContact(_ context.Context, id string, n duty.NewContact, _ auth.Person) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.contacts = append(h.contacts, id+" "+n.Phone)
	return nil
}

func (h dutiesOf) HolidaysNow(context.Context) (duty.Holidays, []duty.HolidayUpdate, error) {
	return law().Holidays, []duty.HolidayUpdate{{No: 1, At: start, By: "pe-admin", Source: "syukujitsu.csv", Days: make([]duty.Holiday, 18)}}, nil
}

// PreviewHolidays says that one clock of the first incident moves.
func (h dutiesOf) PreviewHolidays(_ context.Context, days []duty.Holiday) (duty.HolidayEffect, error) {
	e := duty.HolidayEffect{Changes: law().Holidays.Diff(days), Moved: []duty.Moved{}}
	if len(e.Changes) == 0 {
		return e, fault.New(fault.Conflict, "duty.holidays-same")
	}
	from := time.Date(2026, 12, 21, 14, 59, 59, 0, time.UTC)
	for _, i := range h.cases {
		e.Moved = append(e.Moved, duty.Moved{Incident: i.ID, No: i.No, Clocks: []duty.Move{
			{Clock: "appi_26.final", From: from, To: from.AddDate(0, 0, 1), Was: duty.Yes, Is: duty.Yes, Fact: "duty.fact.known", Basis: "個人情報保護法第26条第1項 / 施行規則第8条第2項 [P]"},
			{Clock: "mynumber_29_4.final", From: from, To: from.AddDate(0, 0, 1), Was: duty.Unknown, Is: duty.Unknown, Fact: "duty.fact.known", Basis: "番号利用法第29条の4 [P]"}}})
	}
	return e, nil
}

func (h dutiesOf) UpdateHolidays(ctx context.Context, u duty.HolidayUpdate) (duty.HolidayEffect, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lists = append(h.lists, u)
	return duty.HolidayEffect{}, nil
}
