package evidence

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonae/sonae/evidence/antivirus"
	"github.com/sonae/sonae/evidence/antivirus/clamdtest"
	"github.com/sonae/sonae/fault"
)

// scans reads the item that says what the antivirus program thinks.
func (r *rig) scans(id string) map[string]Scan {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, "evidence", id, "data", ScanFile))
	r.must(err)
	out := map[string]Scan{}
	for line := range strings.Lines(string(b)) {
		var s Scan
		r.must(json.Unmarshal([]byte(line), &s))
		out[s.Path] = s
	}
	return out
}

func TestEvidenceIsScannedByClamd(t *testing.T) {
	d := clamdtest.Start(t)
	r := newRig(t, nil)
	var err error
	r.Vault.deps.Virus, err = antivirus.New(d.Address)
	r.must(err)
	ctx := t.Context()
	r.must(r.OpenBag(ctx, preserve))
	r.must(r.send(item("process/7/exe.bin"), []byte("\x7fELF"+clamdtest.Marker)))
	r.must(r.send(item("log/syslog"), []byte("harmless")))
	missing := item("kernel/preload")
	missing.Error = "no such file"
	r.must(r.send(missing, nil))
	if n, err := r.ScanNew(ctx); err != nil || n != 2 {
		t.Fatalf("%d scanned, %v", n, err)
	}
	if n, err := r.ScanNew(ctx); err != nil || n != 0 {
		t.Errorf("scanned %d again, %v", n, err)
	}
	wantFault(t, r.send(item(ScanFile), []byte(`{"verdict":"clean"}`)), fault.Invalid, "evidence.item") // no machine says of itself that it is clean
	r.must(r.Seal(ctx, "bag-1", false))
	r.intact(r.folder())
	got := r.scans("bag-1")
	if s := got["process/7/exe.bin"]; s.Verdict != antivirus.Infected || s.Signature != clamdtest.Signature || s.At.IsZero() {
		t.Errorf("%+v", s)
	}
	if s := got["log/syslog"]; s.Verdict != antivirus.Clean || len(got) != 2 {
		t.Errorf("%+v of %d", s, len(got))
	}
	cs, err := r.Custody(ctx, "bag-1")
	r.must(err)
	found := 0
	for _, c := range cs {
		if c.What == "infected" {
			found++
			if c.Item != "process/7/exe.bin" || c.Purpose != clamdtest.Signature {
				t.Errorf("%+v", c)
			}
		}
	}
	if found != 1 {
		t.Errorf("%d lines about a virus", found)
	}
	var told int
	r.must(r.db.QueryRow(ctx, `SELECT COUNT(*) FROM outbox WHERE subject = 'evidence.infected'`).Scan(&told))
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}

// TestWithoutClamdNothingIsClean: the bag is sealed all the same and says so;
// what was not scanned is scanned as soon as clamd answers.
func TestWithoutClamdNothingIsClean(t *testing.T) {
	d := clamdtest.Start(t)
	d.Stop()
	r := newRig(t, nil)
	var err error
	r.Vault.deps.Virus, err = antivirus.New(d.Address)
	r.must(err)
	ctx := t.Context()
	r.must(r.OpenBag(ctx, preserve))
	r.must(r.send(item("process/7/exe.bin"), []byte(clamdtest.Marker)))
	if _, err := r.ScanNew(ctx); err == nil {
		t.Error("nobody answers, and nobody says so")
	}
	r.must(r.Seal(ctx, "bag-1", false))
	r.intact(r.folder())
	if s := r.scans("bag-1")["process/7/exe.bin"]; s.Verdict != NotScanned || s.Detail == "" {
		t.Errorf("%+v", s)
	}
	d.Start()
	if _, err := r.ScanNew(ctx); err != nil {
		t.Fatal(err)
	}
	scans, err := r.Scans(ctx, "bag-1")
	if err != nil || scans["process/7/exe.bin"].Verdict != antivirus.Infected {
		t.Errorf("%+v, %v", scans, err)
	}
	r.intact(r.folder())
}

func TestWitnessAndApproverAreOnRecord(t *testing.T) {
	r := newRig(t, nil)
	ctx := t.Context()
	r.must(r.OpenBag(ctx, preserve))
	r.must(r.send(item("a"), []byte("a")))
	wantFault(t, r.Attend(ctx, "bag-1", " ", "", police), fault.Invalid, "evidence.witness")
	wantFault(t, r.Attend(ctx, "bag-9", "x", "", police), fault.Missing, "evidence.unknown")
	r.must(r.Attend(ctx, "bag-1", "鈴木 花子", "院長 田中", police))
	r.must(r.Seal(ctx, "bag-1", false))
	r.must(r.Attend(ctx, "bag-1", "総務 佐藤", "", police))
	r.intact(r.folder())
	in, err := os.ReadFile(filepath.Join(r.folder(), "custody.jsonl"))
	r.must(err)
	if !strings.Contains(string(in), `"witness":"鈴木 花子"`) || !strings.Contains(string(in), `"approver":"院長 田中"`) || strings.Contains(string(in), "佐藤") {
		t.Errorf("in the bag: %s", in)
	}
	cs, err := r.Custody(ctx, "bag-1")
	if last := cs[len(cs)-1]; err != nil || last.What != "witnessed" || last.Witness != "総務 佐藤" || last.By != police.ID {
		t.Errorf("%+v, %v", last, err)
	}
}

func TestCancelledBagSaysSo(t *testing.T) {
	r := newRig(t, nil)
	ctx := t.Context()
	r.must(r.OpenBag(ctx, preserve))
	n := item("a")
	n.Took = 1500e6
	r.must(r.send(n, []byte("a")))
	for range 2 {
		r.must(r.Cancelled(ctx, "bag-1", "pe-1"))
	}
	r.must(r.Seal(ctx, "bag-1", true))
	r.must(r.Cancelled(ctx, "bag-1", "pe-1"))
	r.intact(r.folder())
	info, err := os.ReadFile(filepath.Join(r.folder(), "bag-info.txt"))
	if err != nil || !strings.Contains(string(info), "Sonae-Collection: cancelled by a person") {
		t.Errorf("%s, %v", info, err)
	}
	b, err := r.Get(ctx, "bag-1")
	if err != nil || !b.Cancelled || b.State != Broken || len(b.Items) != 1 || b.Items[0].TookMS < 1500 {
		t.Errorf("%+v, %v", b, err)
	}
	cs, err := r.Custody(ctx, "bag-1")
	r.must(err)
	lines := 0
	for _, c := range cs {
		if c.What == "cancelled" && c.By == "pe-1" {
			lines++
		}
	}
	if lines != 1 {
		t.Errorf("%d lines about the end", lines)
	}
}

// TestOneItemDoesNotHoldUpTheOthers: what cannot be read is not clean, and the
// rest is looked at.
func TestOneItemDoesNotHoldUpTheOthers(t *testing.T) {
	d := clamdtest.Start(t)
	r := newRig(t, nil)
	var err error
	r.Vault.deps.Virus, err = antivirus.New(d.Address)
	r.must(err)
	ctx := t.Context()
	r.must(r.OpenBag(ctx, preserve))
	r.must(r.send(item("a"), []byte("a")))
	r.must(r.send(item("b"), []byte("b")))
	broken := filepath.Join(r.folder(), "data", "a")
	r.must(os.Remove(broken))
	r.must(os.Mkdir(broken, 0o700)) // opens, and cannot be read
	if n, err := r.ScanNew(ctx); err != nil || n != 2 {
		t.Errorf("%d scanned, %v", n, err)
	}
	scans, err := r.Scans(ctx, "bag-1")
	if err != nil || scans["a"].Verdict != antivirus.Failed || scans["b"].Verdict != antivirus.Clean {
		t.Errorf("%+v, %v", scans, err)
	}
}
