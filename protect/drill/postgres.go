package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonae/sonae/fault"
)

// Places in the cell.
const (
	clusterIn = "pg"
	cluster   = inside + "/" + clusterIn
	socket    = inside + "/sock"
)

// settings replaces the configuration of a restored cluster as a whole, so that
// nothing that stood in it is done: no mail, no cron, no archive, no standby, no
// network. What makes a server refuse WAL of a larger one is set high.
const settings = `data_directory = '` + cluster + `'
hba_file = '` + inside + `/pg_hba.conf'
ident_file = '` + inside + `/pg_ident.conf'
listen_addresses = ''
unix_socket_directories = '` + socket + `'
unix_socket_permissions = 0700
archive_mode = off
autovacuum = off
fsync = off
full_page_writes = off
hot_standby = off
jit = off
logging_collector = off
log_destination = 'stderr'
max_connections = 200
max_prepared_transactions = 200
max_replication_slots = 100
max_wal_senders = 0
shared_buffers = 64MB
shared_preload_libraries = ''
ssl = off
wal_level = logical
`

// postgres is a restored cluster and the programs of its version.
type postgres struct {
	*trial
	bin    string // folder of the programs
	server *process
	said   tail
	empty  bool // it is a server of our own: what is wrong with its start is wrong with this machine
}

// database starts PostgreSQL on its restored cluster and looks at all of it.
func (t *trial) database(ctx context.Context) (err error) {
	if t.cell, err = newCell(t.dir); err != nil {
		return err
	}
	if err := t.restore(ctx); err != nil {
		return err
	}
	pg := &postgres{trial: t}
	if err := pg.lay(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(t.dir, clusterIn, "backup_manifest")); err == nil {
		if err := pg.manifest(ctx); err != nil {
			return err
		}
	}
	return pg.inspect(ctx, "")
}

// lay puts the cluster where the cell expects it.
func (pg *postgres) lay(ctx context.Context) error {
	from, to := pg.restored(pg.n.Paths[0]), filepath.Join(pg.dir, clusterIn)
	info, err := os.Lstat(from)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return wrong{pg.n.Paths[0] + " was not restored"}
	case err != nil:
		return err
	case info.IsDir():
		err = os.Rename(from, to)
	case info.Mode().IsRegular():
		err = pg.unpack(ctx)
	default:
		return wrong{pg.n.Paths[0] + " is neither a folder nor a file"}
	}
	if err != nil {
		return err
	}
	if err := pg.cell.own(filepath.Join(pg.dir, restoredIn)); err != nil {
		return err
	}
	return pg.prepare()
}

// unpack unpacks the tar of a base backup, in the cell.
func (pg *postgres) unpack(ctx context.Context) error {
	if err := pg.cell.folder(clusterIn); err != nil {
		return err
	}
	if err := pg.cell.own(filepath.Join(pg.dir, restoredIn)); err != nil {
		return err
	}
	_, stderr, rc, err := call(ctx, pg.cell.command("tar", "-x", "-C", cluster, "-f", inside+"/"+restoredIn+pg.n.Paths[0]))
	if err == nil && rc != 0 {
		err = wrong{"the base backup cannot be unpacked: " + clean(stderr, 300)}
	}
	return err
}

// prepare takes away what would make the cluster act on the outside, and finds
// the programs of its version.
func (pg *postgres) prepare() error {
	dir := filepath.Join(pg.dir, clusterIn)
	raw, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if err != nil {
		return wrong{pg.n.Paths[0] + " is no cluster of PostgreSQL: it has no PG_VERSION"}
	}
	version := strings.TrimSpace(string(raw))
	if n, err := strconv.ParseFloat(version, 64); err != nil || n < 1 || n > 1000 {
		return wrong{"PG_VERSION says " + clean(version, 20)}
	}
	pg.bin = filepath.Join("/usr/lib/postgresql", version, "bin")
	if _, err := os.Stat(filepath.Join(pg.bin, "postgres")); err != nil {
		return missing("PostgreSQL " + version)
	}
	for _, name := range []string{"postmaster.pid", "postmaster.opts", "standby.signal", "postgresql.auto.conf"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "postgresql.auto.conf"), nil, 0o600); err != nil { // the server writes it, pg_verifybackup passes it over
		return err
	}
	if err := pg.links(dir); err != nil {
		return err
	}
	if err := pg.configure(); err != nil {
		return err
	}
	if err := pg.cell.own(dir); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// configure writes the configuration and makes the place of the socket.
func (pg *postgres) configure() error {
	for name, text := range map[string]string{"pg_hba.conf": "local all all trust\n", "pg_ident.conf": "", "postgresql.conf": settings} {
		if err := os.WriteFile(filepath.Join(pg.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return pg.cell.folder("sock")
}

// links makes tablespaces, and a log of changes that lies elsewhere, lead to
// what was restored, never to what lives on this machine.
func (pg *postgres) links(dir string) error {
	all, err := filepath.Glob(filepath.Join(dir, "pg_tblspc", "*"))
	if err != nil {
		return err
	}
	for _, at := range append(all, filepath.Join(dir, "pg_wal")) {
		to, err := os.Readlink(at)
		if err != nil { // a folder
			continue
		}
		if info, err := os.Stat(pg.restored(to)); err != nil || !info.IsDir() || !filepath.IsAbs(to) {
			return wrong{fmt.Sprintf("%s leads to %s, which was not restored with it", filepath.Base(at), clean(to, 200))}
		}
		if err := os.Remove(at); err != nil {
			return err
		}
		if err := os.Symlink(inside+"/"+restoredIn+filepath.Clean(to), at); err != nil {
			return err
		}
	}
	return nil
}

// tool is a program of the cluster's version that asks the server.
func (pg *postgres) tool(name string, args ...string) []string {
	return append([]string{filepath.Join(pg.bin, name), "-h", socket, "-U", pg.n.Server.User}, args...)
}

func (pg *postgres) call(ctx context.Context, args ...string) (stdout, stderr string, rc int, err error) {
	return call(ctx, pg.cell.command(args[0], args[1:]...))
}

// manifest compares every file with what the base backup wrote down.
func (pg *postgres) manifest(ctx context.Context) error {
	return pg.phase(ctx, phaseManifest, func(p *Phase) error {
		_, stderr, rc, err := pg.call(ctx, filepath.Join(pg.bin, "pg_verifybackup"), cluster)
		if err != nil {
			return err
		}
		pg.note(phaseManifest, rc, stderr)
		return nil
	})
}

// note keeps what a program found wrong; rc is its exit status.
func (t *trial) note(phase string, rc int, said string) {
	if rc == 0 {
		return
	}
	all := lines(said)
	for _, l := range all {
		t.r.problem(phase, l)
	}
	if len(all) == 0 {
		t.r.problem(phase, "ended with status "+strconv.Itoa(rc))
	}
}

// inspect starts the server, asks it all there is to ask, and stops it. more
// are further settings. It goes on behind what is wrong, so that all of it is
// named.
func (pg *postgres) inspect(ctx context.Context, more string) error {
	if more != "" {
		f := filepath.Join(pg.dir, "postgresql.conf")
		if err := os.WriteFile(f, []byte(settings+more), 0o644); err != nil {
			return err
		}
	}
	defer pg.off()
	return pg.steps(ctx, []step{{phaseStart, func(ctx context.Context, _ *Phase) error { return pg.start(ctx) }},
		{phaseAmcheck, pg.amcheck}, {phaseAsk, pg.ask}, {phaseDump, pg.dump}, {phaseStop, pg.halt}, {phaseChecksums, pg.checksums}})
}

// off ends a server that runs still.
func (pg *postgres) off() {
	if pg.server != nil {
		pg.server.kill()
	}
}

// step is one part of a run and what is done in it.
type step struct {
	name string
	do   func(context.Context, *Phase) error
}

// steps does one after the other. Without questions none are asked.
func (t *trial) steps(ctx context.Context, all []step) error {
	for _, s := range all {
		if s.name == phaseAsk && len(t.n.Server.Checks) == 0 && t.n.Server.Last.SQL == "" {
			continue
		}
		if err := t.phase(ctx, s.name, func(p *Phase) error { return s.do(ctx, p) }); err != nil {
			return err
		}
	}
	return nil
}

// start starts the server and waits until it answers.
func (pg *postgres) start(ctx context.Context) error {
	cmd := pg.cell.command(filepath.Join(pg.bin, "postgres"), "-D", cluster, "-c", "config_file="+inside+"/postgresql.conf")
	cmd.Stdout, cmd.Stderr = &pg.said, &pg.said
	var err error
	if pg.server, err = launch(cmd); err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		out, stderr, rc, err := pg.sql(ctx, "template1", "SELECT version()")
		if err != nil {
			return err
		}
		if rc == 0 {
			v, _, _ := strings.Cut(out, " on ")
			pg.r.Versions = append(pg.r.Versions, clean(v, 60))
			return nil
		}
		if strings.Contains(stderr, "role \"") && strings.Contains(stderr, "does not exist") {
			return fault.New(fault.Invalid, "protect.drill.no-role", pg.n.Server.User)
		}
		select {
		case <-pg.server.done:
			if pg.empty {
				return fmt.Errorf("an empty PostgreSQL does not start: %s", clean(pg.said.String(), 400))
			}
			pg.died()
			return wrong{"PostgreSQL does not start on it"}
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// died keeps what the server said at its end.
func (pg *postgres) died() {
	for _, l := range lines(pg.said.String()) {
		if strings.Contains(l, "the database system is starting up") { // what it told us
			continue
		}
		if strings.Contains(l, "FATAL") || strings.Contains(l, "PANIC") || strings.Contains(l, "ERROR") || strings.Contains(l, "could not") {
			pg.r.problem(phaseStart, l)
		}
	}
}

// sql asks one question that changes nothing.
func (pg *postgres) sql(ctx context.Context, database, query string) (stdout, stderr string, rc int, err error) {
	args := append([]string{"env", "PGOPTIONS=-c default_transaction_read_only=on -c statement_timeout=1h", "PGCONNECT_TIMEOUT=10", "PGCLIENTENCODING=UTF8"},
		pg.tool("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", connect(database), "-c", query)...)
	return pg.call(ctx, args...)
}

// amcheck looks at the structure of every table and index of every database.
func (pg *postgres) amcheck(ctx context.Context, p *Phase) error {
	program := filepath.Join(pg.bin, "pg_amcheck")
	if _, err := os.Stat(program); err != nil {
		return missing("pg_amcheck")
	}
	out, stderr, rc, err := pg.call(ctx, pg.tool("pg_amcheck", "--all", "--install-missing", "--heapallindexed")...)
	if err != nil {
		return err
	}
	if rc != 0 && strings.Contains(stderr, "extension control file") {
		return missing("amcheck")
	}
	pg.note(phaseAmcheck, rc, joined(out)+stderr)
	return nil
}

// joined puts what pg_amcheck says of a thing, on the lines below its name, onto
// one line.
func joined(out string) string {
	return strings.ReplaceAll(strings.ReplaceAll(out, ":\n    ", ": "), "\n    ", " ")
}

// connect names a database, whatever its name is.
func connect(database string) string {
	return "dbname='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(database) + "'"
}

// asker asks a server one question that changes nothing.
type asker func(ctx context.Context, database, query string) (stdout, stderr string, rc int, err error)

func (pg *postgres) ask(ctx context.Context, _ *Phase) error {
	return pg.questions(ctx, pg.sql, func(q string) string { return "SELECT extract(epoch FROM (" + q + ")::timestamptz)" })
}

// questions asks the drill's questions and compares the answers; epoch turns the
// one for the time of the newest record into seconds.
func (t *trial) questions(ctx context.Context, sql asker, epoch func(string) string) error {
	for _, c := range t.n.Server.Checks {
		out, stderr, rc, err := sql(ctx, c.Database, c.SQL)
		if err != nil {
			return err
		}
		a := Answer{What: c.Database + ": " + c.SQL, Want: c.Want(), Got: clean(out, 200), OK: rc == 0 && c.right(strings.TrimSpace(out))}
		if rc != 0 {
			a.Got = clean(stderr, 300)
		}
		t.r.Answers = append(t.r.Answers, a)
		if !a.OK {
			t.r.problem(phaseAsk, fmt.Sprintf("%s: %s, not %s", a.What, a.Got, a.Want))
		}
	}
	if t.n.Server.Last.SQL == "" {
		return nil
	}
	return t.age(ctx, sql, epoch)
}

// age asks how old the newest record was when the snapshot was made.
func (t *trial) age(ctx context.Context, sql asker, epoch func(string) string) error {
	q := t.n.Server.Last
	out, stderr, rc, err := sql(ctx, q.Database, epoch(strings.TrimRight(strings.TrimSpace(q.SQL), ";")))
	if err != nil {
		return err
	}
	at, parseErr := strconv.ParseFloat(strings.TrimSpace(out), 64)
	if rc != 0 || parseErr != nil {
		t.r.problem(phaseAsk, "time of the newest record: "+clean(out+stderr, 300))
		return nil
	}
	saved := t.snap.Time
	if t.n.gathered() {
		saved = t.n.Point.moment(t.wal.Time)
	}
	age := float64(saved.UnixNano())/1e9 - at
	t.r.DataAge = &age
	return nil
}

// Want is what an answer must be, in words of no language.
func (c Check) Want() string {
	number := func(f *float64) string {
		if f == nil {
			return ""
		}
		return strconv.FormatFloat(*f, 'f', -1, 64)
	}
	switch {
	case c.Min != nil && c.Max != nil && *c.Min == *c.Max:
		return number(c.Min)
	case c.Min != nil || c.Max != nil:
		return number(c.Min) + ".." + number(c.Max)
	}
	return "= " + c.Is
}

func (c Check) right(got string) bool {
	if c.Min == nil && c.Max == nil {
		return got == c.Is
	}
	n, err := strconv.ParseFloat(got, 64)
	return err == nil && (c.Min == nil || n >= *c.Min) && (c.Max == nil || n <= *c.Max)
}

// dump reads everything once, as a dump that goes nowhere.
func (pg *postgres) dump(ctx context.Context, p *Phase) error {
	_, stderr, rc, err := pg.call(ctx, pg.tool("pg_dumpall", "--no-sync", "-f", "/dev/null")...)
	if err != nil {
		return err
	}
	pg.note(phaseDump, rc, stderr)
	return nil
}

// halt stops the server in order.
func (pg *postgres) halt(ctx context.Context, p *Phase) error {
	server := pg.server
	pg.server = nil
	if !server.stop(unix.SIGINT, time.Minute) {
		pg.r.problem(phaseStop, "PostgreSQL did not stop within a minute")
		pg.died()
	}
	return nil
}

// checksums checks every page of the stopped cluster, where it has checksums.
func (pg *postgres) checksums(ctx context.Context, p *Phase) error {
	out, stderr, rc, err := pg.call(ctx, filepath.Join(pg.bin, "pg_checksums"), "--check", "-D", cluster)
	if err != nil {
		return err
	}
	if rc != 0 && strings.Contains(stderr, "not enabled") {
		p.Note = "no checksums in this cluster"
		return nil
	}
	pg.note(phaseChecksums, rc, stderr)
	for _, l := range lines(out) {
		if strings.HasPrefix(l, "Blocks scanned:") {
			p.Note = l
		}
	}
	return nil
}
