package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Where the kernel tells what is mounted, and the machine's owner what should be.
const (
	ownTable   = "/proc/self/mountinfo"
	fstab      = "/etc/fstab"
	maxTable   = 4 << 20 // bytes of either
	maxEntries = 16384
)

// mount is a line of mountinfo (proc(5)), as far as it is needed here.
type mount struct {
	Device  string `json:"device"` // major:minor
	Root    string `json:"root"`   // what of the file system is shown
	Target  string `json:"target"`
	Kind    string `json:"kind"` // of file system
	Source  string `json:"source"`
	Options string `json:"options"` // of this mount
	Super   string `json:"super"`   // of the file system
}

// entry is a line of fstab (fstab(5)).
type entry struct {
	Source, Target, Kind, Options string
}

// readWhole reads a table. One that is too long is refused: half of it would
// say that the other half is not mounted.
func readWhole(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxTable+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(b) > maxTable {
		return nil, fmt.Errorf("read %s: longer than %d bytes", path, maxTable)
	}
	return b, nil
}

// mounted is what this program sees mounted, the newest last.
func mounted() ([]mount, error) {
	b, err := readWhole(ownTable)
	if err != nil {
		return nil, err
	}
	return parseMounts(b)
}

// parseMounts reads mountinfo, and refuses what it cannot read, with its line.
func parseMounts(b []byte) ([]mount, error) {
	var out []mount
	n := 0
	for line := range bytes.Lines(b) {
		n++
		m, ok := parseMount(strings.TrimSuffix(string(line), "\n"))
		if !ok || len(out) == maxEntries {
			return nil, fmt.Errorf("mountinfo: line %d cannot be read", n)
		}
		out = append(out, m)
	}
	return out, nil
}

func parseMount(line string) (mount, bool) {
	before, after, ok := strings.Cut(line, " - ") // a space in a name is written \040
	f, g := strings.Split(before, " "), strings.SplitN(after, " ", 3)
	if !ok || len(f) < 6 || len(g) != 3 || !strings.HasPrefix(f[4], "/") {
		return mount{}, false
	}
	return mount{Device: f[2], Root: unescape(f[3]), Target: unescape(f[4]), Kind: unescape(g[0]), Source: unescape(g[1]), Options: f[5], Super: unescape(g[2])}, true
}

// parseFstab reads fstab. Lines that mount would not understand are left out.
func parseFstab(b []byte) []entry {
	var out []entry
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) < 3 || strings.HasPrefix(f[0], "#") || !strings.HasPrefix(f[1], "/") || len(out) == maxEntries {
			continue
		}
		e := entry{Source: unescape(f[0]), Target: filepath.Clean(unescape(f[1])), Kind: f[2]}
		if len(f) > 3 {
			e.Options = unescape(f[3])
		}
		out = append(out, e)
	}
	return out
}

// unescape turns \ and three octal digits into the byte that they mean.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// inside says whether path is dir or lies in it.
func inside(dir, path string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
}

// has says whether options, as mount writes them, name one of these; a name
// that ends in = stands for any value.
func has(options string, names ...string) bool {
	for o := range strings.SplitSeq(options, ",") {
		for _, n := range names {
			if o == n || strings.HasSuffix(n, "=") && strings.HasPrefix(o, n) {
				return true
			}
		}
	}
	return false
}
