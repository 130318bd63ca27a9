package html

import (
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/sonae/sonae/ledger"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/ledger/paper"
	"github.com/sonae/sonae/report"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func at(hour, minute int) time.Time { return time.Date(2026, 11, 22, hour-9, minute, 7, 0, time.UTC) }

func both(ja, en string) report.Text { return report.Text{JA: ja, EN: en} }

// awkward is data that a form must survive: long names without blanks, HTML in
// text, quotes, empty lists, three-digit numbers, several lines.
func awkward() report.Data {
	host := "cc-pc-07-" + strings.Repeat("long", 12) + `<script>alert("x")</script>`
	d := report.Data{
		Schema: "sonae.report.data/1", Document: "do-0193a0000000-0123456789ab", No: 3, Version: 3, Kind: "prompt", MadeAt: at(16, 30), MadeBy: "総務 花", Salt: "00112233445566778899aabbccddeeff",
		RulesName: "sonae.duty.rules/1 2026-11-21",
		Incident: report.Incident{ID: "in-1", No: 128, Title: `受付PCの"ファイル共有" & <b>調査</b>`, State: both("対応中", "Responding"), Severity: both("高", "High"), Commander: "別所 一",
			Sites: []string{"電話受付センター"}, Hosts: []string{host}, Scope: "一行目\n二行目", OpenedAt: at(14, 5), KnownAt: at(14, 2)},
		Reporter: []report.Field{{ID: "organisation", Label: both("報告する事業者の名称", "Name of the reporting body"), Value: report.Plain(strings.Repeat("医療法人社団", 12) + "病院")},
			{ID: "phone", Label: both("電話番号", "Phone"), Missing: true}},
		Items: []report.Item{
			{No: 1, ID: "summary", Label: both("概要", "Summary"), Fields: []report.Field{
				{ID: "occurred", Label: both("発生日", "Date of occurrence"), Value: both("2026-11-22 14:01（最初の警報が示す時刻）", "2026-11-22 14:01 (time given by the first alert)"), Suggested: true},
				{ID: "finder", Label: both("発見者", "Who found it"), Value: report.Plain(`--sonae-digest:"0" <td class="sonae-digest">`)}}},
			{No: 4, ID: "cause", Label: both("原因", "Cause"), Fields: []report.Field{{ID: "cause", Label: both("原因", "Cause"), Missing: true}}},
			{No: 9, ID: "other", Label: both("その他参考となる事項", "Other matters of reference"), Fields: []report.Field{{ID: "other", Label: both("その他参考となる事項", "Other matters of reference"), Value: report.Plain("一\n二\n三")}}}},
		Missing:  []report.Text{both("電話番号", "Phone"), both("原因", "Cause")},
		Triggers: []report.Trigger{{Regime: both("個人情報保護法 第26条", "APPI Art. 26"), Label: both("不正の目的によるおそれ（第3号）", "Possibly done with bad intent (item 3)"), Applies: both("該当するおそれ（未確定）", "May apply (not settled)"), Because: both("まだわかっていません", "Not yet known")}},
		Notes:    []report.Text{both("本人への通知は「状況に応じて速やかに」行います。", "Notify the persons concerned promptly.")},
	}
	end := func(day int) time.Time { return time.Date(2026, 11, day, 14, 59, 59, 0, time.UTC) }
	d.Clocks = []report.Clock{
		{Label: both("委託元への通知", "Notice to the principal"), Regime: both("委託先から委託元への通知", "Notice from contractor to principal"), From: at(14, 2), Target: at(16, 2), Raw: end(26), Due: end(26), Days: 5, Guide: true, Sure: true, DoneAt: at(15, 0), Basis: "法第26条"},
		{Label: both("速報", "Preliminary report"), Regime: both("個人情報保護法 第26条", "APPI Art. 26"), From: at(14, 2), Target: end(24), Raw: end(28), Due: end(27), Days: 5, Guide: true, Slid: true, Basis: "法第26条"},
	}
	alert := report.Alert{ID: "al-1", Title: both("BitTorrent の通信", "BitTorrent traffic"), What: both("受付PCがファイル共有の通信をしています。", "A desk PC exchanges files peer to peer."), Severity: both("高", "High"),
		Host: host, Site: "電話受付センター", Count: 412, First: at(14, 1), Last: at(14, 40), Sent: 1_234_567_890, Received: 12, Process: []string{"/usr/bin/transmission-daemon (operator)"}, MorePeer: 108}
	for i := range 6 {
		alert.Peers = append(alert.Peers, report.Peer{Address: fmt.Sprintf("[2001:db8:ffff:ffff:ffff:ffff:ffff:%x]:51413", i+0xfff0), Protocol: "tcp", Sent: 205_000_000 / int64(i+1), Received: 2, First: at(14, 1), Last: at(14, 39)})
	}
	d.Alerts = []report.Alert{alert}
	d.Actions = []report.Action{{Kind: both("隔離", "Isolation"), Host: host, State: both("実施中（確認済み）", "In force (verified)"), Reason: "送信を止める", Requested: "安西 花", Decided: "千葉 次郎", At: at(14, 10), Verified: at(14, 10), Expires: at(18, 10), Checks: []string{"hub-reachable 10.0.0.1:8443 ok", "forbidden-blocked 192.0.2.1:51413 failed"}}}
	d.Bags = []report.Bag{{ID: "ev-0193a0000000-0123456789ab", Host: host, State: both("封印済み", "Sealed"), SealedAt: at(14, 30), Items: 104, Bytes: 88_000_000, Digest: strings.Repeat("ab", 32), Stamped: true}, {ID: "ev-2", Host: "pc", State: both("収集中", "Collecting")}}
	d.Entries = []report.Line{
		{No: 1, OccurredAt: at(14, 5), EnteredAt: at(14, 5), Source: both("担当者", "Staff"), Certainty: both("事実", "Fact"), By: "安西 花", Text: both("事案として開いた。", "Opened as an incident.")},
		{No: 98, OccurredAt: at(13, 50), EnteredAt: at(14, 20), Source: both("紙の記録", "Paper note"), Certainty: both("未確認", "Unconfirmed"), By: "安西 花", Text: report.Plain("受付の3台で<再起動>が続いた"), CorrectedBy: 128},
		{No: 128, OccurredAt: at(14, 31), EnteredAt: at(14, 31), Source: both("電話", "Phone"), Certainty: both("事実", "Fact"), By: "別所 一", Text: report.Plain("4台だった\n内線1234で確認"), Corrects: 98}}
	d.Omitted = 24
	return d
}

func render(t *testing.T, d report.Data, lang string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, d, lang); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	for name, d := range map[string]report.Data{"awkward": awkward(), "empty": {Kind: "prompt"}, "drill": {Kind: "prompt", Drill: true, Incident: report.Incident{No: 7, Title: "訓練"}, No: 1, Version: 1, MadeAt: at(9, 0)}} {
		for _, lang := range []string{"ja", "en"} {
			t.Run(name+"."+lang, func(t *testing.T) {
				got := render(t, d, lang)
				path := filepath.Join("testdata", name+"."+lang+".html")
				if *update {
					if err := os.WriteFile(path, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), string(got)); diff != "" {
					t.Errorf("run with -update after looking at the difference:\n%s", diff)
				}
			})
		}
	}
}

func TestThePageStandsAlone(t *testing.T) {
	for _, lang := range []string{"ja", "en"} {
		page := string(render(t, awkward(), lang))
		for _, bad := range []string{"<script", "<link", "<img", "@import", "url(", "http:", "https:", "src=", "href=", "⟦", "ZgotmplZ", "{n}", "{{"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: the page contains %q", lang, bad)
			}
		}
	}
	if err := Write(new(bytes.Buffer), report.Data{}, "fr"); err == nil {
		t.Error("an unknown language was printed")
	}
}

// sealed makes a finished page with a real ledger.
func sealed(t *testing.T, d report.Data, lang string) (page []byte, verifier string) {
	t.Helper()
	return sealedPage(t, d, lang, render(t, d, lang))
}

func sealedPage(t *testing.T, d report.Data, lang string, blank []byte) (page []byte, verifier string) {
	t.Helper()
	signer, verifier, err := note.GenerateKey(nil, "sonae")
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(t.Context(), t.TempDir(), signer, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	lf := leaf.Leaf{Type: "document", Ref: d.Document + "/" + lang, Digest: Digest(blank), At: d.MadeAt}
	for i := range 5 { // a tree with some branches
		if _, err := l.Append(t.Context(), leaf.Leaf{Type: "entry", Ref: fmt.Sprintf("in-1/%d", i), Digest: strings.Repeat("0", 64), At: d.MadeAt}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Append(t.Context(), lf); err != nil {
		t.Fatal(err)
	}
	p, err := l.Prove(t.Context(), lf)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := p.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	page, err = Fill(blank, Digest(blank), proof, p.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	return page, verifier
}

func TestOneChangedByteIsNamed(t *testing.T) {
	page, key := sealed(t, awkward(), "ja")
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, page, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Verify(path, key)
	if err != nil || !r.Intact() || r.Document != "do-0193a0000000-0123456789ab/ja" || r.Size != 6 || r.RecordedAt != "2026-11-22T07:30:07Z" {
		t.Fatalf("the page itself: %+v %v", r, err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	flip := func(i int) {
		old := page[i]
		page[i] ^= byte(1 + random.IntN(255))
		if r, err := verify(page, key); err != nil || r.Intact() {
			t.Errorf("byte %d, %q became %q: %+v %v", i, old, page[i], r, err)
		}
		page[i] = old
	}
	for range 200 {
		flip(random.IntN(len(page)))
	}
	for _, p := range places(page) { // and every byte of every place, with its marks
		from, to, err := p.find(page)
		if err != nil {
			t.Fatal(err)
		}
		for i := from - len(p.begin); i < to+len(p.end); i += 1 + random.IntN(1+(to-from)/1000) { // of the picture, some
			flip(i)
		}
	}
	if r, err := verify(page, key); err != nil || !r.Intact() {
		t.Fatalf("after putting everything back: %+v %v", r, err)
	}
}

// TestPageMadeBeforeWords fills and checks a page that was stored before words
// and code were printed.
func TestPageMadeBeforeWords(t *testing.T) {
	d := awkward()
	blank := render(t, d, "ja")
	for _, p := range places(blank) {
		if p.name != "words on the page" && p.name != "code on the page" {
			continue
		}
		at := bytes.Index(blank, []byte(p.begin))
		from, to := bytes.LastIndex(blank[:at], []byte("<tr>")), at+bytes.Index(blank[at:], []byte("</tr>"))+len("</tr>")
		blank = append(bytes.Clone(blank[:from]), blank[to:]...)
	}
	page, key := sealedPage(t, d, "ja", blank)
	if !bytes.Contains(page, []byte("…\"")) {
		t.Error("the foot is not the one of that time")
	}
	if r, err := verify(page, key); err != nil || !r.Intact() {
		t.Errorf("an old page: %+v %v", r, err)
	}
	page[len(page)/2] ^= 1
	if r, err := verify(page, key); err != nil || r.Intact() {
		t.Errorf("an old page, changed: %+v %v", r, err)
	}
}

// TestPaperLeadsBackToTheLedger reads words and code from a finished page.
func TestPaperLeadsBackToTheLedger(t *testing.T) {
	page, key := sealed(t, awkward(), "ja")
	proof, err := base64.StdEncoding.DecodeString(placeText(t, page, "proof"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := ledger.ParseProof(proof)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := ledger.ParseCheckpoint(p.Checkpoint, key)
	if err != nil {
		t.Fatal(err)
	}
	kana, latin, _ := strings.Cut(placeText(t, page, "words on the page"), "<br>")
	for _, text := range []string{kana, strconv.FormatUint(cp.Size, 10) + " " + latin, placeText(t, page, "checkpoint at the foot")} {
		if w, err := ledger.ParseWords(text); err != nil || w != cp.Words() {
			t.Errorf("%q: %v, %v", text, w, err)
		}
	}
	if code, err := paper.QR(p.Checkpoint); err != nil || placeText(t, page, "code on the page") != code {
		t.Errorf("the code is not that of the checkpoint: %v", err)
	}
}

func TestWhatElseVerifyNames(t *testing.T) {
	page, key := sealed(t, awkward(), "en")
	other, otherKey := sealed(t, awkward(), "ja")
	unproved, err := Fill(render(t, awkward(), "ja"), Digest(render(t, awkward(), "ja")), nil, "")
	if err != nil {
		t.Fatal(err)
	}
	otherProof := placeText(t, other, "proof")
	for name, tt := range map[string]struct {
		page []byte
		key  string
		want string
	}{
		"cut off":              {page[:len(page)-1], key, "the text was changed"},
		"something added":      {append(bytes.Clone(page), '\n'), key, "the text was changed"},
		"another key":          {page, otherKey, "the proof does not hold"},
		"printed without":      {unproved, key, "there is no proof"},
		"proof of another":     {bytes.Replace(page, []byte(placeText(t, page, "proof")), []byte(otherProof), 1), otherKey, "the ledger recorded document"},
		"blank":                {render(t, awkward(), "ja"), key, "the page states"},
		"cut in the head":      {page[:400], key, "the place of the"},
		"two digests in place": {bytes.Replace(page, []byte("</body>"), []byte(`<table><tr><td class="sonae-digest">0</td></tr></table></body>`), 1), key, "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := verify(tt.page, tt.key)
			if err != nil || !strings.Contains(strings.Join(r.Problems, "\n"), tt.want) {
				t.Errorf("got %+v %v, want %q", r.Problems, err, tt.want)
			}
		})
	}
	if _, err := verify([]byte("<html>a holiday picture</html>"), key); !errors.Is(err, ErrNotReport) {
		t.Errorf("another file: %v", err)
	}
	if _, err := Verify(filepath.Join(t.TempDir(), "none"), key); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func placeText(t *testing.T, page []byte, name string) string {
	t.Helper()
	for _, p := range places(page) {
		if p.name == name {
			from, to, err := p.find(page)
			if err != nil {
				t.Fatal(err)
			}
			return string(page[from:to])
		}
	}
	t.Fatalf("no place %q", name)
	return ""
}

func FuzzVerify(f *testing.F) {
	var b bytes.Buffer
	if err := Write(&b, awkward(), "ja"); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`<meta name="sonae-proof" content="e30=">`))
	_, key, err := note.GenerateKey(nil, "sonae")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, page []byte) {
		if r, err := verify(page, key); err == nil && r.Intact() {
			t.Error("something that nobody signed passed")
		}
	})
}
