-- messages that the bus can never take, kept so that nothing is lost in
-- silence, see state/outbox.go
CREATE TABLE outbox_refused (
    seq     INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    msg     TEXT NOT NULL,
    body    BLOB NOT NULL,
    reason  TEXT NOT NULL
);
