-- pictures, sheets and calls to return of incidents, every version of each, see
-- incident/paper and incident/record
CREATE TABLE paper_record (
    id       TEXT NOT NULL,
    no       BIGINT NOT NULL,
    kind     TEXT NOT NULL,
    incident TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (id, no)
);

CREATE INDEX paper_record_incident ON paper_record (incident, kind);
