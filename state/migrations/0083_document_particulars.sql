-- what only documents need to know of an incident: one row per version, the
-- newest one counts, see report/particulars.go
CREATE TABLE document_particulars (
    incident TEXT NOT NULL,
    no       BIGINT NOT NULL,
    set_at   BIGINT NOT NULL,
    set_by   TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (incident, no)
);
