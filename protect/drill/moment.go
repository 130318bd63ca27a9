package drill

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// pgBackRest's own files in the cell.
const restConfig = inside + "/pgbackrest.conf"

// pointInTime lets pgBackRest restore a cluster to a moment and looks at it.
func (t *trial) pointInTime(ctx context.Context) (err error) {
	if t.cell, err = newCell(t.dir); err != nil {
		return err
	}
	if _, err := exec.LookPath("pgbackrest"); err != nil {
		return missing("pgbackrest")
	}
	if err := t.restore(ctx); err != nil {
		return err
	}
	if info, err := os.Stat(t.restored(t.n.Paths[0])); err != nil || !info.IsDir() {
		return wrong{t.n.Paths[0] + " is no repository of pgBackRest"}
	}
	target := t.n.Point.Target
	if target.IsZero() {
		target = t.snap.Time.Add(-time.Duration(t.n.Point.Before) * time.Second)
	}
	// more digits than microseconds are refused
	when := target.UTC().Format("2006-01-02 15:04:05.000000+00")
	if err := t.phase(ctx, phaseRewind, func(p *Phase) error { return t.rewind(ctx, p, when) }); err != nil {
		return err
	}
	pg := &postgres{trial: t}
	if err := pg.prepare(); err != nil {
		return err
	}
	return pg.inspect(ctx, "restore_command = '"+strings.Join(t.pgBackRest("archive-get", "%f", `"%p"`), " ")+"'\nrecovery_target_time = '"+when+"'\nrecovery_target_action = 'promote'\n")
}

// pgBackRest is a call in the cell.
func (t *trial) pgBackRest(args ...string) []string {
	return append([]string{"pgbackrest", "--config=" + restConfig, "--stanza=" + t.n.Point.Stanza, "--repo1-path=" + inside + "/" + restoredIn + t.n.Paths[0], "--pg1-path=" + cluster,
		"--lock-path=" + inside + "/lock", "--log-level-file=off", "--log-level-console=warn"}, args...)
}

func (t *trial) rewind(ctx context.Context, p *Phase, when string) error {
	if err := os.WriteFile(filepath.Join(t.dir, "pgbackrest.conf"), []byte("[global]\n"), 0o644); err != nil {
		return err
	}
	for _, name := range []string{clusterIn, "lock"} {
		if err := t.cell.folder(name); err != nil {
			return err
		}
	}
	if err := t.cell.own(filepath.Join(t.dir, restoredIn)); err != nil {
		return err
	}
	args := t.pgBackRest("--type=time", "--target="+when, "--target-action=promote", "restore")
	_, stderr, rc, err := call(ctx, t.cell.command(args[0], args[1:]...))
	if err != nil {
		return err
	}
	if rc != 0 {
		return wrong{"pgBackRest: " + clean(stderr, 400)}
	}
	if out, _, rc, err := call(ctx, exec.Command("pgbackrest", "version")); err == nil && rc == 0 {
		t.r.Versions = append(t.r.Versions, clean(out, 60))
	}
	return nil
}
