package baseline

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

var start = time.Date(2026, 4, 6, 0, 0, 0, 0, time.UTC) // a Monday

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// tcp is a connection that ended, from inside.
func tcp(at time.Time, local, remote string, sent, received int64) Observation {
	return Observation{Kind: Connection, ID: fmt.Sprint(at.UnixNano()), At: at, First: at, Site: "s", Host: "h", Flow: fmt.Sprint("f", at.UnixNano()), Proto: "tcp",
		Local: ap(local), Remote: ap(remote), Opened: true, SYN: true, Sent: sent, Received: received, Packets: 10 + (sent+received)/1000, Done: true, Times: 1}
}

// busy is a Watch that remembers something of each kind.
func busy() *Watch {
	w := New(Config{})
	for i := range 40 {
		at := start.Add(time.Duration(i) * 3 * time.Second)
		w.Observe(tcp(at, "10.0.0.5:40000", "203.0.113.9:443", 900+int64(i), 3000))
		w.Observe(tcp(at, "10.0.0.5:40001", "10.0.0.7:22", 2500, 3000))
		knock := tcp(at, "10.0.0.5:40002", fmt.Sprintf("10.0.0.9:%d", 100+i), 74, 54)
		knock.Packets, knock.Refused = 2, true
		w.Observe(knock)
		w.Observe(Observation{Kind: Question, At: at, Site: "s", Host: "h", Local: ap("10.0.0.5:5000"), Remote: ap("10.0.0.1:53"), Opened: true, Query: fmt.Sprint(i, ".example.com"), Times: 1})
		living := tcp(at, "10.0.0.5:40004", "203.0.113.10:443", 900, 3000)
		living.Done = false
		w.Observe(living)
	}
	return w
}

func TestARestoredWatchGoesOn(t *testing.T) {
	w := busy()
	var state bytes.Buffer
	if err := w.Snapshot(&state); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of state for %+v", state.Len(), w.Stats())
	again := New(Config{})
	if err := again.Restore(bytes.NewReader(state.Bytes())); err != nil {
		t.Fatal(err)
	}
	var second bytes.Buffer
	if err := again.Snapshot(&second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(state.Bytes(), second.Bytes()) {
		t.Error("a state that was read and written is another one")
	}
	a, b := w.Stats(), again.Stats()
	if a.Hosts != b.Hosts || a.Things != b.Things || a.Things < 80 {
		t.Errorf("%+v became %+v", a, b)
	}
}

func TestWhatWasToldIsNotToldAgainAfterARestart(t *testing.T) {
	whole, halves := New(Config{}), New(Config{})
	var want, got []string
	for i := range 60 {
		o := tcp(start.Add(time.Duration(i)*time.Minute), "10.0.0.5:40000", "203.0.113.9:443", 900, 3000)
		for _, e := range whole.Observe(o) {
			want = append(want, e.ID)
		}
		for _, e := range halves.Observe(o) {
			got = append(got, e.ID)
		}
		if i%7 == 3 { // killed and started again
			var state bytes.Buffer
			if err := halves.Snapshot(&state); err != nil {
				t.Fatal(err)
			}
			halves = New(Config{})
			if err := halves.Restore(&state); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(want) != 1 || !reflect.DeepEqual(want, got) {
		t.Errorf("told %v in one life, %v in several", want, got)
	}
}

func TestADamagedStateIsRefused(t *testing.T) {
	var state bytes.Buffer
	if err := busy().Snapshot(&state); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < state.Len(); at += 97 {
		damaged := bytes.Clone(state.Bytes())
		damaged[at] ^= 4
		w := busy()
		if err := w.Restore(bytes.NewReader(damaged)); err == nil {
			t.Fatalf("a state with another bit at %d is read", at)
		}
		if s := w.Stats(); s.Hosts != 0 || s.Things != 0 {
			t.Fatalf("after a damaged state something is remembered: %+v", s)
		}
	}
}

// FuzzRestore reads any bytes with a valid sum as a state, and goes on from it.
func FuzzRestore(f *testing.F) {
	var state bytes.Buffer
	if err := busy().Snapshot(&state); err != nil {
		f.Fatal(err)
	}
	f.Add(state.Bytes()[len(magic) : state.Len()-4])
	f.Add([]byte{2, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		b := append([]byte(magic), body...)
		b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
		w := New(Config{MaxHosts: 64, MaxThings: 64})
		if w.Restore(bytes.NewReader(b)) != nil {
			return
		}
		for i := range 30 {
			at := start.Add(time.Duration(i) * time.Minute)
			w.Observe(tcp(at, "10.0.0.5:40000", "203.0.113.9:443", 900, 3000))
			w.Observe(Observation{Kind: Question, At: at, Site: "s", Host: "h", Local: ap("10.0.0.5:5000"), Remote: ap("10.0.0.1:53"), Opened: true, Query: fmt.Sprint(i, ".example.com"), Times: 1})
		}
		if err := w.Snapshot(&bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
	})
}
