package backup_test

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonae/sonae/agent/linktest"
	"github.com/sonae/sonae/protect/job"
	"github.com/sonae/sonae/protect/restic/restictest"
)

// cluster is a real PostgreSQL server of the account nobody on a socket.
type cluster struct {
	t         *testing.T
	bin, base string // programs; folder of the socket and of all else
	data      string
	stop      func() // the server that runs
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(bins) == 0 || os.Geteuid() != 0 {
		t.Skip("PostgreSQL is not installed, or the test is not root")
	}
	base, err := os.MkdirTemp("/tmp", "sonae-pg") // its user must be able to enter the folders above, and a socket's name is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	c := &cluster{t: t, bin: filepath.Dir(bins[len(bins)-1]), base: base, data: base + "/data"}
	if out, err := exec.Command("chown", "nobody", base).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.must(c.cmd("initdb", "-D", c.data, "-U", "nobody", "--auth=trust", "--locale=C", "--encoding=UTF8", "--no-instructions", "--no-sync"))
	c.serve(c.data)
	return c
}

// serve runs a server on a folder until the test ends or stop.
func (c *cluster) serve(data string) {
	c.t.Helper()
	server := c.cmd("postgres", "-D", data, "-c", "listen_addresses=", "-c", "port=15433", "-c", "unix_socket_directories="+c.base, "-c", "fsync=off")
	if err := server.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.stop = sync.OnceFunc(func() {
		_ = server.Process.Signal(os.Interrupt)
		_ = server.Wait()
	})
	c.t.Cleanup(c.stop)
	for end := time.Now().Add(time.Minute); c.sql("postgres", "SELECT 1").Run() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatal("the database does not run")
		}
	}
}

func (c *cluster) cmd(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("setpriv", append([]string{"--reuid=nobody", "--regid=nogroup", "--clear-groups", filepath.Join(c.bin, name)}, args...)...)
	cmd.Dir = "/"
	return cmd
}

func (c *cluster) sql(db, text string) *exec.Cmd {
	return c.cmd("psql", "-h", c.base, "-p", "15433", "-X", "-d", db, "-Atc", text)
}

func (c *cluster) must(cmd *exec.Cmd) string {
	c.t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("%v: %v: %s", cmd.Args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (c *cluster) source(kind job.SourceKind) job.Source {
	return job.Source{Name: "emr-db", Kind: kind, Server: c.base, Port: 15433, User: "nobody"}
}

// A PostgreSQL server in use is saved as dumps and as a whole; both come back
// with every row.
func TestPostgreSQLIsSavedAndComesBack(t *testing.T) {
	c := startCluster(t)
	b := setUp(t, restictest.Newest(t).Path)
	c.must(c.sql("postgres", `CREATE DATABASE "電子 カルテ"`))
	c.must(c.sql("電子 カルテ", "CREATE TABLE visits AS SELECT n, md5(n::text) AS note FROM generate_series(1, 20000) n"))
	dumps, base := c.source(job.PostgreSQL), c.source(job.PostgreSQLBase)
	base.Name = "emr-whole"
	r := b.do(job.Job{Kind: job.Backup, Sources: []job.Source{dumps, base}})
	if r.State != job.OK || len(r.Sources) != 2 || len(r.Sources[0].Snapshots) != 3 || len(r.Sources[1].Snapshots) != 1 {
		t.Fatalf("%+v", r)
	}
	to := c.base + "/back"
	for _, s := range append(r.Sources[0].Snapshots, r.Sources[1].Snapshots...) {
		if r := b.do(back(s, to)); r.State != job.OK {
			t.Fatalf("%+v", r)
		}
	}
	c.must(exec.Command("chown", "-R", "nobody", to))
	c.must(c.sql("postgres", "CREATE DATABASE again"))
	dump, err := filepath.Glob(to + "/emr-db.*%20*.dump")
	if err != nil || len(dump) != 1 {
		t.Fatalf("%v, %v", dump, err)
	}
	c.must(c.cmd("pg_restore", "-h", c.base, "-p", "15433", "--exit-on-error", "-d", "again", dump[0]))
	sum := "SELECT count(*), sum(n), md5(string_agg(note, '' ORDER BY n)) FROM visits"
	want := c.must(c.sql("電子 カルテ", sum))
	if got := c.must(c.sql("again", sum)); got != want || !strings.HasPrefix(got, "20000|") {
		t.Errorf("the dump gave %s, want %s", got, want)
	}
	if roles, err := os.ReadFile(to + "/emr-db.roles.sql"); err != nil || !bytes.Contains(roles, []byte("CREATE ROLE nobody")) {
		t.Errorf("roles %.200s, %v", roles, err)
	}
	whole := to + "/whole"
	c.must(exec.Command("install", "-d", "-o", "nobody", "-m", "700", whole))
	c.must(exec.Command("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "tar", "-xf", to+"/emr-whole.base.tar", "-C", whole))
	c.must(c.cmd("pg_verifybackup", "-e", whole))
}

// A dump that fails is no snapshot, and does not keep the other databases from
// being saved.
func TestADumpThatFailsIsNoBackup(t *testing.T) {
	c := startCluster(t)
	b := setUp(t, restictest.Newest(t).Path)
	s := c.source(job.PostgreSQL)
	s.Databases = []string{"none of this name", "host=/elsewhere dbname=postgres", "postgres"}
	r := b.do(job.Job{Kind: job.Backup, Sources: []job.Source{s}})
	if r.State != job.Failed || len(r.Sources[0].Snapshots) != 2 || len(r.Sources[0].Errors) != 2 || !strings.Contains(r.Sources[0].Errors[0], `"none of this name" does not exist`) {
		t.Errorf("%+v", r)
	}
	gone := c.source(job.PostgreSQL)
	gone.Port++
	if r := b.do(job.Job{Kind: job.Backup, Sources: []job.Source{gone}}); r.State != job.Failed || len(r.Sources[0].Snapshots) != 0 {
		t.Errorf("%+v", r)
	}
}

// config is that of a server with one database, to which root on this machine
// writes.
const config = `dn: cn=config
objectClass: olcGlobal
cn: config

dn: cn=module,cn=config
objectClass: olcModuleList
cn: module
olcModulePath: /usr/lib/ldap
olcModuleLoad: back_mdb

dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema

include: file:///etc/ldap/schema/core.ldif

dn: olcDatabase=mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: mdb
olcSuffix: dc=hospital,dc=example
olcRootDN: gidNumber=0+uidNumber=0,cn=peercred,cn=external,cn=auth
olcDbDirectory: %s
`

const people = `dn: dc=hospital,dc=example
objectClass: dcObject
objectClass: organization
dc: hospital
o: 備え病院
`

func ward(n int) string {
	return fmt.Sprintf("dn: cn=Ward %d,dc=hospital,dc=example\nobjectClass: organizationalRole\ncn: Ward %d\n\n", n, n)
}

// directory is a real slapd on a socket.
type directory struct {
	t   *testing.T
	dir string
}

func newDirectory(t *testing.T) *directory {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sonae-ldap") // a socket's name is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &directory{t, dir}
	for _, name := range []string{"config", "data"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func (d *directory) tool(input, name string, args ...string) string {
	d.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

func (d *directory) url() string { return "ldapi://" + url.PathEscape(d.dir+"/sock") }

// serve runs the server until the test ends or stop.
func (d *directory) serve() (stop func()) {
	d.t.Helper()
	server := exec.Command("slapd", "-d", "0", "-F", d.dir+"/config", "-h", d.url())
	server.Stderr = d.t.Output()
	if err := server.Start(); err != nil {
		d.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = server.Process.Signal(os.Interrupt)
		_ = server.Wait()
	})
	d.t.Cleanup(stop)
	linktest.Await(d.t, "slapd answers", func() bool { return exec.Command("ldapwhoami", "-Q", "-Y", "EXTERNAL", "-H", d.url()).Run() == nil })
	return stop
}

// A directory in use is saved with its configuration, comes back with stock
// restic, and its server starts on it. Without a configuration nothing is a
// backup.
func TestLDAPIsSavedAndComesBack(t *testing.T) {
	for _, program := range []string{"slapadd", "ldapadd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed (Debian: slapd, ldap-utils)")
		}
	}
	d := newDirectory(t)
	d.tool(fmt.Sprintf(config, d.dir+"/data"), "slapadd", "-n", "0", "-F", d.dir+"/config")
	stop := d.serve()
	ldapadd := []string{"-Q", "-Y", "EXTERNAL", "-H", d.url()}
	d.tool(people, "ldapadd", ldapadd...)
	b := setUp(t, restictest.Newest(t).Path)
	ctx, end := context.WithCancel(t.Context())
	wrote := make(chan int, 1)
	go func() { // people work on it
		n := 0
		for ctx.Err() == nil {
			cmd := exec.Command("ldapadd", ldapadd...)
			cmd.Stdin = strings.NewReader(ward(n))
			if cmd.Run() != nil {
				break
			}
			n++
		}
		wrote <- n
	}()
	entries := func() int {
		return strings.Count(d.tool("", "ldapsearch", append(ldapadd, "-LLL", "-b", "dc=hospital,dc=example", "dn")...), "dn: cn=Ward")
	}
	linktest.Await(t, "some entries", func() bool { return entries() > 3 })
	before := entries()
	source := job.Source{Name: "directory", Kind: job.LDAP, Dir: d.dir + "/config"}
	r := b.do(job.Job{Kind: job.Backup, Sources: []job.Source{source}})
	end()
	all := <-wrote
	if r.State != job.OK || len(r.Sources[0].Snapshots) != 2 {
		t.Fatalf("%+v", r)
	}
	stop()
	to := b.stock(r.Sources[0].Snapshots...)
	again := newDirectory(t)
	text, err := os.ReadFile(to + "/directory.config.ldif")
	if err != nil {
		t.Fatal(err)
	}
	again.tool(strings.Replace(string(text), d.dir+"/data", again.dir+"/data", 1), "slapadd", "-n", "0", "-F", again.dir+"/config")
	saved, err := filepath.Glob(to + "/directory.dc*.ldif")
	if err != nil || len(saved) != 1 {
		t.Fatalf("%v, %v", saved, err)
	}
	again.tool("", "slapadd", "-n", "1", "-F", again.dir+"/config", "-l", saved[0])
	*d = *again
	ldapadd[len(ldapadd)-1] = d.url()
	d.serve()
	if got := entries(); got < before || got > all || all <= before {
		t.Errorf("%d entries came back; %d stood there before the backup began, %d in the end", got, before, all)
	}

	gone := source
	gone.Dir = t.TempDir()
	if r := b.do(job.Job{Kind: job.Backup, Sources: []job.Source{gone}}); r.State != job.Failed || len(r.Sources[0].Snapshots) > 0 || !strings.Contains(strings.Join(r.Sources[0].Errors, ""), "slapcat") {
		t.Errorf("no configuration: %+v", r)
	}
	gone = source
	gone.Dir, gone.Databases = d.dir+"/config", []string{"dc=nowhere", "1"}
	if r := b.do(job.Job{Kind: job.Backup, Sources: []job.Source{gone}}); r.State != job.Failed || len(r.Sources[0].Snapshots) != 2 {
		t.Errorf("one of two databases is not there: %+v", r)
	}
}
