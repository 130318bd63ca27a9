package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sonae/sonae/detect"
)

const scanUsage = `usage: sonae scan [--rules DIR]… [--format text|jsonl] [--flows] [--stats] PATH…

PATH is a capture (pcap, pcapng), a file of JSON lines, or a folder of them.
Exit status: 0 it ran, whatever it found; 2 unusable arguments; 3 some input could not be read.
`

// Exit statuses of scan.
const (
	scanned  = 0
	unusable = 2
	unread   = 3
)

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return fmt.Sprint(*l) }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// scan is one run over files.
type scan struct {
	ctx    context.Context
	engine *detect.Engine
	out    *bufio.Writer
	errs   io.Writer
	jsonl  bool
	flows  bool
	failed bool // some input could not be read
	stats  scanStats
}

// scanStats is what --stats prints.
type scanStats struct {
	Files    int     `json:"files"`
	Events   int     `json:"events"`
	Packets  int     `json:"packets"`
	Findings int     `json:"findings"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`
	Loaded   int     `json:"rules_loaded"`
	Rejected int     `json:"rules_rejected"`
}

// scanCommand runs the rules over files, without a hub.
func scanCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("sonae scan", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, scanUsage) }
	var ruleDirs list
	flags.Var(&ruleDirs, "rules", "folder with rules; without it Sonae's own")
	format := flags.String("format", "text", "text or jsonl")
	withFlows := flags.Bool("flows", false, "print every connection of a capture, too")
	withStats := flags.Bool("stats", false, "end with one line of numbers on standard error")
	if status, ok := parsed(flags, args); !ok {
		return status
	}
	if flags.NArg() == 0 || *format != "text" && *format != "jsonl" {
		flags.Usage()
		return unusable
	}
	began := time.Now()
	engine, report, err := loadRules(ruleDirs)
	if err != nil {
		fmt.Fprintln(stderr, "sonae scan:", err)
		return unusable
	}
	if len(report.Rejected) > 0 {
		fmt.Fprintf(stderr, "sonae scan: %d of %d rules cannot be used, `sonae rule list` says why\n", len(report.Rejected), len(report.Rejected)+len(report.Loaded))
	}
	s := &scan{ctx: ctx, engine: engine, out: bufio.NewWriter(stdout), errs: stderr, jsonl: *format == "jsonl", flows: *withFlows}
	s.stats.Loaded, s.stats.Rejected = len(report.Loaded), len(report.Rejected)
	for _, p := range flags.Args() {
		s.path(p)
	}
	if err := s.out.Flush(); err != nil {
		fmt.Fprintln(stderr, "sonae scan: the result could not be written:", err)
		s.failed = true
	}
	if *withStats {
		s.stats.Seconds = time.Since(began).Seconds()
		_ = json.NewEncoder(stderr).Encode(s.stats) // whoever asked has gone
	}
	if s.failed {
		return unread
	}
	return scanned
}

// path scans a file, or every file in a folder.
func (s *scan) path(root string) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		if err != nil {
			s.damaged(path, err)
			return nil
		}
		if d.IsDir() || path != root && !d.Type().IsRegular() {
			return nil
		}
		err = s.file(path)
		switch {
		case errors.Is(err, errUnknown) && path != root: // a folder holds all sorts of things
			fmt.Fprintf(s.errs, "sonae scan: %s: left out, %v\n", path, err)
		case err != nil:
			s.damaged(path, err)
		}
		return nil
	})
	if err != nil {
		s.damaged(root, err)
	}
}

func (s *scan) damaged(path string, err error) {
	s.failed = true
	fmt.Fprintf(s.errs, "sonae scan: %s: %v\n", path, err)
}

var errUnknown = errors.New("neither a capture nor JSON lines")

// file finds out what a file is, and scans it. Everything before a damaged
// place is reported.
func (s *scan) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := &counting{r: f}
	r := bufio.NewReaderSize(in, 64<<10)
	head, err := r.Peek(512)
	if err != nil && len(head) == 0 {
		if errors.Is(err, io.EOF) { // an empty file holds nothing, whatever it is
			s.stats.Files++
			return nil
		}
		return err
	}
	defer func() { s.stats.Bytes += in.n }()
	switch {
	case isCapture(head):
		s.stats.Files++
		return s.capture(path, r)
	case isJSON(head):
		s.stats.Files++
		return s.lines(path, r)
	}
	return errUnknown
}

// counting counts what is read.
type counting struct {
	r io.Reader
	n int64
}

// Read reads.
func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
