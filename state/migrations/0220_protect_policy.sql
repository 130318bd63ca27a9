-- classes of data, backup policies and the runs of their jobs: every version;
-- protect_run holds the newest version of each run, to be found quickly; see
-- protect/policy/store.go
CREATE TABLE protect_class (
    id      TEXT NOT NULL,
    version BIGINT NOT NULL,
    site    TEXT NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (id, version)
);

CREATE TABLE protect_policy (
    id      TEXT NOT NULL,
    version BIGINT NOT NULL,
    site    TEXT NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (id, version)
);

CREATE TABLE protect_run_version (
    id      TEXT NOT NULL,
    version BIGINT NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (id, version)
);

CREATE TABLE protect_run (
    id       TEXT PRIMARY KEY,
    policy   TEXT NOT NULL,
    host     TEXT NOT NULL,
    site     TEXT NOT NULL,
    slot     BIGINT NOT NULL, -- when it was due; 0: a person asked for it
    queued   BIGINT NOT NULL,
    state    TEXT NOT NULL,
    going_on BIGINT NOT NULL, -- 1 until it ended
    counts   BIGINT NOT NULL, -- when the hub received a backup that counts; 0: none
    body     TEXT NOT NULL
);

CREATE INDEX protect_run_of ON protect_run (policy, host, slot);
CREATE INDEX protect_run_counts ON protect_run (policy, host, counts);
CREATE INDEX protect_run_going_on ON protect_run (going_on);
CREATE INDEX protect_run_queued ON protect_run (queued);

-- how far running jobs are: no record, only the last word of each
CREATE TABLE protect_progress (
    id   TEXT PRIMARY KEY, -- of the run
    at   BIGINT NOT NULL,  -- when the hub heard it
    body TEXT NOT NULL     -- JSON of job.Progress
);
