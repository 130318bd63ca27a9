// Command sensor compares package flow with ndpiReader and writes its tables.
//
// In: the developers' captures and Debian's libndpi-bin. Out: tables in
// Markdown, written between two markers of a page. Always true: both programs
// read the same file in the same round, each in a process of its own; rates are
// per second of one processor as the kernel counts it, not by the clock on the
// wall, because the machine is shared.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

const (
	opening = "<!-- bench-sensor: begin (written by make bench-sensor) -->"
	closing = "<!-- bench-sensor: end -->"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	set := flag.NewFlagSet("sensor", flag.ContinueOnError)
	data := set.String("data", "../../../shared/data/net", "folder of the captures")
	out := set.String("out", "", "Markdown page that gets the tables between its markers (default: print them)")
	rounds := set.Int("count", 3, "rounds of the speed table")
	size := set.Int64("bytes", 200<<20, "size of the two files of the speed table")
	reader := set.String("ndpi", "ndpiReader", "the program to compare with")
	read := set.String("read", "", "read one capture and print what it cost (a round starts this)")
	hold := set.Int("hold", 0, "hold so many connections and print the memory (a round starts this)")
	if err := set.Parse(args); err != nil {
		return 2
	}
	var err error
	switch {
	case *read != "":
		err = readOne(*read)
	case *hold > 0:
		err = holdMany(*hold)
	default:
		err = compare(*data, *out, *reader, *rounds, *size)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sensor:", err)
		return 1
	}
	return 0
}

func compare(data, out, reader string, rounds int, size int64) error {
	found, err := recognised(data, reader)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sonae-bench-sensor-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	speed, err := race(data, dir, reader, rounds, size)
	if err != nil {
		return err
	}
	page := machine() + found + "\n" + speed
	if out == "" {
		fmt.Print(page)
		return nil
	}
	return between(out, page)
}

// captures lists the captures by folder and name.
func captures(data string) ([]string, error) {
	var all []string
	for _, pattern := range []string{"selfmade/*.pcap", "fetched/*/*.pcap", "fetched/*/*.pcapng"} {
		files, err := filepath.Glob(filepath.Join(data, pattern))
		if err != nil {
			return nil, err
		}
		all = append(all, files...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there are no captures in %s", data)
	}
	return all, nil
}

// between replaces what stands between the markers of a page.
func between(path, table string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	before, rest, ok := bytes.Cut(page, []byte(opening))
	if !ok {
		return fmt.Errorf("%s has no line %q", path, opening)
	}
	_, after, ok := bytes.Cut(rest, []byte(closing))
	if !ok {
		return fmt.Errorf("%s has no line %q", path, closing)
	}
	text := string(before) + opening + "\n\n" + table + "\n" + closing + string(after)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}
