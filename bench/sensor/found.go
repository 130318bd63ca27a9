package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sonae/sonae/flow"
	"github.com/sonae/sonae/source/pcap"
)

// ours and theirs are the labels of file sharing and of coins.
var (
	ours = []string{flow.LabelBitTorrent, flow.LabelWinny, flow.LabelShare, flow.LabelPerfectDark, flow.LabelEDonkey, flow.LabelGnutella, flow.LabelSoulseek,
		flow.LabelDirectConnect, flow.LabelBitcoin, flow.LabelEthereum, flow.LabelMining}
	theirs = []string{"BitTorrent", "Gnutella", "eDonkey", "Mining", "ETHEREUM", "Bitcoin", "Soulseek"}
)

// verdicts counts connections of one capture.
type verdicts struct {
	flows, certain, probable, hint int
}

func (v verdicts) all() int { return v.certain + v.probable + v.hint }

// judge runs a capture through a table.
func judge(path string) (v verdicts, err error) {
	f, err := os.Open(path)
	if err != nil {
		return v, err
	}
	defer f.Close()
	t := flow.New(flow.Config{Emit: func(f flow.Flow) {
		if f.Phase != flow.End {
			return
		}
		v.flows++
		if !slices.Contains(ours, f.Label) {
			return
		}
		switch f.Confidence {
		case flow.Certain:
			v.certain++
		case flow.Probable:
			v.probable++
		default:
			v.hint++
		}
	}})
	err = pcap.Read(f, func(p pcap.Packet) error {
		t.Packet(p.At, p.Link, p.Data)
		return nil
	})
	t.Flush()
	return v, err
}

var counted = regexp.MustCompile(`^\s+(\S+)\s+packets: (\d+).*flows: (\d+)`)

// asked counts what ndpiReader finds in a capture.
func asked(reader, path string) (flows, sharing int, err error) {
	text, err := exec.Command(reader, "-i", path).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("%s %s: %w", reader, path, err)
	}
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		m := counted.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		n, _ := strconv.Atoi(m[3]) // digits only
		flows += n
		if slices.Contains(theirs, m[1]) {
			sharing += n
		}
	}
	return flows, sharing, nil
}

// truths returns how many connections of each capture are known to be file
// sharing: of our own captures from flows.csv, of the fetched ones what nDPI's
// own regression results say, which is a reference and no absolute truth.
func truths(data string) (map[string]int, error) {
	all := map[string]int{}
	f, err := os.Open(filepath.Join(data, "selfmade", "flows.csv"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read flows.csv: %w", err)
	}
	for _, r := range rows[1:] {
		label := r[len(r)-1]
		if strings.HasPrefix(label, "bittorrent-") && label != "bittorrent-tracker-unreachable" || strings.HasPrefix(label, "webtorrent-") || strings.HasPrefix(label, "winny-") {
			all[r[0]]++
		}
	}
	page, err := os.ReadFile(filepath.Join(data, "README.md"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || !strings.Contains(line, "nDPI regression result") {
			continue
		}
		for _, m := range regexp.MustCompile(`(\w+)=(\d+)`).FindAllStringSubmatch(cells[4], -1) {
			if n, _ := strconv.Atoi(m[2]); slices.Contains(theirs, m[1]) {
				all[filepath.Base(strings.TrimSpace(cells[1]))] += n
			}
		}
	}
	return all, nil
}

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
	b.WriteString("| capture | connections | known as file sharing or coins | ndpiReader | Sonae | certain | probable | hint |\n|---|---:|---:|---:|---:|---:|---:|---:|\n")
	var sum, sumTheirs, sumKnown int
	for _, path := range files {
		v, err := judge(path)
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		_, n, err := asked(reader, path)
		if err != nil {
			return "", err
		}
		name := filepath.Base(path)
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %d |\n", name, v.flows, known[name], n, v.all(), v.certain, v.probable, v.hint)
		sum, sumTheirs, sumKnown = sum+v.all(), sumTheirs+n, sumKnown+known[name]
	}
	fmt.Fprintf(&b, "| **all** | | **%d** | **%d** | **%d** | | | |\n", sumKnown, sumTheirs, sum)
	return b.String(), nil
}
