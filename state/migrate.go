package state

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"sort"
	"strings"
)

//go:embed migrations/*.sql
var migrations embed.FS

// steps are the names of the embedded files, in the order in which they run.
func steps() []string {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		panic(fmt.Sprintf("state: %v", err)) // the pattern above is wrong
	}
	sort.Strings(names)
	return names
}

const createMigration = `CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY, at BIGINT NOT NULL)`

// migrate runs those of the named files that this database has not seen, each
// in a transaction of its own.
func (db *DB) migrate(ctx context.Context, names []string) error {
	err := db.Tx(ctx, func(tx *Tx) error {
		_, err := tx.ExecContext(ctx, db.engine.schema(createMigration))
		return err
	})
	if err != nil {
		return fmt.Errorf("table of migrations: %w", err)
	}
	for _, name := range names {
		if err := db.migrateOne(ctx, name); err != nil {
			return fmt.Errorf("migration %s: %w", name, err)
		}
	}
	return nil
}

// migrateOne looks and changes in one transaction: of several processes that
// start at once, one does it.
func (db *DB) migrateOne(ctx context.Context, name string) error {
	key := strings.TrimSuffix(strings.TrimPrefix(name, "migrations/"), ".sql")
	return db.Tx(ctx, func(tx *Tx) error {
		var seen int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM migration WHERE name = $1`, key).Scan(&seen); err != nil || seen > 0 {
			return err
		}
		return apply(ctx, tx, name, key)
	})
}
