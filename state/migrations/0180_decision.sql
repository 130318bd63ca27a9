-- what was decided about services in incidents, every version, and the criteria
-- for it; the newest version counts, see incident/decision/store.go
CREATE TABLE decision_version (
    id       TEXT NOT NULL,
    version  BIGINT NOT NULL,
    incident TEXT NOT NULL,
    no       BIGINT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (id, version)
);

CREATE INDEX decision_version_incident ON decision_version (incident, no, version);

CREATE TABLE decision_sheet (
    service TEXT NOT NULL,
    version BIGINT NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (service, version)
);
