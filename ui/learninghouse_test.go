package ui

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/cause"
	"github.com/sonae/sonae/incident/paper"
)

// whiteboard is a small picture.
func whiteboard() []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 320, 200))); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// paperOf has what came into in-1 from paper, and keeps what is sent.
type paperOf struct{ *house }

func (h paperOf) has(in string) bool { return len(h.cases) > 0 && in == h.cases[0].ID }

func (h paperOf) AddPicture(_ context.Context, in string, n paper.NewPicture, by auth.Person) (paper.Picture, error) {
	kind, err := paper.Sniff(n.Data)
	if err != nil {
		return paper.Picture{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sent = append(h.sent, n)
	return paper.Picture{ID: "pic-9", Incident: in, Source: n.Source, Text: n.Text, By: by.ID, File: paper.File{Name: n.Name, Type: kind}}, nil
}

func (h paperOf) Export(_ context.Context, in string, by auth.Person, w io.Writer) error {
	_, err := fmt.Fprintf(w, "PK of %s for %s", in, by.ID)
	return err
}

func (h paperOf) Pictures(_ context.Context, in string) ([]paper.Picture, error) {
	if !h.has(in) {
		return nil, nil
	}
	return []paper.Picture{
		{ID: "pic-1", Incident: in, Entry: 4, OccurredAt: start.Add(-time.Hour), At: start.Add(-time.Minute), By: "pe-responder", Source: "whiteboard", Text: "13時の対策本部のホワイトボード <b>",
			File: paper.File{Name: "白板.png", Type: paper.PNG, Size: 812, Digest: strings.Repeat("ab", 32)}},
		{ID: "pic-2", Incident: in, Entry: 5, OccurredAt: start.Add(-time.Minute), At: start.Add(-time.Minute), By: "pe-responder", Source: "fax", Text: "委託先からのファクス",
			File: paper.File{Name: "fax.pdf", Type: paper.PDF, Size: 81200, Digest: strings.Repeat("cd", 32)}},
	}, nil
}

func (h paperOf) Picture(ctx context.Context, in, id string) (paper.Picture, []byte, error) {
	all, err := h.Pictures(ctx, in)
	for _, p := range all {
		if p.ID == id {
			return p, whiteboard(), err
		}
	}
	return paper.Picture{}, nil, missing("incident.record-missing")
}

func (h paperOf) TakeMemo(_ context.Context, _ string, m paper.Memo, _ auth.Person) (incident.Entry, error) {
	if m.Asked == "" {
		return incident.Entry{}, fault.New(fault.Invalid, "paper.missing-asked")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.memos = append(h.memos, m)
	return incident.Entry{}, nil
}

func (h paperOf) CallBacks(_ context.Context, in string) ([]paper.CallBack, error) {
	if !h.has(in) {
		return nil, nil
	}
	return []paper.CallBack{
		{ID: "cb-1", Incident: in, Entry: 6, Caller: "山田様", Organisation: "A市 市民課", Number: "0300-00-0000", Asked: "名簿に自分が入っているか", DueAt: start.Add(-10 * time.Minute), Person: "pe-responder", AskedBy: "pe-responder"},
		{ID: "cb-2", Incident: in, Entry: 7, Caller: "記者", Asked: "被害の件数", DueAt: start.Add(time.Hour), Person: "pe-executive", AskedBy: "pe-responder"},
		{ID: "cb-3", Incident: in, Entry: 8, Organisation: "保健所", Asked: "診療の継続", DueAt: start.Add(-time.Hour), Person: "pe-responder", AskedBy: "pe-responder", DoneAt: start.Add(-70 * time.Minute), DoneBy: "pe-responder", Result: "継続と伝えた"},
	}, nil
}

func (h paperOf) CalledBack(_ context.Context, _, id, result string, _ time.Time, _ auth.Person) error {
	if id == "cb-3" {
		return fault.New(fault.Conflict, "paper.called", "情報システム係")
	}
	if result == "" {
		return fault.New(fault.Invalid, "paper.missing-result")
	}
	return nil
}

func (h paperOf) AddSheet(ctx context.Context, in, _ string, data []byte, _ auth.Person) (paper.Preview, error) {
	if _, err := paper.ReadSheet(data); err != nil {
		return paper.Preview{}, err
	}
	return h.Preview(ctx, in, "csv-1")
}

func (h paperOf) Sheets(_ context.Context, in string) ([]paper.SheetFile, error) {
	if !h.has(in) {
		return nil, nil
	}
	return []paper.SheetFile{{ID: "csv-1", Incident: in, At: start.Add(-time.Minute), By: "pe-responder", File: paper.File{Name: "夜間記録.csv", Type: paper.CSV, Size: 512, Digest: strings.Repeat("ef", 32)}}}, nil
}

func (h paperOf) SheetData(ctx context.Context, in, id string) (paper.SheetFile, []byte, error) {
	all, err := h.Sheets(ctx, in)
	if len(all) == 0 || all[0].ID != id {
		return paper.SheetFile{}, nil, missing("incident.record-missing")
	}
	return all[0], paper.Template("ja"), err
}

func (h paperOf) Preview(ctx context.Context, in, id string) (paper.Preview, error) {
	s, _, err := h.SheetData(ctx, in, id)
	if err != nil {
		return paper.Preview{}, err
	}
	e := h.chron[in][1]
	line := func(row int, no, text string, before time.Duration) paper.Line {
		return paper.Line{Row: row, No: no, At: start.Add(-before), By: "鈴木", Source: "phone", Certainty: incident.Fact, About: "受付PC", Text: text}
	}
	return paper.Preview{Sheet: s, Proposals: []paper.Proposal{
		{Line: line(2, "1", "利用者は席にいると聞いた <b>", 84*time.Minute), Kind: paper.InConflict, Why: []string{paper.ByPerson}, Existing: &e},
		{Line: line(3, "2", "不審なメール", 30*time.Hour), Kind: paper.InConflict, Why: []string{paper.Before}},
		{Line: line(4, "3", "夜勤へ引き継ぐ予定", -time.Hour), Kind: paper.InConflict, Why: []string{paper.Future}},
		{Line: line(5, "4", "LANを抜いた\n写真を撮った", 80*time.Minute), Kind: paper.Fresh},
		{Line: line(6, "5", "委託先から電話。", 84*time.Minute), Kind: paper.Same, Existing: &e},
	}, Problems: []paper.Problem{{Row: 7, Column: 3, Key: "time", Value: "1350"}, {Row: 8, Key: "quote-open", Value: "9"}}}, nil
}

func (h paperOf) Import(_ context.Context, _, _ string, choices map[int]paper.Choice, _ auth.Person) (paper.Taken, error) {
	for _, row := range []int{2, 3, 4} {
		if choices[row] == "" {
			return paper.Taken{}, fault.New(fault.Invalid, "paper.choice", row)
		}
	}
	return paper.Taken{Added: 1, Same: 1}, nil
}

// causesOf has causes and improvements of in-1.
type causesOf struct{ *house }

func (h causesOf) has(in string) bool {
	return len(h.cases) > 0 && (in == "" || in == h.cases[0].ID)
}

func (h causesOf) Graph(_ context.Context, in, _ string, from, to time.Time) (cause.Graph, error) {
	g := cause.Draw(h.chron[in], h.alertList[:1], from, to)
	g.Incident = in
	return g, nil
}

func (h causesOf) Factors(_ context.Context, in string) ([]cause.Factor, error) {
	if !h.has(in) {
		return nil, nil
	}
	return []cause.Factor{
		{ID: "fa-1", Incident: in, Category: "method", Text: "持ち込みのソフトが動いた <b>", Evidence: []cause.Link{{Kind: cause.LinkEntry, Ref: "2"}, {Kind: cause.LinkAlert, Ref: "al-1"}, {Kind: cause.LinkBag, Ref: "bag-1"}, {Kind: cause.LinkEvent, Ref: "ba-0-3@2026-11-22T05:04:03Z"}}, At: start, By: "pe-responder"},
		{ID: "fa-2", Incident: in, Parent: "fa-1", Category: "management", Text: "実行できるソフトを絞っていない", Estimate: true, Root: true, At: start, By: "pe-responder"},
		{ID: "fa-3", Incident: in, Category: "man", Text: "故意の持ち出し", Estimate: true, Withdrawn: "聞き取りで否定された", At: start, By: "pe-responder"},
	}, nil
}

func (h causesOf) AddFactor(_ context.Context, _ string, n cause.NewFactor, _ auth.Person) (cause.Factor, error) {
	if len(n.Evidence) == 0 && !n.Estimate {
		return cause.Factor{}, fault.New(fault.Invalid, "cause.no-evidence")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.factors = append(h.factors, n)
	return cause.Factor{ID: "fa-9"}, nil
}

func (h causesOf) ReviseFactor(context.Context, string, string, cause.NewFactor, auth.Person) error {
	return nil
}

func (h causesOf) WithdrawFactor(context.Context, string, string, string, auth.Person) error {
	return nil
}

func (h causesOf) Interviews(_ context.Context, in string) ([]cause.Interview, error) {
	if !h.has(in) {
		return nil, nil
	}
	return []cause.Interview{{ID: "iv-1", Incident: in, Who: "高橋花子", Position: "電話受付", HeardBy: "pe-responder", HeardAt: start.Add(-time.Hour), Consent: "oral", Text: "便利なので入れた。\n共有されるとは知らなかった。", At: start, By: "pe-responder"}}, nil
}

func (h causesOf) AddInterview(context.Context, string, cause.NewInterview, auth.Person) (cause.Interview, error) {
	return cause.Interview{ID: "iv-9"}, nil
}

func (h causesOf) Measures(_ context.Context, in string) ([]cause.Measure, error) {
	if !h.has(in) {
		return nil, nil
	}
	of := h.cases[0].ID
	return []cause.Measure{
		{ID: "me-1", Incident: of, Title: "許可した実行ファイルだけを動かす", Plan: "受付の12台から", Factors: []string{"fa-2"}, Owner: "pe-responder", DueAt: start.Add(-30 * time.Hour), CheckAt: start.AddDate(0, 1, 0), Number: "許可外の起動(件/月)", Target: "0", State: cause.Doing,
			Steps: []cause.Step{{To: cause.Doing, At: start.Add(-48 * time.Hour), By: "pe-responder", Text: "2台で始めた"}}, At: start, By: "pe-responder"},
		{ID: "me-2", Incident: of, Title: "持ち込みの点検", Owner: "pe-executive", DueAt: start.AddDate(0, 0, -3), CheckAt: start.AddDate(0, 0, 7), Number: "点検した席", Target: "全12席", State: cause.Checking, At: start, By: "pe-responder"},
		{ID: "me-3", Incident: of, Title: "規程の改定", Owner: "pe-executive", DueAt: start.AddDate(0, -1, 0), CheckAt: start.AddDate(0, 0, -7), Number: "読んだ人", Target: "全員", Measured: "32人中32人", State: cause.Kept, At: start, By: "pe-responder"},
	}, nil
}

func (h causesOf) AddMeasure(context.Context, string, cause.NewMeasure, auth.Person) (cause.Measure, error) {
	return cause.Measure{ID: "me-9"}, nil
}

func (h causesOf) Go(_ context.Context, _, id string, p cause.Progress, _ auth.Person) error {
	if id == "me-2" && p.Measured == "" {
		return fault.New(fault.Invalid, "cause.missing-measured")
	}
	return nil
}

func (h causesOf) Lessons(_ context.Context, in string) ([]cause.Lesson, error) {
	if !h.has(in) {
		return nil, nil
	}
	of := h.cases[0].ID
	return []cause.Lesson{
		{ID: "le-1", Incident: of, Text: "夜間は委託先の責任者に先に電話する", Target: cause.ForPlaybook, Ref: "playbook--c2e51e95-3739-5332-b0b2-f0f7b47cc257", At: start, By: "pe-responder"},
		{ID: "le-2", Incident: of, Text: "許可外の起動を知らせる", Target: cause.ForRule, At: start, By: "pe-responder"},
		{ID: "le-3", Incident: of, Text: "委託先の端末の管理", Target: cause.ForRisk, At: start, By: "pe-responder"},
		{ID: "le-4", Incident: of, Text: "名簿の置き場所", Target: cause.ForRisk, At: start, By: "pe-responder", Answer: "台帳に足した", AnsweredBy: "pe-executive", AnsweredAt: start},
	}, nil
}

func (h causesOf) AddLesson(context.Context, string, string, string, string, auth.Person) (cause.Lesson, error) {
	return cause.Lesson{ID: "le-9"}, nil
}

func (h causesOf) AnswerLesson(context.Context, string, string, string, auth.Person) error {
	return nil
}

func (h causesOf) LessonsFor(ctx context.Context, target, ref string) ([]cause.Lesson, error) {
	all, err := h.Lessons(ctx, "")
	var out []cause.Lesson
	for _, l := range all {
		if l.Target == target && l.Waits() && (ref == "" || l.Ref == ref) {
			out = append(out, l)
		}
	}
	return out, err
}

// sendFile posts a form with a file.
func (v visitor) sendFile(path, field, name string, data []byte, pairs ...string) answer {
	v.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i+1 < len(pairs); i += 2 {
		if err := w.WriteField(pairs[i], pairs[i+1]); err != nil {
			v.t.Fatal(err)
		}
	}
	f, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="` + field + `"; filename="` + name + `"`}, "Content-Type": {"text/html"}})
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		v.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, v.base+path, &b)
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Content-Type", w.FormDataContentType())
	return v.send(r)
}

func TestAPictureIsTakenInAndNeverRun(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	r := v.as("responder")
	got := r.sendFile("/incidents/in-1/paper/pictures", "picture", "x.html", whiteboard(), "shows", "白板", "picture_source", "whiteboard", "written_at", "2026-11-22T13:00")
	if got.status != http.StatusSeeOther || len(h.sent) != 1 || h.sent[0].Text != "白板" || !bytes.Equal(h.sent[0].Data, whiteboard()) || !h.sent[0].OccurredAt.Equal(start.Add(-65*time.Minute)) {
		t.Errorf("%d, %d pictures", got.status, len(h.sent))
	}
	for name, data := range map[string][]byte{"page": []byte("<script>alert(1)</script>"), "drawing": []byte("<svg/>"), "nothing": nil} {
		if got := r.sendFile("/incidents/in-1/paper/pictures", "picture", "a.png", data, "shows", "x"); got.status != http.StatusUnprocessableEntity && got.status != http.StatusBadRequest {
			t.Errorf("%s: %d", name, got.status)
		}
	}
	for id, want := range map[string]string{"pic-1": "inline", "pic-2": "attachment"} {
		got := r.get("/incidents/in-1/paper/pictures/" + id)
		if kind := got.header.Get("Content-Type"); got.status != 200 || strings.Contains(kind, "html") || strings.Contains(kind, "svg") || got.header.Get("X-Content-Type-Options") != "nosniff" ||
			!strings.HasPrefix(got.header.Get("Content-Disposition"), want) || !strings.HasPrefix(got.header.Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%s: %d %v", id, got.status, got.header)
		}
	}
	if got := v.as("contractor").get("/incidents/in-1/paper/pictures/none"); got.status != http.StatusNotFound {
		t.Errorf("unknown picture: %d", got.status)
	}
}

func TestAMemoAndALogAreEnteredOnForms(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	r := v.as("responder")
	if got := r.post("/incidents/in-1/paper/memos", "caller", "山田", "asked", "名簿", "memo_at", "2026-11-22T14:00", "call_by", "2026-11-22T15:00", "call_who", "pe-executive"); got.status != http.StatusSeeOther {
		t.Errorf("memo: %d", got.status)
	}
	if len(h.memos) != 1 || !h.memos[0].CallBy.Equal(start.Add(55*time.Minute)) || h.memos[0].CallWho != "pe-executive" {
		t.Errorf("memos %+v", h.memos)
	}
	if got := r.post("/incidents/in-1/paper/memos", "caller", "山田", "number", "0300"); !strings.Contains(got.body, "用件を書いてください") || !strings.Contains(got.body, `value="0300"`) {
		t.Errorf("a memo without its matter: %d", got.status)
	}
	if got := r.post("/incidents/in-1/paper/calls/cb-3", "call", "cb-3", "result", "x"); !strings.Contains(got.body, "すでに 情報システム係 が折り返しています") {
		t.Errorf("a call that was made: %d", got.status)
	}
	if got := r.sendFile("/incidents/in-1/paper/sheets", "sheet", "log.csv", paper.Template("en")); got.status != http.StatusSeeOther || got.header.Get("Location") != "/incidents/in-1/paper/sheets/csv-1" {
		t.Errorf("log: %d", got.status)
	}
	if got := r.sendFile("/incidents/in-1/paper/sheets", "sheet", "log.csv", []byte("a,b\n")); !strings.Contains(got.body, "必要な列がありません") {
		t.Errorf("a log without heads: %d", got.status)
	}
	if got := r.post("/incidents/in-1/paper/sheets/csv-1", "line-2", "take", "line-3", "leave"); !strings.Contains(got.body, "4 行目をどうするか") || !strings.Contains(got.body, `name="line-2" value="take" required checked`) {
		t.Errorf("a choice is missing: %d", got.status)
	}
	if got := r.post("/incidents/in-1/paper/sheets/csv-1", "line-2", "take", "line-3", "leave", "line-4", "take"); got.status != http.StatusSeeOther {
		t.Errorf("import: %d", got.status)
	}
	if got := r.get("/incidents/in-1/paper/template.csv?lang=ja"); !strings.HasPrefix(got.body, "\uFEFF番号,日付,時刻") || !strings.Contains(got.header.Get("Content-Type"), "text/csv") {
		t.Errorf("template: %q", got.body)
	}
}

func TestCausesAreWorkedOnWithoutScript(t *testing.T) {
	h := newHouse().inCourse()
	v, _ := h.open(t)
	r := v.as("responder")
	if got := r.post("/incidents/in-1/cause/factors", "about", "factor", "text", "なぜ", "category", "man", "evidence", "2, al-1"); got.status != http.StatusSeeOther {
		t.Errorf("why: %d", got.status)
	}
	if len(h.factors) != 1 || len(h.factors[0].Evidence) != 2 || h.factors[0].Evidence[1].Kind != cause.LinkAlert {
		t.Errorf("%+v", h.factors)
	}
	if got := r.post("/incidents/in-1/cause/factors", "about", "factor", "text", "根拠のないなぜ", "category", "man"); !strings.Contains(got.body, "証拠を付けるか") || !strings.Contains(got.body, "根拠のないなぜ") {
		t.Errorf("a why without evidence: %d", got.status)
	}
	if got := r.post("/incidents/in-1/cause/measures/me-2", "about", "me-2", "progress", "点検した", "to", "kept"); !strings.Contains(got.body, "測った値を入れてください") {
		t.Errorf("a check without its number: %d", got.status)
	}
	for path, form := range map[string][]string{
		"/factors/fa-1":          {"text", "x", "category", "man", "estimate", "1"},
		"/factors/fa-1/withdraw": {"reason", "x"},
		"/interviews":            {"who", "x", "heard_at", "2026-11-22T13:00", "consent", "oral", "heard", "x"},
		"/measures":              {"measure_title", "x", "owner", "pe-responder", "due", "2026-12-01", "check", "2026-12-20", "measured_by", "x", "target", "0"},
		"/measures/me-2":         {"to", "kept", "progress", "x", "measured", "12"},
		"/lessons":               {"lesson", "x", "target_kind", "risk"},
		"/lessons/le-1":          {"answer", "x"},
	} {
		if got := r.post("/incidents/in-1/cause"+path, form...); got.status != http.StatusSeeOther {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	for _, who := range []string{"contractor", "executive", "auditor"} { // what people told is for those who report
		page := v.as(who).get("/incidents/in-1/cause")
		if strings.Contains(page.body, "高橋花子") || strings.Contains(page.body, "聞き取りを記録する") {
			t.Errorf("%s reads interviews", who)
		}
		if got := v.as(who).post("/incidents/in-1/cause/interviews", "who", "x"); got.status != http.StatusForbidden {
			t.Errorf("%s writes an interview: %d", who, got.status)
		}
	}
	if page := r.get("/incidents/in-1/cause"); !strings.Contains(page.body, "高橋花子") {
		t.Error("a responder does not read interviews")
	}
	if page := r.get("/playbooks/playbook--c2e51e95-3739-5332-b0b2-f0f7b47cc257"); !strings.Contains(page.body, "教訓が待っています") {
		t.Error("the playbook does not say that a lesson waits")
	}
	if page := r.get("/playbooks/playbook--c2e51e95-3739-5332-b0b2-f0f7b47cc257"); !strings.Contains(page.body, "責任者に先に電話") {
		t.Error("the playbook does not say which lesson waits")
	}
}

func TestTheGraphIsZoomedByLinks(t *testing.T) {
	h := newHouse().inCourse()
	for i := range 300 {
		h.chron["in-1"] = append(h.chron["in-1"], incident.Entry{Incident: "in-1", No: 4 + i, OccurredAt: start.Add(-time.Duration(i) * time.Second), EnteredAt: start, Source: "person", By: "pe-responder", Text: "記録"})
	}
	v, _ := h.open(t)
	r := v.as("responder")
	page := r.get("/incidents/in-1/cause").body
	_, rest, ok := strings.Cut(page, `<a href="/incidents/in-1/cause?from=`)
	if !ok {
		t.Fatalf("no group leads nearer: %s", around(page, "timeline"))
	}
	query, _, _ := strings.Cut(rest, `"`)
	near := r.get("/incidents/in-1/cause?from=" + strings.ReplaceAll(query, "&amp;", "&"))
	if near.status != http.StatusOK || !strings.Contains(near.body, "全体を見る") {
		t.Errorf("nearer: %d", near.status)
	}
	if got := r.get("/incidents/in-1/cause?from=yesterday"); got.status != http.StatusNotFound {
		t.Errorf("a time that is none: %d", got.status)
	}
}
