package report_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/duty"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/report/beside"
	"github.com/sonae/sonae/report/block"
	"github.com/sonae/sonae/report/docx"
	"github.com/sonae/sonae/report/html"
	"github.com/sonae/sonae/report/misp"
	"github.com/sonae/sonae/report/stix"
	"github.com/sonae/sonae/report/xlsx"
)

var bob = auth.Person{ID: "pe-2", Name: "別所 一"}

// makers are the real ones; PDF, which needs a browser, is tested beside it.
func makers() map[string]report.Maker {
	return map[string]report.Maker{report.Docx: docx.Make, report.Xlsx: xlsx.Make, report.Txt: block.Make, report.STIX: stix.Make, report.MISP: misp.Make}
}

func particulars() report.Particulars {
	return report.Particulars{DeskName: "窓口", DeskPhone: "0120-000-000", DeskHours: "9時から", Stopped: "予約", Indicators: "203.0.113.7\nhxxp://bad[.]example[.]net/x\n" + strings.Repeat("AB", 32),
		Groups: []report.Group{{Name: "外来の方", Count: 12, Data: "氏名", Advice: "電話に注意"}, {Name: "職員", Data: "住所"}}}
}

// useDocuments does what people do with documents, so that every table holds
// two rows.
func (h *house) useDocuments(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	p := particulars()
	for _, name := range []string{"一", "二"} {
		p.DeskName = name
		if err := h.SetParticulars(ctx, h.in.ID, p, anna); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range []report.Order{{Kind: "press"}, {Kind: "person-letter", Group: "g1"}} {
		doc, err := h.Make(ctx, h.in.ID, o, anna)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Approve(ctx, doc.ID, bob); err != nil {
			t.Fatal(err)
		}
		if err := h.Viewed(ctx, doc, "html", bob); err != nil {
			t.Fatal(err)
		}
		h.copyLeaves(t)
		if _, err := h.File(ctx, doc.ID, "ja", report.Docx); err != nil {
			t.Fatal(err)
		}
	}
}

// copyLeaves puts what waits into the ledger and leaves it waiting.
func (h *house) copyLeaves(t *testing.T) {
	t.Helper()
	rows, err := h.db.Query(t.Context(), `SELECT body FROM outbox WHERE subject LIKE 'record.%'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []leaf.Leaf
	for rows.Next() {
		var body []byte
		var l leaf.Leaf
		if err := rows.Scan(&body); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(body, &l); err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	for _, l := range all {
		if _, err := h.book.Append(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEveryKindIsMadeApprovedAndProvedInEveryFormat(t *testing.T) {
	h := build(t)
	ctx := t.Context()
	if err := h.SetParticulars(ctx, h.in.ID, particulars(), anna); err != nil {
		t.Fatal(err)
	}
	var docs []report.Document
	for _, k := range report.Kinds() {
		o := report.Order{Kind: k.ID}
		if k.Groups {
			o.Group = "g2"
		}
		doc, err := h.Make(ctx, h.in.ID, o, anna)
		if err != nil {
			t.Fatalf("%s: %v", k.ID, err)
		}
		if err := h.Approve(ctx, doc.ID, bob); err != nil {
			t.Fatalf("%s: %v", k.ID, err)
		}
		docs = append(docs, doc)
	}
	h.relay(t)
	dir := t.TempDir()
	for _, doc := range docs {
		kind, _ := report.KindOf(doc.Kind)
		for _, format := range append(slices.Clone(kind.Formats), report.JSON) {
			if format != report.PDF {
				h.proved(t, dir, doc, format)
			}
		}
		h.pageIs(t, dir, doc)
	}
}

// pageIs checks the approved page of a document.
func (h *house) pageIs(t *testing.T, dir string, doc report.Document) {
	t.Helper()
	for _, lang := range []string{"ja", "en"} {
		var page bytes.Buffer
		if err := h.HTML(t.Context(), doc.ID, lang, &page); err != nil {
			t.Fatal(err)
		}
		text := page.String()
		for _, want := range []string{bob.Name, "No.1", "台帳"} {
			if lang == "ja" && !strings.Contains(text, want) {
				t.Errorf("%s: the page lacks %q", doc.Kind, want)
			}
		}
		if strings.Contains(text, `class="draft-mark"`) || strings.Contains(text, "⟦") {
			t.Errorf("%s.%s: approved, but a draft, or a word is missing", doc.Kind, lang)
		}
		path := filepath.Join(dir, doc.ID+"."+lang+".html")
		if err := os.WriteFile(path, page.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := html.Verify(path, h.key)
		if err != nil || !r.Intact() || r.Document != doc.ID+"/approved/"+lang {
			t.Errorf("%s.%s: %+v, %v", doc.Kind, lang, r, err)
		}
	}
}

// proved takes a file and its proof, checks them, and changes one byte of each.
func (h *house) proved(t *testing.T, dir string, doc report.Document, format string) {
	t.Helper()
	ctx := t.Context()
	f, err := h.File(ctx, doc.ID, "ja", format)
	if err != nil {
		t.Fatalf("%s %s: %v", doc.Kind, format, err)
	}
	h.copyLeaves(t)
	proof, err := h.Proof(ctx, doc.ID, "ja", format)
	if err != nil {
		t.Fatalf("%s %s: %v", doc.Kind, format, err)
	}
	if again, err := h.File(ctx, doc.ID, "ja", format); err != nil || !bytes.Equal(again.Body, f.Body) {
		t.Errorf("%s %s is another one the second time: %v", doc.Kind, format, err)
	}
	path := filepath.Join(dir, f.Name)
	check := func(file, proof []byte) beside.Report {
		for name, b := range map[string][]byte{path: file, path + beside.Suffix: proof} {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r, err := beside.Verify(path, h.key)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := check(f.Body, proof.Body); len(r.Problems) > 0 || !strings.HasPrefix(r.Document, doc.ID) {
		t.Errorf("%s: honest, but %v", f.Name, r.Problems)
	}
	for _, at := range []int{0, len(f.Body) / 2, len(f.Body) - 1} {
		b := bytes.Clone(f.Body)
		b[at] ^= 1
		if r := check(b, proof.Body); len(r.Problems) == 0 {
			t.Errorf("%s: byte %d changed unnoticed", f.Name, at)
		}
	}
	for at := 0; at < len(proof.Body); at += 1 + len(proof.Body)/40 {
		b := bytes.Clone(proof.Body)
		b[at] ^= 1
		if r := check(f.Body, b); len(r.Problems) == 0 {
			t.Errorf("%s: byte %d of the proof changed unnoticed", f.Name, at)
		}
	}
}

func TestWhoMadeADocumentDoesNotApproveIt(t *testing.T) {
	h := build(t)
	ctx := t.Context()
	doc, err := h.Make(ctx, h.in.ID, report.Order{Kind: "press"}, anna)
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := h.HTML(ctx, doc.ID, "ja", &page); err != nil || !strings.Contains(page.String(), `class="draft-mark"`) || !strings.Contains(page.String(), "案（未承認）") {
		t.Errorf("a draft does not say so: %v", err)
	}
	if err := h.Approve(ctx, doc.ID, anna); fault.Of(err) != fault.Denied {
		t.Errorf("own document: %v", err)
	}
	if err := h.Approve(ctx, doc.ID, bob); err != nil {
		t.Fatal(err)
	}
	if err := h.Approve(ctx, doc.ID, bob); fault.Of(err) != fault.Conflict {
		t.Errorf("twice: %v", err)
	}
	if got, err := h.Get(ctx, doc.ID); err != nil || got.ApprovedBy != bob.ID || !got.Approved() {
		t.Errorf("%+v, %v", got, err)
	}
	next, err := h.Make(ctx, h.in.ID, report.Order{Kind: "press"}, anna)
	if err != nil || next.Version != 2 || next.No != 2 || next.Approved() {
		t.Errorf("next version %+v, %v", next, err)
	}
}

func TestOrdersThatCannotBeMet(t *testing.T) {
	h := build(t)
	ctx := t.Context()
	for _, o := range []report.Order{{}, {Kind: "novel"}, {Kind: "person-letter"}, {Kind: "person-letter", Group: "g9"}, {Kind: "press", Group: "g1"}} {
		if _, err := h.Make(ctx, h.in.ID, o, anna); fault.Of(err) != fault.Invalid {
			t.Errorf("%+v: %v", o, err)
		}
	}
	doc, err := h.Make(ctx, h.in.ID, prompt, anna)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.File(ctx, doc.ID, "ja", report.STIX); fault.Of(err) != fault.Missing {
		t.Errorf("a format that the kind has not: %v", err)
	}
	if _, err := h.File(ctx, doc.ID, "ja", report.PDF); fault.Of(err) != fault.Invalid {
		t.Errorf("without a browser: %v", err)
	}
	if _, err := h.File(ctx, doc.ID, "ja", report.Docx); fault.Of(err) != fault.Busy {
		t.Errorf("before the ledger has it: %v", err)
	}
}

func TestALookIsALineOnceAnHour(t *testing.T) {
	h := build(t)
	ctx := t.Context()
	doc, err := h.Make(ctx, h.in.ID, prompt, anna)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for _, who := range []auth.Person{anna, bob} {
			if err := h.Viewed(ctx, doc, "html", who); err != nil {
				t.Fatal(err)
			}
		}
	}
	var notes []report.Noted
	rows, err := h.db.Query(ctx, `SELECT body FROM outbox WHERE subject = $1`, report.SubjectNoted)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var body []byte
		var n report.Noted
		if err := rows.Scan(&body); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(body, &n); err != nil {
			t.Fatal(err)
		}
		notes = append(notes, n)
	}
	if len(notes) != 2 || notes[0].Key != "document.viewed" || notes[0].Args["by"] != anna.ID || notes[1].Args["by"] != bob.ID {
		t.Errorf("notes %+v", notes)
	}
}

func TestParticularsAreKeptInOneForm(t *testing.T) {
	h := build(t)
	ctx := t.Context()
	p := particulars()
	p.DeskName, p.Groups = " 窓口\x00 ", append(p.Groups, report.Group{}, report.Group{ID: "g7", Name: "三"})
	if err := h.SetParticulars(ctx, h.in.ID, p, anna); err != nil {
		t.Fatal(err)
	}
	got, err := h.Particulars(ctx, h.in.ID)
	if err != nil || got.DeskName != "窓口" || len(got.Groups) != 3 || got.Groups[0].ID != "g1" || got.Groups[1].ID != "g2" || got.Groups[2].ID != "g7" {
		t.Errorf("%+v, %v", got, err)
	}
	for name, bad := range map[string]report.Particulars{
		"long": {Advice: strings.Repeat("あ", 4001)}, "no name": {Groups: []report.Group{{Count: 1}}}, "negative": {Groups: []report.Group{{Name: "x", Count: -1}}},
		"twice": {Groups: []report.Group{{ID: "g1", Name: "x"}, {ID: "g1", Name: "y"}}}, "id": {Groups: []report.Group{{ID: "../x", Name: "x"}}},
		"many": {Groups: make([]report.Group, 21)}, "indicator": {Indicators: "203.0.113.7\nnot an indicator"},
	} {
		if err := h.SetParticulars(ctx, h.in.ID, bad, anna); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	d, err := h.Draft(ctx, h.in.ID, report.Order{Kind: "person-letter", Group: "g2"})
	if err != nil || !slices.ContainsFunc(d.Missing, func(x report.Text) bool { return x.EN == "What this group can do" }) {
		t.Errorf("missing %v, %v", d.Missing, err)
	}
	if slices.ContainsFunc(d.Missing, func(x report.Text) bool { return x.EN == "Address" }) {
		t.Error("a letter does not ask for the reporter's address")
	}
	if len(d.Indicators) != 4 { // the peer of the alerts, and three lines of which one is no address elsewhere
		t.Logf("indicators %+v", d.Indicators)
	}
}

func TestWhatIsNeededFollowsTheClocks(t *testing.T) {
	day := func(n int) time.Time { return start.AddDate(0, 0, n) }
	a := duty.Assessment{
		Triggers: []duty.Trigger{{Applies: duty.Yes}},
		Clocks: []duty.Clock{{ID: "appi_26.final", Regime: "appi_26", Kind: duty.KindFinal, Due: day(30)}, {ID: "appi_26.prompt", Regime: "appi_26", Kind: duty.KindPrompt, Due: day(5)},
			{ID: "mynumber_29_4.prompt", Regime: "mynumber_29_4", Kind: duty.KindPrompt, Due: day(4), DoneAt: day(1)}}}
	needs := report.Needs(a, incident.Responding, []report.Document{{ID: "do-1", Kind: "prompt"}})
	var needed []string
	for _, n := range needs {
		if n.Needed {
			needed = append(needed, n.Kind.ID)
		}
		if n.Kind.ID == "prompt" && len(n.Made) != 1 {
			t.Error("a document that was made is not shown")
		}
	}
	if got, want := strings.Join(needed, " "), "prompt final situation first-call police person-letter person-mail press website faq"; got != want {
		t.Errorf("needed %s, want %s", got, want)
	}
	if len(needs) != len(report.Kinds()) {
		t.Error("a kind is lost")
	}
	for _, n := range report.Needs(duty.Assessment{}, incident.Ended, nil) {
		if n.Needed != (n.Kind.ID == "closing") {
			t.Errorf("%s needed: %v, of an incident that is over", n.Kind.ID, n.Needed)
		}
	}
}

func FuzzIndicators(f *testing.F) {
	for _, s := range []string{"203.0.113.7", "[2001:db8::1]", "hxxps://a[.]b/c", "evil.exe\nbad.example.com", strings.Repeat("a", 64), "C:\\x\\y.dll", "::ffff:1.2.3.4", "fe80::1%eth0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		all, err := report.ParseIndicators(s)
		if err != nil {
			if fault.Of(err) != fault.Invalid {
				t.Fatal(err)
			}
			return
		}
		for _, i := range all {
			again, err := report.ParseIndicators(i.Value)
			if err != nil || len(again) != 1 || again[0].Kind != i.Kind || again[0].Value != i.Value {
				t.Fatalf("%+v is read again as %+v, %v", i, again, err)
			}
		}
		if len(all) > 0 {
			d := report.Data{MadeAt: start, Document: "do-1", TLP: "TLP:AMBER", Indicators: all}
			for _, make := range []report.Maker{stix.Make, misp.Make} {
				out, err := make(context.Background(), report.Source{Data: d, Lang: "ja"})
				if err != nil || !json.Valid(out) {
					t.Fatalf("%v: %s", err, out)
				}
			}
		}
	})
}
