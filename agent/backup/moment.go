package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/sonae/sonae/agent/link"
	"github.com/sonae/sonae/protect/job"
)

// bringWAL brings a folder of WAL back beside the target, compares it, and gives it
// to the account of the server. What somebody else left there could lead a server
// astray: nothing may be there that this restore did not bring.
func (b *bringing) bringWAL(ctx context.Context, from job.WAL) (err error) {
	dir := b.beside(walIn)
	if err := b.claim(dir); err != nil {
		return err
	}
	w, q := *b.work, b.job.Restore
	w.job.Restore = &job.Restoring{Snapshot: from.Snapshot, Include: []string{from.Path}, Target: dir, Verify: q.Verify, Every: q.Every}
	c := &bringing{work: &w, in: b.in, opened: b.opened, empty: w.vacant()}
	if c.tree, err = rootOf(ctx, c.in, from.Snapshot); err != nil {
		return err
	}
	if err := c.count(ctx); err != nil {
		return err
	}
	if err := c.bring(ctx); err != nil {
		return fmt.Errorf("bring back the WAL: %w", err)
	}
	return giveAll(dir, b.server().account)
}

// server is the one whose account gets what is brought back.
func (b *bringing) server() server {
	l := b.job.Restore.Load
	return postgres(job.Source{Kind: l.Kind, Server: l.Server, Port: l.Port, User: l.User})
}

// begunWAL is a file that says that this restore has begun its folder of WAL.
func (w *work) begunWAL() string { return w.spared() + "-wal" }

// claim makes sure that a folder is this restore's own, also after a restart.
func (w *work) claim(dir string) error {
	_, there := os.Lstat(dir)
	_, begun := os.Lstat(w.begunWAL())
	switch {
	case there == nil && begun == nil:
		return nil
	case there == nil:
		return fmt.Errorf("%s: %w", dir, fs.ErrExist)
	case !errors.Is(there, fs.ErrNotExist):
		return there
	}
	return link.WriteFile(w.begunWAL(), nil)
}

// rewind readies a cluster so that a server which is started on it runs through
// the WAL until the moment, and waits there: people can read, nothing is written,
// and who aimed too early can choose a later moment and start it again. Only their
// word (pg_wal_replay_resume) makes it a server that goes its own way.
func (b *bringing) rewind(ctx context.Context, s server, dir string) error {
	l := b.job.Restore.Load
	wal := filepath.Join(b.beside(walIn), filepath.FromSlash(l.WAL.Path))
	c, err := openCluster(dir, s)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.leadsOn(wal); err != nil {
		return err
	}
	version, err := versionOf(dir)
	if err != nil {
		return err
	}
	if err := c.configure(ctx, version); err != nil {
		return fmt.Errorf("configure %s: %w", dir, err)
	}
	if err := c.aim(wal, l.Moment); err != nil {
		return fmt.Errorf("prepare the recovery of %s: %w", dir, err)
	}
	b.res.Restore.Moment, b.res.Restore.Server = l.Moment, cut(version, 20)
	return nil
}

// cluster is an unpacked base backup. It is written to through a Root: a link in
// it, which pg_verifybackup does not look at, must not lead out of it.
type cluster struct {
	*os.Root
	server
	dir      string
	uid, gid int
}

func openCluster(dir string, s server) (*cluster, error) {
	uid, gid, err := idsOf(s.account)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &cluster{root, s, dir, uid, gid}, nil
}

// begin is where a base backup says with which file of WAL it begins.
var begin = regexp.MustCompile(`(?m)^START WAL LOCATION: .* \(file ([0-9A-F]{24})\)$`)

// idLength is that of the number by which a server knows its files, in bytes;
// idAt is where a file of WAL has it, which pg_control begins with.
const (
	idLength = 8
	idAt     = 24
)

// leadsOn says whether WAL is of the server of this cluster and begins where the
// cluster needs it.
func (c *cluster) leadsOn(wal string) error {
	label, err := c.ReadFile("backup_label")
	if err != nil {
		return err
	}
	first := begin.FindSubmatch(label)
	if first == nil {
		return errors.New("the base backup does not say with which WAL it begins")
	}
	from, err := os.OpenRoot(wal)
	if err != nil {
		return err
	}
	defer from.Close()
	theirs, err := part(from, string(first[1]), idAt)
	if errors.Is(err, fs.ErrNotExist) {
		theirs, err = part(from, string(first[1])+".partial", idAt)
	}
	if err != nil {
		return fmt.Errorf("the WAL does not begin with the base backup: %w", err)
	}
	ours, err := part(c.Root, "global/pg_control", 0)
	if err == nil && !bytes.Equal(ours, theirs) {
		err = errors.New("the WAL is that of another server")
	}
	return err
}

// part reads the number of a server in a file.
func part(root *os.Root, name string, at int64) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	id := make([]byte, idLength)
	_, err = io.ReadFull(io.NewSectionReader(f, at, idLength), id)
	return id, err
}

// needs are what pg_controldata says of the server that wrote the WAL, and the
// settings in which a server must not be smaller to let people read while it
// recovers.
var needs = map[string]string{
	"max_connections setting":      "max_connections",
	"max_worker_processes setting": "max_worker_processes",
	"max_wal_senders setting":      "max_wal_senders",
	"max_prepared_xacts setting":   "max_prepared_transactions",
	"max_locks_per_xact setting":   "max_locks_per_transaction",
}

// configure writes a configuration where the base backup has none, because its
// server keeps it elsewhere as that of Debian does: enough to start it, and to let
// those in who have an account of the machine.
func (c *cluster) configure(ctx context.Context, version string) error {
	if _, err := c.Lstat("pg_hba.conf"); errors.Is(err, fs.ErrNotExist) {
		if err := c.write("pg_hba.conf", "local all all peer\n"); err != nil {
			return err
		}
	}
	if _, err := c.Lstat("postgresql.conf"); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	program, err := ofVersion(version, "pg_controldata")
	if err != nil {
		return err
	}
	t := c.tool
	t.dir = c.dir
	said, err := t.ask(ctx, program, "-D", ".")
	if err != nil {
		return err
	}
	text := "# by Sonae: the base backup had no configuration. What must not be smaller than it was:\n"
	for line := range strings.Lines(string(said)) {
		name, value, _ := strings.Cut(line, ":")
		if needed := needs[strings.TrimSpace(name)]; needed != "" {
			text += setting(needed, strings.TrimSpace(value))
		}
	}
	return c.write("postgresql.conf", text)
}

// signalled are the files that say what a server does when it starts.
const (
	recoverySignal = "recovery.signal"
	standbySignal  = "standby.signal" // would win: a standby never ends its recovery
	autoSettings   = "postgresql.auto.conf"
)

// aim writes down to which moment a server goes that is started here.
func (c *cluster) aim(wal string, at time.Time) error {
	if err := c.Remove(standbySignal); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	set, err := c.ReadFile(autoSettings)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var text strings.Builder
	for line := range strings.Lines(string(set)) {
		if !strings.HasPrefix(line, "recovery_") && !strings.HasPrefix(line, "restore_command") { // of a recovery long ago
			text.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		}
	}
	text.WriteString(setting("restore_command", fetching(wal)))
	text.WriteString(setting("recovery_target_time", at.UTC().Format("2006-01-02 15:04:05.000000+00"))) // it takes no more digits
	text.WriteString(setting("recovery_target_action", "pause"))
	if err := c.write(autoSettings, text.String()); err != nil {
		return err
	}
	return c.write(recoverySignal, "")
}

// fetching is the command by which a server gets WAL from a folder. The segment
// that was being written when it was gathered has an end of its own.
func fetching(dir string) string {
	from := "'" + strings.NewReplacer("'", `'\''`, "%", "%%").Replace(dir+"/") + "'%f"
	return `cp ` + from + ` "%p" || cp ` + from + `.partial "%p"`
}

// setting is a line of a configuration.
func setting(name, value string) string {
	return name + " = '" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(value) + "'\n"
}

// write makes a file of the cluster anew.
func (c *cluster) write(name, text string) error {
	if err := c.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := c.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Chown(c.uid, c.gid), f.Sync(), f.Close())
}
