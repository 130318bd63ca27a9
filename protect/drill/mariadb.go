package drill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Places in the cell.
const (
	mariaIn     = "maria"
	mariaData   = inside + "/" + mariaIn
	mariaSocket = socket + "/maria.sock"
)

// mariadb is an empty MariaDB, or MySQL, into which dumps are loaded.
type mariadb struct {
	*trial
	daemon, install, client, check string // programs
	server                         *process
	said                           tail
}

// intoMariaDB loads dumps into an empty MariaDB.
func (t *trial) intoMariaDB(ctx context.Context) (err error) {
	m := &mariadb{trial: t}
	for _, p := range []struct {
		at    *string
		names []string
	}{{&m.daemon, []string{"mariadbd", "mysqld"}}, {&m.install, []string{"mariadb-install-db", "mysql_install_db"}}, {&m.client, []string{"mariadb", "mysql"}}, {&m.check, []string{"mariadb-check", "mysqlcheck"}}} {
		if *p.at, err = program(p.names...); err != nil {
			return err
		}
	}
	defer func() {
		if m.server != nil {
			m.server.kill()
		}
	}()
	return m.steps(ctx, []step{{phaseStart, m.raise}, {phaseLoad, m.load}, {phaseTables, m.tables}, {phaseAsk, m.ask}, {phaseStop, m.halt}})
}

// program finds a program under one of its names, also where PATH of a service
// does not look.
func program(names ...string) (string, error) {
	for _, name := range names {
		for _, dir := range []string{"", "/usr/sbin", "/usr/bin"} {
			if at, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return at, nil
			}
		}
	}
	return "", missing(names[0])
}

// raise makes an empty server and starts it: on a socket alone, without what it
// does by itself. Nothing on its disk need last.
func (m *mariadb) raise(ctx context.Context, _ *Phase) error {
	for _, name := range []string{mariaIn, "sock"} {
		if err := m.cell.folder(name); err != nil {
			return err
		}
	}
	out, stderr, rc, err := call(ctx, m.cell.command(m.install, "--no-defaults", "--datadir="+mariaData, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
		"--innodb-flush-method=nosync", "--tmpdir="+inside+"/tmp"))
	if err != nil {
		return err
	}
	if rc != 0 {
		return errors.Join(lacking(stderr), fmt.Errorf("an empty MariaDB cannot be made: %s", clean(stderr+out, 400)))
	}
	cmd := m.cell.command(m.daemon, "--no-defaults", "--datadir="+mariaData, "--socket="+mariaSocket, "--pid-file="+mariaData+"/pid", "--tmpdir="+inside+"/tmp", "--skip-networking", "--skip-log-bin",
		"--event-scheduler=OFF", "--local-infile=0", "--character-set-server=utf8mb4", "--max-allowed-packet=1G", "--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=256M")
	cmd.Stdout, cmd.Stderr = &m.said, &m.said
	if m.server, err = launch(cmd); err != nil {
		return err
	}
	return m.answers(ctx)
}

// answers waits until the server does.
func (m *mariadb) answers(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		out, _, rc, err := m.sql(ctx, "", "SELECT VERSION()")
		if err != nil {
			return err
		}
		if rc == 0 {
			m.r.Versions = append(m.r.Versions, "MariaDB "+clean(out, 60))
			return nil
		}
		select {
		case <-m.server.done:
			return fmt.Errorf("an empty MariaDB does not start: %s", clean(m.said.String(), 400))
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// tool is a program that asks the server. It obeys nothing in what it reads but SQL.
func (m *mariadb) tool(args ...string) *exec.Cmd {
	return m.cell.command(m.client, append([]string{"--no-defaults", "--socket=" + mariaSocket, "--user=root", "--default-character-set=utf8mb4", "--max-allowed-packet=1G", "--binary-mode", "--batch", "--skip-column-names"}, args...)...)
}

// sql asks one question that changes nothing. A time without a zone is one of
// Japan, as clocks in the wards are.
func (m *mariadb) sql(ctx context.Context, database, query string) (stdout, stderr string, rc int, err error) {
	return call(ctx, m.tool("--execute=SET SESSION TRANSACTION READ ONLY; SET SESSION time_zone = '+09:00'; "+query, "--database="+database))
}

// pour lets the server do what it is written.
func (m *mariadb) pour(ctx context.Context, text string) (out, stderr string, rc int, err error) {
	cmd, all := m.tool(), &bytes.Buffer{}
	cmd.Stdin, cmd.Stdout = strings.NewReader(text), all
	_, stderr, rc, err = call(ctx, cmd)
	return all.String(), stderr, rc, err
}

// load loads one dump after the other.
func (m *mariadb) load(ctx context.Context, p *Phase) error {
	m.nameless()
	for _, d := range m.dumps {
		if err := m.ready(ctx, d); err != nil {
			return err
		}
	}
	for _, d := range m.dumps {
		if err := m.one(ctx, d); err != nil {
			return err
		}
		p.Bytes, p.Files = p.Bytes+d.bytes, p.Files+1
	}
	return m.loaded(ctx, p)
}

// ready makes the database of a dump that makes none, and the accounts in whose
// name its views and procedures act, which stand in no dump of a database: each may
// everything, for what an account may is not what is tried.
func (m *mariadb) ready(ctx context.Context, d *stored) error {
	var b strings.Builder
	if !d.creates {
		fmt.Fprintf(&b, "CREATE DATABASE IF NOT EXISTS %s CHARACTER SET utf8mb4;\n", ticked(d.database))
	}
	for _, account := range d.needs {
		fmt.Fprintf(&b, "CREATE USER IF NOT EXISTS %s; GRANT ALL PRIVILEGES ON *.* TO %s;\n", account, account)
	}
	m.granted += len(d.needs)
	_, stderr, rc, err := m.pour(ctx, b.String())
	if err == nil && rc != 0 {
		err = fmt.Errorf("make what %s takes for granted: %s", d.file, clean(stderr, 300))
	}
	return err
}

// ticked is a name for SQL of MariaDB.
func ticked(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// one loads one dump. The first error ends it.
func (m *mariadb) one(ctx context.Context, d *stored) error {
	in, err := m.opened(d)
	if err != nil {
		return err
	}
	defer in.Close()
	cmd := m.tool()
	if !d.creates {
		cmd = m.tool("--database=" + d.database)
	}
	cmd.Stdin = in
	_, stderr, rc, err := call(ctx, cmd)
	if err == nil && rc != 0 {
		err = m.refused(phaseLoad, d, stderr)
	}
	return err
}

// loaded counts what there is now. A dump of nothing loads well and proves nothing.
func (m *mariadb) loaded(ctx context.Context, p *Phase) error {
	out, stderr, rc, err := m.pour(ctx, "SELECT CONCAT('`', REPLACE(table_schema, '`', '``'), '`.`', REPLACE(table_name, '`', '``'), '`') FROM information_schema.tables"+
		" WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys');\n")
	if err != nil || rc != 0 {
		return errors.Join(err, fmt.Errorf("list tables: %s", clean(stderr, 300)))
	}
	var b strings.Builder
	tables := lines(out)
	for _, t := range tables {
		fmt.Fprintf(&b, "SELECT 1 FROM %s LIMIT 1;\n", t)
	}
	out, stderr, rc, err = m.pour(ctx, b.String())
	if err != nil || rc != 0 {
		return errors.Join(err, fmt.Errorf("look into tables: %s", clean(stderr, 300)))
	}
	p.Note = fmt.Sprintf("%d tables, %d of them with rows", len(tables), len(lines(out)))
	if m.granted > 0 {
		p.Note += fmt.Sprintf("; %d accounts were made that no dump makes", m.granted)
	}
	if len(lines(out)) == 0 {
		return wrong{fmt.Sprintf("what was loaded holds no row in its %d tables", len(tables))}
	}
	return nil
}

// tables looks at the structure of every table and its indexes.
func (m *mariadb) tables(ctx context.Context, p *Phase) error {
	out, stderr, rc, err := call(ctx, m.cell.command(m.check, "--no-defaults", "--socket="+mariaSocket, "--user=root", "--all-databases", "--check"))
	if err != nil {
		return err
	}
	sound, bad := checked(out)
	for _, l := range bad {
		m.r.problem(phaseTables, l)
	}
	if rc != 0 && len(bad) == 0 {
		m.note(phaseTables, rc, stderr)
	}
	p.Note = fmt.Sprintf("%d tables are sound", sound)
	return nil
}

// checked reads what mariadb-check says: a table and "OK", or its name and below it
// what is wrong. Its exit status says nothing of tables. What is only a note, or
// that nothing need be done, is no trouble.
func checked(out string) (sound int, bad []string) {
	name := ""
	for _, l := range lines(out) {
		kind, text, told := strings.Cut(l, ":")
		switch kind = strings.ToLower(strings.TrimSpace(kind)); {
		case strings.HasSuffix(l, " OK"):
			sound++
		case told && (kind == "error" || kind == "status" && strings.TrimSpace(text) != "OK"):
			bad = append(bad, name+": "+strings.TrimSpace(text))
		case told && (kind == "warning" || kind == "note" || kind == "info" || kind == "status"):
		case l == "Corrupt":
			bad = append(bad, name+": corrupt")
		default:
			name = l
		}
	}
	return sound, bad
}

func (m *mariadb) ask(ctx context.Context, _ *Phase) error {
	return m.questions(ctx, m.sql, func(q string) string { return "SELECT UNIX_TIMESTAMP((" + q + "))" })
}

// halt stops the server in order.
func (m *mariadb) halt(_ context.Context, _ *Phase) error {
	server := m.server
	m.server = nil
	if !server.stop(unix.SIGTERM, time.Minute) {
		m.r.problem(phaseStop, "MariaDB did not stop within a minute")
	}
	return nil
}
