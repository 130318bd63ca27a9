package guard

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// shells wait for what they start.
var shells = regexp.MustCompile(`^(ba|da|z|k)?sh$|^busybox$`)

// origin is the script that started p and waits for it, and for nothing else:
// it would start the next program if only p were stopped and ended. A person's
// own shell, and one with other children, goes on.
func (c *court) origin(p proc) proc {
	for range levels {
		up, ok := c.tasks.up(p, c.now())
		if !ok || !c.waits(up) {
			return p
		}
		p = up
	}
	return p
}

func (c *court) waits(p proc) bool {
	k := c.tasks.all[p.pid]
	if k == nil || !shells.MatchString(shown(k.image)) {
		return false
	}
	script := false
	for i, arg := range commandLine(p.pid) {
		script = script || i > 0 && !strings.HasPrefix(arg, "-")
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.pid, p.pid))
	return err == nil && script && len(strings.Fields(string(children))) == 1
}
