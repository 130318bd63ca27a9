package proof

// Chore is ordinary work that must not be taken for an attack. Prepare and Run
// are shell scripts; in them $V is a folder on the watched volume that is
// emptied before each run, $TREE the tree of files on the same volume, $T a
// folder beside it that nobody watches, $ROOT the project's source, $PG the
// folder of PostgreSQL's programs.
type Chore struct {
	Name    string
	Needs   []string // programs
	Prepare string   // not measured, nobody watches yet
	Run     string   // watched and measured
	Short   bool     // belongs to the short suite
}

// postgres starts a server on the volume that ends with the script, so that
// its work counts as the script's.
const postgres = `
as() { (cd / && exec setpriv --reuid postgres --regid postgres --clear-groups "$@"); }
(cd / && exec setpriv --reuid postgres --regid postgres --clear-groups "$PG/postgres" -D "$V/pg" -k "$V/run" -c listen_addresses= -c fsync=off >"$T/pg.log" 2>&1) & server=$!
trap 'kill -INT $server 2>/dev/null; wait $server 2>/dev/null || true' EXIT
for i in $(seq 200); do as "$PG/pg_isready" -q -h "$V/run" && break; sleep 0.05; done
sql() { as "$PG/psql" -q -h "$V/run" -v ON_ERROR_STOP=1 "$@"; }
`

const initPostgres = `
mkdir "$V/pg" "$V/run" "$V/out"; chown postgres "$V/pg" "$V/run" "$V/out"; chmod 755 "$V"
(cd / && setpriv --reuid postgres --regid postgres --clear-groups "$PG/initdb" -D "$V/pg" -A trust >"$T/initdb.log")
` + postgres + `
sql -d postgres -c "create table visit as select i id, md5(i::text) patient, repeat(md5((i*7)::text), 6) note, now() seen from generate_series(1, 60000) i" \
	-c "create index on visit (patient)" -c "delete from visit where id % 3 = 0"
`

// Chores lists the ordinary work.
func Chores() []Chore {
	return []Chore{
		{Name: "restic backup of the tree", Needs: []string{"restic"}, Short: true,
			Prepare: `export RESTIC_PASSWORD=proof; restic -q --no-cache -r "$V/repo" init`,
			Run:     `export RESTIC_PASSWORD=proof; restic -q --no-cache -r "$V/repo" backup "$TREE"`},
		{Name: "tar and zstd of the tree", Needs: []string{"tar", "zstd"}, Short: true,
			Run: `tar -C "$TREE" -cf - . | zstd -q -o "$V/tree.tar.zst"; mkdir "$V/back"; zstd -qdc "$V/tree.tar.zst" | tar -C "$V/back" -xf -`},
		{Name: "git clone and go build", Needs: []string{"git", "go"},
			Run: `git -c safe.directory='*' clone -q --no-hardlinks "file://$ROOT" "$V/src" && cd "$V/src" && mkdir "$V/out" && GOFLAGS=-buildvcs=false GOCACHE="$V/cache" TMPDIR="$V" go build -o "$V/out/" ./bench/guard/encsim`},
		{Name: "PostgreSQL VACUUM FULL", Needs: []string{"setpriv"}, Short: true, Prepare: initPostgres,
			Run: postgres + `sql -d postgres -c "vacuum full"`},
		{Name: "pg_dump", Needs: []string{"setpriv"}, Prepare: initPostgres,
			Run: postgres + `as "$PG/pg_dump" -h "$V/run" -Fd -f "$V/out/dump" postgres; as "$PG/pg_dump" -h "$V/run" -Fc -f "$V/out/dump.pg" postgres`},
		{Name: "pg_restore", Needs: []string{"setpriv"},
			Prepare: initPostgres + `as "$PG/pg_dump" -h "$V/run" -Fc -f "$V/out/dump.pg" postgres`,
			Run:     postgres + `sql -d postgres -c "create database again"; as "$PG/pg_restore" -h "$V/run" -d again "$V/out/dump.pg"`},
		{Name: "photo import with thumbnails", Needs: []string{"convert", "mogrify"},
			Run: `mkdir "$V/photos" "$V/thumbs"; find "$TREE" -name '*.jpg' | sort | sed -n 1,200p | xargs cp -t "$V/photos"
				mogrify -path "$V/thumbs" -thumbnail 96x96 "$V"/photos/*.jpg; mogrify -resize 120x90 "$V"/photos/*.jpg`},
		{Name: "gpg of one file", Needs: []string{"gpg", "gpgconf"}, Short: true,
			Run: `mkdir -m 700 "$T/gnupg"; export GNUPGHOME="$T/gnupg"; cp "$(find "$TREE" -name '*.csv' | sort | sed -n 1,1p)" "$V/list.csv"
				gpg -q --batch --pinentry-mode loopback --passphrase proof --symmetric "$V/list.csv"; rm "$V/list.csv"; gpgconf --kill gpg-agent; rm -r "$T/gnupg"`},
		{Name: "logrotate with compression", Needs: []string{"logrotate", "gzip"},
			Prepare: manyLogs, Run: `logrotate -f -s "$T/logrotate.state" "$T/logrotate.conf"; logrotate -f -s "$T/logrotate.state" "$T/logrotate.conf"`},
		{Name: "gzip of old logs", Needs: []string{"gzip"}, Short: true, Prepare: manyLogs, Run: `gzip "$V"/log/*.log`},
		{Name: "package upgrade with dpkg", Needs: []string{"dpkg", "dpkg-deb"},
			Prepare: packages, Run: `dpkg --root="$V/root" --log=/dev/null --force-not-root --force-bad-path -i "$T/v2.deb" >"$T/dpkg.out"`},
		{Name: "copy of the tree", Needs: []string{"cp"}, Short: true, Run: `cp -a "$TREE" "$V/copy"; rm -r "$V/copy"`},
	}
}

// manyLogs makes the logs of 60 services.
const manyLogs = `
mkdir -p "$V/log"; i=0
find "$TREE" -name '*.csv' | sort | sed -n 1,60p | while read -r f; do i=$((i+1)); cat "$f" "$f" "$f" >"$V/log/service$i.log"; done
chown root:root "$V/log"; chmod 755 "$V/log"
printf '%s/log/*.log {\n rotate 3\n compress\n create 0600 root root\n}\n' "$V" >"$T/logrotate.conf"
chmod 644 "$T/logrotate.conf"; rm -f "$T/logrotate.state"
`

// packages makes two versions of a package with 300 files, compressed
// documents among them, and installs the first.
const packages = `
rm -rf "$T/deb"
for v in 1 2; do
	mkdir -p "$T/deb/DEBIAN" "$T/deb/usr/share/doc/ward" "$T/deb/usr/lib/ward"
	printf 'Package: ward\nVersion: %s\nArchitecture: all\nMaintainer: proof <proof@example.org>\nDescription: made for a test\n' $v >"$T/deb/DEBIAN/control"
	i=0; find "$TREE" -name '*.txt' | sort | sed -n 1,150p | while read -r f; do i=$((i+1))
		{ echo "version $v"; cat "$f"; } >"$T/deb/usr/lib/ward/part$i"; gzip -9nc "$T/deb/usr/lib/ward/part$i" >"$T/deb/usr/share/doc/ward/part$i.gz"; done
	dpkg-deb --root-owner-group -Zgzip -b "$T/deb" "$T/v$v.deb" >/dev/null
done
rm -rf "$T/deb"; mkdir -p "$V/root/var/lib/dpkg/info" "$V/root/var/lib/dpkg/updates" "$V/root/var/lib/dpkg/triggers"
touch "$V/root/var/lib/dpkg/status" "$V/root/var/lib/dpkg/available"
dpkg --root="$V/root" --log=/dev/null --force-not-root --force-bad-path -i "$T/v1.deb" >"$T/dpkg.out"
`
