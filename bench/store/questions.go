package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sonae/sonae/archive/archivetest"
	"github.com/sonae/sonae/event"
)

// haystack is the events and what is known of them.
type haystack struct {
	g     *archivetest.Generator
	truth archivetest.Truth
	tally *archivetest.Tally
}

func newHaystack(o options) *haystack {
	g := archivetest.New(archivetest.Options{Seed: 3, Events: o.events, Span: time.Duration(o.days) * 24 * time.Hour})
	return &haystack{g: g, truth: g.Truth(), tally: g.Tally()}
}

// count goes through all events once.
func (h *haystack) count(ctx context.Context) error {
	made := make(chan event.Batch, 8)
	go func() {
		defer close(made)
		for b := range h.g.All() {
			select {
			case made <- b:
			case <-ctx.Done():
				return
			}
		}
	}()
	for b := range made {
		h.tally.Add(b)
	}
	return ctx.Err()
}

func (h *haystack) day() (from, to time.Time) {
	return h.tally.From, h.tally.From.Add(24 * time.Hour)
}

// question is one of the standard questions. Rows of an answer are texts:
// numbers in decimal, times in microseconds since 1970.
type question struct {
	id, text, target string
	rows             func(h *haystack) [][]string // the right answer
	ordered          bool
	first            bool // only the first column of each row is compared: the others are the whole event
}

func questions() []question {
	number := func(of func(*haystack) int64) func(*haystack) [][]string {
		return func(h *haystack) [][]string { return [][]string{{text(of(h))}} }
	}
	return []question{
		{id: "q1", text: "events by product and hour, all", target: "1.5", rows: hours},
		{id: "q2", text: "one hour, by event code", target: "0.05", rows: codes},
		{id: "q3", text: "contains “Invoke-Mimikatz”, all", target: "2.0", rows: number(func(h *haystack) int64 { return h.truth.Exact })},
		{id: "q3w", text: "the words Invoke-Mimikatz, all", target: "0.5", rows: number(func(h *haystack) int64 { return h.truth.Exact })},
		{id: "q3b", text: "the same in upper or lower case", target: "3", rows: number(func(h *haystack) int64 { return h.truth.AnyCase })},
		{id: "q3c", text: "a Japanese phrase", target: "2", rows: number(func(h *haystack) int64 { return h.truth.Phrase })},
		{id: "q4", text: "rare address in one column", target: "0.1", rows: number(func(h *haystack) int64 { return h.truth.AddressColumn })},
		{id: "q4b", text: "rare address anywhere", target: "1", rows: number(func(h *haystack) int64 { return h.truth.AddressColumn + h.truth.AddressText })},
		{id: "q5", text: "rare hash", target: "0.1", rows: number(func(h *haystack) int64 { return h.truth.Hash })},
		{id: "q5n", text: "absent hash", target: "0.1", rows: number(func(h *haystack) int64 { return 0 })},
		{id: "q6", text: "rare user", target: "0.1", rows: number(func(h *haystack) int64 { return h.truth.User })},
		{id: "q7", text: "one host, one day, newest 200, whole events", target: "0.2", first: true, rows: func(h *haystack) [][]string { return times(h.tally.ProbeDay, 200) }},
		{id: "q8", text: "top 20 destinations by bytes", target: "0.3", ordered: true, rows: func(h *haystack) [][]string { return counts(h.tally.TopSent(20), false) }},
		{id: "q9", text: "failed log-ons by user, distinct sources", target: "0.3", ordered: true, rows: func(h *haystack) [][]string { return counts(h.tally.TopFailures(20), true) }},
		{id: "q10", text: "newest 100, whole events", target: "0.2", first: true, rows: func(h *haystack) [][]string { return times(h.tally.Newest, 100) }},
		{id: "q11", text: "regular expression over command lines", target: "0.7", rows: number(func(h *haystack) int64 { return h.tally.Encoded })},
	}
}

func text(n int64) string { return strconv.FormatInt(n, 10) }

func hours(h *haystack) (rows [][]string) {
	for product, hours := range h.tally.Hours {
		for hour, n := range hours {
			rows = append(rows, []string{product, text(hour * 1e6), text(n)})
		}
	}
	return rows
}

func codes(h *haystack) (rows [][]string) {
	for code, n := range h.tally.Codes {
		rows = append(rows, []string{code, text(n)})
	}
	return rows
}

func times(all []time.Time, n int) (rows [][]string) {
	for _, t := range all[:min(n, len(all))] {
		rows = append(rows, []string{text(t.UnixMicro())})
	}
	return rows
}

func counts(all []archivetest.Count, distinct bool) (rows [][]string) {
	for _, c := range all {
		row := []string{c.Text, text(c.Count)}
		if distinct {
			row = append(row, text(c.Distinct))
		}
		rows = append(rows, row)
	}
	return rows
}

// check compares an answer with the right one. The order of equal counts is
// not fixed, so rows in order are compared by their numbers first.
func (q question) check(h *haystack, got [][]string) error {
	want := slices.Clone(q.rows(h))
	got = slices.Clone(got)
	if q.first {
		for i := range got {
			got[i] = got[i][:1]
		}
	}
	if q.ordered && !slices.IsSortedFunc(got, func(x, y []string) int { return -cmp.Or(cmp.Compare(len(x[1]), len(y[1])), cmp.Compare(x[1], y[1])) }) {
		return fmt.Errorf("%s: not in order: %v", q.id, got)
	}
	slices.SortFunc(want, slices.Compare)
	slices.SortFunc(got, slices.Compare)
	if len(got) != len(want) {
		return fmt.Errorf("%s: %d rows, want %d: %.300s, want %.300s", q.id, len(got), len(want), fmt.Sprint(got), fmt.Sprint(want))
	}
	for i := range got {
		if !slices.Equal(got[i], want[i]) {
			return fmt.Errorf("%s: %v, want %v", q.id, got[i], want[i])
		}
	}
	return nil
}
