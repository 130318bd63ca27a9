-- why it happened and what is done about it: factors, interviews, measures and
-- lessons, every version of each, see incident/cause and incident/record
CREATE TABLE cause_record (
    id       TEXT NOT NULL,
    no       BIGINT NOT NULL,
    kind     TEXT NOT NULL,
    incident TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (id, no)
);

CREATE INDEX cause_record_incident ON cause_record (incident, kind);
