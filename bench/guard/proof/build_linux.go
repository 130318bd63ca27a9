package proof

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build compiles the agent and the simulator of the module in root into dir.
func Build(root, dir string) (agent, encsim string, err error) {
	agent, encsim = filepath.Join(dir, "sonae-agent"), filepath.Join(dir, "encsim")
	for out, pkg := range map[string]string{agent: "./cmd/sonae-agent", encsim: "./bench/guard/encsim"} {
		cmd := exec.Command("go", "build", "-o", out, pkg)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if b, err := cmd.CombinedOutput(); err != nil {
			return "", "", fmt.Errorf("build %s: %w: %s", pkg, err, b)
		}
	}
	return agent, encsim, nil
}
