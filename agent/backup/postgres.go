package backup

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/sonae/sonae/protect/job"
)

// server is a PostgreSQL server and the account that may read all of it.
type server struct {
	tool
	only []string // databases
}

// postgres is the server of a source. Passwords are the matter of the account's
// own ~/.pgpass: none is asked for.
func postgres(s job.Source) server {
	p := server{tool: tool{account: cmp.Or(s.User, "postgres")}, only: s.Databases}
	if s.Server != "" {
		p.env = append(p.env, "PGHOST="+s.Server)
	}
	if s.Port != 0 {
		p.env = append(p.env, fmt.Sprint("PGPORT=", s.Port))
	}
	return p
}

// Databases into which nobody can log in, and those from which new ones are
// made, are left out.
const listDatabases = `SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1`

// dumps are the roles and one dump for each database. They are not compressed:
// restic does that, and stores only once what did not change.
func (p server) dumps(ctx context.Context) ([]stream, error) {
	names := p.only
	if len(names) == 0 {
		out, err := p.ask(ctx, "psql", "--no-password", "--no-psqlrc", "--tuples-only", "--no-align", "--record-separator-zero", "--dbname=postgres", "--command="+listDatabases)
		if err != nil {
			return nil, err
		}
		names = strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 || r == '\n' })
	}
	all := []stream{{"roles.sql", func(ctx context.Context, w io.Writer) error {
		return p.pour(ctx, w, "pg_dumpall", "--no-password", "--globals-only")
	}}}
	for _, name := range names {
		one := p.tool
		one.env = append(one.env[:len(one.env):len(one.env)], "PGDATABASE="+name) // an argument could mean another server
		all = append(all, stream{name + ".dump", func(ctx context.Context, w io.Writer) error {
			return one.pour(ctx, w, "pg_dump", "--no-password", "--format=custom", "--compress=0")
		}})
	}
	return all, nil
}

// base is the whole cluster as one tar, with the WAL that makes it consistent
// and a manifest that pg_verifybackup reads. PostgreSQL refuses it where there
// are several tablespaces.
func (p server) base() []stream {
	return []stream{{"base.tar", func(ctx context.Context, w io.Writer) error {
		return p.pour(ctx, w, "pg_basebackup", "--no-password", "--pgdata=-", "--format=tar", "--wal-method=fetch", "--checkpoint=fast", "--label=sonae")
	}}}
}
