-- what people stated about an incident for the clocks of the law; a change is
-- a new row, the newest one counts, see duty/desk.go
CREATE TABLE duty_facts (
    incident  TEXT NOT NULL,
    no        BIGINT NOT NULL,
    stated_at BIGINT NOT NULL,
    stated_by TEXT NOT NULL,
    facts     TEXT NOT NULL,
    salt      TEXT NOT NULL,
    PRIMARY KEY (incident, no)
);
