package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sonae/sonae/bench/guard/proof"
)

const choresHead = "| work | backend | frozen | wall s without | with | ratio | CPU s without | with | ratio | guard's CPU s | stopped for a moment |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"

// chores does every chore without the guard and with each backend, in turn,
// and takes the medians.
func (b *bench) chores(ctx context.Context) (string, error) {
	site := &proof.Site{Agent: b.agent, Root: b.root, Work: b.work, Volume: b.volume, Tree: b.tree}
	var table strings.Builder
	table.WriteString(choresHead)
	for _, c := range proof.Chores() {
		if !strings.Contains(c.Name, b.only) {
			continue
		}
		if missing := site.Missing(c); len(missing) > 0 {
			return "", fmt.Errorf("%s needs %v: install Debian's package", c.Name, missing)
		}
		rows, err := b.chore(ctx, site, c)
		if err != nil {
			return "", err
		}
		b.log.Info(rows)
		table.WriteString(rows)
	}
	return table.String(), nil
}

func (b *bench) chore(ctx context.Context, site *proof.Site, c proof.Chore) (string, error) {
	costs := map[string][]proof.Cost{}
	for range b.rounds {
		for _, backend := range append([]string{""}, b.backends...) {
			cost, err := site.Do(ctx, c, backend)
			if err != nil {
				return "", fmt.Errorf("%s with %q: %w", c.Name, backend, err)
			}
			for _, f := range cost.Frozen {
				b.log.Warn("a false freeze", "work", c.Name, "backend", backend, "line", f.Text)
			}
			costs[backend] = append(costs[backend], cost)
		}
	}
	var rows strings.Builder
	bare := costs[""]
	for _, backend := range b.backends {
		with, frozen, thawed := costs[backend], 0, 0
		for _, cost := range with {
			frozen += min(1, len(cost.Frozen))
			thawed += cost.Thawed
		}
		wall, wallWith := median(bare, wallOf), median(with, wallOf)
		cpu, cpuWith := median(bare, cpuOf), median(with, cpuOf)
		fmt.Fprintf(&rows, "| %s | %s | %d/%d | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %d |\n", c.Name, backend, frozen, len(with),
			wall, wallWith, wallWith/wall, cpu, cpuWith, cpuWith/cpu, median(with, guardOf), thawed)
	}
	return rows.String(), nil
}

func wallOf(c proof.Cost) time.Duration  { return c.Wall }
func cpuOf(c proof.Cost) time.Duration   { return c.CPU }
func guardOf(c proof.Cost) time.Duration { return c.Guard }

// median is in seconds.
func median(all []proof.Cost, of func(proof.Cost) time.Duration) float64 {
	values := make([]float64, len(all))
	for i, c := range all {
		values[i] = of(c).Seconds()
	}
	return quantile(values, 0.5)
}
