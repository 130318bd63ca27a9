package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/archive"
	"github.com/sonae/sonae/archive/archivetest"
)

// searchOf is a standard question in the words of Sonae's search.
func searchOf(h *haystack, id string) archive.Search {
	from, to := h.day()
	s := archive.Search{Limit: 200}
	switch id {
	case "q1":
		s.Query = "| timeline 1h by product"
	case "q2":
		s.Query, s.From, s.To = "| count by event_code", h.tally.From, h.tally.To
	case "q3", "q3w": // upper and lower case differ
		s.Query = "raw:/" + archivetest.Command + "/ | count"
	case "q3b":
		s.Query = `"` + archivetest.Command + `" | count`
	case "q3c":
		s.Query = `"` + archivetest.Phrase + `" | count`
	case "q4":
		s.Query = "destination_ip:" + archivetest.RareAddress + " | count"
	case "q4b":
		s.Query = `"` + archivetest.RareAddress + `" | count`
	case "q5":
		s.Query = "file_hash=" + archivetest.RareHash + " | count"
	case "q5n":
		s.Query = "file_hash=" + archivetest.AbsentHash + " | count"
	case "q6":
		s.Query = "user_name=" + archivetest.RareUser + " | count"
	case "q7":
		s.Query, s.From, s.To = "host="+h.tally.Probe, from, to
	case "q8":
		s.Query = "kind=flow | top 20 destination_ip by sum(bytes_out)"
	case "q9":
		s.Query = "event_code=" + archivetest.FailedCode + " | stats count, distinct(source_ip) by user_name | sort -count | limit 20"
	case "q10":
		s.Limit = 100
	case "q11":
		s.Query = "process_command_line:/" + strings.ReplaceAll(archivetest.EncodedPattern, "/", `\/`) + "/ | count"
	}
	return s
}

// askSonae answers a standard question, or one of the search page: page-day,
// page-address and page-text.
func askSonae(ctx context.Context, a *archive.Archive, h *haystack, id string) ([][]string, error) {
	if rest, ok := strings.CutPrefix(id, "page-"); ok {
		return askPage(ctx, a, h, rest)
	}
	var rows [][]string
	err := a.Search(ctx, searchOf(h, id), func(p archive.Part) error {
		if p.Table != nil && p.Done {
			rows = tableRows(id, p.Table)
		}
		for _, e := range p.Events {
			rows = append(rows, []string{text(e.Time.UnixMicro())})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("search %q: %w", searchOf(h, id).Query, err)
	}
	return rows, nil
}

// tableRows brings a table into the shape of the answers: times in
// microseconds.
func tableRows(id string, t *archive.Table) (rows [][]string) {
	for _, r := range t.Rows {
		if id != "q1" {
			rows = append(rows, r)
			continue
		}
		row := []string{"", "", r[len(r)-1]}
		for i, c := range t.Columns[:len(t.Columns)-1] {
			if at, err := time.Parse(time.RFC3339Nano, r[i]); c.Kind == "time" && err == nil {
				row[1] = text(at.UnixMicro())
			} else {
				row[0] = r[i]
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// askPage does what the search page does for one look: the newest events and
// the bars of the histogram, for a day, a rare address and a rare text.
func askPage(ctx context.Context, a *archive.Archive, h *haystack, what string) (rows [][]string, err error) {
	from, to := h.day()
	s := map[string]archive.Search{
		"day": {From: from, To: to}, "address": {Query: archivetest.RareAddress}, "text": {Query: archivetest.Command},
	}[what]
	s.Limit = 100
	if err := a.Search(ctx, s, func(p archive.Part) error {
		for _, e := range p.Events {
			rows = append(rows, []string{text(e.Time.UnixMicro())})
		}
		return nil
	}); err != nil {
		return nil, err
	}
	_, err = a.Histogram(ctx, s, 60)
	return rows, err
}
