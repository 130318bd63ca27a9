-- kinds of documents and their versions, approvals, files in other formats, and
-- who looked, see report/desk.go, approve.go, file.go, seen.go
ALTER TABLE document ADD COLUMN kind TEXT NOT NULL DEFAULT 'prompt';
ALTER TABLE document ADD COLUMN part TEXT NOT NULL DEFAULT '';
ALTER TABLE document ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
UPDATE document SET version = no;

-- a page is a face of the document: ja, en, and once approved approved/ja,
-- approved/en
ALTER TABLE document_page RENAME COLUMN lang TO face;

CREATE TABLE document_approval (
    document    TEXT PRIMARY KEY,
    approved_at BIGINT NOT NULL,
    approved_by TEXT NOT NULL,
    body        TEXT NOT NULL
);

-- the body is base64
CREATE TABLE document_file (
    document TEXT NOT NULL,
    face     TEXT NOT NULL,
    format   TEXT NOT NULL,
    digest   TEXT NOT NULL,
    made_at  BIGINT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (document, face, format)
);

CREATE TABLE document_view (
    id        TEXT PRIMARY KEY,
    document  TEXT NOT NULL,
    person    TEXT NOT NULL,
    hour      BIGINT NOT NULL,
    viewed_at BIGINT NOT NULL,
    body      TEXT NOT NULL,
    UNIQUE (document, person, hour)
);
