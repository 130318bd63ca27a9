package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/sonae/sonae/ledger"
)

// What a hub exports of its ledger.
const (
	kindProof       = "proof"
	kindConsistency = "consistency"
	kindCheckpoint  = "checkpoint"
)

// maxExported bounds what is read as a proof: one holds a few dozen hashes.
const maxExported = 1 << 20

// exportedMarks are what only such files have; no single changed byte takes all
// marks of a kind away.
var exportedMarks = []struct {
	kind string
	mark *regexp.Regexp
}{
	{kindProof, regexp.MustCompile(`"leaf":\{|"checkpoint":"`)},
	{kindConsistency, regexp.MustCompile(`"from":"|","to":"`)},
	{kindCheckpoint, regexp.MustCompile(`=\n\n|— \S+ [A-Za-z0-9+/]{60}`)},
}

// exportedKind says what an exported file is, also when it is damaged; empty when
// it is none.
func exportedKind(path string, info fs.FileInfo) (string, error) {
	if !info.Mode().IsRegular() || info.Size() > maxExported {
		return "", nil
	}
	switch filepath.Ext(path) {
	case ".html", ".zip":
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for _, k := range exportedMarks {
		if k.mark.Match(b) {
			return k.kind, nil
		}
	}
	return "", nil
}

// said reads the words that somebody heard or read on paper.
func (c *check) said(words []string) error {
	for _, text := range words {
		w, err := ledger.ParseWords(text)
		if err != nil {
			return fmt.Errorf("--words: %w", err)
		}
		c.words = append(c.words, w)
	}
	return nil
}

// wordsName is how words are named in what is printed.
func wordsName(w ledger.Words) string { return "words " + w.String() }

// exported checks a proof or checkpoint that somebody keeps, with nothing but
// the public key.
func (c *check) exported(path, kind string) error {
	key, err := c.keyFor(filepath.Dir(path))
	if err != nil {
		return err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var heads []ledger.Checkpoint
	switch kind {
	case kindProof:
		heads, err = c.proof(b, key)
	case kindConsistency:
		heads, err = c.consistency(b, key)
	default:
		heads, err = c.checkpoint(b, key)
	}
	if err != nil {
		c.differ(path + ": " + err.Error())
		return nil
	}
	for _, w := range c.witnesses {
		if err := c.cosigned(heads, w); err != nil {
			c.differ(path + ": " + err.Error())
		}
	}
	return c.compared(path, heads, key)
}

// proof checks a proof of inclusion and returns its checkpoint.
func (c *check) proof(b []byte, key string) ([]ledger.Checkpoint, error) {
	p, err := ledger.ParseProof(b)
	if err != nil {
		return nil, err
	}
	if err := p.Verify(key); err != nil {
		return nil, err
	}
	cp, err := ledger.ParseCheckpoint(p.Checkpoint, key)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(c.out, "proof: %s %s, recorded %s, is leaf %d of %d\n", p.Leaf.Type, p.Leaf.Ref, p.Leaf.At.Format(time.RFC3339), p.Index+1, cp.Size)
	return []ledger.Checkpoint{cp}, nil
}

// consistency checks a consistency proof and returns both checkpoints.
func (c *check) consistency(b []byte, key string) ([]ledger.Checkpoint, error) {
	p, err := ledger.ParseConsistency(b)
	if err != nil {
		return nil, err
	}
	from, to, err := p.Verify(key)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(c.out, "consistency: the ledger of %d leaves is the beginning of the one of %d\n", from.Size, to.Size)
	return []ledger.Checkpoint{from, to}, nil
}

// checkpoint checks the signature of a checkpoint.
func (c *check) checkpoint(b []byte, key string) ([]ledger.Checkpoint, error) {
	cp, err := ledger.ParseCheckpoint(string(b), key)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(c.out, "checkpoint: %d leaves, %s\n", cp.Size, cp.Words())
	return []ledger.Checkpoint{cp}, nil
}

// cosigned wants the cosignature of a witness on one of the checkpoints.
func (c *check) cosigned(heads []ledger.Checkpoint, w ledger.WitnessKey) error {
	err := errors.New("there is no checkpoint in it")
	for _, cp := range heads {
		var at time.Time
		if at, err = cp.Cosigned(w); err == nil {
			fmt.Fprintf(c.out, "witness %s: cosigned %d leaves at %s\n", w.ID(), cp.Size, at.Format(time.RFC3339))
			return nil
		}
	}
	return err
}

// compared holds other checkpoints, and words, against those that the file
// proves. One of another size cannot be compared without the ledger, or a
// consistency proof with that size.
func (c *check) compared(path string, heads []ledger.Checkpoint, key string) error {
	over := func(size uint64) (ledger.Checkpoint, error) {
		for _, cp := range heads {
			if cp.Size == size {
				return cp, nil
			}
		}
		return ledger.Checkpoint{}, fmt.Errorf("%s says nothing about the first %d leaves: give the ledger, or a consistency proof that begins or ends there", path, size)
	}
	for _, file := range c.against {
		e, err := ledger.ReadEarlier(file, key)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		cp, err := over(e.Checkpoint.Size)
		if err != nil {
			return err
		}
		if cp.Root != e.Checkpoint.Root {
			c.differ(fmt.Sprintf("%s: signs root %s over %d leaves, %s has %s: the ledger's history was rewritten", file, e.Checkpoint.Root, cp.Size, path, cp.Root))
		}
	}
	for _, w := range c.words {
		cp, err := over(w.Size)
		if err != nil {
			return err
		}
		if cp.Words() != w {
			c.differ(fmt.Sprintf("%s: not those of %s, which are: %s", wordsName(w), path, cp.Words()))
		} else {
			fmt.Fprintf(c.out, "words: they are those of %s over %d leaves\n", path, cp.Size)
		}
	}
	return nil
}
