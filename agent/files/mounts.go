package files

import (
	"bufio"
	"bytes"
	"strings"
)

// mount is a line of /proc/self/mountinfo (proc(5)).
type mount struct {
	id, device, root, point, kind, source string // device is major:minor, root what of it is shown
}

// maxMounts bounds what is read.
const maxMounts = 4096

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// parseMounts reads mountinfo. Lines that cannot be read are left out.
func parseMounts(b []byte) []mount {
	var out []mount
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan() && len(out) < maxMounts; {
		before, after, ok := strings.Cut(s.Text(), " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(g) < 2 {
			continue
		}
		out = append(out, mount{id: f[0], device: f[2], root: f[3], point: unescape.Replace(f[4]), kind: g[0], source: unescape.Replace(g[1])})
	}
	return out
}
