-- evidence bags; the items themselves are files, see evidence/
CREATE TABLE evidence_bag (
    id        TEXT PRIMARY KEY,
    incident  TEXT NOT NULL,
    host      TEXT NOT NULL,
    state     TEXT NOT NULL,
    sealing   TEXT NOT NULL,   -- state it gets when sealing is done; empty: sealing has not begun
    sealed_no BIGINT NOT NULL, -- custody line "sealed", 0 until then
    opened_at BIGINT NOT NULL,
    body      TEXT NOT NULL    -- JSON of evidence.Bag without items
);
CREATE INDEX evidence_bag_incident ON evidence_bag (incident, opened_at);
CREATE INDEX evidence_bag_host ON evidence_bag (host, opened_at);

CREATE TABLE evidence_item (
    bag   TEXT NOT NULL,
    path  TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    body  TEXT NOT NULL, -- JSON of evidence.Item
    PRIMARY KEY (bag, path)
);

CREATE TABLE evidence_custody (
    bag  TEXT NOT NULL,
    no   BIGINT NOT NULL,
    body TEXT NOT NULL, -- JSON of evidence.Custody, the exact bytes of its line
    PRIMARY KEY (bag, no)
);
