-- what people ask to bring back from backups, every version of each, see
-- protect/restore and incident/record
CREATE TABLE restore_record (
    id       TEXT NOT NULL,
    no       BIGINT NOT NULL,
    kind     TEXT NOT NULL,
    incident TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (id, no)
);

CREATE INDEX restore_record_kind ON restore_record (kind, incident);

-- how far a restore is; derived, not in the ledger
CREATE TABLE restore_progress (
    id   TEXT PRIMARY KEY,
    body TEXT NOT NULL
);
