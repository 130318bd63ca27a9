-- cutting a whole site in the order of the ministry, see action/cut.go: what
-- belongs to which stage, each version of it covered by a digest in the ledger
CREATE TABLE site_cut (
    site    TEXT NOT NULL,
    version BIGINT NOT NULL,
    body    TEXT NOT NULL, -- JSON of action.Cut
    PRIMARY KEY (site, version)
);

-- one such cutting; what it did are actions, who decided stands in action_decision
CREATE TABLE site_cutting (
    id           TEXT PRIMARY KEY,
    state        TEXT NOT NULL,
    site         TEXT NOT NULL,
    incident     TEXT NOT NULL,
    requested_at BIGINT NOT NULL,
    version      BIGINT NOT NULL,
    body         TEXT NOT NULL -- JSON of action.Cutting
);
CREATE INDEX site_cutting_state ON site_cutting (state, site);
CREATE INDEX site_cutting_incident ON site_cutting (incident);
