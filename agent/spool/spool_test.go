package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func open(t testing.TB, cfg Config) *Spool {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(t testing.TB, s *Spool, data string) {
	t.Helper()
	if err := s.Append(1, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

// drain takes all that waits.
func drain(s *Spool) []string {
	var out []string
	for {
		r, ok := s.Peek()
		if !ok {
			return out
		}
		out = append(out, string(r.Data))
		s.Ack(r.Seq)
	}
}

func TestFirstInFirstOutAcrossSegmentsAndRestarts(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), SegmentBytes: 64}
	s := open(t, cfg)
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprintf("batch %d", i))
		put(t, s, want[i])
	}
	for i := range 7 {
		r, ok := s.Peek()
		if !ok || string(r.Data) != want[i] || r.Events != 1 {
			t.Fatalf("got %q, %v; want %q", r.Data, ok, want[i])
		}
		s.Ack(r.Seq)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, cfg)
	put(t, s, "after")
	if got, want := strings.Join(drain(s), ","), strings.Join(append(want[7:], "after"), ","); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if left, _ := filepath.Glob(filepath.Join(cfg.Dir, "*.seg")); len(left) != 0 || s.Bytes() != 0 {
		t.Errorf("acknowledged segments stay: %v, %d bytes", left, s.Bytes())
	}
	s = open(t, cfg) // an emptied spool goes on counting
	put(t, s, "last")
	if r, _ := s.Peek(); r.Seq != 22 {
		t.Errorf("got number %d, want 22", r.Seq)
	}
}

func TestFullSpoolDropsTheOldestAndCounts(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), MaxBytes: 4000, SegmentBytes: 500}
	s := open(t, cfg)
	data := make([]byte, 80) // 100 bytes a record
	for i := range 100 {
		binary.BigEndian.PutUint32(data, uint32(i))
		if err := s.Append(3, data); err != nil {
			t.Fatal(err)
		}
		if s.Bytes() > cfg.MaxBytes {
			t.Fatalf("%d bytes, more than %d", s.Bytes(), cfg.MaxBytes)
		}
	}
	s = open(t, cfg) // the count survives
	got := drain(s)
	if n := uint64(len(got)); n*3+s.Dropped() != 300 || n < 35 {
		t.Fatalf("%d batches left and %d events dropped of 300", n, s.Dropped())
	}
	for i, g := range got {
		if want := uint32(100 - len(got) + i); binary.BigEndian.Uint32([]byte(g)) != want {
			t.Fatalf("batch %d is not %d", i, want)
		}
	}
	if err := s.Append(5, make([]byte, 5000)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a batch larger than the spool: got %v", err)
	}
}

func TestAckOfWhatWasDroppedInTheMeantime(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), MaxBytes: 400, SegmentBytes: 100})
	put(t, s, strings.Repeat("a", 80))
	first, _ := s.Peek()
	for range 10 {
		put(t, s, strings.Repeat("b", 80))
	}
	s.Ack(first.Seq) // was on the way to the hub while it was dropped
	if r, ok := s.Peek(); !ok || r.Data[0] != 'b' || r.Seq < 8 {
		t.Fatalf("got %+v, %v", r, ok)
	}
}

func TestRefusedBatchIsCounted(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	if err := s.Append(7, []byte("x")); err != nil {
		t.Fatal(err)
	}
	r, _ := s.Peek()
	s.Refuse(r)
	s.Refuse(r)
	if _, ok := s.Peek(); ok || s.Dropped() != 7 {
		t.Fatalf("waiting: %v, dropped: %d", ok, s.Dropped())
	}
}

func TestDamageIsRepaired(t *testing.T) {
	for name, damage := range map[string]func(b []byte) []byte{
		"cut inside a header": func(b []byte) []byte { return b[:len(b)-25] },
		"cut inside the data": func(b []byte) []byte { return b[:len(b)-1] },
		"zeros at the end":    func(b []byte) []byte { return append(b[:len(b)-10], make([]byte, 300)...) },
		"one bit in the last": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"a huge length":       func(b []byte) []byte { b[len(b)-27] = 0xff; return b },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Dir: t.TempDir()}
			s := open(t, cfg)
			for _, d := range []string{"one....", "two....", "three.."} { // 27 bytes each
				put(t, s, d)
			}
			path := s.segs[0].path
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			s = open(t, cfg)
			put(t, s, "after")
			if got := strings.Join(drain(s), ","); got != "one....,two....,after" {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestDamageWhileOpenIsCounted(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	put(t, s, "one")
	put(t, s, "two")
	f, err := os.OpenFile(s.segs[0].path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{'X'}, header); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if got := drain(s); len(got) != 1 || got[0] != "two" || s.Dropped() != 1 {
		t.Errorf("got %q, %d dropped", got, s.Dropped())
	}
}

// TestFullDisk fills a real file system of 256 KiB.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("needs the right to mount: %s", out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	s := open(t, Config{Dir: filepath.Join(dir, "spool"), SegmentBytes: 32 << 10, Log: slog.New(slog.DiscardHandler)})
	var want uint64
	for i := range 300 {
		data := bytes.Repeat([]byte{byte(i)}, 5000)
		if err := s.Append(1, data); err != nil {
			t.Fatalf("batch %d: %v", i, err)
		}
		want++
	}
	// something else takes the whole disk
	hog, err := os.Create(filepath.Join(dir, "hog"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(hog, bytes.NewReader(make([]byte, 1<<20))) // ends with no space
	_ = hog.Close()
	for range 100 {
		_ = s.Append(1, make([]byte, 50000)) // may fail, must not damage
		want++
	}
	if err := os.Remove(hog.Name()); err != nil {
		t.Fatal(err)
	}
	put(t, s, "space again")
	want++
	got := drain(s)
	if got[len(got)-1] != "space again" {
		t.Error("the newest batch is missing")
	}
	if n := uint64(len(got)) + s.Dropped(); n != want {
		t.Errorf("%d left + %d dropped = %d, want %d", len(got), s.Dropped(), n, want)
	}
}

// TestKilled kills a process that appends, again and again: what it said to be
// stored must be there, in order.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("SONAE_SPOOL_CHILD"); dir != "" {
		child(dir)
	}
	cfg := Config{Dir: t.TempDir(), MaxBytes: 1 << 30, SegmentBytes: 4096}
	last := -1
	for round := range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "SONAE_SPOOL_CHILD="+cfg.Dir, "SONAE_SPOOL_FROM="+strconv.Itoa(last+1))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stored := last
		for n := 0; n < 30+round*17; n++ {
			if _, err := fmt.Fscanln(out, &stored); err != nil {
				t.Fatal(err)
			}
		}
		_ = cmd.Process.Kill()
		for { // what it said before it died
			if _, err := fmt.Fscanln(out, &stored); err != nil {
				break
			}
		}
		_ = cmd.Wait()
		s := open(t, cfg)
		next := last + 1
		for _, g := range drain(s) {
			n, err := strconv.Atoi(strings.TrimRight(g, "."))
			if err != nil || n != next {
				t.Fatalf("round %d: got %.20q, want %d", round, g, next)
			}
			next++
		}
		if next <= stored {
			t.Fatalf("round %d: %d was stored, found only up to %d", round, stored, next-1)
		}
		last = next - 1
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func child(dir string) {
	s, err := Open(Config{Dir: dir, MaxBytes: 1 << 30, SegmentBytes: 4096, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	from, _ := strconv.Atoi(os.Getenv("SONAE_SPOOL_FROM"))
	for i := from; ; i++ {
		if err := s.Append(1, fmt.Appendf(nil, "%d%s", i, strings.Repeat(".", i%700))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

func TestWriterAndReaderAtOnce(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir(), SegmentBytes: 200})
	const n = 300
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			put(t, s, strconv.Itoa(i))
		}
	})
	next := 0
	for deadline := time.After(time.Minute); next < n; {
		for _, g := range drain(s) {
			if g != strconv.Itoa(next) {
				t.Errorf("got %s, want %d", g, next)
			}
			next++
		}
		if next == n {
			break
		}
		select {
		case <-s.Wake():
		case <-deadline:
			t.Fatal("no signal")
		}
	}
	wg.Wait()
}

func FuzzScan(f *testing.F) {
	f.Add(append(encode(1, 2, []byte("abc")), encode(2, 1, []byte("defg"))...))
	f.Add(append(encode(1, 2, []byte("abc")), 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%016x.seg", 1))
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, Config{Dir: filepath.Dir(path), Log: slog.New(slog.DiscardHandler)})
		for range drain(s) {
		}
		put(t, s, "works")
		if got := drain(s); len(got) != 1 || got[0] != "works" {
			t.Fatalf("got %q", got)
		}
	})
}
