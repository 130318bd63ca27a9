package collect

import (
	"os"
	"path/filepath"
	"strings"
)

// groupOf reads the control group of a process, "" where there are none.
func groupOf(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if group, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSuffix(group, "\n")
		}
	}
	return ""
}

// container is the id of the container that a control group belongs to, or "":
// engines put 64 hexadecimal digits into the name of its group.
func container(group string) string {
	const digits = 64
	for ; group != "/" && group != "." && group != ""; group = filepath.Dir(group) {
		name := filepath.Base(group)
		for i := 0; i+digits <= len(name); i++ {
			if n := hexDigits(name[i:]); n == digits {
				return name[i : i+digits]
			} else if n > 0 {
				i += n
			}
		}
	}
	return ""
}

// hexDigits is how many lower-case hexadecimal digits s begins with.
func hexDigits(s string) int {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return i
		}
	}
	return len(s)
}
