package state

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5"
)

// For tests: the files of the schema and the parts of Open.
var (
	Steps      = steps
	Migrations = migrations
)

// OpenUntil opens a state and brings its schema to an earlier step.
func OpenUntil(ctx context.Context, at string, names []string, log *slog.Logger) (*DB, error) {
	db, err := connect(ctx, at, log)
	if err != nil {
		return nil, err
	}
	return db, db.migrate(ctx, names)
}

// Configure reads the address of a PostgreSQL database.
func Configure(at string) (*pgx.ConnConfig, error) { return configure(at) }

// PostgresSchema puts a migration into PostgreSQL's words.
func PostgresSchema(text string) string { return postgres{}.schema(text) }
