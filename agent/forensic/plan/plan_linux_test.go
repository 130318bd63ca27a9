package plan

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sonae/sonae/evidence/bag"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOwnPlan(t *testing.T) {
	p, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	var stages []string
	seen := map[string]bool{}
	for _, s := range p.Stages {
		stages = append(stages, s.ID)
		if s.Title.JA == "" || s.Title.EN == "" || s.Within == 0 || len(s.Items) == 0 {
			t.Errorf("stage %+v", s)
		}
		for _, it := range s.Items {
			if it.Title.JA == "" || it.Title.EN == "" {
				t.Errorf("%+v lacks a title", it)
			}
			if it.To != "" && (!bag.ValidPath(it.To) || seen[it.To]) {
				t.Errorf("%s cannot stand in a bag, or does twice", it.To)
			}
			seen[it.To] = true
		}
	}
	want := []string{"clock", "process", "network", "memory", "packets", "system", "persistence", "log", "decision"}
	if !slices.Equal(stages, want) {
		t.Errorf("got %v", stages)
	}
	for _, to := range []string{"network/proc-net/nf_conntrack.txt", "log/audit/audit.log", "kernel/preload"} {
		if !seen[to] {
			t.Errorf("%s is not taken", to)
		}
	}
}

const artifacts = `# two of our own for this test
name: SonaeTestService
doc: |
  What the ward server keeps of its own.

  More text.
sources:
- type: FILE
  attributes:
    paths: ['/srv/ward/**2/*.conf', '%%users.homedir%%/.ward/state']
    separator: '/'
- type: COMMAND
  attributes: {cmd: /usr/bin/dpkg, args: [--list]}
- type: COMMAND
  attributes: {cmd: rm, args: [-rf, /]}
- type: PATH
  attributes: {paths: [/srv/ward]}
- type: REGISTRY_KEY
  attributes: {keys: ['HKEY_LOCAL_MACHINE\Software\Ward']}
  supported_os: [Windows]
- type: FILE
  attributes: {paths: ['%%environ_systemroot%%/ward.log']}
supported_os: [Linux, Windows]
urls: ['https://example.org/ward']
---
name: SonaeTestGroup
doc: All of it.
sources:
- type: ARTIFACT_GROUP
  attributes: {names: [SonaeTestService]}
`

func TestSiteAddsToThePlan(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "artifacts", "ward.yaml"), artifacts)
	sum := strings.Repeat("ab", 32)
	write(t, filepath.Join(dir, SiteFile), `
memory: {path: /opt/avml/avml, sha256: `+sum+`}
commands:
  - [/opt/ward/status]
snapshots:
  - {name: disk, title: {ja: ディスク, en: Disk}, command: [/sbin/lvcreate, -s, -n, keep, vg/data], timeout: 1m}
  - {name: vm, title: {ja: 仮想サーバー, en: VM}, memory: true, command: [/usr/bin/virsh, dump, --memory-only, ward, /srv/dump]}
stages:
  - id: log
    items:
      - {tail: /srv/ward/log, to: ward/log, title: {ja: 病棟の記録, en: Ward log}}
      - {artifact: SonaeTestGroup}
  - id: ward
    title: {ja: 病棟, en: Ward}
    within: 10m
    items:
      - {command: [/opt/ward/status], to: ward/status.txt, title: {ja: 病棟の状態, en: Ward state}}
`)
	p, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p.Memory == nil || p.Memory.SHA256 != sum || len(p.Snapshots) != 2 || p.Snapshots[0].Name != "vm" {
		t.Errorf("memory %+v, snapshots %+v", p.Memory, p.Snapshots)
	}
	at := slices.IndexFunc(p.Stages, func(s Stage) bool { return s.ID == "log" })
	items := p.Stages[at].Items
	var got []string
	for _, it := range items[len(items)-7:] {
		got = append(got, string(it.Kind)+" "+it.What+" -> "+it.To)
	}
	want := []string{
		"tail /srv/ward/log -> ward/log",
		"glob /srv/ward/**2/*.conf -> artifact/SonaeTestService",
		"glob %%users.homedir%%/.ward/state -> artifact/SonaeTestService",
		"command /usr/bin/dpkg -> artifact/SonaeTestService/command/dpkg --list.txt",
		`refused "rm -rf /" is not among the commands that may run -> artifact/SonaeTestService/command/rm -rf=2F.txt`,
		"list /srv/ward -> artifact/SonaeTestService/list/srv/ward.jsonl",
		"refused %%environ_systemroot%%/ward.log: this kind of path is not known -> artifact/SonaeTestService/=25=25environ_systemroot=25=25/ward.log",
	}
	for i := range want {
		if got[i] != want[i] && !(strings.Contains(want[i], "rm -rf") && strings.HasPrefix(got[i], "refused \"rm -rf /\"")) {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
	if last := p.Stages[len(p.Stages)-1]; last.ID != "ward" || last.Items[0].Args[0] != "/opt/ward/status" {
		t.Errorf("last stage %+v", last)
	}
}

func TestMistakesNameFileAndLine(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"unknown key":       {"stages:\n  - id: x\n    item: []\n", `forensic.yaml:3: "item" is not known here`},
		"no title":          {"stages:\n  - id: x\n    items:\n      - {file: /etc/x, to: a}\n", "forensic.yaml:4: an item needs a title"},
		"two kinds":         {"stages:\n  - id: x\n    items:\n      - {file: /etc/x, tail: /y, to: a, title: t}\n", "forensic.yaml:4: an item is one of"},
		"path of the bag":   {"stages:\n  - id: x\n    items:\n      - {file: /etc/x, to: ../a, title: t}\n", "forensic.yaml:4: an item needs a plain path"},
		"relative":          {"stages:\n  - id: x\n    items:\n      - {file: etc/x, to: a, title: t}\n", "forensic.yaml:4: \"etc/x\" is no whole path"},
		"no artifact":       {"stages:\n  - id: x\n    items:\n      - {artifact: Nothing}\n", `forensic.yaml:4: there is no artifact "Nothing"`},
		"hash of a tool":    {"\nmemory: {path: /a, sha256: abc}\n", "forensic.yaml:2: memory needs"},
		"program without":   {"snapshots:\n  - {name: a, command: [virsh]}\n", "forensic.yaml:2: a snapshot needs"},
		"alias":             {"a: &a [1]\nb: *a\n", "line 2: aliases are not read"},
		"no YAML":           {"a: [", "forensic.yaml: "},
		"twice":             {"commands: []\ncommands: []\n", "forensic.yaml:2: \"commands\" stands here twice"},
		"several documents": {"commands: []\n---\ncommands: []\n", "forensic.yaml:3: one document is enough"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, SiteFile), tt.text)
			p, err := Load(dir)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if own, _ := Default(); p.Count() < own.Count() {
				t.Error("a mistake of the site took our own plan away")
			}
		})
	}
	if _, err := ParseArtifacts("a.yaml", []byte("name: A\nsources:\n- type: FILE\n---\nname: B\nsources: []\n")); err == nil ||
		!strings.Contains(err.Error(), "a.yaml:3: FILE needs paths") || !strings.Contains(err.Error(), "a.yaml:5: artifact B has no sources") {
		t.Errorf("got %v", err)
	}
	loop := []byte("name: A\nsources:\n- {type: ARTIFACT_GROUP, attributes: {names: [A]}}\n")
	arts, err := ParseArtifacts("a.yaml", loop)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&Plan{}).expand(arts[0], arts, nil); err == nil || !strings.Contains(err.Error(), "contains itself") {
		t.Errorf("got %v", err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"a/1.conf", "a/b/2.conf", "a/b/c/3.conf", "a/b/c/d/4.conf", "a/b/c/d/e/5.conf", "a/x.txt"} {
		write(t, filepath.Join(dir, f), f)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "a", "loop")); err != nil {
		t.Fatal(err)
	}
	passwd := "root:x:0:0::" + dir + "/a:/bin/sh\nodd:x:1:1::*:/bin/sh\nshort\nsame:x:2:2::" + dir + "/a:/bin/sh\n"
	for pattern, want := range map[string]string{
		dir + "/a/*.conf":         "a/1.conf",
		dir + "/a/**/*.conf":      "a/1.conf a/b/2.conf a/b/c/3.conf a/b/c/d/4.conf",
		dir + "/a/**1/*.conf":     "a/1.conf a/b/2.conf",
		dir + "/a/b/**1":          "a/b/2.conf a/b/c",
		dir + "/a/x.txt":          "a/x.txt",
		dir + "/a/none":           "",
		dir + "/a/[0-9].c??f":     "a/1.conf",
		"%%users.homedir%%/x.txt": "a/x.txt",
	} {
		var got []string
		f := Find(t.Context(), pattern, passwd)
		for _, p := range f.Paths {
			rel, _ := filepath.Rel(dir, p)
			got = append(got, rel)
		}
		if strings.Join(got, " ") != want || f.More {
			t.Errorf("%s: got %v, want %s", pattern, got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f := Find(ctx, dir+"/**", ""); len(f.Paths) != 0 {
		t.Errorf("after the end: %v", f.Paths)
	}
}

func TestFindIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range maxFound + 5 {
		write(t, filepath.Join(dir, string(rune('a'+i%26))+strings.Repeat("x", i/26)), "")
	}
	if f := Find(t.Context(), dir+"/*", ""); len(f.Paths) != maxFound || !f.More {
		t.Errorf("%d paths, more %v", len(f.Paths), f.More)
	}
}

func TestBagPathsAreValid(t *testing.T) {
	for in, want := range map[string]string{
		"/etc/passwd":                 "d/etc/passwd",
		"/tmp/a b/~c:\n":              "d/tmp/a b/=7Ec=3A=0A",
		"/tmp/ x./..":                 "d/tmp/=20x=2E/.=2E",
		"/病棟/記録.txt":                  "d/病棟/記録.txt",
		"/a\xff":                      "d/a=FF",
		"/1/2/3/4/5/6/7/8/9/10/11/12": "d/1/2/3/4/5/6/7/8/9/10=2F11=2F12",
	} {
		if got := BagPath("d", in); got != want || !bag.ValidPath(got) {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzPlan(f *testing.F) {
	f.Add([]byte(artifacts), "/srv/a")
	f.Add(builtin, "/srv/\xff..")
	f.Add([]byte("snapshots: [{name: a, command: [/b]}]\nmemory: {path: /a}"), "%%users.homedir%%/x")
	f.Fuzz(func(t *testing.T, data []byte, path string) {
		arts, _ := ParseArtifacts("f", data)
		p := Plan{}
		for _, a := range arts {
			items, _ := p.expand(a, arts, nil)
			for _, it := range items {
				if it.Kind == Command {
					t.Fatalf("a command that nobody allowed: %+v", it)
				}
				if !bag.ValidPath(it.To) {
					t.Fatalf("path %q", it.To)
				}
			}
		}
		if s, err := parseSite("f", data); err == nil {
			if err := p.add(s, arts); err == nil && p.Count() > maxItems {
				t.Fatal(p.Count())
			}
			for _, st := range p.Stages {
				for _, it := range st.Items {
					if it.To != "" && !bag.ValidPath(it.To) {
						t.Fatalf("path %q", it.To)
					}
				}
			}
		}
		if got := BagPath("d", path); !bag.ValidPath(got) && got != "d" {
			t.Fatalf("%q becomes %q", path, got)
		}
	})
}
