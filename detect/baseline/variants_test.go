package baseline_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/detect/baseline"
	"github.com/sonae/sonae/event"
	"github.com/sonae/sonae/flow"
)

var monday = time.Date(2026, 4, 6, 0, 0, 0, 0, time.UTC)

// site is a Watch with a random source of its own, so that each run is the same.
type site struct {
	*baseline.Watch
	*rand.Rand
	n     int
	found []event.Event
}

func newSite(seed uint64, c baseline.Config) *site {
	return &site{Watch: baseline.New(c), Rand: rand.New(rand.NewPCG(seed, 1))}
}

func (s *site) see(o baseline.Observation) {
	s.n++
	o.ID, o.Site, o.Times = fmt.Sprint(s.n), "hospital", max(o.Times, 1)
	if o.Flow == "" {
		o.Flow = fmt.Sprint("f", s.n)
	}
	s.found = append(s.found, s.Observe(o)...)
}

// connect is a connection with data that ended.
func (s *site) connect(at time.Time, from, to string, sent, received int64, change ...func(*baseline.Observation)) {
	remote := netip.MustParseAddrPort(to)
	o := baseline.Observation{Kind: baseline.Connection, At: at.Add(time.Second), First: at, Host: from, Proto: "tcp", Opened: true, SYN: true, Done: true,
		Local: netip.AddrPortFrom(netip.MustParseAddr(from), uint16(40000+s.IntN(20000))), Remote: remote, Sent: sent, Received: received,
		Packets: 8 + (sent+received)/1000, App: flow.LabelTLS}
	for _, c := range change {
		c(&o)
	}
	s.see(o)
}

func named(name string) func(*baseline.Observation) {
	return func(o *baseline.Observation) { o.Name = name }
}

func udp(o *baseline.Observation) { o.Proto, o.App, o.SYN, o.Packets = "udp", "", false, 2 }

// names lists the behaviours that were found, each once.
func (s *site) names() string {
	var out []string
	for _, e := range s.found {
		if len(out) == 0 || out[len(out)-1] != e.Service {
			out = append(out, e.Service)
		}
	}
	return strings.Join(out, " ")
}

func (s *site) want(t *testing.T, want string) {
	t.Helper()
	if got := s.names(); got != want {
		t.Errorf("found %q, want %q", got, want)
		for _, e := range s.found {
			t.Log(e.Service, e.Fields[baseline.FieldReason])
		}
	}
}

// beats calls a place n times; jitter is the part by which a gap may be shorter
// or longer.
func (s *site) beats(from, to string, n int, gap time.Duration, jitter float64, change ...func(*baseline.Observation)) {
	at := monday.Add(9 * time.Hour)
	for range n {
		s.connect(at, from, to, 600+s.Int64N(80), 2000+s.Int64N(300), change...)
		at = at.Add(time.Duration(float64(gap) * (1 + jitter*(2*s.Float64()-1))))
	}
}

func TestBeaconsAtAnySpeedAreFound(t *testing.T) {
	for _, gap := range []time.Duration{time.Second, 7 * time.Second, time.Minute, 10 * time.Minute, time.Hour} {
		for _, jitter := range []float64{0, 0.1, 0.2, 0.35} {
			for seed := range uint64(20) {
				s := newSite(seed, baseline.Config{})
				s.beats("10.0.0.5", "203.0.113.9:443", 60, gap, jitter)
				if s.names() != baseline.Beacon {
					t.Errorf("every %v with a jitter of %v, seed %d: found %q", gap, jitter, seed, s.names())
				}
			}
		}
	}
}

func TestBeaconsThroughHTTPAndQUICAreFound(t *testing.T) {
	s := newSite(1, baseline.Config{})
	s.beats("10.0.0.5", "203.0.113.9:8080", 60, time.Minute, 0.1, func(o *baseline.Observation) { o.App = flow.LabelHTTP })
	s.want(t, baseline.Beacon)
	s = newSite(1, baseline.Config{})
	s.beats("10.0.0.5", "203.0.113.9:443", 60, time.Minute, 0.1, udp)
	s.want(t, baseline.Beacon)
}

// TestOrdinaryRhythmIsSilent is what runs in a hospital day and night.
func TestOrdinaryRhythmIsSilent(t *testing.T) {
	day := 24 * time.Hour
	for name, run := range map[string]func(*site){
		"NTP every 64 s": func(s *site) {
			s.beats("10.0.0.5", "203.0.113.123:123", int(day/(64*time.Second)), 64*time.Second, 0, udp)
		},
		"mail every 5 minutes": func(s *site) {
			s.beats("10.0.0.5", "203.0.113.25:993", 288, 5*time.Minute, 0.01, named("imap.example.jp"))
		},
		"an HL7 heartbeat to a server": func(s *site) {
			s.beats("10.0.0.5", "10.0.9.1:2575", 2880, 30*time.Second, 0, func(o *baseline.Observation) { o.App = "" })
		},
		"monitoring of a server inside": func(s *site) { s.beats("10.0.0.5", "192.168.9.1:10051", 1440, time.Minute, 0) },
		"Windows telemetry": func(s *site) {
			s.beats("10.0.0.5", "203.0.113.40:443", 200, 15*time.Minute, 0.05, named("v10.events.data.microsoft.com"))
		},
		"protection software": func(s *site) {
			s.beats("10.0.0.5", "203.0.113.41:443", 1000, time.Minute, 0.02, named("au.trendmicro.com"))
		},
		"checks for updates, twice a day for a week": func(s *site) {
			s.beats("10.0.0.5", "203.0.113.42:443", 14, 12*time.Hour, 0.1, named("updates.example.jp"))
		},
		"a page with many parts": func(s *site) {
			for i := range 40 {
				s.connect(monday.Add(time.Duration(i)*30*time.Millisecond), "10.0.0.5", "203.0.113.43:443", 900+s.Int64N(900), 20000+s.Int64N(90000))
			}
		},
		"a program that tries again ten times a second apart": func(s *site) { s.beats("10.0.0.5", "203.0.113.44:443", 10, time.Second, 0) },
		"a person who reads": func(s *site) {
			at := monday
			for range 400 {
				s.connect(at, "10.0.0.5", "203.0.113.45:443", 600+s.Int64N(9000), 3000+s.Int64N(300000))
				at = at.Add(time.Duration(s.ExpFloat64() * float64(90*time.Second)))
			}
		},
		"a proxy that nobody answers": func(s *site) {
			s.beats("10.0.0.5", "203.0.113.46:8080", 500, 10*time.Second, 0, func(o *baseline.Observation) { o.Sent, o.Received, o.Packets = 74, 0, 1 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(1, baseline.Config{})
			run(s)
			s.want(t, "")
		})
	}
}

func TestWhatWasThereAWeekAgoIsNoBeacon(t *testing.T) {
	s := newSite(1, baseline.Config{})
	for hour := range 10 * 24 { // its own server outside, each hour
		at := monday.Add(time.Duration(hour) * time.Hour)
		s.connect(at, "10.0.0.5", "203.0.113.9:443", 900, 2000)
		s.connect(at.Add(time.Minute), "10.0.0.5", "203.0.113.10:443", 900, 20000)
	}
	for _, e := range s.found {
		if e.Time.After(monday.Add(7*24*time.Hour)) && e.Service == baseline.Beacon {
			t.Errorf("told as a beacon after more than a week: %s", e.Fields[baseline.FieldReason])
		}
	}
}

func TestExfiltrationOfAnySizeIsFound(t *testing.T) {
	for _, size := range []int64{20 << 20, 30 << 20, 200 << 20, 3 << 30} {
		for app, port := range map[string]string{flow.LabelTLS: "443", flow.LabelSSH: "22", "": "8443"} {
			s := newSite(1, baseline.Config{})
			s.connect(monday, "10.0.0.5", "198.51.100.23:"+port, size, size/300, func(o *baseline.Observation) { o.App = app })
			s.want(t, baseline.Exfiltration)
			s = newSite(1, baseline.Config{}) // in parts
			for i := range 50 {
				s.connect(monday.Add(time.Duration(i)*time.Minute*7), "10.0.0.5", "198.51.100.23:"+port, size/50, size/15000, func(o *baseline.Observation) { o.App = app })
			}
			if !strings.Contains(s.names(), baseline.Exfiltration) {
				t.Errorf("%d bytes in 50 parts by %s: found %q", size, port, s.names())
			}
		}
	}
}

func TestALongUploadIsFoundBeforeItEnds(t *testing.T) {
	s := newSite(1, baseline.Config{})
	for i := range 10 {
		s.connect(monday, "10.0.0.5", "198.51.100.23:443", int64(i)*10<<20, 10000, func(o *baseline.Observation) {
			o.Flow, o.Done, o.At = "one", false, monday.Add(time.Duration(i)*time.Minute)
		})
	}
	s.want(t, baseline.Exfiltration)
	if got := s.found[0].Fields[event.FieldSent]; got != fmt.Sprint(20<<20) {
		t.Errorf("told at %s bytes", got)
	}
}

// TestTheHostsOwnWeekIsTheMeasure learns a server that makes a backup outside
// every night, and a desk that sends little.
func TestTheHostsOwnWeekIsTheMeasure(t *testing.T) {
	s := newSite(1, baseline.Config{})
	for day := range 15 {
		night := monday.Add(time.Duration(day)*24*time.Hour + 2*time.Hour)
		s.connect(night, "10.0.0.9", "203.0.113.80:443", 900<<20+s.Int64N(50<<20), 3<<20, named("backup.example.jp"))
		for hour := range 10 {
			at := monday.Add(time.Duration(day)*24*time.Hour + time.Duration(8+hour)*time.Hour)
			s.connect(at, "10.0.0.5", "203.0.113.81:443", 2<<20+s.Int64N(1<<20), 40<<20, named("www.example.jp"))
			s.connect(at, "10.0.0.9", "203.0.113.82:443", 20000, 90000, named("licence.example.jp"))
		}
	}
	learned := monday.Add(8 * 24 * time.Hour)
	for _, e := range s.found {
		if e.Time.After(learned) {
			t.Errorf("the usual is told: %s %s", e.Service, e.Fields[baseline.FieldReason])
		}
	}
	s.found = nil
	s.connect(monday.Add(15*24*time.Hour+10*time.Hour), "10.0.0.5", "198.51.100.66:443", 31<<20, 100<<10)
	s.want(t, baseline.Exfiltration+" "+baseline.NewDestination)
	e := s.found[0]
	for name, want := range map[string]string{baseline.FieldLearned: "true", baseline.FieldNew: "true", baseline.FieldHour: "Tue 10"} {
		if e.Fields[name] != want {
			t.Errorf("%s is %q, want %q", name, e.Fields[name], want)
		}
	}
	if reason := e.Fields[baseline.FieldReason]; !strings.Contains(reason, "usually sends at most 2.") || !strings.Contains(reason, "never talked to 198.51.100.66") {
		t.Errorf("the reason is %q", reason)
	}
	t.Log(e.Fields[baseline.FieldReason], e.Fields[baseline.FieldReasonJa])
}

func (s *site) ask(at time.Time, name string) {
	s.see(baseline.Observation{Kind: baseline.Question, At: at, Host: "10.0.0.5", Proto: "udp", Opened: true, Query: name,
		Local: netip.MustParseAddrPort("10.0.0.5:40000"), Remote: netip.MustParseAddrPort("10.0.0.1:53")})
}

const base32 = "abcdefghijklmnopqrstuvwxyz234567"

func (s *site) random(n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte(base32[s.IntN(len(base32))])
	}
	return b.String()
}

func TestTunnelsOfAnyNameLengthAreFound(t *testing.T) {
	for _, domain := range []string{"t.example.net", "evil.co.jp", "example.xn--p1ai"} {
		for _, letters := range []int{30, 48, 100, 200} {
			for _, gap := range []time.Duration{20 * time.Millisecond, time.Second, 5 * time.Second} {
				s := newSite(1, baseline.Config{})
				for i := range 100 {
					name := s.random(letters)
					for at := 57; at < len(name); at += 58 {
						name = name[:at] + "." + name[at:]
					}
					s.ask(monday.Add(time.Duration(i)*gap), name+"."+domain)
				}
				if s.names() != baseline.Tunnel {
					t.Errorf("%d letters below %s, every %v: found %q", letters, domain, gap, s.names())
				}
			}
		}
	}
}

func TestOrdinaryNamesAreSilent(t *testing.T) {
	s := newSite(1, baseline.Config{})
	at := monday
	for i := range 3000 {
		at = at.Add(time.Duration(s.IntN(2000)) * time.Millisecond)
		switch i % 6 {
		case 0:
			s.ask(at, fmt.Sprintf("www%d.example%d.co.jp", s.IntN(9), s.IntN(200)))
		case 1:
			s.ask(at, fmt.Sprintf("%d.%d.168.192.in-addr.arpa", s.IntN(256), s.IntN(256)))
		case 2: // a delivery network with a hash in each name, asked for again and again
			s.ask(at, fmt.Sprintf("d%010x%032x.cdn.example.com", i%9, i%9))
		case 3:
			s.ask(at, s.random(40)+".avqs.mcafee.com")
		case 4: // many customers of one provider
			s.ask(at, fmt.Sprintf("customer-%d.example.net", s.IntN(3000)))
		case 5:
			s.ask(at, "_ldap._tcp.dc._msdcs.hospital.local")
		}
	}
	s.want(t, "")
}

// knock is a SYN that is refused, or not answered.
func (s *site) knock(at time.Time, from, to string, refused bool) {
	s.connect(at, from, to, 74, 0, func(o *baseline.Observation) {
		o.App, o.Packets = "", 1
		if refused {
			o.Received, o.Packets, o.Refused = 54, 2, true
		}
	})
}

func TestScansAreFound(t *testing.T) {
	for name, refused := range map[string]bool{"refused": true, "not answered": false} {
		t.Run("many ports, "+name, func(t *testing.T) {
			s := newSite(1, baseline.Config{})
			for i := range 100 {
				s.knock(monday.Add(time.Duration(i)*20*time.Second), "10.0.0.5", fmt.Sprintf("10.0.0.7:%d", 1+i*7), refused)
			}
			s.want(t, baseline.ScanVertical)
		})
		t.Run("many machines, "+name, func(t *testing.T) {
			s := newSite(1, baseline.Config{})
			for i := range 64 {
				s.knock(monday.Add(time.Duration(i)*time.Second), "10.0.0.5", fmt.Sprintf("10.0.7.%d:445", 1+i), refused)
			}
			s.want(t, baseline.ScanHorizontal)
		})
	}
}

func TestWhatOnlyLooksLikeAScanIsSilent(t *testing.T) {
	s := newSite(1, baseline.Config{})
	for i := range 15 { // computers that are switched off, asked by a server
		s.knock(monday.Add(time.Duration(i)*time.Second), "10.0.0.5", fmt.Sprintf("10.0.7.%d:135", 1+i), false)
	}
	for i := range 60 { // the line to the Internet is down
		s.knock(monday.Add(time.Duration(i)*2*time.Second), "10.0.0.6", fmt.Sprintf("203.0.113.%d:443", 1+i), false)
	}
	for i := range 300 { // answers to a question that was put to all
		s.connect(monday.Add(time.Duration(i)*time.Second), "10.0.0.8", fmt.Sprintf("10.0.0.9:%d", 40000+i), 300, 0, udp, func(o *baseline.Observation) {
			o.Local = netip.MustParseAddrPort("10.0.0.8:1900")
		})
	}
	for i := range 200 { // a server that is down, asked again and again
		s.knock(monday.Add(time.Duration(i)*time.Second), "10.0.0.5", "10.0.0.9:443", true)
	}
	s.want(t, "")
}

// week makes a host known: it works for some days.
func (s *site) week(host string) time.Time {
	for hour := range 9 * 24 {
		at := monday.Add(time.Duration(hour) * time.Hour)
		s.connect(at, host, "203.0.113.80:443", 20000, 90000, named("maker.example.jp"))
		s.connect(at, host, "10.0.0.20:445", 20000, 90000, func(o *baseline.Observation) { o.App = "" })
		s.connect(at, host, "10.0.0.21:51000", 20000, 90000, func(o *baseline.Observation) {
			o.Opened, o.App = false, ""
			o.Local = netip.AddrPortFrom(o.Local.Addr(), 104)
		})
	}
	s.found = nil
	return monday.Add(9 * 24 * time.Hour)
}

func TestWhatIsNewIsTold(t *testing.T) {
	s := newSite(1, baseline.Config{})
	at := s.week("10.0.0.5")
	s.connect(at, "10.0.0.5", "10.0.0.20:445", 20000, 90000)
	s.want(t, "")
	s.connect(at, "10.0.0.5", "10.0.0.30:3389", 20000, 90000)
	s.want(t, baseline.Lateral)
	s.connect(at, "10.0.0.5", "10.0.0.21:51000", 20000, 90000, func(o *baseline.Observation) {
		o.Opened, o.App = false, ""
		o.Local = netip.AddrPortFrom(o.Local.Addr(), 4444)
	})
	s.want(t, baseline.Lateral+" "+baseline.NewService)
	s.connect(at, "10.0.0.5", "198.51.100.7:443", 20000, 90000, named("c2.example.org"))
	s.want(t, baseline.Lateral+" "+baseline.NewService+" "+baseline.NewDestination)
	n := len(s.found)
	s.connect(at.Add(48*time.Hour), "10.0.0.5", "198.51.100.7:443", 20000, 90000, named("c2.example.org"))
	s.connect(at.Add(48*time.Hour), "10.0.0.5", "10.0.0.30:3389", 20000, 90000)
	if len(s.found) != n {
		t.Errorf("what was told is new again: %v", s.found[n:])
	}
}

func TestNothingIsNewOfAHostThatIsNotKnown(t *testing.T) {
	s := newSite(1, baseline.Config{})
	for i := range 30 {
		at := monday.Add(time.Duration(i) * time.Minute)
		s.connect(at, "10.0.0.5", fmt.Sprintf("10.0.0.%d:3389", 10+i), 20000, 90000)
		s.connect(at, "10.0.0.5", fmt.Sprintf("203.0.113.%d:443", 10+i), 20000, 90000)
	}
	s.want(t, "")
}

func TestPractiseTeachesNothing(t *testing.T) {
	s := newSite(1, baseline.Config{})
	s.connect(monday, "10.0.0.5", "198.51.100.23:443", 90<<20, 1000, func(o *baseline.Observation) { o.Drill = true })
	s.want(t, "")
	if st := s.Stats(); st.Hosts != 0 {
		t.Errorf("%+v", st)
	}
}

func TestAForbiddenBorderIsTold(t *testing.T) {
	p, err := baseline.ParsePolicy([]byte(`segments:
  - name: wards
    networks: [10.0.0.0/24]
  - name: devices
    networks: [10.0.2.0/24, 'fd00:2::/64']
forbid:
  - {from: wards, to: devices}
allow:
  - {from: wards, to: devices, ports: [tcp/104]}
`))
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(1, baseline.Config{Policy: p})
	s.connect(monday, "10.0.0.5", "10.0.2.9:104", 2000, 2000)
	s.connect(monday, "10.0.2.9", "10.0.0.5:445", 2000, 2000)
	s.connect(monday, "10.0.0.5", "10.0.0.6:445", 2000, 2000)
	s.want(t, "")
	s.connect(monday, "10.0.0.5", "10.0.2.9:23", 2000, 2000)
	s.want(t, baseline.Border)
}

func TestAPolicyThatIsWrongIsRefused(t *testing.T) {
	for _, text := range []string{"segments: [{name: a, networks: [10.0.0.0/33]}]", "forbid: [{from: a, to: b}]", "sgments: []", "segments: [{networks: []}]",
		"segments: [{name: a, networks: [10.0.0.0/8]}]\nforbid: [{from: a, to: '*', ports: [445]}]"} {
		if _, err := baseline.ParsePolicy([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestMemoryIsBoundedAndSaysSo(t *testing.T) {
	s := newSite(1, baseline.Config{MaxHosts: 50, MaxThings: 100})
	for i := range 4000 {
		host := fmt.Sprintf("10.1.%d.%d", i/200%20, i%200)
		s.connect(monday.Add(time.Duration(i)*time.Second), host, fmt.Sprintf("203.0.%d.%d:443", i/250, i%250), 2000, 2000)
		s.connect(monday.Add(time.Duration(i)*time.Second), "10.0.0.5", fmt.Sprintf("203.0.%d.%d:443", i/250, i%250), 2000, 2000)
		s.ask(monday.Add(time.Duration(i)*time.Second), fmt.Sprintf("a.example%d.com", i))
	}
	st := s.Stats()
	if st.Hosts > 50 || st.Things > 900 || st.LostHosts == 0 || st.LostThings == 0 || st.LostKnown == 0 {
		t.Errorf("%+v", st)
	}
}

// logOn is what the log of host says of somebody from elsewhere.
func (s *site) logOn(at time.Time, host, from, action string) {
	e := event.Event{ID: fmt.Sprint(at), Time: at, Site: "hospital", Host: host, Kind: event.KindLogin, Product: "linux", Category: "authentication", Service: "sshd",
		Fields: map[string]string{"Action": action, event.FieldSrcIP: from}}
	o, ok := baseline.Of(&e)
	if !ok {
		panic("a log-on is of no use")
	}
	s.see(o)
}

// session is a short SSH session with a host that has an agent.
func (s *site) session(at time.Time, host, from string, back int64) {
	s.connect(at, host, from+":50000", back, 4000, func(o *baseline.Observation) {
		o.Opened, o.App = false, flow.LabelSSH
		o.Local = netip.MustParseAddrPort("10.0.0.9:22")
	})
}

func TestTheLogOfTheTargetDecides(t *testing.T) {
	s := newSite(1, baseline.Config{})
	for i := range 9 { // fewer than by size alone, and of other sizes
		at := monday.Add(time.Duration(i) * 20 * time.Second)
		s.logOn(at, "10.0.0.9", "10.0.0.66", "failure")
		s.session(at, "10.0.0.9", "10.0.0.66", int64(3000+i*900))
	}
	s.want(t, baseline.BruteForce)
	if got := s.found[0].Fields["FailuresLogged"]; got != "8" {
		t.Errorf("%s failures are told", got)
	}
	s = newSite(1, baseline.Config{})
	for i := range 60 { // a program at work
		at := monday.Add(time.Duration(i) * 5 * time.Second)
		s.logOn(at, "10.0.0.9", "10.0.0.66", "login")
		s.session(at, "10.0.0.9", "10.0.0.66", 3800)
	}
	s.want(t, "")
	s = newSite(1, baseline.Config{})
	for i := range 16 { // without a log
		s.session(monday.Add(time.Duration(i)*5*time.Second), "10.0.0.9", "10.0.0.66", 3800+s.Int64N(200))
	}
	s.want(t, baseline.BruteForce)
}

func TestSessionsThatDoWorkAreNoGuesses(t *testing.T) {
	s := newSite(1, baseline.Config{})
	for i := range 200 {
		at := monday.Add(time.Duration(i) * 3 * time.Second)
		s.session(at, "10.0.0.9", "10.0.0.66", 5050+s.Int64N(100))
		s.connect(at, "10.0.0.5", "10.0.0.9:3306", 900, 1500, func(o *baseline.Observation) { o.App = "" })
		s.connect(at, "10.0.0.5", "10.0.0.9:21", 900, 1500, func(o *baseline.Observation) { o.App = "" })
		s.connect(at, "10.0.0.5", "10.0.0.9:445", 9000, 30000, func(o *baseline.Observation) { o.App = "" })
	}
	s.want(t, "")
}
