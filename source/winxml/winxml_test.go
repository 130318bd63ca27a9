package winxml

import (
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/source"
	"github.com/sonae/sonae/source/sourcetest"
)

type fields = map[string]string

const logon = `<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='Microsoft-Windows-Security-Auditing' Guid='{54849625-5478-4994-a5ba-3e3b0328c30d}'/><EventID>4688</EventID>` +
	`<Version>2</Version><TimeCreated SystemTime='2026-01-02T03:04:05.1234567Z'/><EventRecordID>77</EventRecordID><Correlation/><Execution ProcessID='4' ThreadID='8'/><Channel>Security</Channel><Computer>PC7</Computer><Security/></System>` +
	`<EventData><Data Name='NewProcessName'>C:\Windows\System32\cmd.exe</Data><Data Name='Command Line'>cmd /c &quot;a &lt; b&quot; &amp;&#x26; <![CDATA[<c> &amp;]]></Data><Data Name='Empty'></Data><Data>x</Data><Data>y</Data></EventData></Event>`

const userData = `<Event xmlns="http://schemas.microsoft.com/win/2004/08/events/event"><System><Provider Name="Microsoft-Windows-Eventlog"/><EventID Qualifiers="0">1102</EventID><Channel>Security</Channel></System>
<UserData><LogFileCleared xmlns="http://manifests.microsoft.com/win/2004/08/windows/eventlog"><SubjectUserName>a</SubjectUserName></LogFileCleared></UserData>
<RenderingInfo Culture="en-US"><Message>The audit log was cleared.</Message></RenderingInfo></Event>`

func TestEvents(t *testing.T) {
	in := "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Events>\n" + logon + "\n" + userData + "</Events>\n"
	events, report := sourcetest.Read(t, Read, source.Options{Host: "given"}, in)
	if len(events) != 2 || report.BadTotal > 0 {
		t.Fatalf("%d events, %+v", len(events), report)
	}
	want := []sourcetest.Event{
		{Time: "2026-01-02T03:04:05.1234567Z", Host: "PC7", Number: 3, Offset: int64(strings.Index(in, logon)), Source: "windows/security/process_creation", Fields: fields{
			"Provider_Name": "Microsoft-Windows-Security-Auditing", "Provider_Guid": "{54849625-5478-4994-a5ba-3e3b0328c30d}", "EventID": "4688", "Version": "2", "TimeCreated_SystemTime": "2026-01-02T03:04:05.1234567Z",
			"EventRecordID": "77", "Execution_ProcessID": "4", "Execution_ThreadID": "8", "Channel": "Security", "Computer": "PC7", "NewProcessName": `C:\Windows\System32\cmd.exe`, "Image": `C:\Windows\System32\cmd.exe`,
			"CommandLine": `cmd /c "a < b" && <c> &amp;`, "Empty": "", "Data": "x | y"}},
		{Host: "given", Number: 4, Offset: int64(strings.Index(in, userData)), Source: "windows/security/", Fields: fields{
			"Provider_Name": "Microsoft-Windows-Eventlog", "EventID": "1102", "EventID_Qualifiers": "0", "Channel": "Security", "SubjectUserName": "a", "RenderingInfo.Message": "The audit log was cleared."}},
	}
	if d := cmp.Diff(want, events); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestUTF16(t *testing.T) {
	in := []byte("\xff\xfe")
	for _, u := range utf16.Encode([]rune(strings.ReplaceAll(logon, "PC7", "端末"))) {
		in = append(in, byte(u), byte(u>>8))
	}
	if events, report := sourcetest.Read(t, Read, source.Options{}, string(in)); len(events) != 1 || events[0].Host != "端末" {
		t.Errorf("got %+v, %+v", events, report)
	}
}

func TestDamagedEventsAreReported(t *testing.T) {
	for name, c := range map[string]struct {
		in     string
		reason string
		events int
	}{
		"cut, the last":      {logon + "\n" + logon[:len(logon)-20], "the event does not end", 1},
		"cut, another after": {logon[:len(logon)-20] + "\n" + logon, "the event does not end", 1},
		"crossed":            {"<Event><a><b></a></b></Event>" + logon, "another element is closed than was opened", 1},
		"not closed":         {"<Event><a></Event>" + logon, "another element is closed than was opened", 1},
		"a declaration":      {"<Event><!ENTITY x 'y'></Event>" + logon, "declarations are not obeyed", 1},
		"an attribute":       {"<Event><a b=c></a></Event>" + logon, "an attribute is damaged", 1},
		"too deep":           {"<Event>" + strings.Repeat("<a>", 40) + "</Event>" + logon, "the elements lie too deep", 1},
		"huge":               {"<Event>" + strings.Repeat("x", source.MaxRecord) + "</Event>" + logon, "the event does not end within 1 MiB", 1},
	} {
		events, report := sourcetest.Read(t, Read, source.Options{}, c.in)
		if len(events) != c.events || report.BadTotal != 1 || report.Bad[0].Reason != c.reason {
			t.Errorf("%s: %d events, %+v", name, len(events), report)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(logon))
	f.Add([]byte(userData))
	f.Add([]byte("<Event><a b='c'>&#1;&#xd800;&lt<![CDATA[]]><!----></a><?x?></Event><Event"))
	f.Fuzz(func(t *testing.T, in []byte) { sourcetest.Fuzz(t, Read, source.Options{}, in) })
}

func BenchmarkRead(b *testing.B) {
	sourcetest.Bench(b, Read, source.Options{}, []byte(strings.Repeat(logon+"\n", 2000)))
}
