package paper

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/notify"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
	"github.com/sonae/sonae/state/statetest"
)

// start is Sunday 22 November 2026, 14:05 in Japan.
var (
	start = time.Date(2026, 11, 22, 5, 5, 0, 0, time.UTC)
	anna  = auth.Person{ID: "pe-1", Name: "佐藤"}
	ben   = auth.Person{ID: "pe-2", Name: "田中"}
)

type people struct{}

func (people) Person(_ context.Context, id string) (auth.Person, error) {
	for _, p := range []auth.Person{anna, ben} {
		if p.ID == id {
			return p, nil
		}
	}
	return auth.Person{}, fault.New(fault.Missing, "auth.person-missing")
}

type fixture struct {
	*Desk
	t   *testing.T
	now time.Time
	dir string
	in  incident.Incident
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, now: start, dir: t.TempDir()}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	db, now := statetest.Open(t), func() time.Time { return f.now }
	room := incident.New(db, now, log)
	store, err := blob.OpenFolder(f.dir)
	f.ok(err)
	f.Desk = New(db, Deps{Room: room, Store: store, Now: now, Log: log, People: people{}})
	f.in, err = room.Open(t.Context(), incident.NewIncident{Title: "暗号化の疑い", Severity: event.High, KnownAt: start.Add(-2 * time.Hour)}, anna)
	f.ok(err)
	return f
}

func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) chronology() []incident.Entry {
	f.t.Helper()
	all, err := f.entries(f.t.Context(), f.in.ID)
	f.ok(err)
	return all
}

func photo(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 64, 48)), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func drawing(t *testing.T, wide, tall int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, wide, tall))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// heic is the beginning of a picture as telephones write it.
func heic(main string, others ...string) []byte {
	size := 16 + 4*len(others)
	return append([]byte{0, 0, 0, byte(size)}, []byte("ftyp"+main+"\x00\x00\x00\x00"+strings.Join(others, "")+"\x00\x00\x00\x08meta")...)
}

func TestOnlyPicturesAreTakenForPictures(t *testing.T) {
	bomb := drawing(t, 1, 1)
	copy(bomb[16:24], []byte{0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff}) // says 65,535 × 65,535; its checksum is wrong too
	for name, tt := range map[string]struct {
		data []byte
		want Type
	}{
		"JPEG":                         {photo(t), JPEG},
		"PNG":                          {drawing(t, 3, 4), PNG},
		"HEIC of a telephone":          {heic("heic", "mif1", "heic"), HEIC},
		"HEIC whose main brand is mif": {heic("mif1", "heic"), HEIC},
		"PDF":                          {[]byte("%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF\n"), PDF},
		"nothing":                      {nil, ""},
		"HTML":                         {[]byte("<!doctype html><script>alert(1)</script>"), ""},
		"SVG":                          {[]byte(`<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`), ""},
		"HTML after the mark of JPEG":  {[]byte("\xff\xd8\xff<html><script>alert(1)</script>"), ""},
		"HTML after the mark of PNG":   {[]byte("\x89PNG\r\n\x1a\n<html>"), ""},
		"HTML after the mark of PDF":   {[]byte("%PDF-1.7\n<html><script>alert(1)</script>"), ""},
		"PDF that begins later":        {[]byte("<html>%PDF-1.7\n%%EOF"), ""},
		"a film":                       {heic("mp42", "isom"), ""},
		"AVIF":                         {heic("avif", "mif1"), ""},
		"mif without a coding we know": {heic("mif1", "avif"), ""},
		"a box that is not closed":     {heic("heic")[:16], ""},
		"a box of no size":             {append([]byte{0, 0, 0, 0}, "ftypheic\x00\x00\x00\x00........"...), ""},
		"GIF":                          {[]byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"), ""},
		"a program":                    {[]byte("MZ\x90\x00\x03\x00\x00\x00\x04"), ""},
		"a picture that is a bomb":     {bomb, ""},
		"a JPEG that was cut":          {photo(t)[:20], ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Sniff(tt.data)
			if got != tt.want || (tt.want == "") != (fault.Of(err) == fault.Invalid) {
				t.Errorf("Sniff = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func FuzzSniff(f *testing.F) {
	for _, b := range [][]byte{heic("heic", "mif1"), []byte("%PDF-1.7\n%%EOF"), []byte("\xff\xd8\xff\xe0"), []byte("\x89PNG\r\n\x1a\n")} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		kind, err := Sniff(data)
		if (err == nil) != slices.Contains([]Type{JPEG, PNG, HEIC, PDF}, kind) {
			t.Errorf("%q, %v", kind, err)
		}
		if first := bytes.TrimSpace(data); err == nil && bytes.HasPrefix(first, []byte("<")) {
			t.Errorf("%q is taken for %s", data, kind)
		}
	})
}

func TestPictureIsKeptToTheByteAndProved(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	data := photo(t)
	when := start.Add(-90 * time.Minute)
	p, err := f.AddPicture(ctx, f.in.ID, NewPicture{Name: `C:\写真\白板.jpg`, Data: data, Text: "13時のホワイトボード", OccurredAt: when}, anna)
	f.ok(err)
	if p.File.Name != "白板.jpg" || p.File.Digest != digestOf(data) || p.File.Type != JPEG || p.Source != "whiteboard" {
		t.Errorf("picture %+v", p)
	}
	e := f.chronology()[p.Entry-1]
	if e.Key != "paper.picture" || e.Args["digest"] != digestOf(data) || e.By != anna.ID || !e.OccurredAt.Equal(when) || !e.EnteredAt.Equal(start) || e.Ref != p.ID {
		t.Errorf("entry %+v", e)
	}
	_, got, err := f.Picture(ctx, f.in.ID, p.ID)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("read back: %d bytes, %v", len(got), err)
	}
	if _, _, err := f.Picture(ctx, "in-other", p.ID); fault.Of(err) != fault.Missing {
		t.Errorf("through another incident: %v", err)
	}
	again, err := f.AddPicture(ctx, f.in.ID, NewPicture{Name: "b.jpg", Data: data, Text: "同じ写真"}, ben) // the same bytes once more
	if err != nil || again.ID == p.ID {
		t.Errorf("again: %+v, %v", again, err)
	}
	for name, n := range map[string]NewPicture{
		"no text":      {Data: data},
		"no picture":   {Data: []byte("<svg/>"), Text: "x"},
		"too large":    {Data: append(slices.Clone(data), make([]byte, MaxPicture)...), Text: "x"},
		"odd source":   {Data: data, Text: "x", Source: "rumour"},
		"not happened": {Data: data, Text: "x", OccurredAt: start.Add(time.Hour)},
	} {
		if _, err := f.AddPicture(ctx, f.in.ID, n, anna); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.AddPicture(ctx, "in-none", NewPicture{Data: data, Text: "x"}, anna); fault.Of(err) != fault.Missing {
		t.Errorf("unknown incident: %v", err)
	}
}

func TestPictureThatWasChangedIsNotHandedOut(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	p, err := f.AddPicture(ctx, f.in.ID, NewPicture{Name: "a.jpg", Data: photo(t), Text: "x"}, anna)
	f.ok(err)
	f.ok(f.Store.Remove(ctx, object(f.in.ID, p.File.Digest)))
	other := []byte("<script>")
	f.ok(f.Store.Put(ctx, object(f.in.ID, p.File.Digest), bytes.NewReader(other), int64(len(other))))
	if _, data, err := f.Picture(ctx, f.in.ID, p.ID); fault.Of(err) != fault.Conflict || data != nil {
		t.Errorf("%q, %v", data, err)
	}
}

func TestMemoBecomesALineAndACallToReturn(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	due := start.Add(time.Hour)
	e, err := f.TakeMemo(ctx, f.in.ID, Memo{At: start.Add(-10 * time.Minute), Caller: "山田様", Organisation: "A市", Number: "0300-00-0000", Asked: "名簿に入っているか",
		Answered: "確かめて折り返す", CallBy: due, CallWho: ben.ID}, anna)
	f.ok(err)
	if e.Key != "paper.memo-call" || e.Source != "phone" || e.Args["person"] != ben.ID || e.Args["caller"] != "山田様" {
		t.Errorf("entry %+v", e)
	}
	if _, err := f.TakeMemo(ctx, f.in.ID, Memo{Caller: "記者", Asked: "取材"}, anna); err != nil {
		t.Error(err)
	}
	calls, err := f.CallBacks(ctx, f.in.ID)
	f.ok(err)
	if len(calls) != 1 || !calls[0].DueAt.Equal(due) || calls[0].Person != ben.ID || calls[0].Entry != e.No {
		t.Fatalf("calls %+v", calls)
	}
	for at, want := range map[time.Duration]string{0: "", 44 * time.Minute: "", 46 * time.Minute: "soon", 61 * time.Minute: "late"} {
		f.now = start.Add(at)
		causes, err := f.Due(ctx)
		f.ok(err)
		got := ""
		for _, x := range causes {
			got = strings.TrimPrefix(x.Ref, calls[0].ID+"/")
			if x.Kind != notify.OfCallBack || x.Tell != "田中" || strings.Contains(x.Title.In("ja"), "山田") {
				t.Errorf("cause %+v", x)
			}
		}
		if got != want {
			t.Errorf("after %v: %q, want %q", at, got, want)
		}
	}
	f.now = start.Add(70 * time.Minute)
	f.ok(f.CalledBack(ctx, f.in.ID, calls[0].ID, "入っていないと伝えた", f.now.Add(-time.Minute), ben))
	if causes, err := f.Due(ctx); err != nil || len(causes) != 0 {
		t.Errorf("after the call: %v, %v", causes, err)
	}
	if err := f.CalledBack(ctx, f.in.ID, calls[0].ID, "もう一度", time.Time{}, anna); fault.Of(err) != fault.Conflict {
		t.Errorf("twice: %v", err)
	}
	if last := f.chronology()[len(f.chronology())-1]; last.Key != "paper.called" || last.By != ben.ID {
		t.Errorf("last entry %+v", last)
	}
	for name, m := range map[string]Memo{
		"no caller":        {Asked: "x"},
		"no matter":        {Caller: "x"},
		"not happened":     {Caller: "x", Asked: "x", At: f.now.Add(time.Hour)},
		"promise too late": {Caller: "x", Asked: "x", CallBy: f.now.Add(-time.Hour)},
		"too long":         {Caller: strings.Repeat("あ", 201), Asked: "x"},
	} {
		if _, err := f.TakeMemo(ctx, f.in.ID, m, anna); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const log = "番号,日付,時刻,記入者,手段,確度,対象,内容\r\n" +
	"1,2026/11/22,13:10,田中,電話,事実,受付PC,画面に赤い文字\r\n" +
	"2,2026/11/22,13:15,田中,口頭,推定,受付PC,LANを抜いた\r\n" +
	"3,2026/11/22,13:20,鈴木,,,,\"複数行の\n記録, 読点つき\"\r\n"

func shiftJIS(t *testing.T, s string) []byte {
	t.Helper()
	b, err := japanese.ShiftJIS.NewEncoder().Bytes([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func utf16(t *testing.T, s string) []byte {
	t.Helper()
	b, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().Bytes([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLogIsReadAsSpreadsheetsSaveIt(t *testing.T) {
	want := []Line{
		{Row: 2, No: "1", At: start.Add(-55 * time.Minute), By: "田中", Source: "phone", Certainty: "fact", About: "受付PC", Text: "画面に赤い文字"},
		{Row: 3, No: "2", At: start.Add(-50 * time.Minute), By: "田中", Source: "oral", Certainty: "estimate", About: "受付PC", Text: "LANを抜いた"},
		{Row: 4, No: "3", At: start.Add(-45 * time.Minute), By: "鈴木", Source: "paper", Certainty: "unconfirmed", Text: "複数行の\n記録, 読点つき"},
	}
	tabs := strings.NewReplacer(",", "\t").Replace(strings.ReplaceAll(log, "記録, 読", "記録@読"))
	for name, data := range map[string][]byte{
		"UTF-8":                   []byte(log),
		"UTF-8 with its mark":     []byte("\uFEFF" + log),
		"Shift_JIS":               shiftJIS(t, log),
		"UTF-16 with tabs":        utf16(t, strings.ReplaceAll(tabs, "@", ", ")),
		"lines as Unix ends them": []byte(strings.ReplaceAll(log, "\r\n", "\n")),
		"lines as old Macs did":   []byte(strings.ReplaceAll(log, "\r\n", "\r")),
		"English heads":           []byte(strings.Replace(log, "番号,日付,時刻,記入者,手段,確度,対象,内容", "no,DATE,Time,Written by,Means,Certainty,About,Text", 1)),
		"wide digits":             []byte(strings.Replace(log, "13:10", "１３：１０", 1)),
		"the emperor's year":      []byte(strings.Replace(log, "2026/11/22", "令和8年11月22日", 1)),
		"empty lines between":     []byte(strings.Replace(log, "\r\n3,", "\r\n3,", 1) + ",,,,,,,\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadSheet(data)
			if err != nil || len(got.Problems) > 0 {
				t.Fatalf("%v %+v", err, got.Problems)
			}
			if diff := cmp.Diff(want, got.Lines); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBadLinesAreNamed(t *testing.T) {
	head := "番号,日付,時刻,記入者,手段,確度,対象,内容\n"
	for name, tt := range map[string]struct {
		text string
		want []Problem
	}{
		"no date":                 {"1,,13:10,,,,,x\n", []Problem{{2, 2, "date", ""}}},
		"date without a year":     {"1,11/22,13:10,,,,,x\n", []Problem{{2, 2, "date", "11/22"}}},
		"a day that is none":      {"1,2026-02-30,13:10,,,,,x\n", []Problem{{2, 2, "date", "2026-02-30"}}},
		"an hour that is none":    {"1,2026-11-22,25:10,,,,,x\n", []Problem{{2, 3, "time", "25:10"}}},
		"no text, odd means":      {"1,2026-11-22,13:10,,鳩,,,\n", []Problem{{2, 8, "empty", ""}, {2, 5, "source", "鳩"}}},
		"odd certainty":           {"1,2026-11-22,13:10,,,たぶん,,x\n", []Problem{{2, 6, "certainty", "たぶん"}}},
		"too long":                {"1,2026-11-22,13:10," + strings.Repeat("あ", 101) + ",,,,x\n", []Problem{{2, 4, "long", "100"}}},
		"a quotation mark inside": {"1,2026-11-22,13:10,,,,,a\"b\n2,2026-11-22,13:10,,,,,x\n", []Problem{{2, 0, "quote", ""}}},
		"one that is never shut":  {"1,2026-11-22,13:10,,,,,\"a\n2,x\n3,y\n", []Problem{{2, 0, "quote-open", "4"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadSheet([]byte(head + tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.Problems); diff != "" {
				t.Error(diff)
			}
		})
	}
	for name, data := range map[string][]byte{
		"nothing":         nil,
		"a picture":       photo(t),
		"heads are not":   []byte("a,b,c\n1,2,3\n"),
		"no text column":  []byte("日付,時刻\n"),
		"too many lines":  []byte(head + strings.Repeat("1,2026-11-22,13:10,,,,,x\n", maxLines+1)),
		"too many bytes":  append([]byte(head), bytes.Repeat([]byte("x"), MaxSheet)...),
		"NUL":             []byte(head + "1,2026-11-22,13:10,,,,,\x00\n"),
		"half of UTF-16":  []byte("\xff\xfe\x00"),
		"not even SJIS":   append([]byte(head), 0x80, 0xff, 0xff, 0xfd),
		"broken surrogat": []byte("\xff\xfe\x00\xd8\x41\x00"),
	} {
		if _, err := ReadSheet(data); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTemplateReadsAsAnEmptyLog(t *testing.T) {
	for _, lang := range []string{"ja", "en"} {
		b := Template(lang)
		if !bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) || !bytes.HasSuffix(b, []byte("\r\n")) {
			t.Errorf("%q", b)
		}
		if s, err := ReadSheet(b); err != nil || len(s.Lines)+len(s.Problems) > 0 {
			t.Errorf("%s: %+v %v", lang, s, err)
		}
	}
}

func FuzzReadSheet(f *testing.F) {
	f.Add([]byte(log))
	f.Add([]byte("\xff\xfe1\x00,\x00"))
	f.Add([]byte("日付\t時刻\t内容\n2026-11-22\t1:2:3\t\"x\"\"y\"\n\"\n"))
	f.Add([]byte("日付;時刻;内容\r令和元年5月1日;9時5分;=1+1\r"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ReadSheet(data)
		if err != nil && fault.Of(err) != fault.Invalid {
			t.Fatal(err)
		}
		if len(s.Lines) > maxLines {
			t.Errorf("%d lines", len(s.Lines))
		}
		last := 1
		for _, l := range s.Lines {
			if l.Row <= last || l.Text == "" || l.At.IsZero() || l.At.Year() < 1999 || l.At.Year() > 2200 || strings.ContainsRune(l.Text, 0) {
				t.Errorf("line %+v after row %d", l, last)
			}
			last = l.Row
		}
	})
}

// preview reads a log into the incident and returns how each of its lines
// stands, as "row kind why".
func (f *fixture) preview(text string) (Preview, string) {
	f.t.Helper()
	p, err := f.AddSheet(f.t.Context(), f.in.ID, "log.csv", []byte(text), anna)
	f.ok(err)
	var out []string
	for _, x := range p.Proposals {
		s := fmt.Sprint(x.Row, " ", x.Kind)
		if len(x.Why) > 0 {
			s += " " + strings.Join(x.Why, "+")
		}
		if x.Existing != nil {
			s += fmt.Sprint(" of ", x.Existing.No)
		}
		out = append(out, s)
	}
	return p, strings.Join(out, "; ")
}

func TestImportTwiceAddsNothing(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	p, got := f.preview(log)
	if want := "2 new; 3 new; 4 new"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	before := len(f.chronology())
	taken, err := f.Import(ctx, f.in.ID, p.Sheet.ID, nil, anna)
	f.ok(err)
	if diff := cmp.Diff(Taken{Added: 3}, taken); diff != "" {
		t.Error(diff)
	}
	all := f.chronology()
	if len(all) != before+4 { // the lines, and that the log was taken
		t.Fatalf("%d entries, want %d", len(all), before+4)
	}
	e := all[before]
	if e.Args["text"] != "画面に赤い文字" || e.Args["who"] != "田中" || !e.OccurredAt.Equal(start.Add(-55*time.Minute)) || !e.EnteredAt.Equal(start) || e.Source != "phone" || e.Certainty != incident.Fact {
		t.Errorf("entry %+v", e)
	}
	for _, text := range []string{log, "\uFEFF" + log, strings.ReplaceAll(log, "\r\n", "\n")} { // also from another file
		p, _ := f.preview(text)
		taken, err := f.Import(ctx, f.in.ID, p.Sheet.ID, nil, ben)
		if err != nil || taken.Added != 0 || taken.Same != 3 {
			t.Errorf("again: %+v, %v", taken, err)
		}
	}
	lines := 0
	for _, e := range f.chronology() {
		if isLine(e) {
			lines++
		}
	}
	if lines != 3 {
		t.Errorf("%d lines of the log, want 3", lines)
	}
}

func TestConflictsAreShownAndChosen(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	typed, err := f.Room.Write(ctx, f.in.ID, incident.NewEntry{Text: "受付PCのLANを抜いたとの連絡", OccurredAt: start.Add(-50 * time.Minute), Source: "phone"}, ben)
	f.ok(err)
	hand, err := f.Room.Write(ctx, f.in.ID, incident.NewEntry{Text: "院長に報告", OccurredAt: start.Add(-40 * time.Minute)}, ben)
	f.ok(err)
	first, _ := f.preview("番号,日付,時刻,内容\n7,2026-11-22,13:30,発電機を確認\n")
	_, err = f.Import(ctx, f.in.ID, first.Sheet.ID, nil, anna)
	f.ok(err)
	seven := f.chronology()[len(f.chronology())-2]

	text := "番号,日付,時刻,記入者,対象,内容\n" +
		"1,2026-11-22,13:15,鈴木,受付PC,電源を切った\n" + // another person, the same minute and machine
		"7,2026-11-22,13:31,,,発電機の点検\n" + // the same number, another text
		",2026-11-22,13:25,,,院長 に報告\n" + // the same minute, another text
		",2026-11-22,13:25,,,院長に報告\n" + // typed in already
		"9,2026-11-21,09:00,,,不審なメール\n" + // before the incident
		"10,2026-11-22,23:00,,,夜勤へ引き継ぎ\n" + // not yet
		"11,2026-11-22,13:50,,,新しい記録\n" +
		"11,2026-11-22,13:50,,,新しい記録\n" + // twice in the log
		"12,2026-11-22,1350,,,読めない時刻\n"
	p, got := f.preview(text)
	want := fmt.Sprintf("2 conflict person of %d; 3 conflict number of %d; 4 conflict time of %d; 5 same of %d; 6 conflict before; 7 conflict future; 8 new; 9 same",
		typed.No, seven.No, hand.No, hand.No)
	if got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	for name, choices := range map[string]map[int]Choice{
		"no choice at all":             nil,
		"one is missing":               {2: Take, 3: Correct, 4: Leave, 6: Take},
		"a choice that is none":        {2: "both", 3: Correct, 4: Leave, 6: Take, 7: Take},
		"nothing is there to correct":  {2: Take, 3: Correct, 4: Leave, 6: Correct, 7: Take},
		"what is to come corrects not": {2: Take, 3: Correct, 4: Leave, 6: Take, 7: Correct},
	} {
		before := len(f.chronology())
		if _, err := f.Import(ctx, f.in.ID, p.Sheet.ID, choices, anna); fault.Of(err) != fault.Invalid || len(f.chronology()) != before {
			t.Errorf("%s: %v, %d entries were added", name, err, len(f.chronology())-before)
		}
	}
	taken, err := f.Import(ctx, f.in.ID, p.Sheet.ID, map[int]Choice{2: Take, 3: Correct, 4: Leave, 6: Take, 7: Take}, anna)
	f.ok(err)
	if diff := cmp.Diff(Taken{Added: 5, Same: 2, Left: []int{4}, Unusable: []int{10}}, taken); diff != "" {
		t.Error(diff)
	}
	said := map[string]incident.Entry{}
	for _, e := range f.chronology() {
		said[e.Args["text"]] = e
	}
	if e := said["発電機の点検"]; e.Corrects != seven.No {
		t.Errorf("correction %+v", e)
	}
	if e := said["夜勤へ引き継ぎ"]; e.Key != "paper.line-time" || !e.OccurredAt.Equal(start) || e.Args["written_at"] != "2026-11-22T14:00:00Z" {
		t.Errorf("what is to come: %+v", e)
	}
	if _, ok := said["院長 に報告"]; ok {
		t.Error("what was left out stands in the chronology")
	}
	s, data, err := f.SheetData(ctx, f.in.ID, p.Sheet.ID) // nothing is lost: the log stays as it came
	if err != nil || string(data) != text || s.TakenBy != anna.ID {
		t.Errorf("%+v, %v", s, err)
	}
}

// recorded takes the outbox, as the ledger does.
func (f *fixture) recorded() func(string) []leaf.Leaf {
	f.t.Helper()
	by := map[string][]leaf.Leaf{}
	all, err := f.db.Query(f.t.Context(), `SELECT body FROM outbox WHERE subject LIKE 'record.%'`)
	f.ok(err)
	defer all.Close()
	for all.Next() {
		var b []byte
		var l leaf.Leaf
		f.ok(all.Scan(&b))
		f.ok(json.Unmarshal(b, &l))
		by[l.Type] = append(by[l.Type], l)
	}
	f.ok(all.Err())
	return func(kind string) []leaf.Leaf { return by[kind] }
}

func TestEveryChangedRowIsNamed(t *testing.T) {
	f, ctx := newFixture(t), t.Context()
	_, err := f.AddPicture(ctx, f.in.ID, NewPicture{Name: "a.jpg", Data: photo(t), Text: "白板"}, anna)
	f.ok(err)
	_, err = f.TakeMemo(ctx, f.in.ID, Memo{Caller: "A", Asked: "B", CallBy: start.Add(time.Hour)}, anna)
	f.ok(err)
	calls, err := f.CallBacks(ctx, f.in.ID)
	f.ok(err)
	f.ok(f.CalledBack(ctx, f.in.ID, calls[0].ID, "済み", time.Time{}, anna))
	p, _ := f.preview(log)
	_, err = f.Import(ctx, f.in.ID, p.Sheet.ID, nil, anna)
	f.ok(err)
	leaves := f.recorded()
	found := func() []rows.Difference {
		t.Helper()
		d, err := VerifyRows(ctx, f.db, leaves)
		f.ok(err)
		return d
	}
	if d := found(); len(d) > 0 {
		t.Fatalf("an honest state: %v", d)
	}
	if n := len(leaves("paper")); n != 5 {
		t.Errorf("%d leaves, want 5", n)
	}
	exec := func(query string, args ...any) {
		t.Helper()
		f.ok(f.db.Tx(ctx, func(tx *state.Tx) error { _, err := tx.ExecContext(ctx, query, args...); return err }))
	}
	var id, body string
	f.ok(f.db.QueryRow(ctx, `SELECT id, body FROM paper_record WHERE kind = 'picture'`).Scan(&id, &body))
	for name, change := range map[string]string{
		"text":     `UPDATE paper_record SET body = REPLACE(body, '白板', '黒板') WHERE id = $1`,
		"digest":   `UPDATE paper_record SET body = REPLACE(body, '"digest":"', '"digest":"0') WHERE id = $1`,
		"incident": `UPDATE paper_record SET incident = 'in-x' WHERE id = $1`,
		"kind":     `UPDATE paper_record SET kind = 'sheet' WHERE id = $1`,
		"removed":  `DELETE FROM paper_record WHERE id = $1`,
	} {
		exec(change, id)
		if d := found(); len(d) != 1 || !strings.HasPrefix(d[0].Ref, id) {
			t.Errorf("%s: %v", name, d)
		}
		exec(`DELETE FROM paper_record WHERE id = $1`, id)
		exec(`INSERT INTO paper_record (id, no, kind, incident, body) VALUES ($1, 1, 'picture', $2, $3)`, id, f.in.ID, body)
	}
	exec(`DELETE FROM paper_record WHERE id = $1 AND no = 2`, calls[0].ID) // the call was never made
	if d := found(); len(d) != 1 || d[0].Ref != calls[0].ID+"/2" {
		t.Errorf("a version that was taken back: %v", d)
	}
}
