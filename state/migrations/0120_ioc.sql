-- threat lists, see packages detect/ioc and search/threat: every step of a list
-- is a row, and each is covered by a digest in the ledger, as is what the list
-- holds (its digest stands in the step)
CREATE TABLE ioc_list (
    id      TEXT NOT NULL,
    no      BIGINT NOT NULL,
    open    INTEGER NOT NULL,
    made_at BIGINT NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (id, no)
);

-- what lists and drafts of lists hold: gzip in base64
CREATE TABLE ioc_content (
    id   TEXT PRIMARY KEY,
    at   BIGINT NOT NULL,
    body TEXT NOT NULL
);

-- drafts that wait for somebody to put them into force
CREATE TABLE ioc_draft (
    id   TEXT PRIMARY KEY,
    at   BIGINT NOT NULL,
    body TEXT NOT NULL
);

-- how often indicators were named, and what the archive holds of a list:
-- numbers for people, not evidence
CREATE TABLE ioc_hit (
    list  TEXT NOT NULL,
    kind  TEXT NOT NULL,
    value TEXT NOT NULL,
    hits  BIGINT NOT NULL,
    last  BIGINT NOT NULL,
    PRIMARY KEY (list, kind, value)
);
CREATE TABLE ioc_back (
    list TEXT PRIMARY KEY,
    body TEXT NOT NULL
);
