package guard

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// attacks are the ways in which files are taken.
var attacks = []struct {
	shape   string
	threads int
	order   string
	rate    int
}{
	{"inplace", 1, "sorted", 0},
	{"inplace", 4, "shuffled", 0},
	{"renamed", 4, "shuffled", 0},
	{"copy", 1, "sorted", 0},
	{"copy", 4, "shuffled", 0},
	{"replace", 4, "shuffled", 0},
	{"intermittent", 1, "shuffled", 0},
	{"intermittent", 4, "sorted", 0},
	{"kept", 4, "shuffled", 0},
	{"renamed", 1, "shuffled", 417},
}

// manyLost is what no run may lose, however busy the machine: a guard that is
// slow loses more than one that is not, one that does not work loses all.
const manyLost = 60

func testAttacks(t *testing.T, backend string) {
	for _, a := range attacks {
		t.Run(fmt.Sprintf("%s by %d threads, %s at %d", a.shape, a.threads, a.order, a.rate), func(t *testing.T) {
			l := newLab(t, 600)
			r := l.guard(Config{Backend: backend})
			cmd := l.attacker(a.shape, a.threads, a.order, a.rate)
			select {
			case f := <-r.frozen:
				time.Sleep(200 * time.Millisecond)
				lost := l.lost()
				time.Sleep(200 * time.Millisecond)
				if more := l.lost(); more != lost {
					t.Errorf("it goes on: %d files lost, then %d", lost, more)
				}
				t.Logf("%d lost, %d counted, %v after the first: %v", lost, f.Lost, f.Stopped.Sub(f.FirstWrite), f.Reasons)
				if lost > manyLost || f.PID != cmd.Process.Pid || !slices.Contains(f.PIDs, f.PID) || len(f.Reasons) == 0 {
					t.Errorf("%d files lost, %+v", lost, f)
				}
				if s, ok := readStat(f.PID); !ok || s.state != 'T' {
					t.Errorf("process %d is in state %c", f.PID, s.state)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("not frozen, %d files lost", l.lost())
			}
		})
	}
}

func TestFanotifyStopsEncryption(t *testing.T) { testAttacks(t, BackendFanotify) }

func TestEBPFStopsEncryption(t *testing.T) { testAttacks(t, BackendEBPF) }

// testRepacked lets a program save 200 pictures in place, without touching
// their headers: each is broken for a moment, none stays so.
func testRepacked(t *testing.T, backend string) {
	l := newLab(t, 600)
	r := l.guard(Config{Backend: backend})
	if err := l.attacker("repack", 1, "sorted", 0).Wait(); err != nil {
		t.Fatal(err)
	}
	if lost := l.lost(); lost != 200 {
		t.Errorf("%d pictures were exchanged", lost)
	}
	if len(r.frozen) > 0 {
		t.Errorf("frozen: %+v", <-r.frozen)
	}
	if n := len(r.thawed); backend == BackendEBPF && n == 0 {
		t.Error("the kernel did not see it")
	}
}

func TestFanotifyLeavesPicturesThatStayWhole(t *testing.T) { testRepacked(t, BackendFanotify) }

func TestEBPFLeavesPicturesThatStayWhole(t *testing.T) { testRepacked(t, BackendEBPF) }

func BenchmarkAttacks(b *testing.B) {
	for _, backend := range []string{BackendFanotify, BackendEBPF} {
		for _, a := range attacks {
			b.Run(fmt.Sprintf("%s/%s-%d-%s-%d", backend, a.shape, a.threads, a.order, a.rate), func(b *testing.B) {
				var lost []int
				for b.Loop() {
					l := newLab(b, 600)
					r := l.guard(Config{Backend: backend})
					cmd := l.attacker(a.shape, a.threads, a.order, a.rate)
					select {
					case f := <-r.frozen:
						time.Sleep(50 * time.Millisecond)
						if n := l.lost(); n > 5 {
							b.Logf("%d lost: %+v", n, f)
							for len(r.thawed) > 0 {
								b.Logf("%+v", <-r.thawed)
							}
						}
					case <-time.After(20 * time.Second):
					}
					lost = append(lost, l.lost())
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
					r.stop()
				}
				slices.Sort(lost)
				b.ReportMetric(float64(lost[len(lost)/2]), "lost-p50")
				b.ReportMetric(float64(lost[len(lost)*95/100]), "lost-p95")
				b.ReportMetric(float64(lost[len(lost)-1]), "lost-max")
			})
		}
	}
}
