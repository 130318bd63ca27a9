package guard

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 4, 1, 3, 0, 0, 0, time.UTC)

// family is a judge over processes 1 → 2 → 3 …: each is the child of the one
// before; 1 must not be judged.
func family() *judge {
	return newJudge(func(p proc) (proc, bool) { return proc{pid: p.pid - 1}, p.pid > 2 }, func(proc) int { return 0 })
}

func loss(i int) (fileID, Loss) {
	return fileID{1, uint64(i)}, Loss{Path: fmt.Sprintf("/srv/%d.txt", i), Why: WhyRise, At: start.Add(time.Duration(i) * time.Millisecond)}
}

func TestThreeFilesAreEnough(t *testing.T) {
	j, p := family(), proc{pid: 5}
	for i := range 3 {
		if _, ok := j.decide(p, start); ok {
			t.Fatalf("stopped after %d files", i)
		}
		id, l := loss(i)
		j.lose(p, id, l)
		j.lose(p, id, l) // the same file counts once
	}
	v, ok := j.decide(p, start)
	if !ok || v.root != p || v.lost != 3 || len(v.reasons) != 1 || !strings.Contains(v.reasons[0].JA, "3 個") {
		t.Fatalf("%v %+v", ok, v)
	}
	if _, ok := j.decide(p, start); ok {
		t.Error("the same files led to a second verdict")
	}
}

func TestADecoyIsNotLostButWeighsTwo(t *testing.T) {
	j, p := family(), proc{pid: 5}
	id, l := loss(1)
	l.Canary = true
	j.lose(p, id, l)
	if _, ok := j.decide(p, start); ok {
		t.Fatal("a decoy alone stops")
	}
	id, l = loss(2)
	j.lose(p, id, l)
	v, ok := j.decide(p, start)
	if !ok || v.lost != 1 || len(v.losses) != 2 {
		t.Fatalf("%v %+v", ok, v)
	}
}

// TestWhatIsWholeAgainDoesNotCount is a program that writes files anew: each is
// damaged until it is finished.
func TestWhatIsWholeAgainDoesNotCount(t *testing.T) {
	j, p := family(), proc{pid: 5}
	finished := map[string]bool{}
	j.whole = func(l Loss) bool { return finished[l.Path] }
	for i := range 20 {
		id, l := loss(i)
		l.Why = WhyDamaged
		j.lose(p, id, l)
		if v, ok := j.decide(p, start); ok {
			t.Fatalf("stopped at file %d: %+v", i, v)
		}
		finished[l.Path] = true
	}
	for i := 20; i < 22; i++ {
		id, l := loss(i)
		l.Why = WhyDamaged
		j.lose(p, id, l)
	}
	id, l := loss(22)
	j.lose(p, id, l)
	if v, ok := j.decide(p, start); !ok || v.lost != 3 {
		t.Errorf("three that stay damaged: %v %+v", ok, v)
	}
}

func TestNotesAndCommandsAloneStopNobody(t *testing.T) {
	j, p := family(), proc{pid: 5}
	for i := range 20 {
		j.note(p, fmt.Sprintf("/srv/%d/README.txt", i), start)
	}
	j.tampered(p, "restic forget --prune", start)
	if _, ok := j.decide(p, start); ok {
		t.Fatal("stopped without a file")
	}
	id, l := loss(1)
	j.lose(p, id, l)
	v, ok := j.decide(p, start)
	if !ok || len(v.reasons) != 3 {
		t.Fatalf("one file, a note and a lost backup: %v %+v", ok, v)
	}
}

func TestWhatAScriptStartsCountsForIt(t *testing.T) {
	j := family()
	j.parent = func(p proc) (proc, bool) { return proc{pid: 4}, p.pid >= 100 } // many children of 4
	for i := range 4 {
		p := proc{pid: 100 + i}
		if _, ok := j.decide(p, start); ok {
			t.Fatalf("stopped after %d", i)
		}
		id, l := loss(i)
		j.lose(p, id, l)
	}
	v, ok := j.decide(proc{pid: 103}, start)
	if !ok || v.root.pid != 4 || v.lost != 4 {
		t.Fatalf("%v %+v", ok, v)
	}
}

func TestWhatLiesLongBackDoesNotCount(t *testing.T) {
	j, p := family(), proc{pid: 5}
	for i := range 3 {
		id, l := loss(i)
		l.At = start.Add(time.Duration(i) * windowOwn)
		j.lose(p, id, l)
		if _, ok := j.decide(p, l.At); ok {
			t.Fatalf("file %d", i)
		}
	}
}

func TestMemoryOfTheJudgeIsBounded(t *testing.T) {
	j := family()
	for i := range 3 * maxCulprits {
		id, l := loss(i)
		j.lose(proc{pid: 10 * i}, id, l)
	}
	if len(j.all) > maxCulprits {
		t.Errorf("%d processes", len(j.all))
	}
	p := proc{pid: 7}
	for i := range 10 * maxLosses {
		id, l := loss(i)
		j.lose(p, id, l)
		j.note(p, fmt.Sprintf("/srv/%d/%d.txt", i, i), start)
	}
	if c := j.all[p]; len(c.losses) > maxLosses || len(c.files) > maxLosses || len(c.notes) > maxNotes || c.more != 9*maxLosses {
		t.Errorf("%d losses, %d files, %d notes, %d more", len(c.losses), len(c.files), len(c.notes), c.more)
	}
}

func TestTampering(t *testing.T) {
	for line, want := range map[string]bool{
		"restic -r /srv/repo forget --keep-last 1": true, "restic backup /home": false, "/usr/sbin/lvremove -f vg/snap": true, "lvremove --help": false,
		`C:\Windows\System32\vssadmin.exe delete shadows /all /quiet`: true, "vssadmin list shadows": false, "zfs destroy -r tank@daily": true,
		"zfs list": false, "btrfs subvolume delete /snap/1": true, "btrfs subvolume list /": false, "wmic shadowcopy delete": true, "": false,
	} {
		if got := tampers(strings.Fields(line)); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}
