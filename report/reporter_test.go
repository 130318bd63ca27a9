package report_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/report"
)

func TestReporterIsKeptByVersion(t *testing.T) {
	h := build(t)
	ctx := t.Context()
	made, err := h.Make(ctx, h.in.ID, prompt, anna)
	if err != nil {
		t.Fatal(err)
	}
	want := report.Reporter{Organisation: "市立病院", Address: "本町 1-2", Representative: "院長", Department: "情報", Person: "安西 花", Phone: "内線 12", Mail: "it@example.org"}
	typed := want
	typed.Organisation, typed.Address = " 市立病院\n", "本町\x001-2"
	for range 2 { // the second time nothing is new
		if err := h.SetReporter(ctx, typed, anna); err != nil {
			t.Fatal(err)
		}
	}
	got, err := h.Reporter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var versions, leaves int
	if err := h.db.QueryRow(ctx, `SELECT COUNT(*), (SELECT COUNT(*) FROM outbox WHERE subject = 'record.reporter') FROM reporter`).Scan(&versions, &leaves); err != nil {
		t.Fatal(err)
	}
	if versions != 2 || leaves != 2 {
		t.Errorf("%d versions and %d leaves, want 2", versions, leaves)
	}
	draft, err := h.Draft(ctx, h.in.ID, prompt)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range want.Fields() {
		if b := draft.Reporter[i]; b.ID != f.ID || b.Value.JA != f.Value || b.Missing {
			t.Errorf("the draft has %+v, want %+v", b, f)
		}
	}
	frozen, err := h.JSON(ctx, made.ID)
	if err != nil || frozen.Reporter[0].Value.JA != "県立中央病院" || !frozen.Reporter[1].Missing {
		t.Errorf("a document that was made says %+v, %v", frozen.Reporter, err)
	}
	want.Mail = strings.Repeat("長", 201)
	if err := h.SetReporter(ctx, want, anna); fault.Of(err) != fault.Invalid {
		t.Errorf("an endless field: %v", err)
	}
}
