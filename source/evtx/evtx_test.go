package evtx

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sonae/sonae/event"
)

// shared opens a file of the developers' data set, which stands beside the
// project and is not part of it.
func shared(t testing.TB, name string) io.Reader {
	t.Helper()
	root := "../.."
	for range 3 {
		f, err := os.Open(filepath.Join(root, "../shared/data/detect", name))
		if err == nil {
			t.Cleanup(func() { _ = f.Close() })
			return f
		}
		if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		root = filepath.Join(root, "..")
	}
	t.Skipf("the developers' data set is not here: ../shared/data/detect/%s beside the project", name)
	return nil
}

// files unpacks the files of an archive of the data set that end so.
func files(t testing.TB, archive, suffix string) map[string][]byte {
	t.Helper()
	z, err := gzip.NewReader(shared(t, archive))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(h.Name, suffix) {
			if all[h.Name], err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// read returns the records of a log as text: name to values.
func read(t testing.TB, log []byte) ([]map[string][]string, Report) {
	t.Helper()
	var all []map[string][]string
	report, err := Read(t.Context(), bytes.NewReader(log), Options{}, func(r *event.Record) error {
		all = append(all, fields(r))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, report
}

func fields(r *event.Record) map[string][]string {
	m := map[string][]string{}
	for _, p := range r.Pairs {
		m[string(p.Name)] = append(m[string(p.Name)], p.Text())
	}
	return m
}

func TestOddAndDamagedLogsGiveAtLeastWhatOthersRead(t *testing.T) {
	logs := files(t, "evtx-samples.tar.gz", ".evtx")
	lines := bufio.NewScanner(shared(t, "evtx-samples-expected.tsv"))
	for n := 0; lines.Scan(); n++ {
		cell := strings.Split(lines.Text(), "\t")
		if n == 0 {
			continue
		}
		t.Run(cell[0], func(t *testing.T) {
			one, _ := strconv.Atoi(cell[1])
			other, _ := strconv.Atoi(cell[3])
			got, report := read(t, logs[cell[0]])
			if len(got) < min(one, other) {
				t.Errorf("%d records, want at least %d; %v", len(got), min(one, other), report.Damage)
			}
			if len(got) != report.Records {
				t.Errorf("%d records delivered, %d reported", len(got), report.Records)
			}
			if one != other && report.Damaged == 0 {
				t.Error("a damaged log is reported as sound")
			}
		})
	}
}

// TestRecordsEqualTheirTwins compares with what evtx_dump made of the same
// logs, field by field. Three things differ and are right as they are:
//   - evtx_dump drops white space at the end of a value; the log has it.
//   - Read adds the names that Sysmon uses to a 4688.
//   - one twin was written by hand from another event of the same test: two
//     of its values stand in no log. It is compared but for those.
func TestRecordsEqualTheirTwins(t *testing.T) {
	twins := files(t, "sigmahq-regression.tar.gz", ".json")
	logs := files(t, "sigmahq-regression.tar.gz", ".evtx")
	if len(logs) < 100 {
		t.Fatalf("only %d logs", len(logs))
	}
	for name, log := range logs {
		want := flatten(t, twins[strings.TrimSuffix(name, ".evtx")+".json"])
		got, report := read(t, log)
		if report.Damaged != 0 {
			t.Errorf("%s: %v", name, report.Damage)
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d records, want %d", name, len(got), len(want))
			continue
		}
		for i := range got {
			if slices.Equal(got[i]["EventID"], []string{"4688"}) {
				delete(got[i], "Image")
				delete(got[i], "ParentImage")
			}
			if strings.Contains(name, "proc_creation_win_susp_right_to_left_override") {
				for _, edited := range []string{"TimeCreated_SystemTime", "ParentCommandLine"} {
					delete(got[i], edited)
					delete(want[i], edited)
				}
			}
			for _, difference := range differences(got[i], want[i]) {
				t.Errorf("%s record %d: %s", name, i+1, difference)
			}
		}
	}
}

func differences(got, want map[string][]string) []string {
	var all []string
	for name := range got {
		for i, text := range got[name] {
			got[name][i] = strings.TrimRight(text, " ")
		}
	}
	for name := range want {
		if !reflect.DeepEqual(got[name], want[name]) {
			all = append(all, fmt.Sprintf("%s is %q, want %q", name, got[name], want[name]))
		}
	}
	for name := range got {
		if want[name] == nil {
			all = append(all, fmt.Sprintf("%s is %q, want none", name, got[name]))
		}
	}
	return all
}

// flatten reads the output of evtx_dump, a sequence of objects, and names its
// values as Read does.
func flatten(t *testing.T, twin []byte) []map[string][]string {
	t.Helper()
	var all []map[string][]string
	for d := json.NewDecoder(bytes.NewReader(twin)); ; {
		d.UseNumber()
		var e struct {
			Event struct{ System, EventData, UserData map[string]any }
		}
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		m := map[string][]string{}
		for _, section := range []map[string]any{e.Event.System, e.Event.EventData, e.Event.UserData} {
			for name, v := range section {
				flattenValue(m, strings.ReplaceAll(name, " ", ""), v)
			}
		}
		all = append(all, m)
	}
}

func flattenValue(m map[string][]string, name string, v any) {
	switch v := v.(type) {
	case nil:
	case []any:
		for _, one := range v {
			flattenValue(m, name, one)
		}
	case map[string]any:
		for key, one := range v {
			switch key {
			case "#text":
				flattenValue(m, name, one)
			case "#attributes":
				for attribute, text := range one.(map[string]any) {
					if attribute != "xmlns" {
						flattenValue(m, name+"_"+attribute, text)
					}
				}
			default:
				flattenValue(m, key, one)
			}
		}
	default:
		m[name] = append(m[name], fmt.Sprint(v))
	}
}

func TestRecordsSayWhereTheyComeFrom(t *testing.T) {
	var got []event.Record
	log := logOf(small(7))
	if _, err := Read(t.Context(), bytes.NewReader(log), Options{}, func(r *event.Record) error {
		got = append(got, *r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 {
		t.Fatalf("%d records", len(got))
	}
	last := got[3]
	if last.Number != 10 || last.Host != "pc1" || last.Offset != headerBlock+int64(recordAt(small(7), 3)) {
		t.Errorf("record %d of %q at %d", last.Number, last.Host, last.Offset)
	}
	if last.Product != "windows" || last.Service != "security" {
		t.Errorf("%s/%s", last.Product, last.Service)
	}
	if want := "2019-04-17 18:40:00 +0000 UTC"; last.Time.String() != want { // not the time of writing
		t.Errorf("time %v, want %s", last.Time, want)
	}
	if noTime := got[2]; noTime.Time.Year() != 2022 {
		t.Errorf("without TimeCreated: %v, want the time of writing", noTime.Time)
	}
}

func TestAppendJSON(t *testing.T) {
	r := &event.Record{}
	r.Add([]byte("Channel"), wide("備え\t\"x\""), event.UTF16)
	r.Add([]byte("Data"), []byte("a"), event.Plain)
	r.Add([]byte("EventID"), []byte("7"), event.Plain)
	r.Add([]byte("Data"), []byte("b"), event.Plain)
	want := `x{"Channel":"備え\t\"x\"","Data":["a","b"],"EventID":"7"}`
	if got := string(AppendJSON([]byte("x"), r)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := string(AppendJSON(nil, &event.Record{})); got != "{}" {
		t.Errorf("an empty record: %s", got)
	}
}

func TestSniff(t *testing.T) {
	for name, tt := range map[string]struct {
		head []byte
		want bool
	}{
		"a log":       {logOf(small(1))[:16], true},
		"a chunk":     {small(1)[:16], true},
		"half a word": {[]byte("ElfF"), false},
		"XML":         {[]byte("<?xml version"), false},
		"nothing":     {nil, false},
	} {
		if got := Sniff(tt.head); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
