package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// HoldRelay keeps what transactions emit in the outbox, on all hubs that share
// the database, until release is called: what is in the outbox then stays
// there, and nothing more reaches the bus. It waits for what is under way.
// Transactions go on. For backups; it should last seconds.
func (db *DB) HoldRelay(ctx context.Context) (release func(), err error) {
	db.relaying.Lock()
	others, err := db.engine.holdOthers(ctx, db.read)
	if err != nil {
		db.relaying.Unlock()
		return nil, fmt.Errorf("hold the outbox: %w", err)
	}
	return func() {
		others()
		db.relaying.Unlock()
	}, nil
}

// mayRelay says whether nobody holds the outbox; done must be called then.
func (db *DB) mayRelay(ctx context.Context) (ok bool, done func(), err error) {
	if !db.relaying.TryRLock() {
		return false, nil, nil
	}
	ok, rest, err := db.outlet.work(ctx)
	if err != nil || !ok {
		db.relaying.RUnlock()
		return false, nil, err
	}
	return true, func() {
		rest()
		db.relaying.RUnlock()
	}, nil
}

// The only hub that has the file needs no other lock.
func (sqlite) holdOthers(context.Context, *sql.DB) (func(), error) { return func() {}, nil }

func (fileOutlet) work(context.Context) (bool, func(), error) { return true, func() {}, nil }

// Locks of a relay that is at work, and of whoever keeps all from it.
const (
	tryWork  = `SELECT pg_try_advisory_lock_shared(hashtext('sonae.' || current_schema()), 3)`
	endWork  = `SELECT pg_advisory_unlock_shared(hashtext('sonae.' || current_schema()), 3)`
	holdWork = `SELECT pg_advisory_lock(hashtext('sonae.' || current_schema()), 3)`
)

func (postgres) holdOthers(ctx context.Context, read *sql.DB) (func(), error) {
	conn, err := read.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, holdWork); err != nil {
		discard(conn)
		return nil, err
	}
	return func() { discard(conn) }, nil // the lock ends with the connection
}

func (o *sharedOutlet) work(ctx context.Context) (bool, func(), error) {
	var ok bool
	if err := o.conn.QueryRowContext(ctx, tryWork).Scan(&ok); err != nil || !ok {
		return false, nil, err
	}
	conn := o.conn
	return true, func() {
		if _, err := conn.ExecContext(context.WithoutCancel(ctx), endWork); err != nil && !errors.Is(err, sql.ErrConnDone) {
			o.drop() // the lock ends with the connection
		}
	}, nil
}
