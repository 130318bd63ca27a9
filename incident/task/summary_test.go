package task

import (
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/incident/decision"
)

func TestAHandoverNamesOpenDecisions(t *testing.T) {
	now := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	ehr := decision.Service{Key: "hospital/ehr", Site: "hospital", Name: "電子カルテ"}
	s := summary{now: now, advice: decision.Advice{Name: detect.Text{"ja": "予約電話", "en": "booking"}, Verdict: decision.Stop},
		decided: []decision.Decision{{Service: ehr, Verdict: decision.Pause, ReviewAt: now.Add(-time.Hour)}, {Service: ehr, Verdict: decision.Keep, ReviewAt: now.Add(time.Hour)}}}
	for lang, want := range map[string][]string{"ja": {"未判断: 予約電話", "遅れている: 電子カルテ", "見直し: 電子カルテ"}, "en": {"not decided: booking", "overdue", "to review"}} {
		got := strings.Join(s.pendingLines(&page{lang: lang}, nil), "\n")
		for _, w := range want {
			if !strings.Contains(got, w) || strings.ContainsAny(got, "⟦{") {
				t.Errorf("%s: no %q in\n%s", lang, w, got)
			}
		}
	}
	s.advice.Decided = &s.decided[0]
	if got := strings.Join(s.pendingLines(&page{lang: "ja"}, nil), "\n"); strings.Contains(got, "未判断") {
		t.Errorf("what was decided is said to be open:\n%s", got)
	}
}
