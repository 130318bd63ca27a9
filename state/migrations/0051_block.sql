-- blocks in the network, see action/ and action/device
CREATE TABLE action_limits (
    site    TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    body    TEXT NOT NULL -- JSON of action.Limits
);

CREATE TABLE device (
    id         TEXT PRIMARY KEY,
    site       TEXT NOT NULL,
    name       TEXT NOT NULL,
    version    INTEGER NOT NULL,
    removed_at BIGINT NOT NULL,
    fetched_at BIGINT NOT NULL, -- when the published list was fetched last
    body       TEXT NOT NULL,   -- JSON of device.Device, without secrets
    sealed     TEXT NOT NULL    -- secrets, sealed by the hub's key, base64
);

-- what a device was told and must be told to undo
CREATE TABLE device_hold (
    action   TEXT PRIMARY KEY,
    device   TEXT NOT NULL,
    ended_at BIGINT NOT NULL, -- 0 while the device must still be told to undo it
    body     TEXT NOT NULL    -- JSON of device.Hold
);
CREATE INDEX device_hold_open ON device_hold (ended_at, device);
