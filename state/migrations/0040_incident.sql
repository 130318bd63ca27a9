-- incidents and their chronology, see incident/store.go; every column of these
-- tables is covered by a digest in the ledger (incident/verify.go)
CREATE TABLE incident (
    id        TEXT PRIMARY KEY,
    no        BIGINT NOT NULL UNIQUE,
    title     TEXT NOT NULL,
    state     TEXT NOT NULL,
    severity  TEXT NOT NULL,
    commander TEXT NOT NULL,
    sites     TEXT NOT NULL,
    hosts     TEXT NOT NULL,
    notes     TEXT NOT NULL,
    drill     INTEGER NOT NULL,
    opened_at BIGINT NOT NULL,
    opened_by TEXT NOT NULL,
    known_at  BIGINT NOT NULL,
    ended_at  BIGINT NOT NULL,
    entries   BIGINT NOT NULL,
    alerts    TEXT NOT NULL,
    version   BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    salt      TEXT NOT NULL
);

-- an alert belongs to one incident at most
CREATE TABLE incident_alert (
    alert    TEXT PRIMARY KEY,
    incident TEXT NOT NULL
);

CREATE TABLE incident_entry (
    incident    TEXT NOT NULL,
    no          BIGINT NOT NULL,
    occurred_at BIGINT NOT NULL,
    entered_at  BIGINT NOT NULL,
    source      TEXT NOT NULL,
    certainty   TEXT NOT NULL,
    entered_by  TEXT NOT NULL,
    body        TEXT NOT NULL,
    sentence    TEXT NOT NULL,
    args        TEXT NOT NULL,
    corrects    BIGINT NOT NULL,
    ref         TEXT NOT NULL,
    unique_id   TEXT NOT NULL,
    salt        TEXT NOT NULL,
    PRIMARY KEY (incident, no)
);

CREATE UNIQUE INDEX incident_entry_unique ON incident_entry (incident, unique_id) WHERE unique_id <> '';
