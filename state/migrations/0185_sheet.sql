-- kept versions of the executive page, and each as a page to print, see
-- report/sheet/keep.go
CREATE TABLE sheet (
    id       TEXT PRIMARY KEY,
    incident TEXT NOT NULL,
    no       BIGINT NOT NULL,
    kept_at  BIGINT NOT NULL,
    kept_by  TEXT NOT NULL,
    body     TEXT NOT NULL,
    UNIQUE (incident, no)
);

CREATE TABLE sheet_page (
    sheet TEXT NOT NULL,
    lang  TEXT NOT NULL,
    body  TEXT NOT NULL,
    PRIMARY KEY (sheet, lang)
);
