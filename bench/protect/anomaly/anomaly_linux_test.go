package main

import (
	"log/slog"
	"testing"

	"github.com/sonae/sonae/bench/guard/proof"
	"github.com/sonae/sonae/protect/anomaly"
)

// TestTheLabelledSetInShort is the measurement with few cases: a small machine,
// two weeks, one shape of each way to write.
func TestTheLabelledSetInShort(t *testing.T) {
	ctx := t.Context()
	w, err := open(ctx, "../../..", t.TempDir(), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	h, err := w.build(ctx, "ward", size{6, 24, 60, false, false}, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, extra := range []string{"", "photo import", "zip archiving", "", "files renamed", ""} {
		s, err := h.pass(ctx, extra)
		if err != nil {
			t.Fatal(err)
		}
		if s.Alarming() {
			t.Errorf("an ordinary day (%s) is an alarm: %+v, %+v", extra, s.Score, s.Numbers)
		}
	}
	for _, shape := range proof.Shapes() {
		if !map[string]bool{"in place, header kept; shuffled, 4 threads": true, "copy, then delete; shuffled, 4 threads": true, "every 4th block; shuffled, 1 thread": true}[shape.Name] {
			continue
		}
		day, n, err := h.trial(ctx, "attacked-"+shape.Args[len(shape.Args)-1], shape, 0.05, 1)
		if err != nil {
			t.Fatal(err)
		}
		if day != 0 {
			t.Errorf("%s: %d files encrypted on one day, and nobody was told", shape.Name, n)
		}
	}
	if s, err := h.pass(ctx, "gpg"); err != nil || s.Verdict != anomaly.Question {
		t.Errorf("a folder that a person encrypted is no question but %s: %+v, %v", s.Verdict, s.Score, err)
	}
}
