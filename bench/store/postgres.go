package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sonae/sonae/archive/archivetest"
	"github.com/sonae/sonae/event"
)

// postgres is a PostgreSQL server of its own on a socket below its folder.
type postgres struct {
	dir, bin string
	h        *haystack
	as       *syscall.Credential // the server refuses to run as root
	server   *exec.Cmd
	conn     *pgx.Conn
	buffer   bytes.Buffer
}

func newPostgres(dir string, h *haystack) (*postgres, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return nil, errors.New("PostgreSQL is not installed (Debian: apt install postgresql)")
	}
	slices.SortFunc(found, func(x, y string) int { return len(y) - len(x) + strings.Compare(y, x) })
	p := &postgres{dir: dir, bin: filepath.Dir(found[0]), h: h}
	if os.Getuid() != 0 {
		return p, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	p.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return p, nil
}

func (p *postgres) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(p.bin, name), args...)
	c.Dir = p.dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: p.as}
	return c
}

func (p *postgres) start(ctx context.Context) error {
	fresh, err := p.initialise()
	if err != nil {
		return err
	}
	p.server = p.command("postgres", "-D", filepath.Join(p.dir, "data"), "-k", p.dir, "-c", "listen_addresses=", "-c", "shared_buffers=1GB",
		"-c", "effective_cache_size=6GB", "-c", "work_mem=128MB", "-c", "maintenance_work_mem=1GB", "-c", "max_wal_size=4GB", "-c", "wal_compression=lz4",
		"-c", "random_page_cost=1.1", "-c", "jit=off", "-c", "default_toast_compression=lz4", "-c", "max_parallel_workers_per_gather="+strconv.Itoa(min(2, runtime.NumCPU())))
	log, err := os.OpenFile(filepath.Join(filepath.Dir(p.dir), "postgres.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	p.server.Stdout, p.server.Stderr = log, log
	if err := p.server.Start(); err != nil {
		return err
	}
	err = until(ctx, func() (err error) {
		p.conn, err = pgx.Connect(ctx, "host="+p.dir+" user=sonae dbname=postgres")
		return err
	})
	if err == nil && fresh {
		_, err = p.conn.Exec(ctx, p.schema())
	}
	return err
}

func (p *postgres) initialise() (fresh bool, err error) {
	if _, err := os.Stat(filepath.Join(p.dir, "data")); err == nil {
		return false, nil
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return false, err
	}
	if p.as != nil {
		if err := os.Chown(p.dir, int(p.as.Uid), int(p.as.Gid)); err != nil {
			return false, err
		}
	}
	out, err := p.command("initdb", "-D", filepath.Join(p.dir, "data"), "-U", "sonae", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions").CombinedOutput()
	if err != nil {
		return false, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return true, nil
}

// schema is what a careful administrator would choose: a partition for each
// day, typed columns, the rest as jsonb.
func (p *postgres) schema() string {
	var b strings.Builder
	b.WriteString(`CREATE EXTENSION pg_trgm;
CREATE TABLE events (time timestamptz NOT NULL, ingested timestamptz NOT NULL, id text NOT NULL, site text NOT NULL, host text NOT NULL, kind text NOT NULL,
	product text, category text, service text, event_code text, user_name text, process text, parent text, command text, file text,
	source_ip inet, source_port int, destination_ip inet, destination_port int, transport text, application text,
	bytes_out bigint, bytes_in bigint, hash text, batch text NOT NULL, fields jsonb, raw text) PARTITION BY RANGE (time);
CREATE INDEX ON events USING brin (time) WITH (pages_per_range = 32);
`)
	for day := p.h.g.Options().From.Truncate(24 * time.Hour); day.Before(p.h.g.To()); day = day.Add(24 * time.Hour) {
		fmt.Fprintf(&b, "CREATE TABLE events_%s PARTITION OF events FOR VALUES FROM ('%s') TO ('%s');\n", day.Format("20060102"), day.Format(time.RFC3339), day.Add(24*time.Hour).Format(time.RFC3339))
	}
	return b.String()
}

func (p *postgres) feed(ctx context.Context, from, to int) (c cost, err error) {
	var batches []event.Batch
	for n := from; n < to; n++ {
		batches = append(batches, p.h.g.Batch(n))
	}
	return p.timed(func() error {
		p.buffer.Reset()
		for _, b := range batches {
			for i := range b.Events {
				if err := p.encode(b, &b.Events[i]); err != nil {
					return err
				}
			}
		}
		_, err := p.conn.PgConn().CopyFrom(ctx, &p.buffer, "COPY events FROM STDIN")
		return err
	})
}

func (p *postgres) timed(do func() error) (c cost, err error) {
	began, used := time.Now(), ownTime()+familyTime(p.root())
	err = do()
	return cost{time.Since(began), ownTime() + familyTime(p.root()) - used}, err
}

var escaper = strings.NewReplacer("\\", "\\\\", "\t", "\\t", "\n", "\\n", "\r", "\\r")

// encode writes one line of COPY's text format.
func (p *postgres) encode(b event.Batch, e *event.Event) error {
	r := rowOf(e)
	stamp := e.Time.UTC().Format("2006-01-02 15:04:05.000000+00")
	fields, err := json.Marshal(r.rest)
	if err != nil {
		return err
	}
	p.buffer.WriteString(stamp + "\t" + b.SentAt.UTC().Format("2006-01-02 15:04:05.000000+00"))
	for _, s := range [...]string{e.ID, e.Site, e.Host, string(e.Kind), e.Product, e.Category, e.Service, r.code, r.user, r.process, r.parent, r.command, r.file,
		r.source, r.sourcePort, r.destination, r.destinationPort, r.transport, r.application, r.sent, r.received, r.hash, b.ID, string(fields), e.Raw} {
		p.buffer.WriteByte('\t')
		if s == "" {
			p.buffer.WriteString(`\N`)
			continue
		}
		_, _ = escaper.WriteString(&p.buffer, s)
	}
	p.buffer.WriteByte('\n')
	return nil
}

// finish makes the indexes, as is done for a day that is over: quicker than
// keeping them up while events come in.
func (p *postgres) finish(ctx context.Context) (cost, error) {
	return p.timed(func() error {
		for _, s := range []string{
			"CREATE INDEX ON events (host, time)", "CREATE INDEX ON events (user_name, time)", "CREATE INDEX ON events (source_ip)", "CREATE INDEX ON events (destination_ip)",
			"CREATE INDEX ON events (hash) WHERE hash IS NOT NULL", "CREATE INDEX ON events (event_code, time) WHERE event_code IS NOT NULL", "CREATE INDEX ON events (time)",
			"CREATE INDEX ON events USING gin (raw gin_trgm_ops)", "VACUUM ANALYZE events", "CHECKPOINT",
		} {
			began := time.Now()
			if _, err := p.conn.Exec(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
			say("postgresql: %s: %.0f s", s, time.Since(began).Seconds())
		}
		return nil
	})
}

func (p *postgres) ask(ctx context.Context, id string) (all [][]string, took time.Duration, err error) {
	sql, args := p.statement(id)
	began := time.Now()
	rows, err := p.conn.Query(ctx, sql, append([]any{pgx.QueryExecModeExec}, args...)...)
	if err != nil {
		return nil, 0, err
	}
	for rows.Next() {
		var row []string
		for _, v := range rows.RawValues() {
			row = append(row, string(v))
		}
		all = append(all, row)
	}
	return all, time.Since(began), rows.Err()
}

func (p *postgres) statement(id string) (sql string, args []any) {
	from, to := p.h.day()
	count := "SELECT count(*)::text FROM events WHERE "
	whole := "SELECT (extract(epoch FROM time) * 1000000)::bigint::text, e::text FROM events e "
	needle, address := archivetest.Command, archivetest.RareAddress
	switch id {
	case "q1":
		sql = "SELECT product, (extract(epoch FROM date_trunc('hour', time)) * 1000000)::bigint::text, count(*)::text FROM events GROUP BY product, date_trunc('hour', time)"
	case "q2":
		sql, args = "SELECT coalesce(event_code, ''), count(*)::text FROM events WHERE time >= $1 AND time < $2 GROUP BY 1", []any{p.h.tally.From, p.h.tally.To}
	case "q3", "q3w":
		sql, args = count+"raw LIKE '%'||$1||'%'", []any{needle}
	case "q3b":
		sql, args = count+"raw ILIKE '%'||$1||'%'", []any{needle}
	case "q3c":
		sql, args = count+"raw LIKE '%'||$1||'%'", []any{archivetest.Phrase}
	case "q4":
		sql, args = count+"destination_ip = $1::text::inet", []any{address}
	case "q4b":
		sql, args = count+"destination_ip = $1::text::inet OR source_ip = $1::text::inet OR raw LIKE '%'||$1||'%'", []any{address}
	case "q5":
		sql, args = count+"hash = $1", []any{archivetest.RareHash}
	case "q5n":
		sql, args = count+"hash = $1", []any{archivetest.AbsentHash}
	case "q6":
		sql, args = count+"user_name = $1", []any{archivetest.RareUser}
	case "q7":
		sql, args = whole+"WHERE host = $1 AND time >= $2 AND time < $3 ORDER BY time DESC LIMIT 200", []any{p.h.tally.Probe, from, to}
	case "q8":
		sql = "SELECT host(destination_ip), sum(bytes_out)::text FROM events WHERE kind = 'flow' GROUP BY destination_ip ORDER BY sum(bytes_out) DESC, 1 LIMIT 20"
	case "q9":
		sql, args = "SELECT user_name, count(*)::text, count(DISTINCT source_ip)::text FROM events WHERE event_code = $1 GROUP BY user_name ORDER BY count(*) DESC, 1 LIMIT 20", []any{archivetest.FailedCode}
	case "q10":
		sql = whole + "ORDER BY time DESC LIMIT 100"
	case "q11":
		sql, args = count+"command ~ $1", []any{archivetest.EncodedPattern}
	}
	return sql, args
}

func (p *postgres) stop() error {
	if p.server == nil {
		return nil
	}
	var errs []error
	if p.conn != nil {
		errs = append(errs, p.conn.Close(context.Background()))
	}
	_ = p.server.Process.Signal(syscall.SIGINT) // fast shutdown
	_ = p.server.Wait()
	p.server, p.conn = nil, nil
	return errors.Join(errs...)
}

func (p *postgres) folder() string { return p.dir }
func (p *postgres) root() int {
	if p.server == nil {
		return 0
	}
	return p.server.Process.Pid
}
func (p *postgres) remark() string {
	return "a partition a day, typed columns and jsonb, COPY with synchronous commit; B-trees on host, user, addresses, hash, code and time, BRIN on time and pg_trgm on the original line, made afterwards"
}
