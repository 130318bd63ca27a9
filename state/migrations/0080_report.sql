-- documents that were made, frozen with the data and the pages they were made
-- of, see report/desk.go
CREATE TABLE document (
    id       TEXT PRIMARY KEY,
    incident TEXT NOT NULL,
    no       BIGINT NOT NULL,
    digest   TEXT NOT NULL,
    made_at  BIGINT NOT NULL,
    made_by  TEXT NOT NULL,
    body     TEXT NOT NULL,
    UNIQUE (incident, no)
);

CREATE TABLE document_page (
    document TEXT NOT NULL,
    lang     TEXT NOT NULL,
    digest   TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (document, lang)
);
