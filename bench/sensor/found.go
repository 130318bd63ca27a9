package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// family is what a label speaks of: one network of file sharing, or coins. What
// one program calls a coin by its name another calls mining.
type family string

const coins family = "coins"

// families are those of the labels of both programs.
var families = map[string]family{
	flow.LabelBitTorrent: "bittorrent", flow.LabelWinny: "winny", flow.LabelShare: "share", flow.LabelPerfectDark: "perfectdark", flow.LabelEDonkey: "edonkey",
	flow.LabelGnutella: "gnutella", flow.LabelSoulseek: "soulseek", flow.LabelDirectConnect: "directconnect",
	flow.LabelBitcoin: coins, flow.LabelEthereum: coins, flow.LabelMining: coins,
	"BitTorrent": "bittorrent", "Gnutella": "gnutella", "eDonkey": "edonkey", "Soulseek": "soulseek", "Mining": coins, "ETHEREUM": coins, "Bitcoin": coins, "BITCOIN": coins,
}

// ends is a connection, whoever opened it and however often.
type ends struct {
	proto string
	a, b  netip.AddrPort
}

func endsOf(proto string, a, b netip.AddrPort) ends {
	if a.Compare(b) > 0 {
		a, b = b, a
	}
	return ends{proto, a, b}
}

// verdict is what a program said of a connection.
type verdict struct {
	of     family
	sure   flow.Confidence // of our own
	silent bool            // of ndpiReader: no side sent a byte of payload
}

// judge runs a capture through a table.
func judge(path string) (map[ends]verdict, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all := map[ends]verdict{}
	t := flow.New(flow.Config{Emit: func(f flow.Flow) {
		if f.Phase != flow.End {
			return
		}
		k := endsOf(f.Proto, f.Src, f.Dst)
		if of := families[f.Label]; of != "" || all[k].of == "" {
			all[k] = verdict{of: of, sure: f.Confidence}
		}
	}})
	err = pcap.Read(f, func(p pcap.Packet) error {
		t.Packet(p.At, p.Link, p.Data)
		return nil
	})
	t.Flush()
	return all, err
}

// told is a line of ndpiReader about one connection; an address of version 6
// stands in brackets. silent is a part of it.
var told = regexp.MustCompile(`^\s+\d+\s+(TCP|UDP) \[?([0-9a-fA-F.:]+?)\]?:(\d+) <?->? \[?([0-9a-fA-F.:]+?)\]?:(\d+) .*?\[proto: [0-9.]+/([^\]]+)\]`)

const silent = "[Goodput ratio: 0/0]"

// asked asks ndpiReader about a capture.
func asked(reader, path string) (map[ends]verdict, error) {
	text, err := exec.Command(reader, "-v", "2", "-i", path).Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", reader, path, err)
	}
	all := map[ends]verdict{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := told.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		a, errA := end(m[2], m[3])
		b, errB := end(m[4], m[5])
		if err := cmp.Or(errA, errB); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", reader, lines.Text(), err)
		}
		var of family
		for name := range strings.SplitSeq(m[6], ".") { // carrier and what it carries
			of = cmp.Or(families[name], of)
		}
		if k := endsOf(strings.ToLower(m[1]), a, b); of != "" || all[k].of == "" {
			all[k] = verdict{of: of, silent: strings.Contains(lines.Text(), silent)}
		}
	}
	return all, lines.Err()
}

func end(addr, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a, uint16(p)), err
}

// score is how a program did on one capture, or on all.
type score struct {
	right, wrong            int
	certain, probable, hint int // of right
}

func (s *score) add(o score) {
	s.right, s.wrong = s.right+o.right, s.wrong+o.wrong
}

// mark holds what a program said against the truth. What silent connections
// were is known only where it is written of each: nDPI's results are guesses by
// port and address there, so that such a label is right for nobody. Wrong it can be.
func mark(said map[ends]verdict, t truth, silent map[ends]bool) (s score) {
	for k, v := range said {
		switch {
		case v.of == "":
			continue
		case !t.right(k, v.of):
			s.wrong++
			continue
		case t.each == nil && silent[k]:
			continue
		}
		s.right++
		switch v.sure {
		case flow.Certain:
			s.certain++
		case flow.Probable:
			s.probable++
		case flow.Hint:
			s.hint++
		}
	}
	return s
}

// behind reports whether s found less than o or named more wrongly.
func (s score) behind(o score) bool { return s.right < o.right || s.wrong > o.wrong }

// recognised makes the table of what was found in each capture.
func recognised(data, reader string) (string, error) {
	files, err := captures(data)
	if err != nil {
		return "", err
	}
	known, err := truths(data)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("| capture | connections | known | ndpiReader right | wrong | Sonae right | wrong | certain | probable | hint |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	var ours, theirs score
	var behind []string
	for _, path := range files {
		name := filepath.Base(path)
		we, err := judge(path)
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		they, err := asked(reader, path)
		if err != nil {
			return "", err
		}
		t, quiet := known[name], map[ends]bool{}
		for k, v := range they {
			quiet[k] = v.silent
		}
		us, them := mark(we, t, quiet), mark(they, t, quiet)
		fmt.Fprintf(&b, "| %s | %d | %s | %d | %d | %d | %d | %d | %d | %d |\n", name, len(we), t, them.right, them.wrong, us.right, us.wrong, us.certain, us.probable, us.hint)
		ours.add(us)
		theirs.add(them)
		if us.behind(them) {
			behind = append(behind, name)
		}
	}
	fmt.Fprintf(&b, "| **all** | | | **%d** | **%d** | **%d** | **%d** | | | |\n\n", theirs.right, theirs.wrong, ours.right, ours.wrong)
	if len(behind) == 0 {
		fmt.Fprintf(&b, "Sonae found no less and named no more wrongly than ndpiReader in each of the %d rows.\n", len(files))
	} else {
		fmt.Fprintf(&b, "Sonae is behind ndpiReader in: %s.\n", strings.Join(behind, ", "))
	}
	return b.String(), nil
}
