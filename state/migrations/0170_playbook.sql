-- playbooks of the site, and every version that a run began with, to the byte,
-- see playbook/store.go
CREATE TABLE playbook (
    version  TEXT PRIMARY KEY,
    book     TEXT NOT NULL,
    added_at BIGINT NOT NULL,
    offered  BIGINT NOT NULL,
    body     TEXT NOT NULL,
    source   TEXT NOT NULL
);

-- runs as they are, and each transition of them
CREATE TABLE playbook_run (
    id       TEXT PRIMARY KEY,
    incident TEXT NOT NULL,
    no       BIGINT NOT NULL,
    state    TEXT NOT NULL,
    changes  BIGINT NOT NULL,
    body     TEXT NOT NULL
);

CREATE INDEX playbook_run_incident ON playbook_run (incident, no);

CREATE TABLE playbook_change (
    run  TEXT NOT NULL,
    no   BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (run, no)
);
