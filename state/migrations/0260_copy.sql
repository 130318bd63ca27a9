-- copies of the agents' repositories: places, what is at each, media, every
-- version of each, see protect/copy and incident/record
CREATE TABLE copy_record (
    id       TEXT NOT NULL,
    no       BIGINT NOT NULL,
    kind     TEXT NOT NULL,
    incident TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (id, no)
);

CREATE INDEX copy_record_kind ON copy_record (kind, incident);

-- sealed log-ins of places; never in the ledger
CREATE TABLE copy_secret (
    place  TEXT PRIMARY KEY,
    sealed TEXT NOT NULL
);

-- what is asked for and how far it is; derived, not in the ledger
CREATE TABLE copy_work (
    place  TEXT PRIMARY KEY,
    asked  BIGINT NOT NULL,
    medium TEXT NOT NULL,
    stop   BIGINT NOT NULL,
    body   TEXT NOT NULL
);
