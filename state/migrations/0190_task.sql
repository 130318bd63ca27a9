-- tasks, who holds which role, hours on duty and handing over: every version of
-- every record, the last one counts; see incident/task/store.go
CREATE TABLE task_record (
    kind     TEXT NOT NULL, -- task, post, stay, handover, role
    id       TEXT NOT NULL,
    no       BIGINT NOT NULL, -- version, from 1
    incident TEXT NOT NULL, -- '' for a role
    going_on BIGINT NOT NULL, -- 1 while something is left to do
    body     TEXT NOT NULL, -- JSON of task.Record
    PRIMARY KEY (kind, id, no)
);

CREATE INDEX task_record_incident ON task_record (incident, kind);
CREATE INDEX task_record_going_on ON task_record (kind, going_on);
