package health

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// maxComm is how much of a name the kernel keeps (TASK_COMM_LEN - 1).
const maxComm = 15

// running says whether a process of that name lives.
func running(name string) (bool, error) {
	name = name[:min(len(name), maxComm)]
	comms, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return false, err
	}
	for _, path := range comms {
		if b, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(b)) == name && !dead(filepath.Dir(path)) {
			return true, nil
		}
	}
	return false, nil
}

// dead says whether a process ended and only waits for its parent.
func dead(dir string) bool {
	b, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return true
	}
	_, rest, ok := strings.Cut(string(b), ") ")
	return ok && strings.HasPrefix(rest, "Z")
}

// askFor bounds asking the service manager.
const askFor = 10 * time.Second

// active asks systemd about a unit.
func active(ctx context.Context, unit string) (bool, string, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", "show", "--property=ActiveState,SubState", "--value", "--", unit).Output()
	if err != nil {
		return false, "", fmt.Errorf("ask systemd about %s: %w", unit, err)
	}
	state, sub, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	switch state {
	case "active", "reloading", "activating":
		return true, "", nil
	}
	return false, state + " (" + sub + ")", nil
}
