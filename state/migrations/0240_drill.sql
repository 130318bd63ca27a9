-- what restore drills try and what came of them: every version of a definition
-- and of a run, see package protect/drill
CREATE TABLE drill_record (
    id    TEXT NOT NULL,
    no    BIGINT NOT NULL,
    kind  TEXT NOT NULL, -- definition, run
    about TEXT NOT NULL, -- of a run: its definition
    state TEXT NOT NULL, -- of a run
    body  TEXT NOT NULL,
    PRIMARY KEY (id, no)
);
CREATE INDEX drill_record_about ON drill_record (kind, about);

-- how far the run is that runs now: not evidence
CREATE TABLE drill_progress (
    run  TEXT PRIMARY KEY,
    body TEXT NOT NULL
);
