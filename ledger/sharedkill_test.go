package ledger

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sonae/sonae/blob"
	"github.com/sonae/sonae/fault"
)

// TestChildLeads is not a test of its own: TestKilledLeaders runs it in other
// processes and kills them.
func TestChildLeads(t *testing.T) {
	dir := os.Getenv("SONAE_LEDGER_LEADER")
	if dir == "" {
		t.Skip("runs as the child of TestKilledLeaders")
	}
	from, err := strconv.Atoi(os.Getenv("SONAE_LEDGER_FROM"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := blob.OpenFolder(os.Getenv("SONAE_LEDGER_STORE"))
	if err != nil {
		t.Fatal(err)
	}
	l := joined(t, dir, os.Getenv("SONAE_LEDGER_KEY"), store)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		defer stop()
		fmt.Printf("ended %s\n", fault.Of(l.Lead(ctx)))
	})
	leads(t, l)
	for worker := range 16 {
		all.Go(func() {
			for n := from + worker; ctx.Err() == nil; n += 16 {
				i, err := l.Append(ctx, leafOf(t, n))
				if err != nil {
					return // not acknowledged
				}
				fmt.Printf("ack %d %d\n", n, i) // one write: whole lines only
			}
		})
	}
	all.Wait()
}

// leader is a child that leads.
type leader struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	acked map[int]uint64
	ended string
}

func startLeader(t *testing.T, dir, store, signer string, from int) *leader {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildLeads$")
	cmd.Env = append(os.Environ(), "SONAE_LEDGER_LEADER="+dir, "SONAE_LEDGER_STORE="+store, "SONAE_LEDGER_KEY="+signer, "SONAE_LEDGER_FROM="+strconv.Itoa(from))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &leader{cmd: cmd, lines: bufio.NewScanner(out), acked: map[int]uint64{}}
}

// read takes what the child says, until it has acknowledged so many leaves or
// ends.
func (l *leader) read(enough int) {
	for len(l.acked) < enough && l.lines.Scan() {
		var n int
		var index uint64
		if c, _ := fmt.Sscanf(l.lines.Text(), "ack %d %d", &n, &index); c == 2 {
			l.acked[n] = index
		}
		_, _ = fmt.Sscanf(l.lines.Text(), "ended %s", &l.ended)
	}
}

// kill ends the child with kill -9 and takes what it had still said.
func (l *leader) kill(t *testing.T) {
	t.Helper()
	if err := l.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	l.read(1 << 30)
	_ = l.cmd.Wait() // "signal: killed"
}

// TestKilledLeaders kills whoever leads, again and again; in every third round
// the leader is only stopped, and wakes up when another leads.
func TestKilledLeaders(t *testing.T) {
	t.Parallel()
	signer, verifier := newKeys(t)
	dirs, storeDir := []string{t.TempDir(), t.TempDir(), t.TempDir()}, t.TempDir()
	store, err := blob.OpenFolder(storeDir)
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 4))
	watch := joined(t, t.TempDir(), signer, store) // follows all the time
	acked, fenced := map[int]uint64{}, 0
	var last Checkpoint
	var asleep *leader
	for round := range 32 {
		l := startLeader(t, dirs[round%3], storeDir, signer, round*100_000)
		wake := func() {
			if asleep != nil {
				_ = asleep.cmd.Process.Signal(syscall.SIGCONT)
			}
		}
		held := time.AfterFunc(5*time.Second, wake) // it may sleep with the store's lock in its hand
		l.read(1 + dice.IntN(100))
		held.Stop()
		if len(l.acked) == 0 {
			t.Fatalf("round %d: the leader acknowledged nothing", round)
		}
		if wake(); asleep != nil {
			asleep.read(1 << 30) // it ends by itself
			_ = asleep.cmd.Wait()
			if asleep.ended == string(fault.Conflict) {
				fenced++
			}
			remember(acked, asleep)
			asleep = nil
		}
		if round%3 == 2 {
			if err := l.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			asleep = l
			continue
		}
		l.kill(t)
		remember(acked, l)
		last = extended(t, watch, last, acked)
	}
	if asleep != nil {
		asleep.kill(t)
		remember(acked, asleep)
	}
	if fenced == 0 {
		t.Error("no leader was fenced when it woke up")
	}
	last = extended(t, watch, last, acked)
	for _, dir := range append(dirs, t.TempDir()) {
		l := joined(t, dir, signer, store)
		if cp := caught(t, l, last.Size); cp != last {
			t.Errorf("one ledger has %d leaves, another %d", cp.Size, last.Size)
		}
		closed(t, l)
		checkAcked(t, dir, signer, acked)
		if r := verified(t, dir, verifier); len(r.Differences)+len(r.Leftovers) > 0 {
			t.Errorf("%+v", r)
		}
	}
	t.Logf("%d leaves were acknowledged, %d stand in the ledger, %d leaders were fenced", len(acked), last.Size, fenced)
}

func remember(acked map[int]uint64, l *leader) {
	for n, index := range l.acked {
		acked[n] = index
	}
}

// extended waits until a follower has all that was acknowledged, and checks that
// its checkpoint extends the one before.
func extended(t *testing.T, l *Ledger, before Checkpoint, acked map[int]uint64) Checkpoint {
	t.Helper()
	size := uint64(0)
	for _, index := range acked {
		size = max(size, index+1)
	}
	cp := caught(t, l, size)
	if before.Size == 0 {
		return cp
	}
	hashes, err := l.Consistency(t.Context(), before.Size, cp.Size)
	if err != nil {
		t.Fatal(err)
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, before.Size, cp.Size, hashes, before.root(), cp.root()); err != nil {
		t.Fatalf("from %d to %d leaves: %v", before.Size, cp.Size, err)
	}
	return cp
}
