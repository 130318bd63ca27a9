-- alerts: see alert/store.go
CREATE TABLE alert (
    id         TEXT PRIMARY KEY,
    rule       TEXT NOT NULL,
    rule_json  TEXT NOT NULL,
    severity   INTEGER NOT NULL,
    site       TEXT NOT NULL,
    host       TEXT NOT NULL,
    drill      INTEGER NOT NULL,
    state      TEXT NOT NULL,
    count      BIGINT NOT NULL,
    first_at   BIGINT NOT NULL,
    last_at    BIGINT NOT NULL,
    raised_at  BIGINT NOT NULL,
    sent       BIGINT NOT NULL,
    received   BIGINT NOT NULL,
    events     TEXT NOT NULL,              -- JSON: the newest 50, with times
    acked_by   TEXT NOT NULL DEFAULT '',
    acked_name TEXT NOT NULL DEFAULT '',
    acked_at   BIGINT NOT NULL DEFAULT 0,
    closed_by  TEXT NOT NULL DEFAULT '',
    closed_at  BIGINT NOT NULL DEFAULT 0,
    reason     TEXT NOT NULL DEFAULT '',
    incident   TEXT NOT NULL DEFAULT '',
    version    BIGINT NOT NULL,            -- grows with every change
    told       BIGINT NOT NULL,            -- the version last told to others
    told_at    BIGINT NOT NULL
);
-- one alert per rule, host and drill while it is not closed
CREATE UNIQUE INDEX alert_live ON alert (rule, site, host, drill) WHERE state <> 'closed';
CREATE INDEX alert_by_last ON alert (last_at);
CREATE INDEX alert_by_incident ON alert (incident);

-- findings that were counted: each counts once, also after its alert is closed
CREATE TABLE alert_finding (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL
);

-- connections: the newest counters of each, so that updates add nothing twice
CREATE TABLE alert_flow (
    alert      TEXT NOT NULL,
    flow       TEXT NOT NULL,
    address    TEXT NOT NULL,
    ip         TEXT NOT NULL,
    protocol   TEXT NOT NULL,
    verdict    TEXT NOT NULL,
    confidence TEXT NOT NULL,
    sent       BIGINT NOT NULL,
    received   BIGINT NOT NULL,
    first_at   BIGINT NOT NULL,
    last_at    BIGINT NOT NULL,
    PRIMARY KEY (alert, flow)
);

CREATE TABLE alert_process (
    alert   TEXT NOT NULL,
    pid     TEXT NOT NULL,
    image   TEXT NOT NULL,
    command TEXT NOT NULL,
    person  TEXT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (alert, pid, image, command, person)
);

-- who changed what: the records whose digests stand in the ledger
CREATE TABLE alert_change (
    alert  TEXT NOT NULL,
    no     INTEGER NOT NULL,
    body   TEXT NOT NULL,
    PRIMARY KEY (alert, no)
);
