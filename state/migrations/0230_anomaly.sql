-- what backups look like: the snapshots of the same folders of one machine with
-- what is usual for them, each with its score, and what people decided about
-- them in versions, see protect/anomaly and incident/record
CREATE TABLE anomaly_series (
    id         TEXT PRIMARY KEY,
    repository TEXT NOT NULL,
    site       TEXT NOT NULL,
    body       TEXT NOT NULL
);

CREATE INDEX anomaly_series_site ON anomaly_series (site);

CREATE TABLE anomaly_snapshot (
    series   TEXT NOT NULL,
    snapshot TEXT NOT NULL,
    received BIGINT NOT NULL,
    verdict  TEXT NOT NULL,
    gone     BIGINT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (series, snapshot)
);

CREATE INDEX anomaly_snapshot_received ON anomaly_snapshot (series, received);

CREATE TABLE anomaly_record (
    id       TEXT NOT NULL,
    no       BIGINT NOT NULL,
    kind     TEXT NOT NULL,
    incident TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (id, no)
);

CREATE INDEX anomaly_record_kind ON anomaly_record (kind, incident);
