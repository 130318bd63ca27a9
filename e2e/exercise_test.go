//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"image"
	_ "image/png"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/action"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/decision"
	"github.com/sonae/sonae/incident/task"
	"github.com/sonae/sonae/playbook"
	"github.com/sonae/sonae/report"
)

// exercise is what two people of a hospital do with an incident whose machine
// is contained, until the closing report: with the pages and with the API.
type exercise struct {
	*story
	in     incident.Incident
	book   string            // the playbook's English name
	fact   func(*duty.Facts) // what is known by now
	room   string            // path of the room
	deputy *person           // who approves, and takes over
}

// played goes through the whole of it.
func (s *story) played(t *testing.T, in incident.Incident, book string, fact func(*duty.Facts)) {
	t.Helper()
	x := &exercise{story: s, in: in, book: book, fact: fact, room: "/incidents/" + in.ID}
	x.deputy = s.admin.invite(t, "deputy", "病院 事務長", "", "responder", "approver")
	x.decide(t)
	x.organise(t)
	x.follow(t)
	x.learnFacts(t)
	x.handOver(t)
	x.notes(t)
	x.write(t)
	x.learn(t)
	x.close(t)
	x.looks(t)
	x.tells(t)
}

// decide records that the service is stopped for a while, and the approval
// after the fact.
func (x *exercise) decide(t *testing.T) {
	t.Helper()
	var all list[decision.Evaluation]
	x.admin.do(t, http.MethodGet, x.room+"/evaluation", nil, &all, 0)
	if len(all.Items) == 0 || len(all.Items[0].Results) == 0 {
		t.Fatalf("no criterion was held against the incident: %+v", all.Items)
	}
	var d decision.Decision
	x.admin.do(t, http.MethodPost, x.room+"/decisions", map[string]any{"service": all.Items[0].Service.Key, "verdict": "pause", "reason": "端末の封じ込めを確かめるまで止める",
		"review_at": time.Now().Add(2 * time.Hour), "proxy_for": "病院長", "proxy_rule": "夜間の代決規程 第3条", "dissenter": "外来師長", "dissent": "予約の電話が取れなくなる", "approve": true}, &d, http.StatusCreated)
	x.deputy.do(t, http.MethodPost, x.room+"/decisions/"+d.ID+"/approve", map[string]any{"given": true, "who": "病院長"}, nil, 0)
}

// organise gives roles, puts people on duty and makes a task for each clock.
func (x *exercise) organise(t *testing.T) {
	t.Helper()
	var in incident.Incident
	x.admin.do(t, http.MethodGet, x.room, nil, &in, 0)
	if in.Commander != x.admin.ID { // what Sonae opened by itself nobody commands
		x.admin.do(t, http.MethodPost, x.room+"/command", map[string]any{"person": x.admin.ID}, nil, 0)
	}
	for role, who := range map[string]string{"technical": x.admin.ID, "privacy": x.deputy.ID} {
		x.admin.do(t, http.MethodPost, x.room+"/posts", map[string]any{"role": role, "person": who}, nil, http.StatusCreated)
	}
	x.admin.do(t, http.MethodPost, x.room+"/hours", map[string]any{"role": "technical"}, nil, http.StatusCreated)
	var open list[duty.Clock]
	x.admin.do(t, http.MethodGet, x.room+"/task-suggestions", nil, &open, 0)
	for _, c := range open.Items {
		x.admin.do(t, http.MethodPost, x.room+"/tasks", map[string]any{"title": "期限の2時間前までに提出する", "person": x.deputy.ID, "clock": c.ID, "before": 120}, nil, http.StatusCreated)
	}
	var tasks list[task.Task]
	x.admin.do(t, http.MethodGet, x.room+"/tasks", nil, &tasks, 0)
	if len(tasks.Items) == 0 {
		t.Fatal("no clock became a task")
	}
	for _, to := range []string{"doing", "done"} {
		x.deputy.do(t, http.MethodPost, x.room+"/tasks/"+tasks.Items[0].ID+"/state", map[string]any{"to": to}, nil, 0)
	}
}

// follow walks through the playbook; what it asks of machines is approved.
func (x *exercise) follow(t *testing.T) {
	t.Helper()
	var books list[struct {
		ID   string
		Name map[string]string
	}]
	x.admin.do(t, http.MethodGet, "/playbooks", nil, &books, 0)
	i := slices.IndexFunc(books.Items, func(b struct {
		ID   string
		Name map[string]string
	}) bool {
		return b.Name["en"] == x.book
	})
	if i < 0 {
		t.Fatalf("no playbook %q in %+v", x.book, books.Items)
	}
	var run playbook.Run
	x.admin.do(t, http.MethodPost, x.room+"/runs", map[string]any{"playbook": books.Items[i].ID}, &run, http.StatusCreated)
	steps := 0
	await(t, 4*time.Minute, "the playbook's end", func() bool {
		x.admin.do(t, http.MethodGet, x.room+"/runs/"+run.ID, nil, &run, 0)
		j := slices.IndexFunc(run.Visits, func(v playbook.Visit) bool { return v.State == playbook.Open })
		if j < 0 {
			x.approveAll(t)
			return run.State == playbook.Finished
		}
		v := run.Visits[j]
		who, what := x.admin, map[string]any{"what": "done"}
		if len(v.Agreed) > 0 {
			who = x.deputy
		}
		switch {
		case v.Stuck != "" && len(v.Actions) > 0:
			what = map[string]any{"what": "skip", "note": "先に実施済み"}
		case len(v.Choose) > 0:
			what["chosen"] = v.Choose[0]
		default:
			what["chosen"] = "no" // where the step asks whether something is so
		}
		status, body := who.call(t, http.MethodPost, x.room+"/runs/"+run.ID+"/steps/"+strconv.Itoa(v.No), what)
		if status/100 != 2 {
			t.Fatalf("step %s: %d %s: %+v", v.Step, status, body, v)
		}
		steps++
		return false
	})
	t.Logf("%s: %d steps by people", x.book, steps)
}

// approveAll lets a second person agree to what waits.
func (x *exercise) approveAll(t *testing.T) {
	t.Helper()
	var all list[action.Action]
	x.admin.do(t, http.MethodGet, "/actions?incident="+x.in.ID+"&limit=200", nil, &all, 0)
	for _, a := range all.Items {
		if a.State == action.Requested {
			x.deputy.call(t, http.MethodPost, "/actions/"+a.ID+"/approve", map[string]any{})
		}
	}
}

// learnFacts states what is known by now; the clocks follow.
func (x *exercise) learnFacts(t *testing.T) {
	t.Helper()
	var as duty.Assessment
	x.admin.do(t, http.MethodGet, x.room+"/duties", nil, &as, 0)
	f := as.Facts
	x.fact(&f)
	x.admin.do(t, http.MethodPut, x.room+"/facts", f, nil, 0)
	x.admin.do(t, http.MethodGet, x.room+"/duties", nil, &as, 0)
	if len(as.Clocks) < 2 {
		t.Errorf("clocks %+v", as.Clocks)
	}
}

// handOver gives the command to the second person, who signs with a code.
func (x *exercise) handOver(t *testing.T) {
	t.Helper()
	var draft struct{ Text string }
	x.admin.do(t, http.MethodGet, x.room+"/handover-draft?lang=ja", nil, &draft, 0)
	if !strings.Contains(draft.Text, strconv.Itoa(x.in.No)) {
		t.Errorf("the summary does not name the incident: %s", draft.Text)
	}
	var h task.Handover
	x.admin.do(t, http.MethodPost, x.room+"/handovers", map[string]any{"to": x.deputy.ID, "lang": "ja", "text": draft.Text}, &h, http.StatusCreated)
	step := time.Now().Unix() / 30
	await(t, 2*time.Minute, "a code that was not used before", func() bool {
		if now := time.Now().Unix() / 30; now != step {
			step = now
			status, _ := x.deputy.call(t, http.MethodPost, x.room+"/handovers/"+h.ID+"/sign", map[string]any{"code": totpAt(t, x.deputy.secret, now)})
			return status/100 == 2
		}
		return false
	})
	var in incident.Incident
	x.admin.do(t, http.MethodGet, x.room, nil, &in, 0)
	if in.Commander != x.deputy.ID {
		t.Errorf("%s commands after the hand-over", in.Commander)
	}
}

// notes come late, by telephone and from a laptop that was offline.
func (x *exercise) notes(t *testing.T) {
	t.Helper()
	x.admin.do(t, http.MethodPost, x.room+"/memos", map[string]any{"at": time.Now().Add(-5 * time.Minute), "caller": "県警 担当", "organisation": "県警サイバー犯罪対策課", "asked": "通信の記録を残しているか", "answered": "証拠袋に保全済み"}, nil, http.StatusCreated)
}

// write makes every document, lets the second person approve it, and turns it
// into pictures.
func (x *exercise) write(t *testing.T) {
	t.Helper()
	x.admin.do(t, http.MethodPut, x.room+"/particulars", report.Particulars{DeskName: "個人情報相談窓口", DeskPhone: "000-000-0000", DeskHours: "毎日 9:00-17:00", Signatory: "病院長",
		Stopped: "予約の電話", Continues: "外来と救急", Until: "翌朝まで", Advice: "身に覚えのない連絡に注意してください", Asked: "被害の相談",
		Groups: []report.Group{{Name: "予約の電話をかけた方", Count: 1200, Data: "氏名、電話番号、診療科", Advice: "なりすましの電話に注意してください"}}}, nil, 0)
	var kinds list[struct {
		Kind    string
		Groups  bool
		Formats []string
		Needed  bool
	}]
	x.admin.do(t, http.MethodGet, x.room+"/documents", nil, &kinds, 0)
	if len(kinds.Items) < 15 {
		t.Fatalf("%d kinds of documents", len(kinds.Items))
	}
	for _, k := range kinds.Items {
		if k.Kind != "closing" { // it comes when all is over
			x.document(t, k.Kind)
		}
	}
}

// document makes one document of a kind and looks at it.
func (x *exercise) document(t *testing.T, kind string) {
	t.Helper()
	var p report.Particulars
	x.admin.do(t, http.MethodGet, x.room+"/particulars", nil, &p, 0)
	q := "?kind=" + kind
	if k, _ := report.KindOf(kind); k.Groups {
		q += "&group=" + p.Groups[0].ID
	}
	var doc report.Document
	x.admin.do(t, http.MethodPost, x.room+"/reports"+q, nil, &doc, http.StatusCreated)
	x.deputy.do(t, http.MethodPost, x.room+"/reports/"+doc.ID+"/approve", nil, nil, 0)
	var pdf []byte
	await(t, time.Minute, kind+" as PDF", func() bool {
		status, b := x.admin.call(t, http.MethodGet, x.room+"/reports/"+doc.ID+"/files/pdf?lang=ja", nil)
		pdf = b
		return status == http.StatusOK
	})
	pages := rendered(t, kind, pdf)
	t.Logf("%-16s %d pages, %d kB", kind, pages, len(pdf)>>10)
}

// rendered turns a PDF into pictures; none of them is empty. They are kept
// where SONAE_LOOK says, for somebody to look at.
func rendered(t *testing.T, name string, pdf []byte) (pages int) {
	t.Helper()
	dir := t.TempDir()
	if keep := os.Getenv("SONAE_LOOK"); keep != "" {
		dir = filepath.Join(keep, t.Name(), name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, name+".pdf")
	if err := os.WriteFile(file, pdf, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if out, err := exec.CommandContext(ctx, "pdftoppm", "-r", "60", "-png", file, filepath.Join(dir, "page")).CombinedOutput(); err != nil {
		t.Fatalf("%s: pdftoppm: %v: %s", name, err, out)
	}
	pictures, err := filepath.Glob(filepath.Join(dir, "page*.png"))
	if err != nil || len(pictures) == 0 {
		t.Fatalf("%s: no picture: %v", name, err)
	}
	for _, p := range pictures {
		if share := ink(t, p); share < 0.002 {
			t.Errorf("%s: %s is empty (%.4f is dark)", name, filepath.Base(p), share)
		}
	}
	return len(pictures)
}

// ink is the share of a picture that is not paper.
func ink(t *testing.T, file string) float64 {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	img, _, err := image.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	r, dark := img.Bounds(), 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if g, _, _, _ := img.At(x, y).RGBA(); g < 0x9000 {
				dark++
			}
		}
	}
	return float64(dark) / float64(r.Dx()*r.Dy())
}

// learn says why it came to this and what is done about it.
func (x *exercise) learn(t *testing.T) {
	t.Helper()
	var why struct{ ID string }
	x.admin.do(t, http.MethodPost, x.room+"/factors", map[string]any{"category": "management", "text": "持ち込みの機器を止める決まりがなかった",
		"evidence": []map[string]string{{"kind": "entry", "ref": "1"}}, "root": true}, &why, http.StatusCreated)
	x.admin.do(t, http.MethodPost, x.room+"/measures", map[string]any{"title": "許可した機器だけをつなぐ", "factors": []string{why.ID}, "owner": x.deputy.ID,
		"due_at": time.Now().AddDate(0, 1, 0), "check_at": time.Now().AddDate(0, 3, 0), "number": "許可のない機器(台)", "target": "0"}, nil, http.StatusCreated)
	x.admin.do(t, http.MethodPost, x.room+"/lessons", map[string]any{"text": "委託先の夜間の連絡先を手順に書く", "target": "playbook"}, nil, http.StatusCreated)
}

// close ends the incident; the closing report and the sheet are made.
func (x *exercise) close(t *testing.T) {
	t.Helper()
	var in incident.Incident
	x.admin.do(t, http.MethodGet, x.room, nil, &in, 0)
	for _, to := range []incident.State{incident.Responding, incident.Contained, incident.Recovering, incident.Ended} {
		if incident.CanMove(in.State, to) {
			x.deputy.do(t, http.MethodPost, x.room+"/move", map[string]any{"to": to, "reason": "確認した"}, nil, 0)
			in.State = to
		}
	}
	if in.State != incident.Ended {
		t.Fatalf("the incident is %s", in.State)
	}
	x.document(t, "closing")
	x.admin.do(t, http.MethodPost, x.room+"/sheets", nil, nil, http.StatusCreated)
}

// looks reads the pages as people do.
func (x *exercise) looks(t *testing.T) {
	t.Helper()
	for _, path := range []string{"", "/decision", "/tasks", "/sheet", "/documents", "/cause", "/facts"} {
		if page := x.admin.page(t, x.room+path); strings.Contains(page, "⟦") {
			t.Errorf("%s lacks words", path)
		}
	}
}

// tells: the chronology has all of it, without a line typed by hand.
func (x *exercise) tells(t *testing.T) {
	t.Helper()
	want := []string{"decision.", "task.", "playbook.finished", "duty.changed", "handover.", "paper.", "document.made", "document.approved", "document.viewed", "cause.", "incident.moved", "sheet."}
	var keys []string
	await(t, 30*time.Second, fmt.Sprintf("lines of all of %v", want), func() bool {
		keys = keys[:0]
		for after := 0; ; {
			var l list[incident.Entry]
			x.admin.do(t, http.MethodGet, fmt.Sprintf("%s/entries?limit=500&after=%d", x.room, after), nil, &l, 0)
			for _, e := range l.Items {
				keys, after = append(keys, e.Key), e.No
			}
			if len(l.Items) < 500 {
				break
			}
		}
		for _, w := range want {
			if !slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, w) }) {
				return false
			}
		}
		return true
	})
}
