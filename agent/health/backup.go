package health

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/sonae/sonae/source/agentlink/wire"
)

// BackupConfig is how to see that a backup succeeded: the age of a file that it
// writes at its end, or a command that ends with 0 when all is well.
type BackupConfig struct {
	Name    string   `yaml:"name"`
	Marker  string   `yaml:"marker"`
	Command []string `yaml:"command"`
}

// commandFor bounds a command that looks after a backup.
const commandFor = time.Minute

func (m *Monitor) measureBackups(ctx context.Context) []wire.Measure {
	var out []wire.Measure
	for _, b := range m.cfg.Backups {
		name := b.name()
		good, why := m.lastGood(ctx, b)
		failed := wire.Measure{Name: BackupFailed, Object: name, Detail: why}
		if why != "" {
			failed.Value = 1
		}
		out = append(out, failed)
		if !good.IsZero() {
			out = append(out, wire.Measure{Name: Backup, Object: name, Value: m.deps.Now().Sub(good).Hours(), Detail: good.UTC().Format("2006-01-02 15:04Z")})
		}
	}
	return out
}

func (b BackupConfig) name() string {
	if len(b.Command) > 0 {
		return cmp.Or(b.Name, b.Command[0])
	}
	return cmp.Or(b.Name, b.Marker)
}

// lastGood is when the backup succeeded last, and why it is not well now.
func (m *Monitor) lastGood(ctx context.Context, b BackupConfig) (good time.Time, why string) {
	if b.Marker != "" {
		info, err := os.Stat(b.Marker)
		if err != nil {
			return time.Time{}, bounded(err.Error())
		}
		return info.ModTime(), ""
	}
	ctx, cancel := context.WithTimeout(ctx, commandFor)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.Command[0], b.Command[1:]...)
	cmd.WaitDelay = time.Second // a child of it may hold its output open
	if err := cmd.Run(); err != nil {
		return m.backups[b.name()], bounded(fmt.Sprintf("%s: %v", b.Command[0], err))
	}
	m.backups[b.name()] = m.deps.Now()
	return m.deps.Now(), ""
}
