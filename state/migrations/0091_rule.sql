-- rules that people made of searches, see package search: every change of a
-- rule is a row, and each is covered by a digest in the ledger
CREATE TABLE search_rule (
    id         TEXT NOT NULL,
    no         BIGINT NOT NULL,
    watches    INTEGER NOT NULL,
    enabled_at BIGINT NOT NULL,
    body       TEXT NOT NULL,
    PRIMARY KEY (id, no)
);
