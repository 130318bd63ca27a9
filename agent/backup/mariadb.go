package backup

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/sonae/sonae/protect/job"
)

// Schemas that the server makes itself are left out.
const listSchemas = `SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT IN ('information_schema','performance_schema','sys')`

// mariadb is one dump for each database of a MariaDB or MySQL server, each of
// one moment. Passwords are the matter of the account's own ~/.my.cnf.
func mariadb(ctx context.Context, s job.Source) ([]stream, error) {
	t := tool{account: s.User}
	client, dump, err := mariadbTools()
	if err != nil {
		return nil, err
	}
	at := mariadbAt(s)
	names := s.Databases
	if len(names) == 0 {
		out, err := t.ask(ctx, client, append(at, "--batch", "--skip-column-names", "--execute="+listSchemas)...)
		if err != nil {
			return nil, err
		}
		names = strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
	}
	var all []stream
	for _, name := range names {
		all = append(all, stream{name + ".sql", func(ctx context.Context, w io.Writer) error {
			return t.pour(ctx, w, dump, append(at, mariadbDump(name)...)...)
		}})
	}
	return all, nil
}

// mariadbTools finds the programs, which have an old and a new name.
func mariadbTools() (client, dump string, err error) {
	for _, pair := range [][2]string{{"mariadb", "mariadb-dump"}, {"mysql", "mysqldump"}} {
		c, e1 := find(pair[0])
		d, e2 := find(pair[1])
		if e1 == nil && e2 == nil {
			return c, d, nil
		}
	}
	return "", "", fmt.Errorf("mariadb-dump and mysqldump: %w", exec.ErrNotFound)
}

// mariadbAt says which server.
func mariadbAt(s job.Source) (args []string) {
	switch {
	case strings.HasPrefix(s.Server, "/"):
		args = append(args, "--socket="+s.Server)
	case s.Server != "":
		args = append(args, "--host="+s.Server)
	}
	if s.Port != 0 {
		args = append(args, fmt.Sprint("--port=", s.Port))
	}
	return args[:len(args):len(args)]
}

// mariadbDump are the arguments for one database: all of one moment, with what
// runs inside the server.
func mariadbDump(name string) []string {
	return []string{"--single-transaction", "--quick", "--routines", "--events", "--triggers", "--hex-blob", "--default-character-set=utf8mb4", "--databases", "--", name}
}
