-- what people changed about rules, see packages detect/tuning and search: every
-- step of a change is a row, and each is covered by a digest in the ledger
CREATE TABLE rule_change (
    id      TEXT NOT NULL,
    no      BIGINT NOT NULL,
    rule    TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    open    INTEGER NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (id, no)
);
CREATE INDEX rule_change_rule ON rule_change (rule, id, no);

-- how often rules matched and what log sources sent, by day (nanoseconds of its
-- beginning): numbers for people, not evidence
CREATE TABLE rule_hit (
    rule TEXT NOT NULL,
    day  BIGINT NOT NULL,
    hits BIGINT NOT NULL,
    held BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (rule, day)
);
CREATE TABLE log_source (
    product  TEXT NOT NULL,
    category TEXT NOT NULL,
    service  TEXT NOT NULL,
    day      BIGINT NOT NULL,
    events   BIGINT NOT NULL,
    last     BIGINT NOT NULL,
    PRIMARY KEY (product, category, service, day)
);
