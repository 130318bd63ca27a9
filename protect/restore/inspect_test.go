package restore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sonae/sonae/evidence/antivirus"
	"github.com/sonae/sonae/evidence/antivirus/clamdtest"
	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
	"github.com/sonae/sonae/state/statetest"
)

// stopped says that nothing left, and that the error names the file and the find.
func stopped(t *testing.T, what string, out *bytes.Buffer, err error, key string, named ...string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Key != key || out.Len() > 0 {
		t.Errorf("%s: %d bytes left, %v; want none and %s", what, out.Len(), err, key)
		return
	}
	for i, name := range named {
		if i >= len(f.Args) || !strings.HasSuffix(f.Args[i].(string), name) {
			t.Errorf("%s: the error says %v, want %v", what, f.Args, named)
		}
	}
}

// What is infected does not leave, neither alone nor in a folder; with a reason it
// does, and that is written down.
func TestWhatIsInfectedDoesNotLeave(t *testing.T) {
	h := start(t)
	bad := h.src + "/bad/letter.doc"
	var out bytes.Buffer
	never := func() { t.Error("begun") }
	err := h.Download(t.Context(), h.taking(1, bad), func(Entry) { never() }, &out)
	stopped(t, "a file", &out, err, "protect.restore.infected", bad, "Test.Signature")
	for _, format := range []Format{TarZst, Zip} {
		err := h.Archive(t.Context(), h.taking(1, h.src+"/bad"), format, never, &out)
		stopped(t, "a folder as "+string(format), &out, err, "protect.restore.infected", bad, "Test.Signature")
	}
	if left, err := h.taken(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("written down before anybody took it: %+v, %v", left, err)
	}

	despite := h.despite(1, bad)
	if err := h.Download(t.Context(), despite, func(Entry) {}, &out); err != nil || !strings.Contains(out.String(), signature) {
		t.Errorf("with a reason: %q, %v", out.String(), err)
	}
	left, err := h.taken(t.Context())
	if err != nil || len(left) != 1 || left[0].Path != bad || left[0].Why != "evidence" || left[0].By != anna.ID || left[0].From != h.where(1) {
		t.Errorf("written down: %+v, %v", left, err)
	}
	out.Reset()
	despite.Despite = strings.Repeat("x", maxText+1)
	stopped(t, "a reason that is too long", &out, h.Download(t.Context(), despite, func(Entry) { never() }, &out), "protect.restore.reason")
}

// taken are the records of what left without a scan.
func (h *house) taken(ctx context.Context) ([]Taken, error) {
	all, err := table.Newest(ctx, h.db, kindTaken, "")
	out := make([]Taken, len(all))
	for i, v := range all {
		err = errors.Join(err, json.Unmarshal(v.Body, &out[i]))
	}
	return out, err
}

// A scanner that is not there, or does not take a file, has not looked at it; a
// threat list alone stops what it names; without both all goes on.
func TestWhatNobodyLookedAtDoesNotLeave(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the scanners")
	h := start(t)
	var out bytes.Buffer
	take := func(at string) error { return h.Download(t.Context(), h.taking(1, h.src+at), func(Entry) {}, &out) }
	h.Scanners = []Scanner{large{}}
	stopped(t, "a large file", &out, take("/random"), "protect.restore.too-large", "/random")
	c := clamdtest.Start(t)
	client, err := antivirus.New(c.Address)
	if err != nil {
		t.Fatal(err)
	}
	h.Scanners = []Scanner{Clamd(client)}
	if err := take("/one"); err != nil {
		t.Errorf("clamd stops a clean file: %v", err)
	}
	out.Reset()
	stopped(t, "what clamd knows", &out, take("/bad/letter.doc"), "protect.restore.infected", "/bad/letter.doc", clamdtest.Signature)
	c.Stop()
	stopped(t, "without clamd", &out, take("/one"), "protect.restore.not-looked-at", "/one")

	h.Scanners, h.Listed = nil, func(...string) string { return "JPCERT 2026-11" }
	stopped(t, "a listed file", &out, take("/one"), "protect.restore.infected", "/one", "JPCERT 2026-11")
	h.Listed = nil
	if err := take("/bad/letter.doc"); err != nil || out.Len() == 0 || h.Scans() {
		t.Errorf("with nothing that looks: %d bytes, %v", out.Len(), err)
	}
}

// In a large folder the stream breaks off before the infected file, and is not
// whole.
func TestALargeFolderBreaksOffBeforeWhatIsInfected(t *testing.T) {
	statetest.OnlySQLite(t, "it is about the stream")
	h := start(t)
	var out bytes.Buffer
	to := inspected{&tarSinkOf{out: &out}, inspector{ctx: t.Context(), d: h.Desk, at: "/srv"}}
	add := func(name, text string) error {
		return to.add(name, &restic.Node{Name: name, Type: "file", Size: uint64(len(text))}, func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
	}
	if err := add("good", "a letter"); err != nil {
		t.Fatal(err)
	}
	err := add("bad", "before "+signature)
	if fault.Of(err) != fault.Conflict || out.String() != "good:a letter" {
		t.Errorf("%q left, %v", out.String(), err)
	}
	s := &scale{}
	if err := s.add("disk.raw", &restic.Node{Type: "file", Size: aheadBytes + 1}, nil); !errors.Is(err, errHeavy) {
		t.Errorf("a disk image is looked at ahead: %v", err)
	}
}

// tarSinkOf writes names and contents.
type tarSinkOf struct{ out *bytes.Buffer }

func (s *tarSinkOf) add(rel string, _ *restic.Node, content func(io.Writer) error) error {
	s.out.WriteString(rel + ":")
	return content(s.out)
}

func (*tarSinkOf) Close() error { return nil }
