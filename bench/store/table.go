package main

import (
	"cmp"
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
func table(h *haystack, results []result) string {
	var b strings.Builder
	o := h.g.Options()
	fmt.Fprintf(&b, "%s, %d events over %d days, %d hosts, %s.\n\n", time.Now().UTC().Format(time.DateOnly), o.Events, int(o.Span/(24*time.Hour)), o.Hosts, facts())
	var present []result
	for _, r := range results {
		if r.absent != "" {
			fmt.Fprintf(&b, "* **%s** is left out: %s\n", r.name, r.absent)
			continue
		}
		fmt.Fprintf(&b, "* **%s**: %s\n", r.name, r.remark)
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
	line("events per second", "%.0f", func(r result) float64 { return n / r.intake.wall.Seconds() })
	line("events per CPU-second, until durable and visible", "%.0f", func(r result) float64 { return n / r.intake.cpu.Seconds() })
	line("the same with background work (merge, index, vacuum)", "%.0f", func(r result) float64 { return n / (r.intake.cpu + r.background.cpu).Seconds() })
	line("background work, seconds", "%.0f", func(r result) float64 { return r.background.wall.Seconds() })
	line("bytes per event on disk", "%.1f", func(r result) float64 { return float64(r.bytes) / n })
	line("peak memory of intake and background work, MB", "%.0f", func(r result) float64 { return float64(r.intakePeak) / 1e6 })
	line("peak memory of the questions, MB", "%.0f", func(r result) float64 { return float64(r.asksPeak) / 1e6 })
	b.WriteString("\nSeconds for an answer, cold / warm; the ratio is of the warm ones.\n\n")
	asked(&b, present)
	return b.String()
}

func head(b *strings.Builder, first string, present []result, more ...string) {
	columns := append([]string{first}, more...)
	for _, r := range present {
		columns = append(columns, r.name)
	}
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
}

func asked(b *strings.Builder, present []result) {
	head(b, "Question", present, "target")
	var notes []string
	for _, q := range questions() {
		fmt.Fprintf(b, "| %s %s | %s |", q.id, q.text, q.target)
		for i, r := range present {
			if why := r.wrong[q.id]; why != "" {
				notes = append(notes, fmt.Sprintf("%s %s: %s", r.name, q.id, firstLine(why)))
				b.WriteString(" – |")
				continue
			}
			base := float64(present[0].warm[q.id])
			fmt.Fprintf(b, " %s / %s%s |", seconds(r.cold[q.id]), seconds(r.warm[q.id]), ratio(base, float64(r.warm[q.id]), i))
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
		return cmp.Or(errors.Join(err), fmt.Errorf("%s has no markers %q and %q", path, opening, closing))
	}
	return os.WriteFile(path, []byte(before+opening+"\n\n"+text+"\n"+closing+after), 0o644)
}
