-- why facts were stated anew and what that changed in the clocks; what people
-- decided about duties, see duty/decision.go
ALTER TABLE duty_facts ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE duty_facts ADD COLUMN moved TEXT NOT NULL DEFAULT '';

CREATE TABLE duty_decision (
    incident TEXT NOT NULL,
    no       BIGINT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (incident, no)
);
