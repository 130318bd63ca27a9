package hub_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"image"
	"image/png"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/api"
	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/hub/hubtest"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/incident/cause"
	"github.com/sonae/sonae/incident/paper"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/notify/notifytest"
)

// TestPaperAndCausesAreProvedAndRemindPeople: a whiteboard, a telephone call and
// a log from a laptop come into an incident; its cause is found and an
// improvement planned; the incident ends, and still people are reminded until
// what was promised is done. A stranger checks all of it.
func TestPaperAndCausesAreProvedAndRemindPeople(t *testing.T) {
	t.Parallel()
	server := notifytest.StartMail(t)
	later := &skew{}
	h := startWith(t, hubtest.Now(later.now))
	h.Site("clinic", "hospital")
	admin := h.FirstAdmin()
	sato := h.Person("sato", "", auth.Responder)
	sato.Must(http.MethodPut, "/notify/contacts/"+sato.Person.ID, api.ContactFields{Mail: "sato@hospital.example"}, nil)
	var ch notify.Channel
	admin.Must(http.MethodPost, "/notify/channels", api.ChannelFields{Kind: notify.Mail, Name: "院内メール", Server: server.Addr, User: notifytest.User, Password: notifytest.Password,
		From: "sonae@hospital.example", CA: server.CA}, &ch)
	admin.Must(http.MethodPost, "/notify/chains", api.ChainFields{Name: "約束", Least: "medium", Steps: []api.StepFields{{People: []string{sato.Person.ID}, Channels: []string{ch.ID}, Wait: 60}}}, nil)
	now := time.Now().UTC().Truncate(time.Second)
	var in incident.Incident
	sato.Must(http.MethodPost, "/incidents", api.NewIncident{Title: "暗号化の疑い", Severity: "high", Sites: []string{"clinic"}, KnownAt: now.Add(-3 * time.Hour)}, &in)
	base := "/incidents/" + in.ID
	live := func(kind string) (found []notify.Call) {
		for _, c := range hubtest.List[notify.Call](sato, "/notify/calls") {
			if c.Cause.Kind == kind && c.Live() {
				found = append(found, c)
			}
		}
		return found
	}

	// paper
	var photo bytes.Buffer
	if err := png.Encode(&photo, image.NewGray(image.Rect(0, 0, 40, 30))); err != nil {
		t.Fatal(err)
	}
	var pic paper.Picture
	sato.Must(http.MethodPost, base+"/pictures", api.PictureIn{Name: "白板.png", Data: photo.Bytes(), Text: "13時のホワイトボード", OccurredAt: now.Add(-2 * time.Hour)}, &pic)
	sato.Refused(http.StatusBadRequest, http.MethodPost, base+"/pictures", api.PictureIn{Name: "a.png", Data: []byte("<svg onload=alert(1)>"), Text: "x"})
	if status, body := sato.Page(base + "/paper/pictures/" + pic.ID); status != http.StatusOK || body != photo.String() {
		t.Errorf("the picture comes back as %d, %d bytes", status, len(body))
	}
	sato.Must(http.MethodPost, base+"/memos", api.MemoIn{At: now.Add(-time.Hour), Caller: "山田様", Asked: "名簿に入っているか", CallBy: now.Add(-30 * time.Minute)}, nil)
	h.Await("a call about the promise that is late", func() bool { return len(live(notify.OfCallBack)) == 1 })
	later.add(2 * time.Minute)
	h.Await("a mail about it", func() bool {
		return slices.ContainsFunc(server.To("sato@hospital.example"), func(m notifytest.Letter) bool {
			return strings.Contains(m.Text, "折り返しの電話が") && !strings.Contains(m.Text, "山田")
		})
	})
	tokyo := func(ago time.Duration) string { return now.Add(-ago).In(clock.Tokyo()).Format("2006-01-02,15:04") }
	log := "番号,日付,時刻,記入者,内容\r\n1," + tokyo(170*time.Minute) + ",鈴木,画面が赤い\r\n2," + tokyo(160*time.Minute) + ",鈴木,LANを抜いた\r\n3," + tokyo(30*time.Hour) + ",鈴木,不審なメール\r\n"
	var preview paper.Preview
	sato.Must(http.MethodPost, base+"/logs", api.PaperLogIn{Name: "夜間.csv", Data: []byte(log)}, &preview)
	if n := preview.Count(paper.Fresh); n != 2 || preview.Count(paper.InConflict) != 1 {
		t.Fatalf("preview %+v", preview)
	}
	for range 2 { // the second time adds nothing
		if status, _, text := sato.Submit(base+"/paper/sheets/"+preview.Sheet.ID, url.Values{"line-4": {"take"}}); status != http.StatusSeeOther {
			t.Fatalf("import: %d %.300s", status, text)
		}
	}
	lines := 0
	for _, e := range sato.Chronology(in.ID) {
		if strings.HasPrefix(e.Key, "paper.line") {
			lines++
		}
	}
	if lines != 3 {
		t.Errorf("%d lines of the log stand in the chronology, want 3", lines)
	}
	call := hubtest.List[paper.CallBack](sato, base+"/call-backs")[0]
	sato.Must(http.MethodPost, base+"/call-backs/"+call.ID, api.CalledBack{Result: "入っていない"}, nil)
	h.Await("the promise's call to end", func() bool { return len(live(notify.OfCallBack)) == 0 })

	// cause
	var why cause.Factor
	sato.Must(http.MethodPost, base+"/factors", api.FactorIn{Category: "machine", Text: "更新が遅れた", Evidence: []cause.Link{{Kind: cause.LinkEntry, Ref: strconv.Itoa(pic.Entry)}}}, &why)
	sato.Refused(http.StatusBadRequest, http.MethodPost, base+"/factors", api.FactorIn{Category: "man", Text: "なんとなく"})
	sato.Must(http.MethodPost, base+"/interviews", api.InterviewIn{Who: "鈴木一郎", HeardAt: now.Add(-time.Minute), Consent: "oral", Text: "添付を開いた"}, nil)
	h.Person("incho", "", auth.Executive).Refused(http.StatusForbidden, http.MethodGet, base+"/interviews", nil)
	var m cause.Measure
	sato.Must(http.MethodPost, base+"/measures", api.MeasureIn{Title: "月次の更新", Factors: []string{why.ID}, Owner: sato.Person.ID, DueAt: now.Add(48 * time.Hour), CheckAt: now.Add(30 * 24 * time.Hour), Number: "未更新の台数", Target: "0"}, &m)
	sato.Must(http.MethodPost, base+"/lessons", api.LessonIn{Text: "更新の遅れを知らせる", Target: "rule"}, nil)
	for _, to := range []string{"responding", "ended"} {
		sato.Must(http.MethodPost, base+"/move", api.Move{To: to, Reason: "復旧した"}, nil)
	}
	h.Await("a call about the improvement, although the incident ended", func() bool { return len(live(notify.OfMeasure)) == 1 })
	if open := hubtest.List[cause.Measure](sato, "/measures"); len(open) != 1 || open[0].ID != m.ID {
		t.Errorf("open improvements %+v", open)
	}
	if status, page := sato.Page("/measures"); status != http.StatusOK || !strings.Contains(page, "月次の更新") || !strings.Contains(page, "更新の遅れを知らせる") {
		t.Errorf("the page of improvements: %d", status)
	}
	sato.Must(http.MethodPost, base+"/measures/"+m.ID, api.ProgressIn{To: "doing", Text: "始めた"}, nil)
	sato.Must(http.MethodPost, base+"/measures/"+m.ID, api.ProgressIn{To: "checking", Text: "済み"}, nil)
	h.Await("its call to end once it is done", func() bool { return len(live(notify.OfMeasure)) == 0 })
	if g := hubtest.Get[cause.Graph](sato, base+"/graph"); len(g.Slots) == 0 || len(g.Lanes) == 0 {
		t.Errorf("graph %+v", g)
	}
	for _, key := range []string{"paper.picture", "paper.memo-call", "paper.called", "paper.sheet", "cause.factor", "cause.interview", "cause.measure", "cause.moved", "cause.lesson"} {
		sato.Written(in.ID, key)
	}
	if status, page := sato.Page(base); status != http.StatusOK || strings.Contains(page, "⟦") || strings.Contains(page, "鈴木一郎") {
		t.Errorf("the room: %d", status)
	}
	status, _, archive := sato.Submit(base+"/paper/export", nil)
	if status != http.StatusOK {
		t.Fatalf("the export: %d %s", status, archive)
	}
	program := sonaeProgram(t)
	verifiesPaper(t, program, archive, pic.ID)
	h.Idle()
	h.Stop()
	if out, err := exec.Command(program, "verify", h.Dir).CombinedOutput(); err != nil || !strings.Contains(string(out), "row by row") {
		t.Errorf("verify: %v: %s", err, out)
	}
	kept := filepath.Join(h.Dir, "paper", in.ID, pic.File.Digest)
	flip(t, kept)
	if out, err := exec.Command(program, "verify", h.Dir).CombinedOutput(); err == nil || !strings.Contains(string(out), pic.ID) || !strings.Contains(string(out), pic.File.Digest) {
		t.Errorf("a changed byte of a kept picture: %v: %s", err, out)
	}
}

// flip changes one byte in the middle of a file.
func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, b, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// verifiesPaper checks an export as whoever received it does, whole, unpacked
// and file by file, before and after a byte of each file was changed.
func verifiesPaper(t *testing.T, program, archive, picture string) {
	t.Helper()
	dir := t.TempDir()
	zipped := filepath.Join(dir, "paper.zip")
	z, err := zip.NewReader(strings.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatalf("%v in %.200q", err, archive)
	}
	if err := os.WriteFile(zipped, []byte(archive), 0o600); err != nil {
		t.Fatal(err)
	}
	says := func(path, want string, intact bool) {
		t.Helper()
		if out, err := exec.Command(program, "verify", path).CombinedOutput(); (err == nil) != intact || !strings.Contains(string(out), want) {
			t.Errorf("verify %s: %v, want %q in %s", path, err, want, out)
		}
	}
	says(zipped, "export of paper", true)
	folder := filepath.Join(dir, "unpacked")
	if err := os.CopyFS(folder, z); err != nil {
		t.Fatal(err)
	}
	says(folder, "export of paper", true)
	for _, e := range z.File {
		path := filepath.Join(folder, e.Name)
		if name := filepath.Base(e.Name); name == "README.txt" || name == "ledger-key.txt" || strings.HasSuffix(name, ".proof") || strings.HasSuffix(name, ".record") {
			continue
		}
		says(path, "recorded", true)
		flip(t, path)
		says(folder, e.Name+": ", false)
		says(path, e.Name+": ", false)
		flip(t, path)
	}
	if !strings.Contains(archive, "pictures/"+picture) {
		t.Error("the picture is not in it")
	}
}
