package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	opening = "<!-- bench-store: begin (written by make bench-store) -->"
	closing = "<!-- bench-store: end -->"
)

// table makes the Markdown of all results. Ratios are Sonae's figure divided by
// the peer's: below 1 Sonae takes less.
func table(h *haystack, results resultList) string {
	var b strings.Builder
	o := h.g.Options()
	fmt.Fprintf(&b, "%s, %d events over %d days, %d hosts, %s.\n\n", time.Now().UTC().Format(time.DateOnly), o.Events, int(o.Span/(24*time.Hour)), o.Hosts, facts())
	var present []result
	for _, r := range results {
		if r.Absent != "" {
			fmt.Fprintf(&b, "* **%s** is left out: %s\n", r.Name, r.Absent)
			continue
		}
		fmt.Fprintf(&b, "* **%s**: %s\n", r.Name, r.Remark)
		present = append(present, r)
	}
	b.WriteString("\nIn brackets: Sonae's figure divided by the peer's. Sizes and costs below 1, and rates above 1, are in Sonae's favour.\n\n")
	head(&b, "Intake", present)
	n := float64(o.Events)
	line := func(name, format string, of func(result) float64) {
		fmt.Fprintf(&b, "| %s |", name)
		for i, r := range present {
			fmt.Fprintf(&b, " "+format+"%s |", of(r), ratio(of(present[0]), of(r), i))
		}
		b.WriteString("\n")
	}
	line("events per second", "%.0f", func(r result) float64 { return n / r.Intake.Wall.Seconds() })
	line("events per CPU-second, until durable and visible", "%.0f", func(r result) float64 { return n / r.Intake.CPU.Seconds() })
	line("the same with background work (merge, index, vacuum)", "%.0f", func(r result) float64 { return n / (r.Intake.CPU + r.Background.CPU).Seconds() })
	line("background work, seconds", "%.0f", func(r result) float64 { return r.Background.Wall.Seconds() })
	line("bytes per event on disk", "%.1f", func(r result) float64 { return float64(r.Bytes) / n })
	line("peak memory of intake and background work, MB", "%.0f", func(r result) float64 { return float64(r.IntakePeak) / 1e6 })
	line("peak memory of the questions, MB", "%.0f", func(r result) float64 { return float64(r.AsksPeak) / 1e6 })
	b.WriteString("\nSeconds for an answer: cold / warm / seconds of processors for a warm one.\n\n")
	asked(&b, present)
	return b.String()
}

func head(b *strings.Builder, first string, present []result, more ...string) {
	columns := append([]string{first}, more...)
	for _, r := range present {
		columns = append(columns, r.Name)
	}
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
}

func asked(b *strings.Builder, present []result) {
	head(b, "Question", present, "target")
	var notes []string
	for _, q := range questions() {
		fmt.Fprintf(b, "| %s %s | %s |", q.id, q.text, q.target)
		for i, r := range present {
			if why := r.Wrong[q.id]; why != "" {
				notes = append(notes, fmt.Sprintf("%s %s: %s", r.Name, q.id, firstLine(why)))
				b.WriteString(" – |")
				continue
			}
			fmt.Fprintf(b, " %s%s / %s%s / %.3f |", seconds(r.Cold[q.id]), ratio(float64(present[0].Cold[q.id]), float64(r.Cold[q.id]), i),
				seconds(r.Warm[q.id]), ratio(float64(present[0].Warm[q.id]), float64(r.Warm[q.id]), i), r.Work[q.id].Seconds())
		}
		b.WriteString("\n")
	}
	b.WriteString("\nAll other answers are what was counted while the events were made.")
	for _, n := range notes {
		b.WriteString("\n* – " + n)
	}
	b.WriteString("\n")
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line[:min(len(line), 200)]
}

func seconds(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.4f", d.Seconds())
	}
	if d < 100*time.Millisecond {
		return fmt.Sprintf("%.3f", d.Seconds())
	}
	return fmt.Sprintf("%.2f", d.Seconds())
}

func ratio(own, peer float64, column int) string {
	if column == 0 || own == 0 || peer == 0 {
		return ""
	}
	if r := own / peer; r < 0.095 {
		return fmt.Sprintf(" (%.3f)", r)
	} else if r < 10 {
		return fmt.Sprintf(" (%.2f)", r)
	}
	return fmt.Sprintf(" (%.0f)", own/peer)
}

// write puts the text between the markers of a page, or prints it.
func write(path, text string) error {
	if path == "" {
		fmt.Println(text)
		return nil
	}
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(page), opening)
	_, after, closed := strings.Cut(rest, closing)
	if !ok || !closed {
		return fmt.Errorf("%s has no markers %q and %q", path, opening, closing)
	}
	return os.WriteFile(path, []byte(before+opening+"\n\n"+text+"\n"+closing+after), 0o644)
}

// resultList is in the order in which the stores are shown: Sonae first.
type resultList []result

// with replaces the result of the same store, or adds it.
func (l resultList) with(r result) resultList {
	for i := range l {
		if l[i].Name == r.Name {
			l[i] = r
			return l
		}
	}
	if r.Name == "sonae" {
		return append(resultList{r}, l...)
	}
	return append(l, r)
}

func readResults(path string) (l resultList, err error) {
	body, err := os.ReadFile(path)
	if path == "" || errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return l, json.Unmarshal(body, &l)
}

func (l resultList) write(path string) error {
	if path == "" {
		return nil
	}
	body, err := json.MarshalIndent(l, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(body, '\n'), 0o644)
}
