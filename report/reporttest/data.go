// Package reporttest holds made-up documents for tests.
//
// In: a kind. Out: the data of a document of that kind. Always true: the same
// kind gives the same data; names and addresses are made up.
package reporttest

import (
	"strings"
	"time"

	"github.com/sonae/sonae/report"
)

func at(hour, minute int) time.Time { return time.Date(2026, 11, 22, hour-9, minute, 7, 0, time.UTC) }

func both(ja, en string) report.Text { return report.Text{JA: ja, EN: en} }

// Words are texts that a document with all fields stated says somewhere, by the
// id of the field.
func Words() map[string]string {
	return map[string]string{
		"organisation": "医療法人社団 備会 備中央病院", "address": "岡山県備前市中央一丁目2番3号", "representative": "理事長 山田 太郎", "department": "医療情報管理室", "person": "佐藤 花子", "phone": "0869-00-0000", "mail": "joho@example.jp",
		"occurred": "令和8年11月22日 14時01分ごろ", "found": "令和8年11月22日 14時02分", "event": "委託先の電話受付センターの端末で、ファイル共有ソフトが動き、予約者名簿の一部が外部の端末へ送信された。", "finder": "Sonae による自動検知（当直 鈴木が確認）",
		"medium": "受付用パソコン1台のハードディスク", "data_kind": "患者（予約者）の情報", "data_items": "氏名、生年月日、電話番号、受診する診療科、予約日時", "persons": "確定 312人 / 最大 1,204人",
		"cause": "職員が禁止されているファイル共有ソフトを導入し、共有フォルダーに予約者名簿を置いていた。", "cause_party": "委託先（電話受付センター）", "secondary": "現在まで確認されていない。電話番号を悪用した不審な電話のおそれがある。",
		"person_care": "対象の方に書面で通知し、専用の窓口を設けた。", "publication": "令和8年11月24日に当院のウェブサイトで公表する予定。", "done": "端末を隔離し、ファイル共有の通信を境界で遮断した。", "planned": "受付用パソコンでの許可リストの導入、委託先の監査（令和9年1月まで）。", "other": "予約の変更を希望される方は窓口で承ります。",
		"rule_items": "第1号（要配慮個人情報）に該当", "parties": "あり（委託先: 電話受付センター）", "chronology": "この書類の「経過」のとおり",
		"desk_name": "個人情報お問い合わせ窓口", "desk_phone": "0120-000-000（通話無料）", "desk_hours": "平日・土日祝 9時から20時まで", "signatory": "病院長 田中 一郎", "stopped": "電話による新規の予約", "continues": "外来、救急、入院、会計", "until": "11月24日（火）の朝を目標にしています",
		"advice": "身に覚えのない電話にはお答えにならず、当院の窓口にご相談ください。", "asked": "送信先の端末の利用者を確認するための捜査の相談", "indicators": "203.0.113.7",
		"group_name": "11月に電話でご予約された方", "group_count": "312", "group_data": "氏名、生年月日、電話番号、受診する診療科、予約日時", "group_advice": "当院を名乗って個人情報を尋ねる電話にはお答えにならないでください。",
	}
}

// Full is a document in which everything is stated.
func Full(kind report.Kind) report.Data { return fill(kind, Words()) }

// Gaps is one in which nobody has stated anything yet.
func Gaps(kind report.Kind) report.Data {
	d := fill(kind, nil)
	d.Alerts, d.Actions, d.Bags, d.Entries, d.Indicators, d.Techniques, d.Triggers, d.Clocks, d.Notes = nil, nil, nil, nil, nil, nil, nil, nil, nil
	return d
}

func fill(kind report.Kind, words map[string]string) report.Data {
	d := report.Sample(kind)
	d.Drill, d.Document, d.MadeAt, d.MadeBy, d.No, d.Version, d.Salt = false, "do-0193a0000000-0123456789ab", at(16, 30), "伊藤 桜", 4, 2, strings.Repeat("0f", 16)
	d.Incident = report.Incident{ID: "in-1", No: 12, Title: "受付センターの端末のファイル共有", State: both("対応中", "Responding"), Severity: both("高", "High"), Commander: "鈴木 次郎",
		Sites: []string{"電話受付センター"}, Hosts: []string{"cc-pc-07"}, OpenedAt: at(14, 5), KnownAt: at(14, 2)}
	d.Missing = nil
	set := func(fields []report.Field, label func(id string) report.Text) {
		for i := range fields {
			f := &fields[i]
			value, ok := words[f.ID]
			f.Label, f.Value, f.Missing = label(f.ID), report.Plain(value), !ok
			if f.Missing {
				f.Value = report.Text{}
				d.Missing = append(d.Missing, f.Label)
			}
		}
	}
	set(d.Reporter, func(id string) report.Text { return report.Word("report.reporter."+id, nil) })
	items := []report.Item{
		{No: 1, ID: "summary", Label: both("概要", "Summary"), Fields: fields("occurred", "found", "event", "finder", "rule_items", "parties", "chronology")},
		{No: 2, ID: "data_items", Label: both("個人データの項目", "Items of personal data"), Fields: fields("medium", "data_kind", "data_items")},
		{No: 3, ID: "persons", Label: both("本人の数", "Number of persons"), Fields: fields("persons")},
		{No: 4, ID: "cause", Label: both("原因", "Cause"), Fields: fields("cause", "cause_party")},
		{No: 5, ID: "secondary", Label: both("二次被害又はそのおそれの有無及びその内容", "Secondary harm or its risk"), Fields: fields("secondary")},
		{No: 6, ID: "person_care", Label: both("本人への対応の実施状況", "What is done for the persons"), Fields: fields("person_care")},
		{No: 7, ID: "publication", Label: both("公表の実施状況", "Publication"), Fields: fields("publication")},
		{No: 8, ID: "prevention", Label: both("再発防止のための措置", "Measures against recurrence"), Fields: fields("done", "planned")},
		{No: 9, ID: "other", Label: both("その他参考となる事項", "Other matters"), Fields: fields("other")},
	}
	for i := range items {
		set(items[i].Fields, func(id string) report.Text {
			if key := map[string]string{"rule_items": "rule", "parties": "parties", "chronology": "chronology"}[id]; key != "" {
				return report.Word("report.item."+key, nil)
			}
			return report.Word("duty.item."+id, nil)
		})
	}
	d.Items = items
	d.Callers, d.Callees = nil, nil
	if kind.ID == "first-call" && words != nil {
		numbers(&d)
	}
	set(d.Particulars, func(id string) report.Text { return report.Word("report.particular."+id, nil) })
	if d.Group != nil {
		d.Group = &report.Group{ID: "g1", Name: words["group_name"], Count: 312}
	}
	observed(&d)
	return d
}

// numbers are those of the house and of whom it calls.
func numbers(d *report.Data) {
	d.Callers = []report.Caller{
		{Role: both("指揮者", "Commander"), Name: "鈴木 次郎", Phone: "090-0000-0001"}, {Role: both("指揮者", "Commander"), Name: "別所 一", Phone: "内線 1234", Deputy: true},
		{Role: both("関係機関との連絡係", "Liaison to authorities"), Name: "佐藤 花子"}}
	d.Callees = []report.Callee{
		{Name: both("保守・システム事業者", "Maintenance vendor"), Phone: "0120-000-001", Note: "電子カルテの保守。夜間は 090-0000-0009", CheckedAt: at(9, 0), CheckedBy: "伊藤 桜"},
		{Name: both("厚生労働省 医政局", "MHLW, Health Policy Bureau"), Verify: true},
		{Name: both("個人情報保護委員会（代表）", "Personal Information Protection Commission (main)"), Phone: "03-6457-9680", Verify: true}}
}

func fields(ids ...string) []report.Field {
	out := make([]report.Field, len(ids))
	for i, id := range ids {
		out[i].ID = id
	}
	return out
}

func observed(d *report.Data) {
	end := func(month time.Month, day int) time.Time { return time.Date(2026, month, day, 14, 59, 59, 0, time.UTC) }
	appi := both("個人情報保護法 第26条", "APPI Art. 26")
	d.RulesName = "sonae.duty.rules/1 2026-11-21"
	d.Triggers = []report.Trigger{{Regime: appi, Label: both("要配慮個人情報（第1号）", "Sensitive data (item 1)"), Applies: both("該当する", "Applies"), Because: both("受診する診療科は要配慮個人情報です", "The department visited is sensitive data")}}
	d.Clocks = []report.Clock{
		{Label: both("速報", "Preliminary report"), Regime: appi, From: at(14, 2), Target: end(11, 24), Raw: end(11, 26), Due: end(11, 26), Days: 5, Guide: true, Sure: true, Basis: "法第26条第1項"},
		{Label: both("確報", "Final report"), Regime: appi, From: at(14, 2), Raw: end(12, 21), Due: end(12, 21), Days: 30, Sure: true, Basis: "規則第8条第2項"},
	}
	d.Notes = []report.Text{both("本人への通知は、状況に応じて速やかに行います。", "Persons are notified promptly according to the situation.")}
	d.Alerts = []report.Alert{{ID: "al-1", Title: both("BitTorrent の通信", "BitTorrent traffic"), What: both("cc-pc-07 が外部とファイルを共有しています。", "cc-pc-07 shares files with hosts outside."), Severity: both("高", "High"), Host: "cc-pc-07", Site: "電話受付センター",
		Count: 412, First: at(14, 1), Last: at(14, 40), Sent: 1_234_567_890, Received: 45_678, Process: []string{"transmission-daemon (operator)"}, MorePeer: 8,
		Peers: []report.Peer{{Address: "203.0.113.7:51413", Protocol: "tcp", Sent: 900_000_000, Received: 20_000, First: at(14, 1), Last: at(14, 39)}, {Address: "[2001:db8::7]:6881", Protocol: "tcp", Sent: 300_000_000, Received: 9_000, First: at(14, 3), Last: at(14, 20)}}}}
	d.Actions = []report.Action{{Kind: both("隔離", "Isolation"), Host: "cc-pc-07", State: both("実施中（確認済み）", "In force (verified)"), Reason: "送信を止める", Requested: "鈴木 次郎", Decided: "別所 一", At: at(14, 10), Verified: at(14, 11), Expires: at(18, 10), Checks: []string{"hub-reachable 192.0.2.1:8443 ok"}}}
	d.Bags = []report.Bag{{ID: "ev-0193a0000000-0123456789ab", Host: "cc-pc-07", State: both("封印済み", "Sealed"), SealedAt: at(14, 30), Items: 104, Bytes: 88_000_000, Digest: strings.Repeat("ab", 32), Stamped: true}}
	d.Entries = []report.Line{
		{No: 1, OccurredAt: at(14, 5), EnteredAt: at(14, 5), Source: both("担当者", "Staff"), Certainty: both("事実", "Fact"), By: "鈴木 次郎", Text: both("事案として開いた。", "Opened as an incident.")},
		{No: 2, OccurredAt: at(14, 11), EnteredAt: at(14, 11), Source: both("措置", "Action"), Certainty: both("事実", "Fact"), By: "sonae", Text: both("cc-pc-07 の隔離を両側で確かめた。", "The isolation of cc-pc-07 was verified both ways.")},
		{No: 3, OccurredAt: at(13, 50), EnteredAt: at(14, 20), Source: both("紙の記録", "Paper note"), Certainty: both("未確認", "Unconfirmed"), By: "伊藤 桜", Text: report.Plain("受付の端末が遅いと電話があった。=HYPERLINK(\"x\")")}}
	d.Indicators = []report.Indicator{
		{Kind: report.Address, Value: "2001:db8::7", First: at(14, 3), Last: at(14, 20), Rule: d.Alerts[0].Title, Tags: []string{"attack.t1048"}},
		{Kind: report.Address, Value: "203.0.113.7", First: at(14, 1), Last: at(14, 39), Rule: d.Alerts[0].Title, Tags: []string{"attack.t1048"}},
		{Kind: report.Domain, Value: "tracker.example.net", Tags: []string{}},
		{Kind: report.Program, Value: "transmission-daemon", First: at(14, 1), Last: at(14, 40), Rule: d.Alerts[0].Title, Tags: []string{"attack.t1048"}},
		{Kind: report.SHA256, Value: strings.Repeat("cd", 32), Tags: []string{}},
		{Kind: report.URL, Value: "http://tracker.example.net/announce?a='b'", Tags: []string{}}}
	d.Techniques = []string{"T1048"}
}
