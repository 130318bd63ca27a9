// Command encsim encrypts the files of a folder that was made for it, as
// ransomware would, so that the guard can be measured.
//
// In: a folder with the harness's marker and its token, the shape of the
// attack. Out: the SHA-256 of its key on standard output, a tally in shared
// memory, changed files. Always true: it touches nothing outside the marked
// folder, uses no network, starts nothing and leaves nothing behind that runs.
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/sonae/sonae/bench/guard/ground"
	"github.com/sonae/sonae/bench/guard/tally"
)

// options are the shape of an attack.
type options struct {
	dir, token, tally string
	way               string
	every             int   // intermittent: one block of so many
	header            int64 // bytes at the start that stay as they are
	threads           int
	shuffle           bool
	rate              float64 // files a second, 0: as fast as it goes
	rename, note      bool
	seed              uint64
	only              []string // these files, instead of all
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "encsim:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	set := flag.NewFlagSet("encsim", flag.ContinueOnError)
	set.StringVar(&o.dir, "dir", "", "the marked folder")
	set.StringVar(&o.token, "token", "", "what its marker holds")
	set.StringVar(&o.tally, "tally", "", "file of the shared tally")
	set.StringVar(&o.way, "way", "inplace", "inplace, copy (then delete), replace (by a renamed copy)")
	set.IntVar(&o.every, "every", 1, "encrypt one 4 KiB block of so many")
	set.Int64Var(&o.header, "header", 0, "leave so many bytes at the start as they are")
	set.IntVar(&o.threads, "threads", 1, "threads that encrypt")
	set.BoolVar(&o.shuffle, "shuffle", false, "in random order, not sorted")
	set.Float64Var(&o.rate, "rate", 0, "files a second of all threads, 0 for no limit")
	set.BoolVar(&o.rename, "rename", false, "rename what was encrypted in place")
	set.BoolVar(&o.note, "note", false, "leave a fixed text in each folder")
	set.Uint64Var(&o.seed, "seed", 1, "of the random order")
	if err := set.Parse(args); err != nil {
		return o, err
	}
	o.only = set.Args()
	if o.every < 1 || o.threads < 1 || o.threads > 64 || o.header < 0 || o.rate < 0 || o.tally == "" {
		return o, errors.New("unusable arguments")
	}
	return o, nil
}

func run(args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	root, err := ground.Open(o.dir, o.token)
	if err != nil {
		return err
	}
	defer root.Close()
	page, err := tally.Open(o.tally)
	if err != nil {
		return err
	}
	defer page.Close()
	files, err := choose(root, o)
	if err != nil {
		return err
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	fmt.Printf("%x\n", sha256.Sum256(key))
	a, err := newAttack(o, root, page, key)
	if err != nil {
		return err
	}
	return a.all(files, time.Now())
}
