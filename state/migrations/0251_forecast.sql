-- prices, losses and targets of a site, and restores that people measured, see
-- protect/forecast and incident/record
CREATE TABLE forecast_record (
    id       TEXT NOT NULL,
    no       BIGINT NOT NULL,
    kind     TEXT NOT NULL,
    incident TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (id, no)
);

CREATE INDEX forecast_record_kind ON forecast_record (kind, incident);
