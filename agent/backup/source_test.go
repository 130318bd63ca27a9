package backup

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/protect/job"
)

const running = `<domain type='qemu'><name>emr</name><devices>
<disk type='file' device='disk'><source file='/vm/emr.qcow2'/><backingStore type='file'><source file='/vm/base.qcow2'/><backingStore/></backingStore><target dev='vda'/></disk>
<disk type='file' device='cdrom'><target dev='sda'/></disk>
<disk type='block' device='disk'><source dev='/dev/vg/data'/><target dev='vdb'/></disk>
</devices></domain>`

func TestTheDisksOfAVirtualMachine(t *testing.T) {
	d, err := disksOf([]byte(running))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/vm/emr.qcow2", "/vm/base.qcow2"}, d.files()); diff != "" || !cmp.Equal(d.other, []string{"vdb"}) || d.overlays() {
		t.Errorf("%+v %s", d, diff)
	}
	want := "snapshot-create-as --domain emr --name sonae --disk-only --atomic --no-metadata --diskspec vda,snapshot=external,file=/vm/emr.qcow2.sonae-run-1 --diskspec vdb,snapshot=no --diskspec sda,snapshot=no"
	if got := strings.Join(libvirt{name: "emr"}.parting(d, "run-1"), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	d, err = disksOf([]byte(strings.Replace(running, "/vm/emr.qcow2", "/vm/emr.qcow2.sonae-run-1", 1)))
	if err != nil || !d.overlays() {
		t.Errorf("what a killed run left is not seen: %+v, %v", d, err)
	}
	for _, bad := range []string{"", "<domain>", strings.Replace(running, "dev='vda'", "dev='vda,file=/etc/passwd'", 1), strings.Replace(running, "/vm/base", "../base", 1)} {
		if _, err := disksOf([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// A real virsh describes the machine of libvirt's own test driver, which has one
// disk that is a file.
func TestVirshIsAsked(t *testing.T) {
	if _, err := exec.LookPath("virsh"); err != nil {
		t.Skip("virsh is not installed")
	}
	d, err := libvirt{uri: "test:///default", name: "test"}.look(t.Context())
	if err != nil || !d.runs || !strings.Contains(string(d.description), "<name>test</name>") {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := (libvirt{uri: "test:///default", name: "none"}).look(t.Context()); err == nil {
		t.Error("a machine that is not there was described")
	}
}

func FuzzDisks(f *testing.F) {
	f.Add([]byte(running))
	f.Fuzz(func(t *testing.T, description []byte) {
		d, err := disksOf(description)
		if err != nil {
			return
		}
		for _, file := range d.files() {
			if !job.Absolute(file) {
				t.Errorf("%q", file)
			}
		}
		for _, arg := range (libvirt{name: "x"}).parting(d, "run-1")[8:] {
			if strings.ContainsAny(arg, "\n\x00") {
				t.Errorf("%q", arg)
			}
		}
	})
}

func TestSuffixesOfADirectory(t *testing.T) {
	got := suffixes([]byte("dn: olcDatabase={1}mdb,cn=config\r\nolcSuffix: dc=hospital,dc=example\r\nolcSuffix:: bz3lgpnjgYg=\nolcSuffix: -n0\nolcSuffix:: !\n"))
	if diff := cmp.Diff([]string{"dc=hospital,dc=example", "o=備え"}, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzSuffixes(f *testing.F) {
	f.Add([]byte("olcSuffix: dc=a\nolcSuffix:: bz3lgpnjgYg=\n"))
	f.Fuzz(func(t *testing.T, ldif []byte) {
		for _, s := range suffixes(ldif) {
			if s == "" || s[0] == '-' || strings.ContainsRune(s, 0) {
				t.Errorf("%q", s)
			}
		}
	})
}

func TestHowMariaDBIsAsked(t *testing.T) {
	for want, s := range map[string]job.Source{
		"":                           {},
		"--socket=/run/mysqld/sock":  {Server: "/run/mysqld/sock"},
		"--host=db.example --port=3": {Server: "db.example", Port: 3},
	} {
		if got := strings.Join(mariadbAt(s), " "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if args := mariadbDump("--all"); args[len(args)-2] != "--" {
		t.Errorf("a database can be an option: %v", args)
	}
}

// A report that is too large loses its words, never its numbers.
func TestAReportIsBounded(t *testing.T) {
	r := job.Result{Job: "run-1", State: job.Partial}
	for i := range 100 {
		s := job.SourceResult{Name: fmt.Sprint("s", i), State: job.Partial, Unread: 50}
		for range job.MaxErrors {
			s.Errors = append(s.Errors, strings.Repeat("x", job.MaxError))
		}
		r.Sources = append(r.Sources, s)
	}
	if b := pack(job.Report{Result: &r}); len(b) == 0 || len(b) > maxReport || r.Sources[99].Unread != 50 {
		t.Errorf("%d bytes", len(b))
	}
}

func TestTheHubsClockCountsWhereOursIsWrong(t *testing.T) {
	now := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		ahead time.Duration // of the hub's clock
		kind  job.SourceKind
		hubs  bool
	}{
		"both agree":                  {20 * time.Second, job.Folder, false},
		"ours is behind":              {time.Hour, job.Folder, true},
		"ours is ahead":               {-time.Hour, job.Folder, true},
		"WAL, ours is behind":         {time.Hour, job.PostgreSQLWAL, false},
		"WAL, ours is ahead":          {-time.Hour, job.PostgreSQLWAL, true},
		"base backup, ours is behind": {time.Hour, job.PostgreSQLBase, false},
	} {
		w := &work{Runner: &Runner{cfg: Config{Ahead: func() time.Duration { return tt.ahead }, Now: func() time.Time { return now }}}}
		want := time.Time{}
		if tt.hubs {
			want = now.Add(tt.ahead)
		}
		if got := w.when(tt.kind); !got.Equal(want) {
			t.Errorf("%s: %s instead of %s", name, got, want)
		}
	}
}
