-- who reports: one row per version, the newest one counts, see report/reporter.go
CREATE TABLE reporter (
    no     BIGINT PRIMARY KEY,
    set_at BIGINT NOT NULL,
    set_by TEXT NOT NULL,
    body   TEXT NOT NULL
);
