package scan_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/scan"
)

// put writes a file below dir.
func put(t testing.TB, dir, name string, data []byte) string {
	t.Helper()
	p := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func gz(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zst(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

// rules loads rules that are written into a test.
func rules(t testing.TB, texts ...string) *detect.Engine {
	t.Helper()
	files := fstest.MapFS{}
	for i, text := range texts {
		files[fmt.Sprintf("%d.yml", i)] = &fstest.MapFile{Data: []byte(text)}
	}
	e, report, err := detect.Load(files)
	if err != nil || len(report.Rejected) > 0 {
		t.Fatal(err, report.Rejected)
	}
	return e
}

const rootRule = "title: Root\nid: root\nlevel: high\nlogsource: {product: test}\ndetection: {s: {User: root}, condition: s}\n"

// line is an event of product test.
func line(user, host string, at time.Time) string {
	return fmt.Sprintf(`{"product":"test","User":%q,"host":%q,"time":%q}`+"\n", user, host, at.Format(time.RFC3339Nano))
}

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// TestMixedFolder is a folder as responders get it: 200 files of all kinds, of
// which five are damaged.
func TestMixedFolder(t *testing.T) {
	dir := t.TempDir()
	evtx, err := os.ReadFile(filepath.Join(unpacked(t, "detect/evtx-samples.tar.gz"), "system.evtx"))
	if err != nil {
		t.Fatal(err)
	}
	capture, err := os.ReadFile("../ready/drill/data/torrent-callcentre.pcap")
	if err != nil {
		t.Fatal(err)
	}
	good := 0
	for i := range 195 {
		body := []byte(line("me", "pc", noon) + line("root", fmt.Sprintf("pc-%d", i), noon))
		name := fmt.Sprintf("host%03d/app.jsonl", i)
		switch i % 8 {
		case 0:
			body, name = gz(t, body), name+".gz"
		case 1:
			body, name = zst(t, body), name+".zst"
		case 2:
			body, name = zipped(t, map[string][]byte{"a/app.jsonl": body, "readme.txt": []byte("hello there\n")}), name+".zip"
		case 3:
			if i%48 == 3 {
				body, name = evtx, fmt.Sprintf("host%03d/System.evtx", i)
			}
		case 4:
			if i%16 == 4 {
				body, name = capture, fmt.Sprintf("host%03d/net.pcap", i)
			}
		}
		if bytes.Contains(body, []byte("root")) || strings.HasSuffix(name, "z") || strings.HasSuffix(name, "zst") || strings.HasSuffix(name, "zip") {
			good++
		}
		put(t, dir, name, body)
	}
	damaged := []string{
		put(t, dir, "z1/cut.pcap", capture[:len(capture)/2]),
		put(t, dir, "z2/cut.jsonl.gz", gz(t, bytes.Repeat([]byte(line("root", "z2", noon)), 5000))[:400]),
		put(t, dir, "z3/broken.jsonl", []byte(line("root", "z3", noon)+`{"product":"test",`+"\n"+line("me", "z3", noon))),
		put(t, dir, "z4/Security.evtx", bytes.Repeat([]byte("nothing of the sort"), 500)),
		put(t, dir, "z5/broken.zip", []byte("PK\x03\x04 this was a zip file once")),
	}
	var first []scan.Finding
	for _, jobs := range []int{1, 2, 7} {
		found, r := scanned(t, scan.Options{Paths: []string{dir}, Engine: rules(t, rootRule), Jobs: jobs, Memory: 20000})
		var named []string
		for _, p := range r.Damaged {
			named = append(named, p.Path)
		}
		if diff := cmp.Diff(damaged, named); diff != "" {
			t.Fatalf("damaged files (-want +got):\n%s", diff)
		}
		hosts := map[string]bool{}
		for _, f := range found {
			if strings.HasPrefix(f.Host, "pc-") {
				hosts[f.Host] = true
			}
		}
		if len(hosts) != good {
			t.Errorf("%d jobs: findings on %d hosts, want %d", jobs, len(hosts), good)
		}
		if !slices.ContainsFunc(found, func(f scan.Finding) bool { return f.Host == "z3" }) {
			t.Error("what stands before the damage is not reported")
		}
		if r.Stats.Files != 198 {
			t.Errorf("%d files were read, want 198", r.Stats.Files)
		}
		if !r.Failed() {
			t.Error("it does not say that something could not be read")
		}
		if first == nil {
			first = found
		} else if diff := cmp.Diff(first, found, cmp.AllowUnexported(scan.Rule{})); diff != "" {
			t.Errorf("%d jobs give another result:\n%s", jobs, diff)
		}
	}
}

func TestFindingsStandInTheOrderOfPathsAndRecords(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b/1.jsonl", "a.jsonl", "b/10.jsonl", "c.jsonl"} {
		var body string
		for i := range 12 {
			body += line("root", "h", noon.Add(-time.Duration(i)*time.Hour))
		}
		put(t, dir, name, []byte(body))
	}
	found, _ := scanned(t, scan.Options{Paths: []string{filepath.Join(dir, "c.jsonl"), dir}, Engine: rules(t, rootRule)})
	var got, want []string
	for _, f := range found {
		got = append(got, fmt.Sprintf("%s %d", strings.TrimPrefix(f.Source.Path, dir+"/"), f.Source.Record))
	}
	for _, name := range []string{"c.jsonl", "a.jsonl", "b/1.jsonl", "b/10.jsonl", "c.jsonl"} {
		for i := range 12 {
			want = append(want, fmt.Sprintf("%s %d", name, i+1))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Counting goes by the time of the events, not by the order of the files.
func TestCountingRulesSeeAllFilesInTheOrderOfTime(t *testing.T) {
	dir := t.TempDir()
	rule := strings.Replace(rootRule, "detection:", "threshold: {count: 10, window: 5m}\ndetection:", 1)
	var files [3]string
	for i := range 10 { // ten within five minutes, spread over three files that end days later
		files[i%3] += line("root", "h", noon.Add(time.Duration(i)*30*time.Second))
	}
	for i, body := range files {
		put(t, dir, fmt.Sprintf("%d.jsonl", i), []byte(line("root", "h", noon.AddDate(0, 0, 3+i))+body))
	}
	for _, jobs := range []int{1, 3} {
		found, _ := scanned(t, scan.Options{Paths: []string{dir}, Engine: rules(t, rule), Jobs: jobs, Memory: 500})
		if len(found) != 1 || found[0].Rule.ID != "root" || !found[0].Time.Equal(noon.Add(270*time.Second)) || filepath.Base(found[0].Source.Path) != "0.jsonl" {
			t.Errorf("%d jobs: got %+v, want one, at the tenth event", jobs, found)
		}
	}
}

func TestFilters(t *testing.T) {
	dir := t.TempDir()
	var body string
	for i := range 10 {
		body += line("root", "h", noon.Add(time.Duration(i)*time.Hour))
	}
	put(t, dir, "a.jsonl", []byte(body+`{"product":"test","User":"root"}`+"\n"))
	for _, c := range []struct {
		name             string
		opt              scan.Options
		want             int
		outside, untimed uint64
	}{
		{"none", scan.Options{}, 11, 0, 0},
		{"since", scan.Options{Since: noon.Add(3 * time.Hour)}, 8, 3, 1},
		{"until leaves out its own time", scan.Options{Until: noon.Add(3 * time.Hour)}, 4, 7, 1},
		{"both", scan.Options{Since: noon.Add(time.Hour), Until: noon.Add(2 * time.Hour)}, 2, 9, 1},
		{"level of the rule", scan.Options{MinLevel: event.High}, 11, 0, 0},
		{"above the level of the rule", scan.Options{MinLevel: event.Critical}, 0, 0, 0},
	} {
		c.opt.Paths, c.opt.Engine = []string{dir}, rules(t, rootRule)
		found, r := scanned(t, c.opt)
		if len(found) != c.want || r.Outside != c.outside || r.Untimed != c.untimed {
			t.Errorf("%s: %d findings, %d outside, %d without a time; want %d, %d, %d", c.name, len(found), r.Outside, r.Untimed, c.want, c.outside, c.untimed)
		}
	}
}

func TestStoppedScanGivesWhatWasFound(t *testing.T) {
	dir := t.TempDir()
	for i := range 50 {
		put(t, dir, fmt.Sprintf("%02d.jsonl", i), bytes.Repeat([]byte(line("root", "h", noon)), 500))
	}
	ctx, cancel := context.WithCancel(t.Context())
	p := &scan.Progress{}
	go func() {
		for p.Findings() < 600 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	r, err := scan.Run(ctx, scan.Options{Paths: []string{dir}, Engine: rules(t, rootRule), Jobs: 1, Progress: p, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if !r.Stopped || !r.Failed() || r.Stats.Findings < 600 || r.Stats.Findings > 24000 {
		t.Errorf("stopped %v, %d findings", r.Stopped, r.Stats.Findings)
	}
}

func TestFullDiskIsAnError(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a.jsonl", bytes.Repeat([]byte(line("root", "h", noon)), 50))
	r, err := scan.Run(t.Context(), scan.Options{Paths: []string{dir}, Engine: rules(t, rootRule), Memory: 1, TempDir: filepath.Join(dir, "nowhere")})
	if err == nil {
		r.Close()
		t.Fatal("no error although findings could not be kept")
	}
}

func TestInputsCarryTheirDigests(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a.jsonl", []byte("{}\n"))
	put(t, dir, "b.txt", []byte("no log"))
	_, r := scanned(t, scan.Options{Paths: []string{dir}, Hash: true})
	want := "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356"
	if len(r.Inputs) != 2 || r.Inputs[0].SHA256 != want || r.Inputs[0].Events != 1 || r.Inputs[1].SHA256 != "" {
		t.Errorf("got %+v", r.Inputs)
	}
}

func TestBlindSpotsAreNamed(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a.jsonl", []byte(`{"product":"other","X":"1"}`+"\n"+`{"product":"test","Name":"x"}`+"\n"))
	e := rules(t, rootRule, strings.NewReplacer("id: root", "id: far", "product: test", "product: elsewhere, category: c").Replace(rootRule),
		strings.NewReplacer("id: root", "id: fed", "User: root", "Name: y").Replace(rootRule))
	_, r := scanned(t, scan.Options{Paths: []string{dir}, Engine: e})
	b := r.Blind()
	got, err := json.Marshal(map[string]any{"unruled": names(b.Unruled), "unseen": b.Unseen, "starved": starved(b.Starved)})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"starved":["root: User"],"unruled":["other"],"unseen":[{"Name":"elsewhere / c","Rules":1,"Worst":"high"}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func names(all []scan.Seen) (out []string) {
	for _, s := range all {
		out = append(out, s.Name())
	}
	return out
}

func starved(all []scan.Starving) (out []string) {
	for _, s := range all {
		out = append(out, s.Rule.ID+": "+strings.Join(s.Fields, " "))
	}
	return out
}
