package sheet_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/ledger/leaf"
	"github.com/sonae/sonae/ready/asset"
	"github.com/sonae/sonae/report"
	"github.com/sonae/sonae/report/sheet"
	"github.com/sonae/sonae/state"
	"github.com/sonae/sonae/state/rows"
)

// cells says how a row stands: "derived/by hand" for each site.
func cells(t *testing.T, s sheet.Sheet, system string) (out []string) {
	t.Helper()
	for _, r := range s.Matrix.Rows {
		if r.Name == report.Plain(system) {
			for _, c := range r.Cells {
				out = append(out, string(c.State)+"/"+string(c.Hand))
			}
			return out
		}
	}
	t.Fatalf("no row %s in %+v", system, s.Matrix)
	return nil
}

func TestStateSetByHandStandsBesideTheDerivedOne(t *testing.T) {
	h := build(t)
	ctx, in := t.Context(), h.in.ID
	token, err := h.assets.NewToken(ctx, "hospital", "", time.Hour, anna)
	must(t, err)
	host, err := h.assets.Enroll(ctx, asset.NewHost{Token: token.Secret, Name: "ehr-01"})
	must(t, err)
	host.Services = []asset.Service{{Name: "電子カルテ"}}
	must(t, h.assets.SaveHost(ctx, host, anna))
	set := func(n sheet.NewHand) error { return h.hands.SetState(ctx, in, n, anna) }
	must(t, set(sheet.NewHand{System: " 電子カルテ ", Site: "hospital", State: sheet.Stopped, Why: "画面が\n開かない"}))
	must(t, set(sheet.NewHand{System: "調剤の機械", Site: "hospital", State: sheet.Degraded, Why: "手で作っている"}))
	s, err := h.Sheet(ctx, in)
	must(t, err)
	if got := cells(t, s, "電子カルテ"); len(got) != 1 || got[0] != "running/stopped" {
		t.Errorf("a registered system: %v", got)
	}
	if got := cells(t, s, "調剤の機械"); len(got) != 1 || got[0] != "/degraded" {
		t.Errorf("a system that the register does not have: %v", got)
	}
	if s.Matrix.Rows[0].Name != report.Plain("電子カルテ") {
		t.Errorf("what is said to be stopped is not the first row: %+v", s.Matrix.Rows)
	}
	if len(s.ByHand) != 2 || s.ByHand[1].Why != "画面が 開かない" || s.ByHand[1].Seen != sheet.Running || s.ByHand[1].By != anna.ID || s.ByHand[1].Site != "中央病院" {
		t.Errorf("who, when and why: %+v", s.ByHand)
	}
	for _, lang := range []string{"ja", "en"} {
		var page strings.Builder
		must(t, h.Paper(ctx, in, lang, "", &page))
		if !strings.Contains(page.String(), "sheet-seen") || !strings.Contains(page.String(), "手で作っている") || strings.Contains(page.String(), "⟦") {
			t.Errorf("%s: the paper does not show both", lang)
		}
	}

	must(t, set(sheet.NewHand{System: "電子カルテ", Site: "hospital"}))
	if s, err = h.Sheet(ctx, in); err != nil || cells(t, s, "電子カルテ")[0] != "running/" {
		t.Errorf("taken back, it is still there: %v", err)
	}
	entries, err := h.room.Entries(ctx, in, 0, 100)
	must(t, err)
	var keys []string
	for _, e := range entries {
		if strings.HasPrefix(e.Key, "sheet.") {
			keys = append(keys, e.Key+" by "+e.By)
		}
	}
	if got := strings.Join(keys, ", "); got != "sheet.hand by pe-1, sheet.hand by pe-1, sheet.hand-cleared by pe-1" {
		t.Errorf("the chronology has %s", got)
	}
}

func TestStateSetByHandIsRefusedWithASentence(t *testing.T) {
	h := build(t)
	good := sheet.NewHand{System: "電子カルテ", Site: "hospital", State: sheet.Stopped, Why: "見た"}
	for name, tt := range map[string]struct {
		in     string
		change func(*sheet.NewHand)
		want   fault.Kind
	}{
		"no such incident":   {"in-none", func(*sheet.NewHand) {}, fault.Missing},
		"no system":          {h.in.ID, func(n *sheet.NewHand) { n.System = " \n" }, fault.Invalid},
		"too long":           {h.in.ID, func(n *sheet.NewHand) { n.System = strings.Repeat("あ", 61) }, fault.Invalid},
		"no reason":          {h.in.ID, func(n *sheet.NewHand) { n.Why = "" }, fault.Invalid},
		"unknown state":      {h.in.ID, func(n *sheet.NewHand) { n.State = "burning" }, fault.Invalid},
		"unknown site":       {h.in.ID, func(n *sheet.NewHand) { n.Site = "moon" }, fault.Invalid},
		"nothing to clear":   {h.in.ID, func(n *sheet.NewHand) { n.State = "" }, fault.Conflict},
		"too long a reason":  {h.in.ID, func(n *sheet.NewHand) { n.Why = strings.Repeat("あ", 201) }, fault.Invalid},
		"a site of practice": {h.in.ID, func(n *sheet.NewHand) { n.Site = "practice" }, fault.Invalid},
	} {
		n := good
		tt.change(&n)
		if err := h.hands.SetState(t.Context(), tt.in, n, anna); fault.Of(err) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := h.hands.States(t.Context(), h.in.ID); err != nil || len(all) != 0 {
		t.Errorf("something was kept: %v, %v", all, err)
	}
}

// Two people who set the same cell at once leave two versions of it, not two
// cells.
func TestTwoPeopleSetTheSameCell(t *testing.T) {
	h := build(t)
	ctx := t.Context()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := h.hands.SetState(ctx, h.in.ID, sheet.NewHand{System: "会計", Site: "hospital", State: sheet.Degraded, Why: "遅い"}, anna); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got, err := h.hands.States(ctx, h.in.ID); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	var n int
	must(t, h.db.QueryRow(ctx, `SELECT MAX(no) FROM sheet_hand`).Scan(&n))
	if n != 4 {
		t.Errorf("%d versions", n)
	}
	verified := func() []rows.Difference {
		got, err := sheet.VerifyRows(ctx, h.db, func(string) []leaf.Leaf { return nil })
		must(t, err)
		return got
	}
	if got := verified(); len(got) != 0 {
		t.Fatalf("honest rows: %v", got)
	}
	must(t, h.db.Tx(ctx, func(tx *state.Tx) error {
		_, err := tx.ExecContext(context.WithoutCancel(ctx), `UPDATE sheet_hand SET body = REPLACE(body, '遅い', '速い') WHERE no = 2`)
		return err
	}))
	if got := verified(); len(got) != 1 || got[0].Kind != rows.Changed || !strings.HasSuffix(got[0].Ref, "/2") {
		t.Errorf("a changed reason: %v", got)
	}
}
