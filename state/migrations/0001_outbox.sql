-- messages that a transaction wants published, see state/outbox.go
CREATE TABLE outbox (
    seq     INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    msg     TEXT NOT NULL,
    body    BLOB NOT NULL
);
