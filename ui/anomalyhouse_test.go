package ui

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/anomaly"
)

// anomaliesOf has the backups of two machines, one of which is being encrypted,
// and keeps what is sent.
type anomaliesOf struct{ *house }

func snapshotName(n byte) string { return strings.Repeat(string([]byte{'a' + n%6, '0' + n%10}), 32) }

func (h anomaliesOf) List(_ context.Context, site string) ([]anomaly.Series, error) {
	all := []anomaly.Series{
		{ID: "sr-1", Repository: "ho-1", Site: "callcentre", Host: "ho-1", Name: "CC-PC-07", Paths: []string{"/srv/共有", "/home"}, Class: "cl-2", Last: snapshotName(1),
			LastAt: start.Add(-3 * time.Hour), Verdict: anomaly.Flagged, Points: 100, Snapshots: 30, Open: 2, Clean: snapshotName(3), CleanAt: start.Add(-75 * time.Hour)},
		{ID: "sr-2", Repository: "ho-2", Site: "hospital", Host: "ho-2", Name: "EMR-SV-01", Paths: []string{"/var/lib/emr"}, Last: snapshotName(0), LastAt: start.Add(-time.Hour), Verdict: anomaly.Calm, Snapshots: 1},
	}
	return slices.DeleteFunc(all, func(s anomaly.Series) bool { return site != "" && s.Site != site }), nil
}

func (h anomaliesOf) ProposeClasses(ctx context.Context, site string) ([]anomaly.ClassProposal, error) {
	all, err := h.List(ctx, site)
	if len(all) == 0 || err != nil || all[0].ID != "sr-1" {
		return nil, err
	}
	at := start.Add(-147 * time.Hour)
	return []anomaly.ClassProposal{{Site: "callcentre", Class: "cl-2", Begun: start.Add(-53 * time.Hour), Until: at, Series: []anomaly.SeriesProposal{
		{Series: all[0], Choice: snapshotName(6), Received: at, Proven: at.Add(6 * time.Hour)}, {Series: all[0], Choice: snapshotName(4), Received: at.Add(72 * time.Hour)}}}}, nil
}

func (h anomaliesOf) Get(ctx context.Context, id string) (anomaly.Series, error) {
	all, err := h.List(ctx, "")
	for _, s := range all {
		if s.ID == id {
			return s, err
		}
	}
	return anomaly.Series{}, missing("protect.anomaly.missing")
}

func (h anomaliesOf) Snapshots(_ context.Context, series string, limit, offset int) ([]anomaly.Snapshot, int, error) {
	if series != "sr-1" {
		return nil, 0, nil
	}
	var all []anomaly.Snapshot
	for i := range 30 {
		at := start.Add(-3*time.Hour - time.Duration(i)*24*time.Hour)
		s := anomaly.Snapshot{Series: series, ID: snapshotName(byte(i + 1)), At: at.Add(-time.Minute), Received: at, Score: anomaly.Score{Verdict: anomaly.Calm},
			Numbers: anomaly.Numbers{Files: 21_480, Bytes: 9 << 30, Changed: 310 + i, New: 40, Removed: 12, Moved: 3, Compared: 310, Looked: 40, OldRatio: 0.41, Ratio: 0.42}}
		switch i {
		case 0:
			s.Verdict, s.Points = anomaly.Flagged, 100
			s.Reasons = []anomaly.Reason{
				{Rule: anomaly.RuleDamage, Points: 97, N: 1290, Of: 1431, Limit: 86, Z: 21.4, Since: start.Add(-51 * time.Hour).Format(time.RFC3339), Examples: []string{"/srv/共有/医事/名簿.xlsx.locked"}},
				{Rule: anomaly.RuleSqueeze, Points: 20, N: 1431, Before: 0.41, After: 0.97}}
			s.Files = []anomaly.File{{Path: "/srv/共有/医事/名簿.xlsx.locked", Was: "/srv/共有/医事/名簿.xlsx", Sign: anomaly.SignMagic, Size: 81_200, OldEntropy: 0.83, Entropy: 0.999, OldRatio: 0.61, Ratio: 1},
				{Path: "/home/<b>.csv", Sign: anomaly.SignWindow, Size: 512, OldEntropy: 0.61, Entropy: 0.99, OldRatio: 0.2, Ratio: 0.99}}
			s.Marked = 2
		case 1:
			s.Verdict, s.Points = anomaly.Question, 30
			s.Reasons = []anomaly.Reason{{Rule: anomaly.RuleQuestion, Points: 30, N: 120, Of: 150, Limit: 86}}
			s.Answer = &anomaly.Answer{Planned: true, Reason: "保管前の暗号化", Ticket: "CHG-118", By: "pe-responder", At: at.Add(time.Hour)}
		case 2:
			s.Verdict, s.Problem = anomaly.Unread, "data/ab: offset 20: the MAC does not fit"
		case 6:
			s.Verdict, s.Points = anomaly.Flagged, 100
			s.Reasons = []anomaly.Reason{
				{Rule: anomaly.RuleHead, Points: 100, N: 1, Form: anomaly.FormPostgreSQL, Since: start.Add(-171 * time.Hour).Format(time.RFC3339), Examples: []string{"/emr.電子カルテ.dump"}},
				{Rule: anomaly.RuleInside, Points: 100, N: 1, Form: anomaly.FormSQL, Examples: []string{"/emr.roles.sql"}},
				{Rule: anomaly.RuleScrambled, Points: 91, N: 2, After: 0.71, Examples: []string{"/vm/ward.qcow2", "/vm/rota.qcow2"}}}
			s.Answer = &anomaly.Answer{Planned: true, Reason: "ダンプの作り方を変えた", Ticket: "CHG-120", By: "pe-responder", At: at.Add(time.Hour)}
		case 4:
			s.Partial = true
		case 29:
			s.Verdict = anomaly.First
		}
		all = append(all, s)
	}
	return all[min(offset, 30):min(offset+limit, 30)], 30, nil
}

func (h anomaliesOf) Snapshot(ctx context.Context, series, id string) (anomaly.Snapshot, error) {
	all, _, err := h.Snapshots(ctx, series, 400, 0)
	for _, s := range all {
		if s.ID == id {
			return s, err
		}
	}
	return anomaly.Snapshot{}, missing("protect.anomaly.missing")
}

func (h anomaliesOf) Answer(ctx context.Context, series, id string, n anomaly.NewAnswer, _ auth.Person) (anomaly.Snapshot, error) {
	if n.Reason == "" {
		return anomaly.Snapshot{}, fault.New(fault.Invalid, "protect.anomaly.no-reason")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.backups = append(h.backups, n)
	return anomaly.Snapshot{}, nil
}

func (h anomaliesOf) Propose(ctx context.Context, series string, begun time.Time, uncertain time.Duration) (anomaly.Proposal, error) {
	all, _, err := h.Snapshots(ctx, series, 400, 0)
	p := anomaly.Proposal{Series: series, Begun: begun, Uncertain: uncertain}
	if len(all) == 0 {
		return p, err
	}
	if begun.IsZero() {
		p.Begun, p.Because = start.Add(-51*time.Hour), all[0].ID
	}
	for i, s := range all {
		c := anomaly.Candidate{Snapshot: s.ID, At: s.At, Received: s.Received, Points: s.Points}
		switch {
		case i < 3:
			c.Dropped = anomaly.DropAfter
		case s.Partial:
			c.Dropped = anomaly.DropPartial
		case i == 5:
			c.Proven = s.Received.Add(6 * time.Hour)
		}
		p.Candidates = append(p.Candidates, c)
	}
	p.Choice, p.Newest = all[5].ID, all[3].ID
	return p, err
}

func (h anomaliesOf) Confirm(_ context.Context, _ string, n anomaly.NewCleanPoint, _ auth.Person) (anomaly.CleanPoint, error) {
	if n.Reason == "" {
		return anomaly.CleanPoint{}, fault.New(fault.Invalid, "protect.anomaly.no-reason")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.backups = append(h.backups, n)
	return anomaly.CleanPoint{}, nil
}

func (h anomaliesOf) CleanPoints(_ context.Context, series string) ([]anomaly.CleanPoint, error) {
	if series != "sr-1" {
		return nil, nil
	}
	return []anomaly.CleanPoint{{ID: "cp-1", Series: series, Snapshot: snapshotName(4), Received: start.Add(-75 * time.Hour), Begun: start.Add(-51 * time.Hour), Reason: "開けることを3つのファイルで確かめた", By: "pe-responder", At: start.Add(-time.Hour)}}, nil
}

func (h anomaliesOf) Loss(ctx context.Context, series, snapshot string) (anomaly.Loss, error) {
	return anomaly.Loss{Series: series, Snapshot: snapshot, Until: snapshotName(1), Total: 4, Marked: 2, Files: []anomaly.LostFile{
		{Path: "/srv/共有/医事/名簿.xlsx", Gone: true, Sign: anomaly.SignMagic, Good: snapshotName(3), GoodAt: start.Add(-51 * time.Hour), Looked: true},
		{Path: "/srv/共有/医事/名簿.xlsx.locked", New: true, Sign: anomaly.SignMagic, Looked: true},
		{Path: "/home/報告.txt", Good: snapshotName(1), GoodAt: start.Add(-3 * time.Hour), Looked: true},
		{Path: "/home/映像.mp4", Good: snapshot, GoodAt: start.Add(-75 * time.Hour)},
	}}, nil
}

func TestCleanPointIsConfirmedWithoutScript(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	r, at := v.as("responder"), "/protect/snapshots/sr-1/"
	answer := []string{"planned", "no", "ticket", "CHG-9"}
	clean := []string{"snapshot", snapshotName(6), "uncertain", "1h0m0s", "begun", "2026-11-20T09:00"}
	for path, form := range map[string][]string{at + snapshotName(1) + "/answer": answer, at + "clean": clean} {
		if got := r.post(path, form...); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, "理由を書いてください") {
			t.Errorf("%s without a reason: %d", path, got.status)
		}
		if got := r.post(path, append(form, "reason", "確かめた")...); got.status != http.StatusSeeOther {
			t.Errorf("%s: %d", path, got.status)
		}
		if got := v.as("executive").post(path, append(form, "reason", "x")...); got.status != http.StatusForbidden {
			t.Errorf("%s by somebody who only looks: %d", path, got.status)
		}
	}
	if len(h.backups) != 2 {
		t.Fatalf("%d things were kept, want an answer and a clean point", len(h.backups))
	}
	for _, s := range h.backups {
		if n, ok := s.(anomaly.NewCleanPoint); ok && (n.Uncertain != time.Hour || n.Begun.IsZero()) {
			t.Errorf("sent %+v", n)
		}
	}
}
