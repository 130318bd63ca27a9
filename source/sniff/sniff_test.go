package sniff

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/source"
)

func utf16le(s string) string {
	out := []byte("\xff\xfe")
	for _, u := range utf16.Encode([]rune(s)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return string(out)
}

func TestFormatsAreFoundByContent(t *testing.T) {
	for name, c := range map[string]struct {
		in    string
		want  Format
		looks string
	}{
		"JSON lines":       {in: "{\"a\":1}\n{\"a\":2}\n", want: JSON},
		"pretty JSON":      {in: "{\n  \"Event\": {\n", want: JSON},
		"an array":         {in: "[\n  {\n    \"a\": 1\n", want: JSON},
		"a tight array":    {in: `[{"a":1}]`, want: JSON},
		"evtx_dump":        {in: "Record 1\n{\n", want: JSON},
		"JSON in UTF-16":   {in: utf16le("{\"a\":1}\n"), want: JSON},
		"with a mark":      {in: "\xef\xbb\xbf{\"a\":1}", want: JSON},
		"blank lines":      {in: "\n\n{\"a\":1}", want: JSON},
		"XML":              {in: "<?xml version=\"1.0\"?>\n<Events><Event xmlns='x'>", want: WinXML},
		"XML in UTF-16":    {in: utf16le("<Event xmlns='x'>"), want: WinXML},
		"EVTX":             {in: "ElfFile\x00abc", want: EVTX},
		"old syslog":       {in: "Jan  2 03:04:05 pc7 sshd[812]: x\nJan  2 03:04:05 pc7 sshd[812]: y\n", want: Syslog},
		"new syslog":       {in: "2026-01-02T03:04:05.123456+09:00 pc7 CRON[99]: x\n", want: Syslog},
		"RFC 5424":         {in: "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - x\n", want: Syslog},
		"counted":          {in: "40 <34>1 - h p - - - x", want: Syslog},
		"FortiGate":        {in: "date=2026-01-02 time=03:04:05 devname=x logid=1 type=y\n", want: Syslog},
		"mixed syslog":     {in: "Jan  2 03:04:05 pc7 java: x\n\tat a.b\n\tat c.d\nJan  2 03:04:05 pc7 java: y\n", want: Syslog},
		"auditd":           {in: "type=DAEMON_START msg=audit(1767323045.123:5): op=start\n", want: Auditd},
		"auditd of a node": {in: "node=a type=DAEMON_START msg=audit(1767323045.123:5): op=start\n", want: Auditd},
		"CEF":              {in: "Jan  2 03:04:05 h CEF:0|a|b|c|d|e|f|\n", want: CEF},
		"LEEF":             {in: "LEEF:1.0|a|b|c|d|x=y\n", want: CEF},
		"Zeek":             {in: "#separator \\x09\n#fields\ta\n", want: Zeek},
		"access":           {in: "192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200 2326\n", want: Access},
		"Apache's errors":  {in: "[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 1] x\n", want: Access},
		"nginx's errors":   {in: "2026/01/02 03:04:05 [error] 7#0: x\n", want: Access},
		"IIS":              {in: "#Software: Microsoft\n#Fields: date\n", want: Access},
		"journal":          {in: "__CURSOR=s\nMESSAGE\n\x01\x00\x00\x00\x00\x00\x00\x00x\n\n", want: Journal},

		"gzip":     {in: "\x1f\x8b\x08", looks: "a gzip file"},
		"capture":  {in: "\xd4\xc3\xb2\xa1", looks: "a network capture"},
		"tar":      {in: strings.Repeat("x", 257) + "ustar\x0000", looks: "a tar archive"},
		"binary":   {in: "a\x00b", looks: "a binary file"},
		"HTML":     {in: "<html><body>", looks: "XML without Windows events"},
		"a letter": {in: "Dear all,\nit is a fine day.\n", looks: "text in no format of logs that is known"},
		"CSV":      {in: "a,b,c\n1,2,3\n", looks: "text in no format of logs that is known"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Detect([]byte(c.in))
			var unknown *Unknown
			if errors.As(err, &unknown) {
				if unknown.Looks != c.looks {
					t.Errorf("looks like %q, want %q", unknown.Looks, c.looks)
				}
			} else if err != nil || got != c.want {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
	for _, in := range []string{"", "\n\n \n"} {
		if _, err := Detect([]byte(in)); !errors.Is(err, ErrEmpty) {
			t.Errorf("%q: got %v", in, err)
		}
	}
}

func TestReadReadsWhatItFinds(t *testing.T) {
	n := 0
	count := func(*event.Record) error { n++; return nil }
	f, report, err := Read(context.Background(), strings.NewReader("{\"a\":1}\n"), "", source.Options{}, count)
	if f != JSON || err != nil || n != 1 || report.Records != 1 || report.Bytes != 8 {
		t.Errorf("got %q, %+v, %v", f, report, err)
	}
	f, report, err = Read(context.Background(), strings.NewReader("{\"a\":1}\n"), Syslog, source.Options{}, count)
	if f != Syslog || err != nil || n != 2 || report.Records != 1 {
		t.Errorf("forced: got %q, %+v, %v", f, report, err)
	}
	if _, _, err = Read(context.Background(), strings.NewReader("x"), "nonsense", source.Options{}, count); err == nil {
		t.Error("a format that nobody knows was read")
	}
	stop := errors.New("enough")
	if _, _, err = Read(context.Background(), strings.NewReader("{\"a\":1}\n"), "", source.Options{}, func(*event.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	for _, f := range Formats() {
		if read, ok := Reader(f); !ok || read == nil {
			t.Errorf("%s has no reader", f)
		}
	}
}

// samples are one event of every format that Reader knows.
var samples = map[Format]string{
	JSON:    `{"@timestamp":"2026-01-02T03:04:05Z","Hostname":"h","Channel":"Security","EventID":4688,"NewProcessName":"C:\\x.exe","CommandLine":"a \"b\""}` + "\n",
	WinXML:  `<Event xmlns='x'><System><Provider Name='P'/><EventID>4688</EventID><Channel>Security</Channel><Computer>c</Computer></System><EventData><Data Name='NewProcessName'>a &amp; b</Data></EventData></Event>` + "\n",
	Syslog:  "<34>1 2026-01-02T03:04:05Z h sshd 7 - [a@1 b=\"\\\"c\"] Failed password for root from 192.0.2.7 port 4 ssh2\nJan  2 03:04:05 h CEF:0|a|b|c|d|e|f|g=h\\=i\n",
	Auditd:  "type=SYSCALL msg=audit(1767323045.123:NN): arch=c000003e syscall=59 success=yes exe=\"/bin/sh\"\ntype=EXECVE msg=audit(1767323045.123:NN): argc=1 a0=6162\n",
	CEF:     "CEF:0|a|b|c|1|d \\| e|10|act=blocked \\= b dvchost=h rt=Jan 02 2026 03:04:05\n",
	Zeek:    "#separator \\x09\n#path\tdns\n#fields\tts\tquery\tanswers\n#types\ttime\tstring\tset[string]\n1767323045.1\ta\\x2c\tb,c\n",
	Access:  "192.0.2.7 - a [10/Oct/2000:13:55:36 -0700] \"GET /x?y \\\" HTTP/1.0\" 200 2326 \"-\" \"curl\"\n",
	Journal: "__REALTIME_TIMESTAMP=1767323045000001\n_HOSTNAME=h\nSYSLOG_IDENTIFIER=sudo\nMESSAGE=a : TTY=b ; COMMAND=c\n\n",
}

// TestReadingAllocatesNothingPerEvent reads few events and many: the buffers
// grow the same, so what is more is per event.
func TestReadingAllocatesNothingPerEvent(t *testing.T) {
	for _, f := range Formats() {
		read, _ := Reader(f)
		measure := func(n int) float64 {
			var in strings.Builder
			for i := range n {
				sample := strings.ReplaceAll(samples[f], "NN", fmt.Sprint(i))
				if f == Zeek && i > 0 { // one header
					sample = sample[strings.Index(sample, "1767323045"):]
				}
				in.WriteString(sample)
			}
			return testing.AllocsPerRun(5, func() {
				report, err := read(context.Background(), strings.NewReader(in.String()), source.Options{}, func(*event.Record) error { return nil })
				if err != nil || report.BadTotal > 0 || report.Records < uint64(n) {
					t.Fatalf("%s: %+v, %v", f, report, err)
				}
			})
		}
		few, many := measure(2000), measure(6000)
		if (many-few)/4000 > 0.005 {
			t.Errorf("%s: %.0f allocations for 2000 events, %.0f for 6000", f, few, many)
		}
	}
}

func FuzzDetect(f *testing.F) {
	for _, s := range samples {
		f.Add([]byte(s))
	}
	f.Add([]byte("<"))
	f.Add([]byte("7 <"))
	f.Fuzz(func(t *testing.T, head []byte) {
		format, err := Detect(head)
		if (format == "") == (err == nil) {
			t.Errorf("%q, %v", format, err)
		}
	})
}
