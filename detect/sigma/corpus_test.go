package sigma

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// shared opens a file of the developers' data set, which stands beside the
// project and is not part of it.
func shared(t testing.TB, name string) *os.File {
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

func unzip(t testing.TB, f *os.File) io.Reader {
	t.Helper()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// corpus parses all public rules.
func corpus(t testing.TB) ([]*Rule, []*Error) {
	t.Helper()
	var rules []*Rule
	var bad []*Error
	for r := tar.NewReader(unzip(t, shared(t, "sigmahq-rules.tar.gz"))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return rules, bad
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, ".yml") {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		good, wrong := Parse(h.Name, data)
		rules, bad = append(rules, good...), append(bad, wrong...)
	}
}

func TestPublicRulesLoadUnlessTheyNeedValues(t *testing.T) {
	rules, bad := corpus(t)
	reasons := map[string]int{}
	for _, e := range bad {
		if e.Placeholder == "" || e.Line == 0 || e.ID == "" {
			t.Errorf("%v (id %s): rejected, but not for values that are missing", e, e.ID)
		}
		reasons[e.Placeholder]++
	}
	all := len(rules) + len(bad)
	share := float64(len(rules)) / float64(all)
	t.Logf("%d of %d public rules load (%.2f %%); rejected for want of values: %v", len(rules), all, 100*share, reasons)
	if all != 3780 || len(bad) != 25 {
		t.Errorf("%d of %d public rules load, want all of 3,780 but 25", len(rules), all)
	}
}

// sysmon maps the event numbers of Sysmon to Sigma's categories.
var sysmon = map[string][]string{
	"1": {"process_creation"}, "2": {"file_change"}, "3": {"network_connection"}, "4": {"sysmon_status"},
	"5": {"process_termination"}, "6": {"driver_load"}, "7": {"image_load"}, "8": {"create_remote_thread"},
	"9": {"raw_access_thread"}, "10": {"process_access"}, "11": {"file_event"},
	"12": {"registry_event", "registry_add", "registry_delete"}, "13": {"registry_event", "registry_set"},
	"14": {"registry_event", "registry_rename"}, "15": {"create_stream_hash"}, "17": {"pipe_created"}, "18": {"pipe_created"},
	"19": {"wmi_event"}, "20": {"wmi_event"}, "21": {"wmi_event"}, "22": {"dns_query"}, "23": {"file_delete"}, "26": {"file_delete"},
	"24": {"clipboard_change"}, "25": {"process_tampering"}, "29": {"file_executable_detected"}, "255": {"sysmon_error"},
}

// channels maps Windows channels to Sigma's services.
var channels = map[string]string{
	"Microsoft-Windows-Sysmon/Operational": "sysmon", "Security": "security", "security": "security", "System": "system",
	"Application": "application", "Microsoft-Windows-PowerShell/Operational": "powershell", "Windows PowerShell": "powershell-classic",
	"Microsoft-Windows-WMI-Activity/Operational": "wmi", "Microsoft-Windows-TaskScheduler/Operational": "taskscheduler",
	"Microsoft-Windows-Windows Defender/Operational": "windefend", "Microsoft-Windows-Bits-Client/Operational": "bits-client",
	"Directory Service": "ldap", "Microsoft-Windows-NTLM/Operational": "ntlm",
	"Microsoft-Windows-Windows Firewall With Advanced Security/Firewall": "firewall-as",
}

// windows makes an Event of one line of the OTRF telemetry.
func windows(line []byte) (Event, error) {
	var values map[string]any
	d := json.NewDecoder(strings.NewReader(string(line)))
	d.UseNumber()
	if err := d.Decode(&values); err != nil {
		return Event{}, err
	}
	f := map[string]string{}
	for k, v := range values {
		if v != nil {
			f[strings.ReplaceAll(k, " ", "")] = fmt.Sprint(v)
		}
	}
	rename := func(to, from string) {
		if _, ok := f[to]; !ok && f[from] != "" {
			f[to] = f[from]
		}
	}
	rename("Provider_Name", "SourceName")
	rename("Computer", "Hostname")
	e := Event{Source: Source{Product: "windows", Service: channels[f["Channel"]]}, Fields: f}
	id := f["EventID"]
	switch {
	case e.Service == "sysmon":
		e.Categories = sysmon[id]
	case e.Service == "security" && id == "4688":
		e.Categories = []string{"process_creation"}
		rename("Image", "NewProcessName")
		rename("ParentImage", "ParentProcessName")
	case e.Service == "powershell":
		e.Categories = map[string][]string{"4104": {"ps_script"}, "4103": {"ps_module"}}[id]
	case e.Service == "powershell-classic":
		e.Categories = map[string][]string{"400": {"ps_classic_start"}, "600": {"ps_classic_provider_start"}}[id]
	}
	return e, nil
}

// telemetry calls f with each event and its line number from 0.
func telemetry(t *testing.T, f func(line int, e Event)) {
	t.Helper()
	s := bufio.NewScanner(unzip(t, shared(t, "otrf-windows.ndjson.gz")))
	s.Buffer(nil, 4<<20)
	n := 0
	for ; s.Scan(); n++ {
		e, err := windows(s.Bytes())
		if err != nil {
			t.Fatalf("line %d: %v", n, err)
		}
		f(n, e)
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
}

type pair struct {
	line int
	rule string
}

func expected(t *testing.T) map[pair]bool {
	t.Helper()
	want := map[pair]bool{}
	s := bufio.NewScanner(shared(t, "otrf-windows-expected.tsv"))
	for s.Scan() {
		var p pair
		if _, err := fmt.Sscanf(s.Text(), "%d\t%s", &p.line, &p.rule); err == nil {
			want[p] = true
		}
	}
	return want
}

func TestRealTelemetryMatchesAsExpected(t *testing.T) {
	rules, _ := corpus(t)
	var use []*Rule
	loaded := map[string]bool{}
	for _, r := range rules {
		if top, _, _ := strings.Cut(r.File, "/"); top == "rules" || top == "rules-emerging-threats" || top == "rules-threat-hunting" {
			use = append(use, r)
			loaded[r.ID] = true
		}
	}
	want := expected(t)
	for p := range want {
		if !loaded[p.rule] || p.line%every != 0 {
			delete(want, p)
		}
	}
	set, found, extra := NewSet(use), 0, []string{}
	telemetry(t, func(line int, e Event) {
		if line%every != 0 {
			return
		}
		set.Match(e, func(r *Rule) {
			if want[pair{line, r.ID}] {
				found++
				delete(want, pair{line, r.ID})
				return
			}
			extra = append(extra, fmt.Sprintf("line %d rule %s %s", line, r.ID, r.Title))
		})
	})
	sort.Strings(extra)
	all := found + len(want)
	t.Logf("%d of %d expected pairs found, %d more than expected", found, all, len(extra))
	for p := range want {
		t.Logf("missing: %v", p)
	}
	for _, x := range extra[:min(20, len(extra))] {
		t.Logf("extra: %s", x)
	}
	if all < 700/every/2 || len(want) > 0 || len(extra) > 0 { // a rule set that changes may bring differences: read the rule
		t.Errorf("found %d of %d, %d extra; want all and none extra", found, all, len(extra))
	}
}

// regression is one rule of the public rule set with the recorded events that
// must fire it.
type regression struct {
	Rule string `json:"rule_id"`
	JSON string `json:"json"`
	Min  int    `json:"min_matches"`
}

// record is a Windows event as evtx_dump writes it.
type record struct {
	Event struct {
		System struct {
			Provider struct {
				Attributes struct{ Name string } `json:"#attributes"`
			}
			EventID  any
			Channel  string
			Computer string
		}
		EventData map[string]any
		UserData  map[string]map[string]any
	}
}

// flatten makes an Event of a record, as telemetry from OTRF looks.
func (r record) flatten() (Event, error) {
	id := r.Event.System.EventID
	if m, ok := id.(map[string]any); ok { // with attributes
		id = m["#text"]
	}
	flat := map[string]any{
		"EventID": id, "Channel": r.Event.System.Channel, "Provider_Name": r.Event.System.Provider.Attributes.Name, "Computer": r.Event.System.Computer,
	}
	for k, v := range r.Event.EventData {
		flat[k] = v
	}
	for _, m := range r.Event.UserData {
		for k, v := range m {
			flat[k] = v
		}
	}
	line, err := json.Marshal(flat)
	if err != nil {
		return Event{}, err
	}
	return windows(line)
}

func TestRecordedAttacksFireTheirRules(t *testing.T) {
	var cases []regression
	if err := json.NewDecoder(shared(t, "sigmahq-regression-expected.json")).Decode(&cases); err != nil {
		t.Fatal(err)
	}
	rules, _ := corpus(t)
	byID := map[string]*Rule{}
	for _, r := range rules {
		byID[r.ID] = r
	}
	byFile := map[string]regression{}
	for _, c := range cases {
		if byID[c.Rule] != nil { // else a feature that is not built, see above
			byFile[c.JSON] = c
		}
	}
	ran := 0
	for r := tar.NewReader(unzip(t, shared(t, "sigmahq-regression.tar.gz"))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		c, ok := byFile[h.Name]
		if !ok {
			continue
		}
		ran++
		set, hits := NewSet([]*Rule{byID[c.Rule]}), 0
		d := json.NewDecoder(r)
		d.UseNumber()
		for {
			var rec record
			if err := d.Decode(&rec); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", h.Name, err)
			}
			e, err := rec.flatten()
			if err != nil {
				t.Fatalf("%s: %v", h.Name, err)
			}
			set.Match(e, func(*Rule) { hits++ })
		}
		if hits < c.Min {
			t.Errorf("rule %s (%s): %d matches, want %d or more", c.Rule, byID[c.Rule].Title, hits, c.Min)
		}
	}
	t.Logf("%d of %d recorded attacks ran", ran, len(cases))
	if ran < 100 {
		t.Errorf("only %d of %d recorded attacks ran", ran, len(cases))
	}
}
