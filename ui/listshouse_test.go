package ui

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/detect/ioc"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/search/threat"
	"github.com/sonae/sonae/state"
)

// The lists of the house, as people bring them. The machine of the story talks
// with some of what is in the first.
const (
	listOfPolice = `value,type,confidence,note
203.0.113.7,ip,90,誘導先 <b>C2</b>
203.0.113.9,ip,,
203.0.113.11,ip,,
198.51.100.192/27,net,60,貸し出しサーバー
c2.example.net,domain,85,
https://files.example.net/a/very/long/path/that/nobody/would/type/but/which/stands/in/lists/like/this/update-2026-11-21.exe?session=0123456789abcdef,url,80,
275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f,hash,95,EICAR
`
	listOfPartners = "bad.example.org\nworse.example.org\n"
	listToCheck    = `{"Event": {"info": "医療機関をねらう<script>alert(1)</script>攻撃 #2026-1117", "Attribute": [
 {"type": "ip-dst", "value": "203.0.113.66", "comment": "指令サーバー"},
 {"type": "ip-dst", "value": "203.0.113.7", "to_ids": true},
 {"type": "domain", "value": "update.example.net", "comment": "<b>peer</b> 偽の更新"},
 {"type": "ja4", "value": "t13d1516h2_8daaf6152771_b186095e22b6"},
 {"type": "sha256", "value": "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"},
 {"type": "domain", "value": "update.example.net"},
 {"type": "ip-dst", "value": "192.168.10.20"},
 {"type": "domain", "value": "www.hospital.example.jp"},
 {"type": "ip-dst", "value": "0.0.0.0/0"},
 {"type": "domain", "value": "not in use.example", "to_ids": false},
 {"type": "ip-dst", "value": "203.0.113.300"}]}}`
)

// lost is an archive that cannot be read.
type lost struct{}

func (lost) Events(context.Context, archive.Search, func(event.Event) error) error {
	return errors.New("segment is damaged")
}

// withThreats gives the house threat lists in every state, and a draft that
// waits for the administrator.
func (h *house) withThreats(t *testing.T, db *state.DB, a *archive.Archive, engine *detect.Switch, now clock.Now, log *slog.Logger) {
	t.Helper()
	own := ioc.Own{Domains: []string{"hospital.example.jp"}}
	h.threats = threat.New(db, a, engine, own, now, log)
	broken := threat.New(db, lost{}, engine, own, now, log)
	by := auth.Person{ID: "pe-admin"}
	bring := func(d *threat.Desk, ago time.Duration, text string, terms threat.Terms) string {
		h.now = start.Add(-ago)
		draft, err := d.Draft(t.Context(), []byte(text), "", by)
		if err != nil {
			t.Fatal(err)
		}
		l, err := d.Import(t.Context(), draft.ID, terms, by)
		if err != nil {
			t.Fatal(err)
		}
		return l.ID
	}
	day := 24 * time.Hour
	bring(h.threats, 40*day, listOfPartners, threat.Terms{Name: "先月の一覧(とても長い名前でも折り返して読めること) <script>alert(1)</script>", Source: "地域の医療機関どうしの連絡網", Confidence: 40, Days: 30})
	wrong := bring(h.threats, 5*day, listOfPartners, threat.Terms{Name: "取引先からの一覧", Source: "委託先", Confidence: 30, Days: 90})
	police := bring(h.threats, 3*day, listOfPolice, threat.Terms{Name: "11月の注意喚起", Source: "警察庁", Confidence: 80, Days: 90})
	bring(broken, 2*day, listOfPartners, threat.Terms{Name: "医療ISACの一覧", Source: "医療ISAC", Confidence: 70, Days: 30, Back: 30})
	asked := bring(h.threats, day, listOfPartners, threat.Terms{Name: "保守業者からの一覧", Source: "保守業者", Confidence: 60, Days: 30})
	h.now = start.Add(-time.Hour)
	if err := h.threats.End(t.Context(), wrong, "正しい相手が入っていた <b>op</b>", by); err != nil {
		t.Fatal(err)
	}
	h.now = start
	if err := h.threats.Search(t.Context(), police, 7, by); err != nil {
		t.Fatal(err)
	}
	searched(t, h.threats, broken)
	if err := h.threats.Search(t.Context(), asked, 30, by); err != nil { // nobody runs it: it waits
		t.Fatal(err)
	}
	if err := h.threats.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	draft, err := h.threats.Draft(t.Context(), []byte(listToCheck), "", by)
	if err != nil {
		t.Fatal(err)
	}
	h.draft = draft.ID
}

// searched runs the back-searches that wait, to their end.
func searched(t *testing.T, desks ...*threat.Desk) {
	t.Helper()
	for _, d := range desks {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		told := make(chan struct{}, 100)
		d.OnSearch(func() { told <- struct{}{} })
		go func() { ended <- d.Run(ctx) }()
		for waits := true; waits; {
			<-told
			waits = false
			all, err := d.Lists(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range all {
				waits = waits || l.Back != nil && l.Back.Running
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		d.OnSearch(func() {})
	}
}

// at fills in what no two houses have the same.
func (h *house) at(path string) string {
	if h.noticeIDs != nil {
		path = h.noticeIDs.Replace(path)
	}
	if h.taskIDs != nil {
		path = h.taskIDs.Replace(path)
	}
	return strings.ReplaceAll(path, "{draft}", h.draft)
}
