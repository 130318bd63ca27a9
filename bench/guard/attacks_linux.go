package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/bench/guard/proof"
)

const attacksHead = "| shape | backend | frozen | files lost p50/p95/max | stopped after ms p50/p95/max | told after ms p95 | begun after the freeze | key in memory | dropped |\n|---|---|---:|---:|---:|---:|---:|---:|---:|\n"

// attacks tries every shape with every backend.
func (b *bench) attacks(ctx context.Context) (string, error) {
	ground := proof.Range{Agent: b.agent, Encsim: b.encsim, Work: b.work, Tree: b.tree, Settle: 300 * time.Millisecond}
	var table strings.Builder
	table.WriteString(attacksHead)
	for _, backend := range b.backends {
		for _, shape := range proof.Shapes() {
			if !strings.Contains(shape.Name, b.only) {
				continue
			}
			var all []proof.Result
			for i := range b.count {
				res, err := ground.Try(ctx, shape, backend, uint64(i)+1)
				if err != nil {
					return "", fmt.Errorf("%s with %s, run %d: %w", shape.Name, backend, i+1, err)
				}
				if b.verbose {
					b.log.Info("run", "lost", res.Lost, "stopped", res.Stopped, "told", res.Lines)
				}
				all = append(all, res)
			}
			row := attackRow(shape.Name, backend, all)
			b.log.Info(row)
			table.WriteString(row + "\n")
		}
	}
	return table.String(), nil
}

func attackRow(shape, backend string, all []proof.Result) string {
	var lost, stopped, told []float64
	frozen, keys, after, dropped := 0, 0, 0, 0
	for _, r := range all {
		lost = append(lost, float64(r.Lost))
		after = max(after, r.After)
		dropped += r.Dropped
		if !r.Frozen {
			continue
		}
		frozen++
		told = append(told, ms(r.Told))
		stopped = append(stopped, ms(r.Stopped))
		if r.Key {
			keys++
		}
	}
	return fmt.Sprintf("| %s | %s | %d/%d | %s | %s | %.0f | %d | %d/%d | %d |", shape, backend, frozen, len(all),
		spread(lost), spread(stopped), quantile(told, 0.95), after, keys, frozen, dropped)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func spread(all []float64) string {
	return fmt.Sprintf("%.0f/%.0f/%.0f", quantile(all, 0.5), quantile(all, 0.95), quantile(all, 1))
}

// quantile is the smallest value that at least q of all do not exceed.
func quantile(all []float64, q float64) float64 {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	at := int(q*float64(len(sorted))+0.9999) - 1
	return sorted[min(max(at, 0), len(sorted)-1)]
}
