package drill

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sonae/sonae/protect/restic"
)

// pgBackRest's own files in the cell.
const restConfig = inside + "/pgbackrest.conf"

// pointInTime lets pgBackRest restore a cluster to a moment and looks at it.
func (t *trial) pointInTime(ctx context.Context) (err error) {
	if t.cell, err = newCell(t.dir); err != nil {
		return err
	}
	if t.n.gathered() {
		return t.replay(ctx)
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
	when := asTarget(t.n.Point.moment(t.snap.Time))
	if err := t.phase(ctx, phaseRewind, func(p *Phase) error { return t.rewind(ctx, p, when) }); err != nil {
		return err
	}
	pg := &postgres{trial: t}
	if err := pg.prepare(); err != nil {
		return err
	}
	return pg.inspect(ctx, "restore_command = '"+strings.Join(t.pgBackRest("archive-get", "%f", `"%p"`), " ")+"'\nrecovery_target_time = '"+when+"'\nrecovery_target_action = 'promote'\n")
}

// moment is the one that a drill wants, where what was saved last is of a time.
func (p Point) moment(saved time.Time) time.Time {
	if p.Target.IsZero() {
		return saved.Add(-time.Duration(p.Before) * time.Second)
	}
	return p.Target
}

// asTarget writes a moment for PostgreSQL; more digits than microseconds are
// refused.
func asTarget(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05.000000+00") }

// pickBoth picks the newest WAL, and the newest base backup that was begun before
// the moment.
func (t *trial) pickBoth(all []restic.Snapshot) (err error) {
	if t.wal, err = pick(all, t.n.Paths[1:]); err != nil {
		return err
	}
	at := t.n.Point.moment(t.wal.Time)
	early := slices.DeleteFunc(slices.Clone(all), func(s restic.Snapshot) bool { return !s.Time.Before(at) })
	if t.snap, err = pick(early, t.n.Paths[:1]); err != nil {
		return wrong{fmt.Sprintf("no base backup %s is older than %s", t.n.Paths[0], asTarget(at))}
	}
	return nil
}

// replay lets PostgreSQL run through gathered WAL, from a base backup to the
// moment, and looks at it. The segment that was being written when the WAL was
// gathered is among it, under its own name.
func (t *trial) replay(ctx context.Context) error {
	if err := t.bring(ctx, t.snap, t.n.Paths[:1]); err != nil {
		return err
	}
	if err := t.bring(ctx, t.wal, t.n.Paths[1:]); err != nil {
		return err
	}
	pg := &postgres{trial: t}
	if err := pg.lay(ctx); err != nil {
		return err
	}
	if err := pg.manifest(ctx); err != nil {
		return err
	}
	signal := filepath.Join(t.dir, clusterIn, "recovery.signal")
	if err := os.WriteFile(signal, nil, 0o600); err != nil {
		return err
	}
	if err := t.cell.own(signal); err != nil {
		return err
	}
	from := inside + "/" + restoredIn + t.n.Paths[1] + "/%f"
	return pg.inspect(ctx, "restore_command = 'cp "+from+" \"%p\" || cp "+from+".partial \"%p\"'\nrecovery_target_time = '"+asTarget(t.n.Point.moment(t.wal.Time))+"'\nrecovery_target_action = 'promote'\n")
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
