-- searches that people keep, their own last searches, and the record of who
-- looked at events, see package search; every closed row of search_view is
-- covered by a digest in the ledger (search/verify.go)
CREATE TABLE search_saved (
    id      TEXT PRIMARY KEY,
    owner   TEXT NOT NULL,
    site    TEXT NOT NULL,
    shared  INTEGER NOT NULL,
    name    TEXT NOT NULL,
    query   TEXT NOT NULL,
    span    TEXT NOT NULL,
    made_at BIGINT NOT NULL
);

CREATE INDEX search_saved_owner ON search_saved (owner);

CREATE TABLE search_history (
    person TEXT NOT NULL,
    query  TEXT NOT NULL,
    span   TEXT NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (person, query)
);

CREATE TABLE search_view (
    id     TEXT PRIMARY KEY,
    person TEXT NOT NULL,
    what   TEXT NOT NULL,
    closed INTEGER NOT NULL,
    at     BIGINT NOT NULL,
    body   TEXT NOT NULL
);

CREATE INDEX search_view_open ON search_view (closed, person);
