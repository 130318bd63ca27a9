package html

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/report/sheet"
)

// calm is an incident about which nothing is known yet.
func calm() sheet.Sheet {
	return sheet.Sheet{MadeAt: at(14, 5), Incident: sheet.Incident{ID: "in-1", No: 7, Title: "受付PCのファイル共有", State: both("発生", "Opened")},
		Risk:    sheet.Risk{Level: sheet.Low, Reason: both("事案の緊急度は「低」です。", "The severity of the incident is “Low”.")},
		Counts:  counts(0, 0, 0),
		Persons: sheet.Persons{Classes: classes("unknown")},
		Next:    sheet.Next{What: both("いま決めることはありません。", "There is nothing to decide now.")}}
}

func counts(todo, doing, done int) []sheet.Count {
	return []sheet.Count{{Name: both("警報", "Alerts"), Todo: todo, Doing: doing, Done: done}, {Name: both("措置", "Measures"), Todo: todo, Doing: doing, Done: done}, {Name: both("手順", "Steps"), Todo: todo, Doing: doing, Done: done}}
}

func classes(applies ...string) (out []sheet.Class) {
	for i, name := range []sheet.Text{both("個人情報", "Personal data"), both("要配慮個人情報（病歴など）", "Sensitive data (medical history …)"), both("マイナンバー（特定個人情報）", "My Number"), both("財産的被害につながる情報", "Data that can cost money")} {
		out = append(out, sheet.Class{Name: name, Applies: applies[i%len(applies)]})
	}
	return out
}

// usual is an incident in its course.
func usual() sheet.Sheet {
	s := calm()
	s.Incident.State, s.Incident.Commander, s.Incident.KnownAt = both("対応中", "Responding"), "別所 一", at(13, 2)
	s.Risk = sheet.Risk{Level: sheet.High, Reason: both("緊急度の高い警報が2件、まだ収まっていません（最高は「高」）。", "2 serious alerts are not settled yet (worst: High)."),
		Also: []sheet.Text{both("事案の緊急度は「高」です。", "The severity of the incident is “High”.")}}
	s.InForce, s.Counts = sheet.InForce{Isolated: 1, Other: 2}, counts(1, 4, 12)
	s.Matrix = sheet.Matrix{Sites: []string{"予約コールセンター(委託先)", "地域中核病院"}, Rows: []sheet.Row{
		{Name: both("外来予約の電話受付", "Telephone booking"), Cells: []sheet.Cell{{State: sheet.Degraded, Affected: 1, Total: 12}, {}}},
		{Name: both("電子カルテ", "Medical records"), Cells: []sheet.Cell{{}, {State: sheet.Running, Total: 60}}},
		{Name: both("すべての機器", "All machines"), Cells: []sheet.Cell{{State: sheet.Degraded, Affected: 1, Total: 14}, {State: sheet.Running, Total: 86}}},
	}}
	s.Matrix.Rows[1].Cells[1].Hand = sheet.Degraded
	s.Matrix.Rows = append([]sheet.Row{{Name: report.Plain("調剤の機械"), Cells: []sheet.Cell{{}, {Hand: sheet.Stopped}}}}, s.Matrix.Rows...)
	s.ByHand = []sheet.Stated{{System: "調剤の機械", Site: "地域中核病院", State: sheet.Stopped, Why: "薬剤部から電話。手で調剤している", At: at(14, 2), By: "安西 花"},
		{System: "電子カルテ", Site: "地域中核病院", State: sheet.Degraded, Seen: sheet.Running, Why: "3階だけ開かない", At: at(13, 40), By: "安西 花"}}
	s.Persons = sheet.Persons{Confirmed: 120, Maximum: 4800, Classes: classes("yes", "unknown", "no", "no"), Kind: "予約者の氏名・電話番号・診療科"}
	s.Deadlines = []sheet.Deadline{
		{Name: both("委託元への通知", "Notice to the principal"), Due: at(14, 50), Sure: true},
		{Name: both("速報（個人情報保護法 第26条）", "Preliminary report (APPI Art. 26)"), Due: time.Date(2026, 11, 26, 14, 59, 59, 0, time.UTC), Target: time.Date(2026, 11, 24, 14, 59, 59, 0, time.UTC)},
	}
	s.Next = sheet.Next{What: both("承認するか決める: cc-pc-07 を隔離する", "Decide whether to approve: Isolate cc-pc-07"), Why: report.Plain("個人情報の送信を止める"),
		IfSo: report.Plain("外来予約の電話受付: この席で予約の電話を受けられなくなる（1時間あたり約40件の電話）"), IfNot: both("この機器にある予約者の個人情報が外へ出たおそれがある。", "Personal data of patients on this machine may have left.")}
	s.Recovery = &sheet.Recovery{P50: 26 * time.Hour, P90: 53 * time.Hour, Loss: 9*time.Hour + 20*time.Minute, LastProven: at(14, 5).AddDate(0, -1, 0), Path: "/protect/forecast?plan=pl-1"}
	s.Approvals = []sheet.Approval{{ID: "ac-1", Title: both("cc-pc-07 を隔離する", "Isolate cc-pc-07"), Stops: []sheet.Text{report.Plain("外来予約の電話受付: この席で受けられなくなる")}, RequestedBy: "情報システム係", At: at(14, 3), Path: "/actions/ac-1/approve"}}
	return s
}

// crowded is as much as a sheet ever holds, in long words.
func crowded() sheet.Sheet {
	s := usual()
	long := strings.Repeat("とても長い名前の", 4)
	latin := strings.Repeat("Considerably-long ", 5)
	s.Drill = true
	s.Recovery = &sheet.Recovery{Begun: true, P50: 1999 * time.Hour, P90: 4999*time.Hour + 59*time.Minute, Loss: -1, Changed: at(13, 59)}
	s.Incident.Title = `<script>alert("x")</script>` + strings.Repeat("予約コールセンターの端末からの個人情報の持ち出しの疑い", 4)
	s.Incident.Commander = "情報システム管理室長代理 長曽我部 龍之介"
	s.Risk.Reason = both("「"+long+"電子カルテ」を止める基準に当たりました: 暗号化された共有フォルダーが3つ以上、10分以内に見つかったとき（医療情報システムの安全管理に関する手順 第4版 別紙2）",
		"A criterion to stop “"+latin+"medical records” is met: three or more encrypted shares found within ten minutes (safety procedure, version 4, annex 2)")
	s.Risk.Also = []sheet.Text{both("マイナンバー（特定個人情報）が含まれています。", "My Number data is affected."), both("病歴などの要配慮個人情報が漏れた、または漏れたおそれがあります。", "Sensitive data such as medical history has leaked or may have."), both("影響を受ける人が最大で162,828人になり、1,000人を超えます。", "Up to 162,828 persons are affected, more than 1,000."), both("五つ目", "a fifth")}
	s.Advice = []sheet.Advice{
		{Service: long + "電子カルテ", Verdict: sheet.Stop, Criterion: s.Risk.Reason},
		{Service: "外来予約の電話受付", Verdict: sheet.Keep, Criterion: both("影響が1拠点にとどまり、診療への影響が大きい", "One site only, and care depends on it"), Decided: true, By: "病院長 安西 花", Review: at(16, 0)}}
	s.InForce, s.Counts = sheet.InForce{Isolated: 1204, Cut: 12, Other: 388}, append(counts(12345, 2345, 123456), sheet.Count{Name: both("課題（タスク）", "Tasks"), Todo: 99}, sheet.Count{Name: both("連絡", "Calls"), Todo: 99})
	s.Matrix = sheet.Matrix{MoreSites: 8, MoreRows: 31, Sites: []string{"予約コールセンター(委託先・" + long + ")", "地域中核病院", "第二データセンター", "Headquarters-of-the-municipal-association"}}
	states := []sheet.State{sheet.Stopped, sheet.Degraded, sheet.Restarting, sheet.Running}
	for i := range 10 {
		r := sheet.Row{Name: both(fmt.Sprintf("%s%d", long, i), fmt.Sprintf("%s%d", latin, i))}
		for j := range 4 {
			r.Cells = append(r.Cells, sheet.Cell{State: states[(i+j)%4], Affected: 1000 - i, Total: 1200})
		}
		s.Matrix.Rows = append(s.Matrix.Rows, r)
	}
	for i := range 3 {
		s.Matrix.Rows[i].Cells[i].Hand = states[i]
		s.ByHand = append(s.ByHand, sheet.Stated{System: long + "システム", Site: long + "拠点", State: states[i], Seen: sheet.Running, Why: strings.Repeat("現場で見ると動いていない。", 15), At: at(14, i), By: s.Incident.Commander})
	}
	s.MoreHand = 150
	s.Persons = sheet.Persons{Confirmed: 162_828, Maximum: 8_514_093, Classes: classes("yes", "unknown"), Kind: strings.Repeat("氏名・住所・生年月日・病名・処方・", 12)}
	s.Deadlines, s.MoreDue = nil, 17
	for i := range 5 {
		s.Deadlines = append(s.Deadlines, sheet.Deadline{Name: both("確報（判断が変わった場合）（番号利用法 第29条の4・"+long+"）", "Final report, if it turns out otherwise ("+latin+")"),
			Due: at(14, 5).Add(time.Duration(i-1) * 337 * time.Hour), Target: at(14, 5).Add(time.Duration(i) * 300 * time.Hour), Sure: i == 0, Step: i == 1})
	}
	s.Next = sheet.Next{What: both("「"+long+"電子カルテ」をすぐに止めるか決める", "Decide whether to stop “"+latin+"” at once"), Why: s.Risk.Reason, IfSo: both(strings.Repeat("6病棟・12診療科で紙の運用に切り替わる。", 6), strings.Repeat("6 wards and 12 clinics go on paper. ", 6)), IfNot: both(strings.Repeat("1,204台と162,828人の情報に広がる。", 6), strings.Repeat("1,204 machines, 162,828 persons at risk. ", 6))}
	s.Approvals, s.MoreWait = nil, 9
	for i := range 2 {
		s.Approvals = append(s.Approvals, sheet.Approval{ID: fmt.Sprint("ac-", i), Title: both(long+"を順に遮断する", "Cut "+latin+"stage by stage"), Stops: []sheet.Text{report.Plain(long + "外来予約の電話受付: この席で受けられなくなる"), report.Plain(latin)}, RequestedBy: "情報システム管理室長代理 長曽我部 龍之介", At: at(14, i)})
	}
	return s
}

// kept is a sheet as it is kept.
func kept(s sheet.Sheet) sheet.Sheet {
	s.ID, s.No, s.MadeBy, s.MadeByID, s.Salt = "sh-0193a0000000-0123456789ab", 3, "総務 花", "pe-1", "00112233445566778899aabbccddeeff"
	return s
}

func sheets() map[string]sheet.Sheet {
	return map[string]sheet.Sheet{"calm": calm(), "usual": kept(usual()), "crowded": kept(crowded())}
}

func drawSheet(t *testing.T, s sheet.Sheet, lang string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := (Sheets{}).Write(&b, s, lang); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSheetGolden(t *testing.T) {
	for name, s := range sheets() {
		for _, lang := range []string{"ja", "en"} {
			t.Run(name+"."+lang, func(t *testing.T) {
				_, got, _ := strings.Cut(string(drawSheet(t, s, lang)), "</style>")
				path := filepath.Join("testdata", "sheet-"+name+"."+lang+".html")
				if *update {
					if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
					t.Errorf("run with -update after looking at the difference:\n%s", diff)
				}
			})
		}
	}
}

func TestSheetStandsAloneAndNamesNoUnknownWord(t *testing.T) {
	for name, s := range sheets() {
		for _, lang := range []string{"ja", "en"} {
			page := string(drawSheet(t, s, lang))
			for _, bad := range []string{"<script", "<link", "<img", "@import", "url(", "http:", "https:", "src=", "href=", "<form", "<button", "⟦", "ZgotmplZ", "{n}", "{{", "\x00"} {
				if strings.Contains(page, bad) {
					t.Errorf("%s.%s: the page contains %q", name, lang, bad)
				}
			}
		}
	}
	if err := (Sheets{}).Write(new(bytes.Buffer), calm(), "fr"); err == nil {
		t.Error("an unknown language was printed")
	}
}

func TestScreenOffersOnlyWhatTheReaderMayDo(t *testing.T) {
	for may, want := range map[bool]int{true: 1, false: 0} {
		var b bytes.Buffer
		if err := Screen(&b, usual(), "ja", map[string]bool{"ac-1": may}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(b.String(), `<form method="post" action="/actions/ac-1/approve">`); got != want {
			t.Errorf("may approve %v: %d forms", may, got)
		}
		for _, bad := range []string{"sonae-qr", "<style", "⟦"} {
			if strings.Contains(b.String(), bad) {
				t.Errorf("the screen contains %q", bad)
			}
		}
	}
}

func TestTimeLeftIsSaidInHours(t *testing.T) {
	for name, tt := range map[string]struct {
		left   time.Duration
		ja, en string
	}{
		"a minute":       {time.Minute + time.Second, "あと<b>1</b>分", "<b>1</b> min left"},
		"half an hour":   {30 * time.Minute, "あと<b>30</b>分", "<b>30</b> min left"},
		"an hour":        {time.Hour, "あと<b>1</b>時間", "<b>1</b> h left"},
		"two begun days": {47*time.Hour + 59*time.Minute, "あと<b>47</b>時間", "<b>47</b> h left"},
		"many days":      {1031 * time.Hour, "あと<b>1,031</b>時間<small>（42日）</small>", "<b>1,031</b> h left<small> (42 days)</small>"},
		"over":           {-3*time.Hour - time.Minute, "▲超過 <b>3</b>時間", "▲ <b>3</b> h late"},
		"just over":      {-time.Minute, "▲超過 <b>1</b>分", "▲ <b>1</b> min late"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sheet.Sheet{MadeAt: at(14, 5)}
			d := sheet.Deadline{Due: at(14, 5).Add(tt.left)}
			for lang, want := range map[string]string{"ja": tt.ja, "en": tt.en} {
				if got := string(sheetView{Sheet: s, Lang: lang}.Left(d)); got != want {
					t.Errorf("%s: got %q, want %q", lang, got, want)
				}
			}
		})
	}
}
