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

// Markers of the page, for each table.
const (
	opening = "<!-- bench-sensor %s: begin (written by make bench-sensor) -->"
	closing = "<!-- bench-sensor %s: end -->"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	set := flag.NewFlagSet("sensor", flag.ContinueOnError)
	data := set.String("data", "../../../shared/data/net", "folder of the captures")
	out := set.String("out", "", "Markdown page that gets the tables between its markers (default: print them)")
	rounds := set.Int("count", 3, "rounds of the speed table")
	size := set.Int64("bytes", 200<<20, "size of the two files of the speed table")
	reader := set.String("ndpi", "ndpiReader", "the program to compare with")
	only := set.String("only", "", "make one table only: found or speed")
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
		err = compare(*data, *out, *only, *reader, *rounds, *size)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sensor:", err)
		return 1
	}
	return 0
}

func compare(data, out, only, reader string, rounds int, size int64) error {
	if only != "speed" {
		found, err := recognised(data, reader)
		if err != nil {
			return err
		}
		if err := put(out, "found", found); err != nil {
			return err
		}
	}
	if only == "found" {
		return nil
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
	return put(out, "speed", machine()+speed)
}

// put prints a table, or writes it between its markers of the page.
func put(out, name, table string) error {
	if out == "" {
		fmt.Print(table)
		return nil
	}
	return between(out, name, table)
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

// between replaces what stands between the markers of one table of a page.
func between(path, name, table string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	begin, end := fmt.Sprintf(opening, name), fmt.Sprintf(closing, name)
	before, rest, ok := bytes.Cut(page, []byte(begin))
	if !ok {
		return fmt.Errorf("%s has no line %q", path, begin)
	}
	_, after, ok := bytes.Cut(rest, []byte(end))
	if !ok {
		return fmt.Errorf("%s has no line %q", path, end)
	}
	text := string(before) + begin + "\n\n" + table + "\n" + end + string(after)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}
