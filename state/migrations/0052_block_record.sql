-- what people entered about blocks, see action/limits.go and action/device:
-- every state of it is a row, and each is covered by a digest in the ledger
CREATE TABLE block_limits (
    site    TEXT NOT NULL,
    version BIGINT NOT NULL,
    body    TEXT NOT NULL, -- JSON of action.Limits
    PRIMARY KEY (site, version)
);
INSERT INTO block_limits (site, version, body) SELECT site, version, body FROM action_limits;
DROP TABLE action_limits;

CREATE TABLE device_change (
    id      TEXT NOT NULL,
    no      BIGINT NOT NULL,
    site    TEXT NOT NULL,
    name    TEXT NOT NULL,
    removed INTEGER NOT NULL,
    body    TEXT NOT NULL, -- JSON of device.Device, without secrets, with when and a salt
    PRIMARY KEY (id, no)
);
INSERT INTO device_change (id, no, site, name, removed, body)
    SELECT id, version, site, name, CASE WHEN removed_at = 0 THEN 0 ELSE 1 END, body FROM device;

-- what is left of a device beside that: its secrets, and when its list was fetched
ALTER TABLE device DROP COLUMN site;
ALTER TABLE device DROP COLUMN name;
ALTER TABLE device DROP COLUMN version;
ALTER TABLE device DROP COLUMN removed_at;
ALTER TABLE device DROP COLUMN body;
