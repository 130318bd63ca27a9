package main

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// truth is what is known of one capture. The zero value knows of no file
// sharing in it, so that every such label is wrong.
type truth struct {
	each  map[ends]family // of every connection, for captures made here; empty when it is something else
	some  map[family]bool // what a capture holds of which nobody wrote down the connections
	count int             // connections that could be found; 0 with some: nobody counted
}

// right reports whether a connection may be called so.
func (t truth) right(k ends, of family) bool {
	if t.each != nil {
		return t.each[k] == of
	}
	return t.some[of]
}

// String is the number of connections, or a word when it is not known.
func (t truth) String() string {
	if t.count == 0 && len(t.some) > 0 {
		return "some"
	}
	return strconv.Itoa(t.count)
}

// truths returns what is known of each capture, by its name.
func truths(data string) (map[string]truth, error) {
	all, err := written(filepath.Join(data, "selfmade", "flows.csv"))
	if err != nil {
		return nil, err
	}
	return all, referred(filepath.Join(data, "README.md"), all)
}

// written reads what each connection of our own captures is.
func written(path string) (map[string]truth, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	all := map[string]truth{}
	for _, r := range rows[1:] {
		t := all[r[0]]
		if t.each == nil {
			t.each = map[ends]family{}
		}
		proto := map[string]string{"6": "tcp", "17": "udp"}[r[1]]
		if proto != "" {
			a, errA := end(r[2], r[3])
			b, errB := end(r[4], r[5])
			if err := cmp.Or(errA, errB); err != nil {
				return nil, fmt.Errorf("%s: %v: %w", path, r, err)
			}
			label, _, _ := strings.Cut(r[len(r)-1], "-")
			of := map[string]family{"bittorrent": "bittorrent", "webtorrent": "bittorrent", "winny": "winny"}[label]
			k := endsOf(proto, a, b)
			if of != "" && t.each[k] == "" && r[len(r)-1] != "bittorrent-tracker-unreachable" { // nobody answered that one
				t.count++
			}
			t.each[k] = cmp.Or(t.each[k], of)
		}
		all[r[0]] = t
	}
	return all, nil
}

// counted is a label and a number in a row of the page about the captures.
var counted = regexp.MustCompile(`(\w+)=(\d+)`)

// referred adds what is written about the captures of others: of nDPI's own what
// its regression test says for the version they came with, of the rest what
// their names and tests call them.
func referred(path string, all map[string]truth) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || !strings.Contains(cells[1], "fetched/") {
			continue
		}
		name := filepath.Base(strings.TrimSpace(cells[1]))
		t := truth{some: map[family]bool{}}
		if strings.Contains(cells[4], "nDPI regression result") {
			for _, m := range counted.FindAllStringSubmatch(cells[4], -1) {
				if of := families[m[1]]; of != "" {
					n, _ := strconv.Atoi(m[2]) // digits only
					t.some[of], t.count = true, t.count+n
				}
			}
		} else {
			for _, of := range families {
				if strings.Contains(name+cells[4], string(of)) {
					t.some[of] = true
				}
			}
		}
		all[name] = t
	}
	return nil
}
