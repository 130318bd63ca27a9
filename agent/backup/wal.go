package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/sonae/sonae/protect/engine"
	"github.com/sonae/sonae/protect/job"
)

// walHome is where WAL is gathered when the source does not say where; each
// server has a folder of its own in it. The account of the server must reach it.
const walHome = "/var/lib/sonae-wal"

// gathering is the WAL of a server that is gathered on this machine, from one
// base backup to the next and on. The server keeps what is not gathered yet in a
// slot, so that nothing is missed while the agent is away.
type gathering struct {
	server
	dir, slot string
}

// gather is where the WAL of a source's server is.
func gather(s job.Source) gathering {
	at := "local"
	if s.Server != "" {
		at = s.Server
	}
	name := plainName.ReplaceAllString(strings.ToLower(strings.Trim(at, "/")), "_") + "_" + strconv.Itoa(cmp.Or(s.Port, 5432))
	return gathering{server: postgres(s), dir: cmp.Or(s.Dir, filepath.Join(walHome, name)), slot: "sonae_" + name[max(0, len(name)-50):]}
}

var plainName = regexp.MustCompile(`[^a-z0-9]+`)

// log fetches what the server has written until now, and saves all that lies in
// the folder: with a base backup that is older, it leads to any moment since.
func (w *work) log(ctx context.Context, s job.Source, res *job.SourceResult) {
	g := gather(s)
	if err := g.fetch(ctx); err != nil {
		note(res, unable(err), err)
		return
	}
	w.save(ctx, res, s, engine.Backup{Paths: []string{g.dir}})
}

// fetch brings the folder up to date.
func (g gathering) fetch(ctx context.Context) error {
	if err := folderFor(g.dir, g.account); err != nil {
		return err
	}
	reaches, err := g.value(ctx, "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
	if err != nil {
		return err
	}
	// a commit after this moment: a target until then is one that recovery can reach
	end, err := g.value(ctx, "SET synchronous_commit = local", "SELECT pg_catalog.pg_logical_emit_message(true, 'sonae', '')", "SELECT pg_catalog.pg_current_wal_flush_lsn()")
	if err != nil {
		return err
	}
	until, err := before(end)
	if err != nil {
		return err
	}
	args := []string{"--no-password", "--directory=" + g.dir, "--slot=" + g.slot}
	if _, err := g.ask(ctx, "pg_receivewal", append(args, "--create-slot", "--if-not-exists")...); err != nil {
		return err
	}
	if err := g.pour(ctx, &last{most: job.MaxError}, "pg_receivewal", append(args, "--no-loop", "--endpos="+until)...); err != nil {
		if strings.Contains(err.Error(), "has already been removed") {
			return fmt.Errorf("WAL is missing that the server does not have any more; empty %s, drop the slot %s and make a base backup: %w", g.dir, g.slot, err)
		}
		return err
	}
	return os.WriteFile(filepath.Join(g.dir, job.WALReaches), []byte(reaches), 0o600)
}

// value asks the server, in transactions of their own, and returns the last answer.
func (g gathering) value(ctx context.Context, queries ...string) (string, error) {
	args := []string{"--no-password", "--no-psqlrc", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--dbname=postgres"}
	for _, q := range queries {
		args = append(args, "--command="+q)
	}
	out, err := g.ask(ctx, "psql", args...)
	if err != nil {
		return "", err
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.TrimSpace(lines[len(lines)-1]), nil
}

// before is the place in the WAL one byte before another one: pg_receivewal ends
// only behind its end, and a server at rest writes nothing that it could wait for.
func before(lsn string) (string, error) {
	high, low, ok := strings.Cut(lsn, "/")
	h, err1 := strconv.ParseUint(high, 16, 32)
	l, err2 := strconv.ParseUint(low, 16, 32)
	at := h<<32 | l
	if err := errors.Join(err1, err2); err != nil || !ok || at == 0 {
		return "", fmt.Errorf("the server names the place %.40q in its WAL", lsn)
	}
	at--
	return fmt.Sprintf("%X/%X", at>>32, at&0xffffffff), nil
}

// segment is the name of a file of WAL, whole or begun: timeline, then number.
var segment = regexp.MustCompile(`^[0-9A-F]{8}([0-9A-F]{16})(\.partial)?$`)

// mark is a file in the folder: the segment from which on the last base backup
// needs WAL.
const mark = "last-base"

// begins is the segment from which a base backup that begins now needs WAL.
// Empty where none is gathered.
func (g gathering) begins(ctx context.Context) (string, error) {
	if _, err := os.Stat(g.dir); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	name, err := g.value(ctx, "SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn())")
	if err == nil && !segment.MatchString(name) {
		err = fmt.Errorf("the server calls its WAL %.40q", name)
	}
	return name, err
}

// trim notes that a base backup was saved which begins with a segment, and
// removes WAL that only base backups before the last one need. Those have it in
// the snapshots of their own time.
func (g gathering) trim(begins string) error {
	if begins == "" {
		return nil
	}
	last, err := os.ReadFile(filepath.Join(g.dir, mark))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(filepath.Join(g.dir, mark), []byte(begins), 0o600); err != nil {
		return err
	}
	oldest := segment.FindStringSubmatch(strings.TrimSpace(string(last)))
	if oldest == nil { // the first base backup, or nobody can say
		return nil
	}
	files, err := os.ReadDir(g.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if m := segment.FindStringSubmatch(f.Name()); m != nil && m[2] == "" && m[1] < oldest[1] {
			if err := os.Remove(filepath.Join(g.dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// base saves the whole cluster, and lets go of WAL that is not needed any more.
func (w *work) base(ctx context.Context, s job.Source, res *job.SourceResult) {
	g := gather(s)
	begins, err := g.begins(ctx)
	if err != nil {
		note(res, unable(err), err)
		return
	}
	for _, one := range g.base() {
		w.save(ctx, res, s, engine.Backup{Name: streamName(s, one.name), Stream: one.write})
	}
	if res.State != job.OK {
		return
	}
	if err := g.trim(begins); err != nil { // the backup is good all the same
		w.cfg.Log.Warn("old WAL was not removed", "job", w.job.ID, "err", err)
	}
}
