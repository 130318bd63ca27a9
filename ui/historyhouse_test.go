package ui

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/history"
)

// historyOf has one line of each kind.
type historyOf struct{ *house }

func historyLines() []history.Line {
	line := func(ago time.Duration, kind history.Kind, mark history.Mark, key, ref, about string, args ...string) history.Line {
		l := history.Line{At: start.Add(-ago), Kind: kind, Mark: mark, Site: "hospital", Host: "ho-2", Class: "cl-1", Key: key, Ref: ref, About: about, Args: map[string]string{"host": "ho-2"}}
		for i := 0; i < len(args); i += 2 {
			l.Args[args[i]] = args[i+1]
		}
		return l
	}
	cut := line(6*time.Hour, history.Cut, history.Bad, "vault.cut", "vc-1", "", "site", "hospital", "title_ja", "ファイルが次々に暗号化されている", "title_en", "Files are being encrypted", "why_ja", "", "why_en", "", "paths", "12", "running", "1")
	cut.Class = ""
	elsewhere := line(50*time.Hour, history.Backup, history.Bad, "backup.could-not-run", "br-5", "bp-2", "policy", "名簿 平日", "why_key", "protect.run.why.silent")
	elsewhere.Site, elsewhere.Host, elsewhere.Class, elsewhere.Args["host"] = "callcentre", "ho-1", "cl-2", "ho-1"
	return []history.Line{
		line(time.Hour, history.Clean, history.Good, "protect.clean-point", "cp-1", "sr-1", "received_at", "2026-11-18T16:02:00Z", "snapshot", "4bba301e", "reason", "復元訓練で確かめた"),
		line(2*time.Hour, history.Restore, history.Plain, "restore.asked", "rs-1", "", "asker", "pe-responder", "agent", "ho-2"),
		line(5*time.Hour, history.Doubt, history.Bad, "backup.doubted", "br-3", "bp-1", "by", "sonae", "policy", "電子カルテ 毎晩", "reason", "遮断 / cut vc-1"),
		cut,
		line(7*time.Hour, history.Doubt, history.Bad, "snapshot.flagged", snapshotName(1), "sr-1", "snapshot", "9a1c22d0", "points", "92"),
		line(12*time.Hour, history.Backup, history.Good, "backup.ok", "br-2", "bp-1", "policy", "電子カルテ 毎晩", "seen", "4.5 GB", "added", "86.3 MB"),
		line(13*time.Hour, history.Copy, history.Good, "copy.verified", "pl-1/ho-2", "pl-1", "place", "別館のバケット", "size", "1.9 GB"),
		line(14*time.Hour, history.Medium, history.Plain, "medium.handed", "md-1", "pl-2", "label", "水曜の盤", "to", "総務課 金庫", "seal", "A-0042"),
		line(20*time.Hour, history.Repository, history.Bad, "vault.refused", "vr-1", "", "count", "3", "why_key", "fault.protect.append-only"),
		line(30*time.Hour, history.Drill, history.Bad, "proof.failed", "rr-2", "rd-1", "name", "電子カルテの復元", "level_key", "protect.drill.level.database", "why", "invalid page in block 3 of relation base/5/16384"),
		line(36*time.Hour, history.Missed, history.Bad, "backup.missed", "br-4", "bp-1", "policy", "電子カルテ 毎晩", "due_at", start.Add(-36*time.Hour).Format(time.RFC3339), "why_key", "protect.run.why.away"),
		line(40*time.Hour, history.Rule, history.Plain, "policy.changed", "bp-1", "", "by", "pe-responder", "policy", "電子カルテ 毎晩", "version", "2", "reason", "昼の分を加えた <b>op</b>"),
		elsewhere,
	}
}

func (h historyOf) List(_ context.Context, f history.Filter) ([]history.Line, int, error) {
	if f.Until.Sub(f.From) > history.MaxSpan {
		return nil, 0, fault.New(fault.Invalid, "protect.history.span", 400)
	}
	all := slices.DeleteFunc(historyLines(), func(l history.Line) bool {
		return l.At.Before(f.From) || f.Site != "" && l.Site != f.Site || f.Kind != "" && l.Kind != f.Kind || f.Host != "" && l.Host != f.Host
	})
	return all, len(all), nil
}

func TestTheHistoryOfBackupsIsChosenAndSaved(t *testing.T) {
	h := newHouse()
	v, _ := h.open(t)
	r := v.as("responder")
	if got := r.get("/protect/history?kind=cut&lang=ja"); got.status != http.StatusOK || !strings.Contains(got.body, "保管庫への経路を切った") || strings.Contains(got.body, "予定した") || !strings.Contains(got.body, "/protect/history.csv?kind=cut") {
		t.Errorf("%d", got.status)
	}
	for _, bad := range []string{"?from=yesterday", "?from=2020-01-01"} {
		if got := r.get("/protect/history" + bad); got.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", bad, got.status)
		}
	}
	file := r.get("/protect/history.csv?lang=ja&host=ho-2")
	if file.status != http.StatusOK || !strings.HasPrefix(file.body, "\ufeff日時(日本時間),") || strings.Count(file.body, "\n") != len(historyLines()) || !strings.Contains(file.header.Get("Content-Disposition"), "backup-history.csv") {
		t.Errorf("%d %s", file.status, file.body)
	}
	for _, path := range []string{"/protect/history", "/protect/history.csv"} {
		if got := v.as("contractor").get(path); got.status != http.StatusForbidden {
			t.Errorf("a contractor at %s: %d", path, got.status)
		}
		if got := v.as("executive").get(path + "?lang=en"); got.status != http.StatusOK {
			t.Errorf("an executive at %s: %d", path, got.status)
		}
	}
}
