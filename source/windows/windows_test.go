package windows

import (
	"reflect"
	"slices"
	"testing"

	"github.com/sonae/sonae/event"
)

func TestSourceFollowsTheChannel(t *testing.T) {
	for name, tt := range map[string]struct {
		channel, provider string
		id                int
		service           string
		categories        []string
	}{
		"a process seen by sysmon":               {"Microsoft-Windows-Sysmon/Operational", "", 1, "sysmon", []string{"process_creation"}},
		"a registry write has two categories":    {"Microsoft-Windows-Sysmon/Operational", "", 13, "sysmon", []string{"registry_event", "registry_set"}},
		"sysmon's own error":                     {"Microsoft-Windows-Sysmon/Operational", "", 255, "sysmon", []string{"sysmon_error"}},
		"a number sysmon does not have":          {"Microsoft-Windows-Sysmon/Operational", "", 256, "sysmon", nil},
		"no number":                              {"Microsoft-Windows-Sysmon/Operational", "", -1, "sysmon", nil},
		"the case of the channel does not count": {"SECURITY", "", 4688, "security", []string{"process_creation"}},
		"another security event":                 {"Security", "", 4624, "security", nil},
		"PowerShell 7":                           {"PowerShellCore/Operational", "", 4104, "powershell", []string{"ps_script"}},
		"Windows PowerShell":                     {"Windows PowerShell", "", 600, "powershell-classic", []string{"ps_classic_provider_start"}},
		"Defender found something":               {"Microsoft-Windows-Windows Defender/Operational", "", 1116, "windefend", []string{"antivirus"}},
		"Defender was updated":                   {"Microsoft-Windows-Windows Defender/Operational", "", 2000, "windefend", nil},
		"a channel nobody writes rules for":      {"Microsoft-Windows-Biometrics/Operational", "Microsoft-Windows-Biometrics", 1, "", nil},
		"the name of the collecting log":         {"ForwardedEvents", "Microsoft-Windows-Sysmon", 3, "sysmon", []string{"network_connection"}},
		"the channel was lost":                   {"", "Microsoft-Windows-Security-Auditing", 4688, "security", []string{"process_creation"}},
		"the channel beats the provider":         {"System", "Microsoft-Windows-Sysmon", 1, "system", nil},
		"nothing known":                          {"", "", 1, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			service, categories := Source([]byte(tt.channel), []byte(tt.provider), tt.id)
			if service != tt.service || !slices.Equal(categories, tt.categories) {
				t.Errorf("got %q %q, want %q %q", service, categories, tt.service, tt.categories)
			}
		})
	}
}

// utf16le is how an EVTX holds text.
func utf16le(s string) []byte {
	var b []byte
	for _, r := range s {
		b = append(b, byte(r), byte(r>>8))
	}
	return b
}

func record(pairs ...string) *event.Record {
	r := &event.Record{}
	for i := 0; i < len(pairs); i += 2 {
		r.Add([]byte(pairs[i]), utf16le(pairs[i+1]), event.UTF16)
	}
	return r
}

func TestCompleteAddsWhatRulesExpect(t *testing.T) {
	for name, tt := range map[string]struct {
		in   *event.Record
		want map[string]string // of the pairs added
	}{
		"4688 gets the names of sysmon": {
			record("Channel", "Security", "EventID", "4688", "NewProcessName", `C:\a.exe`, "ParentProcessName", `C:\b.exe`),
			map[string]string{"Image": `C:\a.exe`, "ParentImage": `C:\b.exe`},
		},
		"a name that is there stays": {
			record("Channel", "Security", "EventID", "4688", "NewProcessName", `C:\a.exe`, "Image", `C:\c.exe`),
			map[string]string{},
		},
		"no other event is renamed": {
			record("Channel", "Security", "EventID", "4689", "NewProcessName", `C:\a.exe`),
			map[string]string{},
		},
		"flat exports": {
			record("Channel", "System", "EventID", "7045", "SourceName", "Service Control Manager", "Hostname", "pc1"),
			map[string]string{"Provider_Name": "Service Control Manager", "Computer": "pc1"},
		},
		"a threat": {
			record("Channel", "Microsoft-Windows-Windows Defender/Operational", "EventID", "1116", "ThreatName", "EICAR", "Path", `file:_C:\e`),
			map[string]string{"Signature": "EICAR", "Filename": `file:_C:\e`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(tt.in.Pairs)
			Complete(tt.in)
			got := map[string]string{}
			for _, p := range tt.in.Pairs[before:] {
				got[string(p.Name)] = p.Text()
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("added %v, want %v", got, tt.want)
			}
			if tt.in.Product != "windows" || tt.in.Service == "" {
				t.Errorf("product %q, service %q", tt.in.Product, tt.in.Service)
			}
		})
	}
}

func TestCompleteLeavesOthersAlone(t *testing.T) {
	r := record("Image", "/bin/sh", "EventID", "1")
	Complete(r)
	if r.Product != "" || r.Service != "" || len(r.Pairs) != 2 {
		t.Errorf("got %+v", r)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	r := record("Channel", "Security", "EventID", "4688", "NewProcessName", `C:\a.exe`, "ParentProcessName", `C:\b.exe`)
	r.Pairs = slices.Grow(r.Pairs, 8)
	if n := testing.AllocsPerRun(100, func() {
		r.Pairs = r.Pairs[:4]
		Complete(r)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
