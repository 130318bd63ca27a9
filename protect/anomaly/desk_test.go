package anomaly

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/detect"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/protect/restic/restictest"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/statetest"
)

// ward is one machine with a real repository, and a clock that the test turns.
type ward struct {
	*Desk
	t    *testing.T
	db   *state.DB
	p    restictest.Program
	dir  string // what is backed up
	repo string
	at   time.Time
	open *restic.Repository
	some map[string]Facts
}

func (w *ward) Repositories(context.Context) ([]Repository, error) {
	return []Repository{{ID: "ho-1", Site: "hospital", Host: "ho-1"}}, nil
}

func (w *ward) Open(ctx context.Context, _ string) (*restic.Repository, func() error, error) {
	f, err := restic.OpenFolder(w.repo)
	if err != nil {
		return nil, nil, err
	}
	if w.open == nil {
		if w.open, err = restic.Open(ctx, f, restictest.Password); err != nil {
			return nil, nil, err
		}
	}
	r := restic.OpenWith(f, w.open.Key())
	return r, f.Close, r.Load(ctx)
}

func (w *ward) Facts(context.Context, string) (func(string) Facts, error) {
	return func(id string) Facts { return w.some[id] }, nil
}

func (w *ward) Proven(context.Context, string) (func(string) time.Time, error) {
	return func(id string) time.Time {
		if w.some[id].Class == "proven" {
			return w.at
		}
		return time.Time{}
	}, nil
}

func newWard(t *testing.T, db *state.DB, files int) *ward {
	w := &ward{t: t, db: db, dir: filepath.Join(t.TempDir(), "data"), repo: filepath.Join(t.TempDir(), "repo"), at: monday, some: map[string]Facts{}}
	w.p = restictest.Newest(t).At(w.repo, "-q")
	decoy := filepath.Join(w.dir, "おとり.xlsx")
	w.Desk = New(db, Deps{Source: w, Drills: w, Decoys: func(context.Context, string) ([]string, error) {
		return []string{decoy}, nil
	},
		Now: func() time.Time { return w.at }, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	w.p.Run(t, "init")
	for i := range files {
		w.write(i, fmt.Sprintf("first day, patient %d\n", i))
	}
	restictest.Write(t, decoy, []byte("nobody touches this"))
	return w
}

func (w *ward) path(i int) string {
	return filepath.Join(w.dir, fmt.Sprintf("ward%d", i%5), fmt.Sprintf("記録%03d.txt", i))
}

func (w *ward) write(i int, line string) {
	restictest.Write(w.t, w.path(i), []byte(strings.Repeat(line, 120)))
}

// encrypt does to a file what the simulator does in place.
func (w *ward) encrypt(i int) {
	w.t.Helper()
	b := restictest.Noise(3000 + i)
	if err := os.WriteFile(w.path(i), b, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// back backs up, scores, and returns the newest snapshot.
func (w *ward) back() Snapshot {
	w.t.Helper()
	w.p.Run(w.t, "backup", "--host", "ward", "--time", w.at.Format(time.DateTime), w.dir)
	w.at = w.at.Add(24 * time.Hour)
	if err := w.ScanAll(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	all, err := w.List(w.t.Context(), "hospital")
	if err != nil || len(all) != 1 {
		w.t.Fatalf("%d series, %v", len(all), err)
	}
	s, err := w.Snapshot(w.t.Context(), all[0].ID, all[0].Last)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// told are the findings that wait for the bus.
func (w *ward) told() (out []detect.Finding) {
	w.t.Helper()
	rows, err := w.db.Query(w.t.Context(), `SELECT body FROM outbox WHERE subject = 'finding.ho-1' ORDER BY seq`)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var body []byte
		var found []detect.Finding
		if err := rows.Scan(&body); err != nil {
			w.t.Fatal(err)
		}
		if err := json.Unmarshal(body, &found); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, found...)
	}
	return out
}

func TestAttackIsFlaggedAndTheCleanPointIsBeforeIt(t *testing.T) {
	w := newWard(t, statetest.Open(t), 200)
	ctx, by := t.Context(), auth.Person{ID: "pe-1"}
	first := w.back()
	if first.Verdict != First || first.Numbers.Files != 201 {
		t.Errorf("the first snapshot: %+v", first)
	}
	w.write(1, "second day\n")
	clean := w.back()
	if clean.Verdict != Calm || clean.Numbers.Changed != 1 {
		t.Errorf("a day with one edited file: %+v", clean)
	}
	for i := 10; i < 30; i++ {
		w.encrypt(i)
	}
	w.write(2, "third day\n")
	bad := w.back()
	if bad.Verdict != Flagged || bad.Numbers.Lost() != 20 || len(bad.Reasons[0].Examples) == 0 {
		t.Fatalf("20 files were encrypted: %+v", bad)
	}
	if told := w.told(); len(told) != 1 || told[0].Rule.ID != AlertFlagged || told[0].Site != "hospital" {
		t.Errorf("told %+v", told)
	}
	w.write(10, "written over what was encrypted\n")
	w.back()

	p, err := w.Propose(ctx, bad.Series, time.Time{}, 0)
	if err != nil || p.Choice != clean.ID || p.Because != bad.ID {
		t.Errorf("the clean point is %+v, %v; want %s", p, err, clean.ID)
	}
	if all, err := w.ProposeClasses(ctx, "hospital"); err != nil || len(all) != 1 || len(all[0].Series) != 1 || all[0].Series[0].Choice != clean.ID || !all[0].Until.Equal(clean.Received) || !all[0].Begun.Equal(p.Begun) {
		t.Errorf("for the class: %+v, %v", all, err)
	}
	w.some[first.ID] = Facts{Class: "proven"}
	if p, err = w.Propose(ctx, bad.Series, time.Time{}, 0); err != nil || p.Choice != first.ID || p.Newest != clean.ID {
		t.Errorf("with a drill of the first one: %+v, %v", p, err)
	}
	w.some[clean.ID] = Facts{Partial: true}
	if p, err = w.Propose(ctx, bad.Series, time.Time{}, 0); err != nil || p.Candidates[2].Dropped != DropPartial {
		t.Errorf("a partial one: %+v, %v", p, err)
	}
	w.some[clean.ID] = Facts{Suspect: true}
	if p, err = w.Propose(ctx, bad.Series, time.Time{}, 0); err != nil || p.Candidates[2].Dropped != DropSuspect {
		t.Errorf("one made under suspicion: %+v, %v", p, err)
	}
	if _, err := w.Confirm(ctx, bad.Series, NewCleanPoint{Snapshot: bad.ID, Reason: "x"}, by); fault.Of(err) != fault.Conflict {
		t.Errorf("an encrypted snapshot was confirmed: %v", err)
	}
	delete(w.some, clean.ID)
	c, err := w.Confirm(ctx, bad.Series, NewCleanPoint{Snapshot: clean.ID, Reason: "開けることを確かめた"}, by)
	if err != nil || c.Snapshot != clean.ID {
		t.Fatalf("confirm: %+v, %v", c, err)
	}
	if at, ok, err := w.CleanOf(ctx, "ho-1"); err != nil || !ok || !at.Equal(clean.Received) {
		t.Errorf("the machine is clean until %s, %v, %v", at, ok, err)
	}
	if _, ok, err := w.CleanOf(ctx, "ho-2"); err != nil || ok {
		t.Errorf("a machine of which nobody said so: %v, %v", ok, err)
	}
	if s, err := w.Get(ctx, bad.Series); err != nil || s.Clean != clean.ID || s.Open != 1 {
		t.Errorf("the series says %+v, %v", s, err)
	}
	checkLoss(t, w, clean, bad)
	proven(t, w.db)
}

// checkLoss compares what going back would cost with what the test did.
func checkLoss(t *testing.T, w *ward, clean, bad Snapshot) {
	t.Helper()
	l, err := w.Loss(t.Context(), bad.Series, clean.ID)
	if err != nil || l.Total != 21 || l.Marked != 20 {
		t.Fatalf("loss: %d files, %d with a sign, %v", l.Total, l.Marked, err)
	}
	for _, f := range l.Files {
		edited := strings.HasSuffix(f.Path, "記録002.txt")
		switch {
		case edited && (f.Sign != "" || f.Good != bad.ID):
			t.Errorf("an edited file is sound in the snapshot of that day: %+v", f)
		case !edited && (f.Sign == "" || f.Good != clean.ID):
			t.Errorf("an encrypted file is sound before that only: %+v", f)
		}
	}
}

// proven compares the rows with the leaves that wait for the ledger, and finds
// a changed byte.
func proven(t *testing.T, db *state.DB) {
	t.Helper()
	none := func(string) []leaf.Leaf { return nil }
	if d, err := VerifyRows(t.Context(), db, none); err != nil || len(d) != 0 {
		t.Fatalf("verify: %v, %v", d, err)
	}
	err := db.Tx(t.Context(), func(tx *state.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE anomaly_record SET body = REPLACE(body, 'pe-1', 'pe-2')`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if d, err := VerifyRows(t.Context(), db, none); err != nil || len(d) == 0 {
		t.Errorf("a record was changed, and verify says %v, %v", d, err)
	}
}

func TestWhatAPersonEncryptedIsAskedAbout(t *testing.T) {
	w := newWard(t, statetest.Open(t), 60)
	ctx, by := t.Context(), auth.Person{ID: "pe-1"}
	w.back()
	for i := range 20 {
		b := append([]byte{0x8c, 0x0d, 0x04, 0x09, 0x03, 0x0a}, restictest.Noise(900+i)...) // as gpg -c begins
		restictest.Write(t, w.path(i)+".gpg", b)
		if err := os.Remove(w.path(i)); err != nil {
			t.Fatal(err)
		}
	}
	s := w.back()
	if s.Verdict != Question || s.Reasons[0].N != 20 {
		t.Fatalf("got %+v", s)
	}
	if _, err := w.Answer(ctx, s.Series, s.ID, NewAnswer{Planned: true}, by); fault.Of(err) != fault.Invalid {
		t.Errorf("an answer without a reason: %v", err)
	}
	if _, err := w.Answer(ctx, s.Series, s.ID, NewAnswer{Planned: true, Reason: "保管前の作業", Ticket: "CHG-1"}, by); err != nil {
		t.Fatal(err)
	}
	if p, err := w.Propose(ctx, s.Series, time.Time{}, 0); err != nil || p.Choice != s.ID {
		t.Errorf("what was planned stays a clean point: %+v, %v", p, err)
	}
	if _, err := w.Answer(ctx, s.Series, s.ID, NewAnswer{Reason: "誰も行っていない"}, by); err != nil {
		t.Fatal(err)
	}
	told := w.told()
	if !slices.ContainsFunc(told, func(f detect.Finding) bool { return f.Rule.ID == AlertQuestion }) || told[len(told)-1].Rule.ID != AlertFlagged {
		t.Errorf("told %d findings, the last %+v", len(told), told[len(told)-1].Rule)
	}
	proven(t, w.db)
}

func TestDecoyAndDamagedRepository(t *testing.T) {
	w := newWard(t, statetest.Open(t), 20)
	w.back()
	restictest.Write(t, filepath.Join(w.dir, "おとり.xlsx"), bytes.Repeat([]byte("touched"), 30))
	if s := w.back(); s.Verdict != Flagged || s.Reasons[0].Rule != RuleCanary {
		t.Errorf("a decoy was touched: %+v", s)
	}
	w.write(3, "later\n")
	w.p.Run(t, "backup", "--host", "ward", "--time", w.at.Format(time.DateTime), w.dir)
	flip(t, w.repo)
	if err := w.ScanAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := w.List(t.Context(), "")
	if err != nil || all[0].Verdict != Unread {
		t.Errorf("a damaged repository gives %+v, %v", all, err)
	}
}

// flip changes a byte of every pack.
func flip(t *testing.T, repo string) {
	t.Helper()
	packs, err := filepath.Glob(filepath.Join(repo, "data", "*", "*"))
	if err != nil || len(packs) == 0 {
		t.Fatalf("%d packs, %v", len(packs), err)
	}
	for _, at := range packs {
		b, err := os.ReadFile(at)
		if err != nil {
			t.Fatal(err)
		}
		b[20] ^= 1
		if err := os.WriteFile(at, b, 0o600); err != nil { // packs are 0400, and the test is root or their owner
			if err := os.Chmod(at, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(at, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
