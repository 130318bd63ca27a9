package drill

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/sonae/sonae/fault"
	"github.com/sonae/sonae/protect/restic"
)

// stored is a dump that is tried.
type stored struct {
	path   string          // of the definition: the dump, or the folder whose newest file it is
	snap   restic.Snapshot // that holds it
	file   string          // the dump
	bytes  int64
	custom bool // an archive that pg_restore reads, else SQL
	survey
}

// pickDumps picks for each dump the newest snapshot that holds it: an agent makes
// one of each database.
func (t *trial) pickDumps(all []restic.Snapshot) error {
	for _, p := range t.n.Paths {
		snap, err := pick(all, []string{p})
		if err != nil {
			return err
		}
		t.dumps = append(t.dumps, &stored{path: p, snap: snap})
	}
	t.snap = t.dumps[0].snap
	return nil
}

// leave notes what the backups of these dumps hold besides, and nobody tries. The
// roles of a server are no data, and a drill makes those that it needs.
func (t *trial) leave(all []restic.Snapshot) {
	for _, s := range all {
		other := slices.ContainsFunc(t.dumps, func(d *stored) bool { return d.snap.ID == s.ID })
		same := slices.ContainsFunc(t.dumps, func(d *stored) bool { return d.snap.ID != s.ID && sameBackup(d.snap, s) })
		if other || !same || len(s.Paths) == 1 && strings.HasSuffix(s.Paths[0], ".roles.sql") {
			continue
		}
		t.left = append(t.left, strings.Join(s.Paths, ", "))
		for _, of := range thingsOf(s) {
			if !slices.Contains(t.r.Snapshot.Part, of) {
				t.r.Snapshot.Part = append(t.r.Snapshot.Part, of)
			}
		}
	}
}

// sameBackup says whether two snapshots are of one source in one job.
func sameBackup(a, b restic.Snapshot) bool {
	of := func(s restic.Snapshot) (out []string) {
		for _, tag := range s.Tags {
			if strings.HasPrefix(tag, "policy:") || strings.HasPrefix(tag, "job:") || strings.HasPrefix(tag, "source:") {
				out = append(out, tag)
			}
		}
		slices.Sort(out)
		return out
	}
	return len(of(a)) == 3 && slices.Equal(of(a), of(b))
}

// loadDumps brings dumps back, loads them into an empty server and looks at what
// came of it.
func (t *trial) loadDumps(ctx context.Context) (err error) {
	if t.cell, err = newCell(t.dir); err != nil {
		return err
	}
	for i, d := range t.dumps {
		if err := t.find(ctx, d); err != nil {
			return err
		}
		if slices.ContainsFunc(t.dumps[:i], func(o *stored) bool { return o.file == d.file }) {
			return refuse("protect.drill.dump-twice", d.file)
		}
		if err := t.bring(ctx, d.snap, []string{d.file}); err != nil {
			return err
		}
	}
	if err := t.phase(ctx, phaseSurvey, func(p *Phase) error { return t.surveyAll(ctx, p) }); err != nil {
		return err
	}
	if t.dumps[0].server == ofMariaDB {
		return t.intoMariaDB(ctx)
	}
	return t.intoPostgreSQL(ctx)
}

// find finds the file that a path means: itself, or the newest of those in a
// folder that are called like dumps. Programs of a vendor write one a day.
func (t *trial) find(ctx context.Context, d *stored) error {
	var newest, named *restic.Node
	var file, namedFile string
	err := t.each(ctx, d.snap, []string{d.path}, func(at string, n *restic.Node) error {
		if n.Type != "file" {
			return nil
		}
		if newest == nil || !n.ModTime.Before(newest.ModTime) {
			newest, file = n, at
		}
		if dumpName(at) && (named == nil || !n.ModTime.Before(named.ModTime)) {
			named, namedFile = n, at
		}
		return nil
	})
	if err != nil {
		return damaged(err)
	}
	if named != nil {
		newest, file = named, namedFile
	}
	if newest == nil {
		return wrong{"the snapshot holds no file of " + d.path}
	}
	d.file, d.bytes = file, int64(newest.Size)
	return nil
}

// dumpName says whether a file is called as dumps are.
func dumpName(p string) bool {
	name := strings.TrimSuffix(strings.ToLower(path.Base(p)), ".gz")
	return slices.Contains([]string{".sql", ".dump", ".dmp", ".backup", ".bak", ".pgdump", ".tar"}, path.Ext(name))
}

// packed is a dump that gzip made smaller.
type packed struct {
	*gzip.Reader
	file *os.File
}

func (p packed) Close() error { return errors.Join(p.Reader.Close(), p.file.Close()) }

// opened opens a dump that was restored. Nothing leads out of what was restored.
func (t *trial) opened(d *stored) (io.ReadCloser, error) {
	root, err := os.OpenRoot(filepath.Join(t.dir, restoredIn))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open(d.file[1:])
	if err != nil {
		return nil, wrong{d.file + " was not restored: " + err.Error()}
	}
	if !strings.HasPrefix(magic(f), "\x1f\x8b") {
		return f, nil
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(wrong{d.file + ": " + err.Error()}, f.Close())
	}
	return packed{z, f}, nil
}

// magic is how a file begins.
func magic(f *os.File) string {
	b := make([]byte, 8)
	n, _ := f.ReadAt(b, 0)
	return string(b[:n])
}

// surveyAll reads what the dumps say of themselves, and puts them in the order in
// which they are loaded.
func (t *trial) surveyAll(ctx context.Context, p *Phase) error {
	for _, d := range t.dumps {
		if err := t.survey(ctx, d); err != nil {
			return err
		}
		p.Bytes, p.Files = p.Bytes+d.bytes, p.Files+1
		if len(t.left) > 0 {
			p.Note = clean("not tried, of the same backup: "+strings.Join(t.left, ", "), 400)
		}
		switch {
		case d.server == "":
			return wrong{d.file + " is no dump of PostgreSQL, MariaDB or MySQL: nothing at its beginning says so"}
		case !d.whole:
			return wrong{d.file + " ends before its end: the line that its program writes last is missing"}
		case d.server != t.dumps[0].server:
			return refuse("protect.drill.two-servers")
		}
	}
	slices.SortStableFunc(t.dumps, func(a, b *stored) int { return cmp.Compare(a.order(), b.order()) })
	return nil
}

// order is when a dump is loaded: roles of PostgreSQL before what needs them, the
// schema mysql last, for behind it nobody can make accounts.
func (d *stored) order() int {
	switch {
	case d.cluster:
		return 0
	case d.server == ofMariaDB && d.database == "mysql":
		return 2
	}
	return 1
}

// survey reads one dump to its end, or lets pg_restore say what is in it.
func (t *trial) survey(ctx context.Context, d *stored) error {
	in, err := t.opened(d)
	if err != nil {
		return err
	}
	defer in.Close()
	head := make([]byte, 8)
	n, err := io.ReadFull(in, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return wrong{d.file + ": " + err.Error()}
	}
	head = head[:n]
	d.custom = strings.HasPrefix(string(head), "PGDMP") || string(head) == "toc.dat\x00"
	to := io.Writer(&d.survey)
	if d.custom {
		to = io.Discard
	}
	_, _ = to.Write(head)
	if _, zip := in.(packed); zip || !d.custom { // what is packed is unpacked to its end: there its sum stands
		if _, err := io.Copy(to, stoppable{ctx, in}); err != nil {
			if ctx.Err() != nil {
				return err
			}
			return wrong{d.file + ": " + err.Error()}
		}
	}
	if d.custom {
		return t.contents(ctx, d)
	}
	d.end()
	return nil
}

// contents lets pg_restore say what is in an archive. Whether all of it is there
// is seen when it is loaded: pg_restore misses what is missing.
func (t *trial) contents(ctx context.Context, d *stored) error {
	bin, err := programs(0)
	if err != nil {
		return err
	}
	list, err := t.restoreTo(ctx, phaseSurvey, bin, d, nil, "--list")
	if err != nil {
		return err
	}
	for _, l := range lines(list) {
		l = strings.TrimSpace(strings.TrimPrefix(l, ";"))
		if name, ok := strings.CutPrefix(l, "dbname: "); ok && d.database == "" {
			d.database = name
		}
		for _, from := range []string{"Dumped from database version: ", "Dumped by pg_dump version: "} {
			if v, ok := strings.CutPrefix(l, from); ok {
				d.version = max(d.version, major(v))
			}
		}
	}
	_, err = t.restoreTo(ctx, phaseSurvey, bin, d, &d.survey, append(unowned(), "--schema-only", "--file=-")...)
	d.end()
	d.server, d.whole, d.creates = ofPostgreSQL, true, false
	return err
}

// unowned leaves out what belongs to the site that a dump is of: who owns and who
// may, and on which disks. A site that restores somewhere else does so, too.
func unowned() []string { return []string{"--no-owner", "--no-acl", "--no-tablespaces"} }

// restoreTo runs pg_restore on a dump; what it writes goes to a writer, or is
// returned where that is nil.
func (t *trial) restoreTo(ctx context.Context, phase, bin string, d *stored, to io.Writer, args ...string) (string, error) {
	in, err := t.opened(d)
	if err != nil {
		return "", err
	}
	defer in.Close()
	cmd := t.cell.command(filepath.Join(bin, "pg_restore"), args...)
	cmd.Stdin, cmd.Stdout = in, to
	out, stderr, rc, err := call(ctx, cmd)
	if err != nil || rc == 0 {
		return out, err
	}
	return "", t.refused(phase, d, stderr)
}

// refused is why a dump could not be loaded: this machine lacks something, which
// says nothing about the dump, or it is wrong.
func (t *trial) refused(phase string, d *stored, said string) error {
	if err := lacking(said); err != nil {
		return err
	}
	all := complaints(said)
	for _, l := range all {
		t.r.problem(phase, path.Base(d.file)+": "+l)
	}
	if len(all) > 0 {
		return wrong{d.file + " does not load"}
	}
	return wrong{d.file + " does not load, and nothing says why"}
}

// complaints are the lines with which a program says that something is wrong.
// Rows and statements that it repeats stay out: they are of patients.
func complaints(said string) (out []string) {
	for _, l := range lines(said) {
		if begins(l, "ERROR ") || begins(l, "psql:", "pg_restore:", "initdb:") && (strings.Contains(l, "ERROR:") || strings.Contains(l, "FATAL:") || strings.Contains(l, "error:")) {
			out = append(out, l)
		}
	}
	return out
}

// lacking is what this machine does not have, as servers and their programs say
// it; nil where it has all.
func lacking(said string) error {
	said = strings.Join(complaints(said), "\n")
	for _, l := range []struct{ what, said string }{
		{"PostgreSQL", `(unsupported version \([0-9.]+\)) in file header`},
		{"psql", `invalid command (\\restrict)`},
		{"PostgreSQL", `unrecognized configuration parameter ("[^"]+")`},
		{"PostgreSQL", `extension ("[^"]+") is not available`},
		{"PostgreSQL", `could not open extension control file ("[^"]+")`},
		{"PostgreSQL", `could not access file ("[^"]+"): No such file`},
		{"locale", `invalid locale name: ("[^"]+")`},
		{"locale", `invalid LC_(?:COLLATE|CTYPE) (?:locale )?(?:name|setting):? ("[^"]+")`},
		{"locale", `collation ("[^"]+") for encoding`},
		{"tablespace", `tablespace ("[^"]+") does not exist`},
		{"tablespace", `invalid value for parameter "default_tablespace": ("[^"]+")`},
		{"tablespace", `directory ("[^"]+") does not exist`},
		{"MariaDB", `ERROR 1115 .*Unknown character set: ('[^']+')`},
		{"MariaDB", `ERROR 1193 .*Unknown system variable ('[^']+')`},
		{"MariaDB", `ERROR 1273 .*Unknown collation: ('[^']+')`},
		{"MariaDB", `ERROR 1286 .*Unknown storage engine ('[^']+')`},
	} {
		if m := regexp.MustCompile(l.said).FindStringSubmatch(said); m != nil {
			return fault.New(fault.Missing, "protect.drill.no-program", l.what+" "+clean(m[1], 100)).With(errors.New(clean(said, 300)))
		}
	}
	for _, full := range []string{"No space left on device", "errno: 28", "ERROR 1114 "} {
		if strings.Contains(said, full) {
			return fault.New(fault.Busy, "protect.drill.full").With(errors.New(clean(said, 300)))
		}
	}
	for _, gone := range []string{"server closed the connection", "connection to server was lost", "terminating connection because of crash", "Lost connection to", "server has gone away"} {
		if strings.Contains(said, gone) {
			return errors.New("the server ended while the dump was loaded: " + clean(said, 300))
		}
	}
	return nil
}

// ourRole is who a server of our own belongs to: none that a dump of roles makes.
const ourRole = "sonae_drill"

// programs is the folder of the programs of the oldest PostgreSQL of this machine
// that is not older than a version: what a site would load a dump into. 0: of the
// newest.
func programs(version float64) (string, error) {
	all, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	best, dir := 0.0, ""
	for _, at := range all {
		v := major(filepath.Base(filepath.Dir(filepath.Dir(at))))
		if v >= version && (dir == "" || (v < best) == (version > 0)) {
			best, dir = v, filepath.Dir(at)
		}
	}
	switch {
	case dir != "":
		return dir, nil
	case version == 0:
		return "", missing("PostgreSQL")
	}
	return "", missing(fmt.Sprintf("PostgreSQL %g", version))
}

// intoPostgreSQL loads dumps into an empty PostgreSQL.
func (t *trial) intoPostgreSQL(ctx context.Context) (err error) {
	t.n.Server.User = ourRole
	pg, version := &postgres{trial: t, empty: true}, 1.0
	for _, d := range t.dumps {
		version = max(version, d.version)
	}
	if pg.bin, err = programs(version); err != nil {
		return err
	}
	defer pg.off()
	return pg.steps(ctx, []step{{phaseStart, pg.raise}, {phaseLoad, pg.load}, {phaseAmcheck, pg.amcheck}, {phaseAsk, pg.ask}, {phaseStop, pg.halt}})
}

// raise makes an empty cluster and starts its server.
func (pg *postgres) raise(ctx context.Context, _ *Phase) error {
	if err := pg.cell.folder(clusterIn); err != nil {
		return err
	}
	_, stderr, rc, err := pg.call(ctx, filepath.Join(pg.bin, "initdb"), "-D", cluster, "-U", ourRole, "-A", "trust", "-E", "UTF8", "--locale=C", "-k", "-N")
	if err == nil && rc != 0 {
		err = errors.Join(lacking(stderr), fmt.Errorf("initdb: %s", clean(stderr, 300)))
	}
	if err != nil {
		return err
	}
	if err := pg.configure(); err != nil {
		return err
	}
	return pg.start(ctx)
}

// load loads one dump after the other.
func (pg *postgres) load(ctx context.Context, p *Phase) error {
	pg.nameless()
	for _, d := range pg.dumps {
		if err := pg.ready(ctx, d); err != nil {
			return err
		}
		if err := pg.one(ctx, d); err != nil {
			return err
		}
		p.Bytes, p.Files = p.Bytes+d.bytes, p.Files+1
	}
	return pg.loaded(ctx, p)
}

// nameless names databases of dumps that name none: the one that the questions are
// for and that no dump names, else as the file is called.
func (t *trial) nameless() {
	var asked []string
	for _, c := range append(slices.Clone(t.n.Server.Checks), Check{Query: t.n.Server.Last}) {
		if c.Database != "" && !slices.Contains(asked, c.Database) && !slices.ContainsFunc(t.dumps, func(d *stored) bool { return d.database == c.Database }) {
			asked = append(asked, c.Database)
		}
	}
	for _, d := range t.dumps {
		switch {
		case d.creates || d.database != "":
		case len(asked) == 1:
			d.database, asked = asked[0], nil
		default:
			d.database, _, _ = strings.Cut(path.Base(d.file), ".")
		}
	}
}

// ready makes the database of a dump and the roles that it takes for granted, which
// stand in no dump of a database: each may everything, for what a role may is not
// what is tried.
func (pg *postgres) ready(ctx context.Context, d *stored) error {
	out, stderr, rc, err := pg.sql(ctx, "postgres", "SELECT rolname FROM pg_roles")
	if err != nil || rc != 0 {
		return errors.Join(err, fmt.Errorf("list roles: %s", clean(stderr, 300)))
	}
	var first []string
	there := lines(out)
	for _, r := range d.needs {
		if !slices.Contains(there, r) {
			first = append(first, "CREATE ROLE "+quoted(r)+" SUPERUSER")
		}
	}
	pg.granted += len(first)
	if d.creates {
		return pg.do(ctx, "postgres", first...)
	}
	if d.database != "postgres" && d.database != "template1" { // those are there
		first = append(first, "CREATE DATABASE "+quoted(d.database)+" TEMPLATE template0 "+written(d.encoding))
	}
	if err := pg.do(ctx, "postgres", first...); err != nil {
		return err
	}
	if d.public {
		return pg.do(ctx, d.database, "DROP SCHEMA public")
	}
	return nil
}

// written is how a database writes its text: as the one that a dump was made of,
// where a server can, and without the locale of its site, which this machine need
// not have.
func written(encoding string) string {
	clients := []string{"", "SQL_ASCII", "SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "UHC", "GB18030", "JOHAB"} // a server cannot, or it says nothing
	switch {
	case encoding == "SQL_ASCII", !slices.Contains(clients, encoding) && encoding != "UTF8":
		return "ENCODING '" + strings.ReplaceAll(encoding, "'", "''") + "' LC_COLLATE 'C' LC_CTYPE 'C'"
	}
	return "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"
}

// quoted is a name for SQL.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// do changes something in the server.
func (pg *postgres) do(ctx context.Context, database string, all ...string) error {
	for _, sql := range all {
		_, stderr, rc, err := pg.call(ctx, pg.tool("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", connect(database), "-c", sql)...)
		if err == nil && rc != 0 {
			err = cmp.Or(lacking(stderr), fmt.Errorf("%s: %s", clean(sql, 100), clean(stderr, 300)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// one loads one dump. The first error ends it.
func (pg *postgres) one(ctx context.Context, d *stored) error {
	if d.custom {
		_, err := pg.restoreTo(ctx, phaseLoad, pg.bin, d, io.Discard, append(unowned(), "--exit-on-error", "-h", socket, "-U", ourRole, "-d", connect(d.database))...)
		return err
	}
	in, err := pg.opened(d)
	if err != nil {
		return err
	}
	defer in.Close()
	database := d.database
	if d.creates {
		database = "postgres"
	}
	args := pg.tool("psql", "-Xq", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse", "-d", connect(database), "-f", "-")
	cmd := pg.cell.command(args[0], args[1:]...)
	cmd.Stdin = in
	if d.cleans {
		cmd.Stdin = unclean(in)
	}
	_, stderr, rc, err := call(ctx, cmd)
	if err == nil && rc != 0 {
		err = pg.refused(phaseLoad, d, stderr)
	}
	return err
}

// unclean leaves out what a dump drops first: a site whose server is empty looks
// over those errors, and here the first one ends the drill.
func unclean(in io.Reader) io.Reader {
	r, kept := bufio.NewReader(in), &bytes.Buffer{}
	for kept.Len() < 1<<20 {
		l, err := r.ReadString('\n')
		if !dropping(l) {
			kept.WriteString(l)
		}
		if err != nil || begun(l) {
			break
		}
	}
	return io.MultiReader(kept, r)
}

// loaded counts what there is now. A dump of nothing loads well and proves nothing.
func (pg *postgres) loaded(ctx context.Context, p *Phase) error {
	out, stderr, rc, err := pg.sql(ctx, "postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate")
	if err != nil || rc != 0 {
		return errors.Join(err, fmt.Errorf("list databases: %s", clean(stderr, 300)))
	}
	tables, rows := 0, 0
	for _, name := range lines(out) {
		out, stderr, rc, err := pg.sql(ctx, name, "SELECT count(*), coalesce(sum(n_tup_ins), 0) FROM pg_stat_user_tables")
		if err != nil || rc != 0 {
			return errors.Join(err, fmt.Errorf("count rows: %s", clean(stderr, 300)))
		}
		var t, r int
		if _, err := fmt.Sscanf(strings.TrimSpace(out), "%d|%d", &t, &r); err != nil {
			return fmt.Errorf("count rows: %q", clean(out, 100))
		}
		tables, rows = tables+t, rows+r
	}
	p.Note = fmt.Sprintf("%d tables, %d rows", tables, rows)
	if slices.ContainsFunc(pg.dumps, func(d *stored) bool { return d.custom }) {
		p.Note += "; archives without owners, privileges and tablespaces"
	}
	if pg.granted > 0 {
		p.Note += fmt.Sprintf("; %d roles were made that no dump makes", pg.granted)
	}
	if rows == 0 {
		return wrong{fmt.Sprintf("what was loaded holds no row in its %d tables", tables)}
	}
	return nil
}
