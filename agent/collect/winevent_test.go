package collect

import (
	"strings"
	"testing"
	"time"
)

const shadowDeleted = `<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-Security-Auditing' Guid='{54849625-5478-4994-a5ba-3e3b0328c30d}'/><EventID>4688</EventID><TimeCreated SystemTime='2026-11-28T02:11:05.1234567Z'/><EventRecordID>4711</EventRecordID><Channel>Security</Channel><Computer>PC-17</Computer></System><EventData><Data Name='NewProcessName'>C:\Windows\System32\vssadmin.exe</Data><Data Name='CommandLine'>vssadmin delete shadows /all /quiet</Data><Data Name='ParentProcessName'>C:\Users\u\a.exe</Data></EventData></Event>`

// What Windows renders has the names and the log source that rules look for.
func TestWindowsEventsHaveTheNamesOfRules(t *testing.T) {
	var w winReader
	e, why := w.event([]byte(shadowDeleted), time.Now())
	if why != "" || e.Product != "windows" || e.Category != "process_creation" || e.Host != "" {
		t.Fatalf("%q: %+v", why, e)
	}
	if want := time.Date(2026, 11, 28, 2, 11, 5, 123456700, time.UTC); !e.Time.Equal(want) {
		t.Errorf("time %s, want %s", e.Time, want)
	}
	for name, want := range map[string]string{"Image": `C:\Windows\System32\vssadmin.exe`, "CommandLine": "vssadmin delete shadows /all /quiet",
		"ParentImage": `C:\Users\u\a.exe`, "EventID": "4688", "Computer": "PC-17"} {
		if e.Fields[name] != want {
			t.Errorf("%s is %q, want %q", name, e.Fields[name], want)
		}
	}
}

// An event that is cut off says so and keeps what it has; the next one is
// whole.
func TestADamagedWindowsEventIsNamed(t *testing.T) {
	var w winReader
	now := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	e, why := w.event([]byte(shadowDeleted[:strings.Index(shadowDeleted, "<TimeCreated")]), now)
	if why == "" || e.Fields["EventID"] != "4688" || !e.Time.Equal(now) {
		t.Errorf("%q: %+v", why, e)
	}
	if e, why := w.event([]byte(shadowDeleted), now); why != "" || e.Fields["CommandLine"] == "" {
		t.Errorf("%q: %+v", why, e)
	}
}
