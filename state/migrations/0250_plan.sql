-- restore plans and the times that people took for their steps, every version
-- of each, see protect/plan and incident/record
CREATE TABLE plan_record (
    id       TEXT NOT NULL,
    no       BIGINT NOT NULL,
    kind     TEXT NOT NULL,
    incident TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (id, no)
);

CREATE INDEX plan_record_kind ON plan_record (kind, incident);
