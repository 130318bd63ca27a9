package paper

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/unicode/norm"

	"github.com/sonae/sonae/clock"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/incident"
)

// Bounds of a log.
const (
	MaxSheet = 1 << 20 // bytes
	maxLines = 2000
	maxText  = 4000 // characters of a line, as in the room
)

// Line is one line of a log that was kept elsewhere.
type Line struct {
	Row       int                `json:"row"` // line of the file on which it begins, from 1
	No        string             `json:"no"`  // as the log numbers it; may be empty
	At        time.Time          `json:"at"`  // when it happened
	By        string             `json:"by"`  // who wrote it down, as the log says
	Source    string             `json:"source"`
	Certainty incident.Certainty `json:"certainty"`
	About     string             `json:"about"` // machine, person or thing
	Text      string             `json:"text"`
}

// Problem is a place of a log that cannot be read. The line with it is not
// taken.
type Problem struct {
	Row    int    `json:"row"`
	Column int    `json:"column"` // from 1: field of the line; 0: the line as a whole
	Key    string `json:"key"`    // sentence of the catalogue, "paper.problem.<Key>"
	Value  string `json:"value"`  // what stands there
}

// Sheet is a log as read.
type Sheet struct {
	Lines    []Line
	Problems []Problem
}

// The fields of a log in the order of the template, with their heads.
var heads = []struct{ field, ja, en string }{
	{"no", "番号", "No"}, {"date", "日付", "Date"}, {"time", "時刻", "Time"}, {"by", "記入者", "Written by"}, {"source", "手段", "Means"},
	{"certainty", "確度", "Certainty"}, {"about", "対象", "About"}, {"text", "内容", "Text"},
}

// Template is an empty log for a spreadsheet program: CSV in UTF-8 with the mark
// by which Excel knows it, lines as Windows ends them.
func Template(lang string) []byte {
	names := make([]string, len(heads))
	for i, h := range heads {
		names[i] = h.ja
		if lang == "en" {
			names[i] = h.en
		}
	}
	return []byte("\uFEFF" + strings.Join(names, ",") + "\r\n")
}

// words are what the fields with a choice may say, beside the names that Sonae
// uses itself.
var words = map[string]string{
	"電話": "phone", "ファクス": "fax", "ファックス": "fax", "メール": "mail", "e-mail": "mail", "email": "mail", "紙": "paper", "メモ": "paper",
	"ホワイトボード": "whiteboard", "口頭": "oral", "無線": "radio", "担当者": "person",
	"事実": "fact", "推定": "estimate", "未確認": "unconfirmed",
}

var (
	means       = []string{"phone", "fax", "mail", "paper", "whiteboard", "oral", "radio", "person"}
	certainties = []string{string(incident.Fact), string(incident.Estimate), string(incident.Unconfirmed)}
)

// ReadSheet reads a log: CSV with commas, semicolons or tabs, in UTF-8, UTF-16
// with its mark, or Shift_JIS, with the heads of the template in either
// language and any order. Lines that cannot be read are Problems.
//
// Errors: Invalid for what is no text, has not the heads that are needed, or is
// too long.
func ReadSheet(data []byte) (Sheet, error) {
	if len(data) > MaxSheet {
		return Sheet{}, fault.New(fault.Invalid, "paper.sheet-large", MaxSheet>>20)
	}
	text, err := decodeText(data)
	if err != nil {
		return Sheet{}, err
	}
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord, r.Comma = -1, separator(text)
	first, err := r.Read()
	if err != nil {
		return Sheet{}, fault.New(fault.Invalid, "paper.heads", heads[1].ja+", "+heads[2].ja+", "+heads[7].ja)
	}
	columns, err := columnsOf(first)
	if err != nil {
		return Sheet{}, err
	}
	s := Sheet{}
	for {
		fields, err := r.Read()
		if err == io.EOF {
			return s, nil
		}
		if len(s.Lines)+len(s.Problems) >= maxLines {
			return Sheet{}, fault.New(fault.Invalid, "paper.sheet-long", maxLines)
		}
		var bad *csv.ParseError
		if errors.As(err, &bad) {
			s.Problems = append(s.Problems, quoteProblem(bad))
			continue
		}
		if err != nil {
			return Sheet{}, fmt.Errorf("read a log: %w", err)
		}
		if !slices.ContainsFunc(fields, func(f string) bool { return strings.TrimSpace(f) != "" }) {
			continue
		}
		row, _ := r.FieldPos(0)
		l, problems := columns.line(row, fields)
		if len(problems) > 0 {
			s.Problems = append(s.Problems, problems...)
			continue
		}
		s.Lines = append(s.Lines, l)
	}
}

// quoteProblem is about quotation marks: one that is never closed takes in all
// that follows.
func quoteProblem(e *csv.ParseError) Problem {
	if e.Line > e.StartLine {
		return Problem{Row: e.StartLine, Key: "quote-open", Value: strconv.Itoa(e.Line)}
	}
	return Problem{Row: e.StartLine, Key: "quote"}
}

// decodeText finds out in which coding a text is: Excel saves CSV as Shift_JIS
// in Japan, as UTF-8 with a mark, or as UTF-16 with tabs.
func decodeText(data []byte) (string, error) {
	var text string
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		out, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder().Bytes(data)
		if err != nil {
			return "", fault.New(fault.Invalid, "paper.encoding").With(err)
		}
		text = string(out)
	case utf8.Valid(data):
		text = strings.TrimPrefix(string(data), "\uFEFF")
	default:
		out, err := japanese.ShiftJIS.NewDecoder().Bytes(data)
		if err != nil {
			return "", fault.New(fault.Invalid, "paper.encoding").With(err)
		}
		text = string(out)
	}
	if strings.ContainsRune(text, 0) || strings.ContainsRune(text, utf8.RuneError) {
		return "", fault.New(fault.Invalid, "paper.encoding")
	}
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n"), nil
}

// separator is the one that the first line has most of.
func separator(text string) rune {
	first, _, _ := strings.Cut(text, "\n")
	best := ','
	for _, r := range []rune{'\t', ';'} {
		if strings.Count(first, string(r)) > strings.Count(first, string(best)) {
			best = r
		}
	}
	return best
}

// columns say in which column a field is.
type columns map[string]int

func columnsOf(first []string) (columns, error) {
	c := columns{}
	for i, name := range first {
		name = plain(name)
		for _, h := range heads {
			if _, twice := c[h.field]; !twice && (name == plain(h.ja) || name == plain(h.en)) {
				c[h.field] = i
			}
		}
	}
	var missing []string
	for _, h := range heads {
		if _, ok := c[h.field]; !ok && slices.Contains([]string{"date", "time", "text"}, h.field) {
			missing = append(missing, h.ja+" / "+h.en)
		}
	}
	if len(missing) > 0 {
		return nil, fault.New(fault.Invalid, "paper.heads", strings.Join(missing, ", "))
	}
	return c, nil
}

// plain makes wide and narrow forms one and drops what does not matter.
func plain(s string) string {
	return strings.ToLower(strings.TrimSpace(norm.NFKC.String(s)))
}

func (c columns) line(row int, fields []string) (Line, []Problem) {
	l := Line{Row: row}
	var out []Problem
	field := func(name string) string {
		if i, ok := c[name]; ok && i < len(fields) {
			return strings.TrimSpace(fields[i])
		}
		return ""
	}
	problem := func(name, key, value string) {
		if r := []rune(value); len(r) > 60 {
			value = string(r[:59]) + "…"
		}
		out = append(out, Problem{Row: row, Column: c[name] + 1, Key: key, Value: value})
	}
	text := func(name string, most int) string {
		t, err := incident.Clean(name, field(name), most)
		if err != nil {
			problem(name, "long", strconv.Itoa(most))
		}
		return t
	}
	l.No, l.By, l.About, l.Text = text("no", 40), text("by", 100), text("about", 200), text("text", maxText)
	if l.Text == "" {
		problem("text", "empty", "")
	}
	day, ok := dayOf(field("date"))
	if !ok {
		problem("date", "date", field("date"))
	}
	past, ok := timeOf(field("time"))
	if !ok {
		problem("time", "time", field("time"))
	}
	l.At = day.Add(past).UTC()
	if l.Source, ok = chosen(field("source"), means, "paper"); !ok {
		problem("source", "source", field("source"))
	}
	certainty, ok := chosen(field("certainty"), certainties, string(incident.Unconfirmed))
	if !ok {
		problem("certainty", "certainty", field("certainty"))
	}
	l.Certainty = incident.Certainty(certainty)
	return l, out
}

// chosen reads a field with a choice; an empty one is otherwise.
func chosen(v string, from []string, otherwise string) (string, bool) {
	if v = plain(v); v == "" {
		return otherwise, true
	}
	if w, ok := words[v]; ok {
		v = w
	}
	return v, slices.Contains(from, v)
}

var (
	dayForms = regexp.MustCompile(`^(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?$`)
	eraForms = regexp.MustCompile(`^(?:令和|r)(\d{1,2}|元)[-/.年](\d{1,2})[-/.月](\d{1,2})日?$`)
	hours    = regexp.MustCompile(`^(\d{1,2})[:時](\d{1,2})(?:[:分](\d{1,2})?秒?)?$`)
)

// dayOf reads a date with its year, as spreadsheets write it in Japan, at its
// midnight there. Month and day alone, or month first, could be misread.
func dayOf(v string) (time.Time, bool) {
	v = plain(v)
	m, add := dayForms.FindStringSubmatch(v), 0
	if m == nil {
		if m, add = eraForms.FindStringSubmatch(v), 2018; m == nil {
			return time.Time{}, false
		}
		if m[1] == "元" {
			m[1] = "1"
		}
	}
	y, mo, d := number(m[1])+add, number(m[2]), number(m[3])
	t := time.Date(y, time.Month(mo), d, 0, 0, 0, 0, clock.Tokyo())
	return t, y >= 2000 && y < 2200 && t.Month() == time.Month(mo) && t.Day() == d
}

// timeOf reads a time of day.
func timeOf(v string) (time.Duration, bool) {
	m := hours.FindStringSubmatch(plain(v))
	if m == nil {
		return 0, false
	}
	h, min, s := number(m[1]), number(m[2]), number(m[3])
	return time.Duration(h)*time.Hour + time.Duration(min)*time.Minute + time.Duration(s)*time.Second, h < 24 && min < 60 && s < 60
}

func number(s string) int {
	n, _ := strconv.Atoi(s) // the forms above let only digits through; an empty one is 0
	return n
}
