-- what the antivirus program says of items; an item without a row was not looked at
CREATE TABLE evidence_scan (
    bag  TEXT NOT NULL,
    path TEXT NOT NULL,
    body TEXT NOT NULL, -- JSON of evidence.Scan
    PRIMARY KEY (bag, path)
);
