package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/sonae/sonae/ledger"
)

// cosignedDir is where a hub keeps what witnesses cosigned, beside its ledger.
const cosignedDir = "witness"

// trust reads the keys of the witnesses whose word the ledger must stand by.
func (c *check) trust(keys []string) error {
	for _, k := range keys {
		w, err := ledger.ParseWitnessKey(readKey(k))
		if err != nil {
			return err
		}
		c.witnesses = append(c.witnesses, w)
	}
	return nil
}

// earlier reads the checkpoints that the ledger in dir must extend: those
// beside it and those that the reader brought. Each witness that the reader
// trusts must have cosigned one of them.
func (c *check) earlier(dir, key string) ([]ledger.Earlier, error) {
	found, differences, err := ledger.ReadCosigned(filepath.Join(filepath.Dir(dir), cosignedDir), key)
	if err != nil {
		return nil, err
	}
	for _, d := range differences {
		c.differ(d.String())
	}
	for _, file := range c.against {
		e, err := ledger.ReadEarlier(file, key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		found = append(found, e)
	}
	for _, w := range c.words {
		found = append(found, ledger.Said(wordsName(w), w))
	}
	for _, w := range c.witnesses {
		if _, _, ok := newest(found, w); !ok {
			c.differ("witness " + w.ID() + ": there is no checkpoint that it cosigned")
		}
	}
	return found, nil
}

// newest returns the largest checkpoint that a witness cosigned.
func newest(found []ledger.Earlier, w ledger.WitnessKey) (cp ledger.Checkpoint, at time.Time, ok bool) {
	for _, e := range found {
		if t, err := e.Checkpoint.Cosigned(w); err == nil && (!ok || e.Checkpoint.Size > cp.Size) {
			cp, at, ok = e.Checkpoint, t, true
		}
	}
	return cp, at, ok
}

// seen says how far each trusted witness has followed the ledger: what came
// after that is the hub's word alone.
func (c *check) seen(found []ledger.Earlier, contradicted []ledger.Difference, leaves uint64) {
	found = slices.DeleteFunc(slices.Clone(found), func(e ledger.Earlier) bool {
		return slices.ContainsFunc(contradicted, func(d ledger.Difference) bool { return d.File == e.File })
	})
	for _, w := range c.witnesses {
		if cp, at, ok := newest(found, w); ok {
			fmt.Fprintf(c.out, "witness %s: cosigned %d of %d leaves at %s\n", w.ID(), cp.Size, leaves, at.Format(time.RFC3339))
		}
	}
	if n := len(c.against); n > 0 {
		fmt.Fprintf(c.out, "against: %d earlier checkpoints compared\n", n)
	}
	for _, w := range c.words {
		if !slices.ContainsFunc(contradicted, func(d ledger.Difference) bool { return d.File == wordsName(w) }) {
			fmt.Fprintf(c.out, "words: they are those of this ledger over its first %d of %d leaves\n", w.Size, leaves)
		}
	}
}
