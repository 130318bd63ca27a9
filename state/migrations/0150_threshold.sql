-- thresholds of machines' health, see detect/threshold
CREATE TABLE threshold_limit (
    name    TEXT NOT NULL,
    site    TEXT NOT NULL, -- '' for all
    host    TEXT NOT NULL, -- '' for all of the site
    version INTEGER NOT NULL,
    body    TEXT NOT NULL, -- JSON of threshold.Limit; a limit that was taken back is marked so
    PRIMARY KEY (name, site, host)
);

-- every time that a threshold was exceeded, with its end
CREATE TABLE threshold_firing (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    site       TEXT NOT NULL,
    host       TEXT NOT NULL,
    object     TEXT NOT NULL,
    fired_at   BIGINT NOT NULL,
    cleared_at BIGINT NOT NULL, -- 0 while it lasts
    planned    TEXT NOT NULL,   -- id of the maintenance window that kept it quiet, '' when people were told
    body       TEXT NOT NULL    -- JSON of threshold.Firing
);
CREATE INDEX threshold_firing_open ON threshold_firing (cleared_at, host);
CREATE INDEX threshold_firing_past ON threshold_firing (fired_at, name);

CREATE TABLE threshold_window (
    id       TEXT PRIMARY KEY,
    site     TEXT NOT NULL,
    host     TEXT NOT NULL, -- '' for all of the site
    from_at  BIGINT NOT NULL,
    until_at BIGINT NOT NULL,
    version  INTEGER NOT NULL,
    body     TEXT NOT NULL -- JSON of threshold.Window
);
CREATE INDEX threshold_window_time ON threshold_window (until_at);

-- findings of other rules that planned work explains
CREATE TABLE threshold_planned (
    finding TEXT PRIMARY KEY,
    win     TEXT NOT NULL,
    rule    TEXT NOT NULL,
    host    TEXT NOT NULL,
    at      BIGINT NOT NULL
);
CREATE INDEX threshold_planned_window ON threshold_planned (win, at);
