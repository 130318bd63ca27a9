package jsonl

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/sourcetest"
)

// slow flattens an object as the package says it does, by encoding/json.
func slow(t testing.TB, text []byte) map[string]string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	slowly(out, "", v)
	return out
}

func slowly(out map[string]string, prefix string, v map[string]any) {
	for name, v := range v {
		slowValue(out, prefix+name, v)
	}
}

func slowValue(out map[string]string, name string, v any) {
	switch v := v.(type) {
	case nil:
	case map[string]any:
		slowly(out, name+".", v)
	case []any:
		for _, one := range v {
			slowValue(out, name, one)
		}
	default:
		text := fmt.Sprint(v)
		if before, several := out[name]; several {
			text = before + " | " + text
		}
		out[name] = text
	}
}

func otrf(t testing.TB) []byte {
	z, err := gzip.NewReader(sourcetest.Shared(t, "detect/otrf-windows.ndjson.gz"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRealLinesAreWhatEncodingJSONReads(t *testing.T) {
	all := otrf(t)
	in, line := bufio.NewScanner(bytes.NewReader(all)), uint64(0)
	in.Buffer(nil, 4<<20)
	offset := int64(0)
	report, err := Plain(context.Background(), bytes.NewReader(all), source.Options{}, func(r *event.Record) error {
		in.Scan()
		line++
		got := sourcetest.Of(r)
		if want := slow(t, in.Bytes()); !maps.Equal(got.Fields, want) || got.Number != line || got.Offset != offset {
			return fmt.Errorf("line %d at %d: %s", got.Number, got.Offset, cmp.Diff(want, got.Fields))
		}
		offset += int64(len(in.Bytes()) + 1)
		return nil
	})
	if err != nil || report.BadTotal > 0 || report.Records != 18197 || report.Bytes != uint64(len(all)) {
		t.Errorf("%v, %+v of %d bytes", err, report, len(all))
	}
}

// twins calls f with the JSON files of SigmaHQ's regression data.
func twins(t testing.TB, f func(name string, text []byte)) {
	z, err := gzip.NewReader(sourcetest.Shared(t, "detect/sigmahq-regression.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, ".json") {
			continue
		}
		text, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		f(h.Name, text)
	}
}

func TestEveryEventOfTheRegressionDataIsRead(t *testing.T) {
	files, events := 0, 0
	twins(t, func(name string, text []byte) {
		files++
		var want []map[string]string
		for d := json.NewDecoder(bytes.NewReader(text)); ; {
			var raw json.RawMessage
			if err := d.Decode(&raw); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(name, err)
			}
			want = append(want, slow(t, raw))
		}
		plain, report := sourcetest.Read(t, Plain, source.Options{}, string(text))
		shaped, _ := sourcetest.Read(t, Read, source.Options{}, string(text))
		if len(plain) != len(want) || len(shaped) != len(want) || report.BadTotal > 0 {
			t.Fatalf("%s: %d of %d events, %+v", name, len(plain), len(want), report)
		}
		for i, w := range want {
			events++
			if d := cmp.Diff(w, plain[i].Fields); d != "" {
				t.Errorf("%s: event %d (-want +got):\n%s", name, i, d)
			}
			checkWindows(t, name, w, shaped[i])
		}
	})
	if files != 107 || events < 107 {
		t.Errorf("%d events in %d files", events, files)
	}
}

// checkWindows wants the names of rules for all that an event says.
func checkWindows(t *testing.T, name string, raw map[string]string, got sourcetest.Event) {
	t.Helper()
	for path, value := range raw {
		short, ok := strings.CutPrefix(path, "Event.EventData.")
		if !ok {
			short, ok = strings.CutPrefix(path, "Event.System.")
		}
		if !ok || strings.Contains(short, "#") {
			continue
		}
		if short = strings.ReplaceAll(short, " ", ""); got.Fields[short] != value {
			t.Errorf("%s: %s is %q, want %q", name, short, got.Fields[short], value)
		}
	}
	if raw["Event.System.Provider.#attributes.Name"] != got.Fields["Provider_Name"] || got.Fields["Provider_Name"] == "" ||
		got.Fields["EventID"] == "" || got.Host != raw["Event.System.Computer"] || got.Time == "" || !strings.HasPrefix(got.Source, "windows/") {
		t.Errorf("%s: %+v", name, got)
	}
}

func TestObjectsAreFlattened(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want []map[string]string
		bad  []source.Bad
	}{
		"flat":          {in: `{"a":"b","n":-1.50e+3,"t":true,"f":false,"e":""}`, want: []map[string]string{{"a": "b", "n": "-1.50e+3", "t": "true", "f": "false", "e": ""}}},
		"null":          {in: `{"a":null,"b":[],"c":{}}`, want: []map[string]string{{}}},
		"nested":        {in: `{"a":{"b":{"c":1}},"d":2}`, want: []map[string]string{{"a.b.c": "1", "d": "2"}}},
		"arrays":        {in: `{"a":[1,"x",null,[2]],"o":[{"p":1},{"p":2,"q":3}]}`, want: []map[string]string{{"a": "1 | x | 2", "o.p": "1 | 2", "o.q": "3"}}},
		"escapes":       {in: `{"C:\\x":"\u65e5\"\n\ud83d\ude00","\u0061":{"\t":"1"}}`, want: []map[string]string{{`C:\x`: "日\"\n😀", "a.\t": "1"}}},
		"blanks":        {in: " { \"a\" : 1 ,\t\"b\" : [ 1 , 2 ] , \"c\" : { } } \r\n\r\n{\"a\":2}\r\n", want: []map[string]string{{"a": "1", "b": "1 | 2"}, {"a": "2"}}},
		"twice":         {in: `{"a":1,"a":2}`, want: []map[string]string{{"a": "1 | 2"}}},
		"byte order":    {in: "\xef\xbb\xbf{\"a\":1}", want: []map[string]string{{"a": "1"}}},
		"utf-16":        {in: "\xff\xfe{\x00\"\x00a\x00\"\x00:\x00\"\x00\xe5\x65\"\x00}\x00\n\x00", want: []map[string]string{{"a": "日"}}},
		"big utf-16":    {in: "\xfe\xff\x00{\x00\"\x00a\x00\"\x00:\x001\x00}", want: []map[string]string{{"a": "1"}}},
		"one line":      {in: `{"a":1}{"a":2} {"a":3}`, want: []map[string]string{{"a": "1"}, {"a": "2"}, {"a": "3"}}},
		"several lines": {in: "{\n \"a\": {\n  \"b\": 1\n }\n}\n{\n \"a\": 2\n}\n", want: []map[string]string{{"a.b": "1"}, {"a": "2"}}},
		"an array":      {in: "[\n  {\"a\":1},\n  {\"a\":2}\n]\n", want: []map[string]string{{"a": "1"}, {"a": "2"}}},
		"array lines":   {in: `[{"a":1},{"a":2}]` + "\n" + `[{"a":3}]`, want: []map[string]string{{"a": "1"}, {"a": "2"}, {"a": "3"}}},
		"evtx_dump":     {in: "Record 1\n{\"a\":1}\nRecord 2\n{\"a\":2}\n", want: []map[string]string{{"a": "1"}, {"a": "2"}}},
		"wrapped":       {in: `{"Records":[{"a":1},{"a":2}]}{"Records": [ {"a":3} ], "x":{"y":"]}"}}{"b":1}`, want: []map[string]string{{"a": "1"}, {"a": "2"}, {"a": "3"}, {"b": "1"}}},
		"graph":         {in: `{"@odata.context":"x","value":[{"a":1}]}`, want: []map[string]string{{"a": "1"}}},
		"no wrapper":    {in: `{"Records":[1,2]}`, want: []map[string]string{{"Records": "1 | 2"}}},

		"garbage":            {in: "hello\n{\"a\":1}\n", want: []map[string]string{{"a": "1"}}, bad: []source.Bad{{Number: 1, Offset: 0, Reason: "no JSON object begins here"}}},
		"garbage behind":     {in: "{\"a\":1} x\n{\"a\":2}\n", want: []map[string]string{{"a": "1"}, {"a": "2"}}, bad: []source.Bad{{Number: 1, Offset: 8, Reason: "no JSON object begins here"}}},
		"no object":          {in: "[1]\n{\"a\":1}", want: []map[string]string{{"a": "1"}}, bad: []source.Bad{{Number: 1, Offset: 1, Reason: "no JSON object begins here"}}},
		"cut line":           {in: "{\"a\":1,\n{\"a\":2}\n{\"a\":3}\n", want: []map[string]string{{"a": "2"}, {"a": "3"}}, bad: []source.Bad{{Number: 1, Offset: 8, Reason: "a name in quotes is missing"}}},
		"cut text":           {in: "{\"a\":\"x\n{\"a\":2}\n", want: []map[string]string{{"a": "2"}}, bad: []source.Bad{{Number: 1, Offset: 7, Reason: "a control character stands in a text"}}},
		"cut at the end":     {in: "{\"a\":2}\n{\"a\":\"x", want: []map[string]string{{"a": "2"}}, bad: []source.Bad{{Number: 2, Offset: 15, Reason: "the object does not end"}}},
		"cut several lines":  {in: "{\n  \"a\": 1\n  \"b\": {\n  }\n}\n{\n  \"a\": 2\n}\n", want: []map[string]string{{"a": "2"}}, bad: []source.Bad{{Number: 1, Offset: 13, Reason: "a comma or a brace is missing"}}},
		"damaged in array":   {in: `[{"a":1},{"a":x},{"a":3}]`, want: []map[string]string{{"a": "1"}, {"a": "3"}}, bad: []source.Bad{{Number: 2, Offset: 14, Reason: "this is no value"}}},
		"bad number":         {in: "{\"a\":01}\n{\"a\":1.}\n{\"a\":-}\n{\"a\":1e}\n", bad: []source.Bad{{Number: 1, Offset: 7, Reason: "this is no number"}, {Number: 2, Offset: 16, Reason: "this is no number"}, {Number: 3, Offset: 24, Reason: "this is no number"}, {Number: 4, Offset: 33, Reason: "this is no number"}}},
		"cut array":          {in: "[{\"a\":1},\n", want: []map[string]string{{"a": "1"}}, bad: []source.Bad{{Number: 2, Offset: 10, Reason: "the array does not end"}}},
		"bad escape":         {in: `{"a":"\x"}`, bad: []source.Bad{{Number: 1, Offset: 7, Reason: "there is no such escape"}}},
		"bad unicode escape": {in: `{"a":"\u12g4"}`, bad: []source.Bad{{Number: 1, Offset: 10, Reason: `\u wants four hexadecimal digits`}}},
	} {
		t.Run(name, func(t *testing.T) {
			events, report := sourcetest.Read(t, Plain, source.Options{}, c.in)
			var got []map[string]string
			for _, e := range events {
				got = append(got, e.Fields)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("events (-want +got):\n%s", d)
			}
			if d := cmp.Diff(c.bad, report.Bad); d != "" {
				t.Errorf("damages (-want +got):\n%s", d)
			}
		})
	}
}
