package health

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/agent/collect"
	"github.com/sonae/sonae/source/agentlink/wire"
)

var noon = time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)

func monitor(t *testing.T, cfg Config) *Monitor {
	t.Helper()
	return New(cfg, Deps{Hub: func() (time.Duration, bool) { return 0, false }, Now: func() time.Time { return noon }, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
}

func TestForecastIsSaidOnlyWhenItMeansSomething(t *testing.T) {
	const size = 1000.0
	for name, c := range map[string]struct {
		n     int
		used  func(i int) float64
		hours float64 // 0: nothing is said
	}{
		"too few samples":                  {11, func(i int) float64 { return float64(i) }, 0},
		"one unit every five minutes":      {60, func(i int) float64 { return 100 + float64(i) }, (size - 159) / 12},
		"a file that comes and goes":       {60, func(i int) float64 { return 100 + float64(i) + map[bool]float64{i == 20 || i == 21: 400}[true] }, (size - 159) / 12},
		"nothing grows":                    {60, func(int) float64 { return 900 }, 0},
		"it empties":                       {60, func(i int) float64 { return 900 - float64(i) }, 0},
		"up and down":                      {60, func(i int) float64 { return 500 + float64(i%12)*20 }, 0},
		"so slow that years would go by":   {60, func(i int) float64 { return 1 + float64(i)*0.001 }, 0},
		"it is full and goes on being so":  {60, func(i int) float64 { return 941 + float64(i) }, 1e-9},
		"more samples than are remembered": {400, func(i int) float64 { return float64(i) }, (size - 399) / 12},
	} {
		t.Run(name, func(t *testing.T) {
			var s series
			for i := range c.n {
				s.add(noon.Add(time.Duration(i)*forecastEvery), c.used(i))
				s.add(noon.Add(time.Duration(i)*forecastEvery+time.Second), 0) // too soon, not counted
			}
			hours, ok := s.full(size)
			if ok != (c.hours > 0) || ok && (hours < c.hours*0.97-1e-6 || hours > c.hours*1.03+1e-6) {
				t.Errorf("full in %.2f h (%v), want %.2f", hours, ok, c.hours)
			}
		})
	}
	t.Run("a clock that is set back", func(t *testing.T) {
		var s series
		for i := range 30 {
			s.add(noon.Add(time.Duration(i)*forecastEvery), float64(i))
		}
		s.add(noon.Add(-time.Hour), 1)
		if _, ok := s.full(size); ok {
			t.Error("a forecast from before the clock was set")
		}
	})
}

func TestClocksAreJudgedTogether(t *testing.T) {
	s := func(source string, ahead float64) reading {
		return reading{source, time.Duration(ahead * float64(time.Second)), 10 * time.Millisecond}
	}
	for name, c := range map[string]struct {
		all  []reading
		want string
		near float64
	}{
		"one alone proves nothing":    {[]reading{s("hub", 30)}, "", 0},
		"two agree":                   {[]reading{s("hub", 2.1), s("ntp", 2.0)}, ClockOffset, 2.05},
		"two behind":                  {[]reading{s("hub", -5), s("ntp", -5)}, ClockOffset, 5},
		"two disagree":                {[]reading{s("hub", 3), s("ntp", 0)}, ClockSpread, 3},
		"two of three":                {[]reading{s("hub", 300), s("a", 0.01), s("b", 0.02)}, ClockOffset, 0.015},
		"three disagree":              {[]reading{s("hub", 10), s("a", 5), s("b", 0)}, ClockSpread, 10},
		"a vague one does not matter": {[]reading{{"kernel", 0, 900 * time.Millisecond}, s("a", 0.8)}, ClockOffset, 0.8},
	} {
		t.Run(name, func(t *testing.T) {
			got := judge(c.all)
			if c.want == "" {
				if len(got) > 0 {
					t.Errorf("got %v", got)
				}
				return
			}
			if len(got) != 1 || got[0].Name != c.want || got[0].Value < c.near-0.1 || got[0].Value > c.near+0.1 {
				t.Errorf("got %v, want %s about %v", got, c.want, c.near)
			}
		})
	}
}

// timeServer answers like an NTP server whose clock is ahead.
func timeServer(t *testing.T, ahead time.Duration, spoil func([]byte)) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if n < 48 {
				continue
			}
			answer := make([]byte, 48)
			answer[0], answer[1] = 4<<3|4, 2
			copy(answer[24:32], b[40:48])
			for _, at := range []int{32, 40} {
				now := time.Now().Add(ahead)
				binary.BigEndian.PutUint32(answer[at:], uint32(now.Unix()+ntpEpoch))
				binary.BigEndian.PutUint32(answer[at+4:], uint32(int64(now.Nanosecond())<<32/int64(time.Second)))
			}
			spoil(answer)
			_, _ = c.WriteTo(answer, from)
		}
	}()
	return c.LocalAddr().String()
}

func TestAskingATimeServer(t *testing.T) {
	r, err := askNTP(t.Context(), timeServer(t, 90*time.Second, func([]byte) {}), time.Now)
	if off := r.ahead - 90*time.Second; err != nil || off.Abs() > r.within+time.Millisecond {
		t.Errorf("got %v give or take %v, %v", r.ahead, r.within, err)
	}
	for name, spoil := range map[string]func([]byte){
		"somebody else's answer":      func(b []byte) { b[24]++ },
		"a server that is not synced": func(b []byte) { b[0] |= 3 << 6 },
		"kiss of death":               func(b []byte) { b[1] = 0 },
		"a client":                    func(b []byte) { b[0] = 4<<3 | 3 },
	} {
		if r, err := askNTP(t.Context(), timeServer(t, 0, spoil), time.Now); err == nil {
			t.Errorf("%s was believed: %v", name, r)
		}
	}
}

func FuzzReadNTP(f *testing.F) {
	f.Add(make([]byte, 48), []byte("12345678"))
	f.Fuzz(func(t *testing.T, b, cookie []byte) {
		if r, err := readNTP(b, cookie, noon, noon.Add(time.Millisecond)); err == nil && (r.ahead.Abs() > maxAhead || r.within < 0) {
			t.Errorf("believed %v", r)
		}
	})
}

// certificate makes one that is its own authority.
func certificate(t *testing.T, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: noon.Add(-time.Hour), NotAfter: until, DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, x, x, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestCertificatesOfFilesAndServers(t *testing.T) {
	soon, late := certificate(t, noon.Add(10*24*time.Hour)), certificate(t, noon.Add(300*24*time.Hour))
	path := filepath.Join(t.TempDir(), "chain.pem")
	var text []byte
	for _, c := range []tls.Certificate{late, soon} { // of a chain the first to expire counts
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})...)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{late}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			_ = c.Close()
		}
	}()
	m := monitor(t, Config{Certificates: []CertificateConfig{{Name: "mail", File: path}, {Server: l.Addr().String()}, {File: filepath.Join(t.TempDir(), "none")}}})
	got := m.measureCertificates(t.Context())
	want := []wire.Measure{{Name: Certificate, Object: "mail", Value: 10, Detail: "2026-12-08"}, {Name: Certificate, Object: l.Addr().String(), Value: 300, Detail: "2027-09-24"}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestServicesByPortAndProcess(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m := monitor(t, Config{Services: []ServiceConfig{{Name: "db", TCP: l.Addr().String()}, {Process: filepath.Base(own)}, {Process: "no-such-program"}}})
	got := m.measureServices(t.Context())
	if len(got) != 3 || got[0].Value != 0 || got[1].Value != 0 || got[2].Value != 1 {
		t.Fatalf("got %v", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := m.measureServices(t.Context()); got[0].Value != 1 || got[0].Detail == "" {
		t.Errorf("a closed port is %v", got[0])
	}
}

func TestBackupsByMarkerAndCommand(t *testing.T) {
	dir := t.TempDir()
	marker := filepath.Join(dir, "done")
	m := monitor(t, Config{Backups: []BackupConfig{{Name: "night", Marker: marker}, {Name: "copy", Command: []string{"test", "-e", marker}}}})
	if got := m.measureBackups(t.Context()); len(got) != 2 || got[0].Value != 1 || got[1].Value != 1 {
		t.Fatalf("without a marker: %v", got)
	}
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(marker, noon, noon.Add(-30*time.Hour)); err != nil {
		t.Fatal(err)
	}
	got := m.measureBackups(t.Context())
	if len(got) != 4 || got[0].Value != 0 || got[1].Value != 30 || got[2].Value != 0 || got[3].Value != 0 {
		t.Errorf("with a marker: %v", got)
	}
}

func TestVolumesOfThisMachine(t *testing.T) {
	m := monitor(t, Config{})
	found := m.measureVolumes(t.Context())
	for _, x := range found {
		if (x.Name == Disk || x.Name == Inodes) && (x.Value < 0 || x.Value > 1) || x.Name == Fills {
			t.Errorf("%v", x)
		}
	}
	if len(found) == 0 {
		t.Error("no volume")
	}
}

func TestOneThatHangsHoldsNothingUp(t *testing.T) {
	m := monitor(t, Config{Backups: []BackupConfig{{Name: "hangs", Command: []string{"sleep", "60"}}}})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.Run(ctx, collect.NewQueue(8)) }()
	for deadline := time.Now().Add(20 * time.Second); len(m.Measures()) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was measured beside a command that hangs")
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	err := Config{Services: []ServiceConfig{{Name: "a"}, {TCP: "x:1", Unit: "b"}}, Certificates: []CertificateConfig{{}}, Backups: []BackupConfig{{}}}.Check()
	if err == nil || strings.Count(err.Error(), "exactly one") != 4 {
		t.Errorf("got %v", err)
	}
}
