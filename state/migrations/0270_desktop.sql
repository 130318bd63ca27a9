-- messages on the screens of machines: see package notify/desktop
CREATE TABLE notify_show (
    id         TEXT PRIMARY KEY, -- of the order
    message    TEXT NOT NULL,
    host       TEXT NOT NULL,
    issued_at  BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    waiting    INTEGER NOT NULL, -- the machine has not answered yet
    signed     TEXT NOT NULL,    -- JSON of order.Signed; its digest stands in the ledger
    UNIQUE (message, host)
);
CREATE INDEX notify_show_host ON notify_show (host, waiting, expires_at);

-- which screens show a message, and who has seen it
CREATE TABLE notify_shown (
    message TEXT NOT NULL,
    host    TEXT NOT NULL,
    session TEXT NOT NULL,
    seen    INTEGER NOT NULL,
    at      BIGINT NOT NULL,
    account TEXT NOT NULL,
    PRIMARY KEY (message, host, session, seen)
);
