-- sites, hosts and enrolment tokens, see ready/asset
CREATE TABLE asset_site (
    id        TEXT PRIMARY KEY,
    name      TEXT NOT NULL,
    kind      TEXT NOT NULL,
    principal TEXT NOT NULL,
    contact   TEXT NOT NULL,
    drill     INTEGER NOT NULL,
    version   INTEGER NOT NULL,
    salt      TEXT NOT NULL
);

CREATE TABLE asset_token (
    id         TEXT PRIMARY KEY,
    hash       TEXT NOT NULL UNIQUE,
    site       TEXT NOT NULL REFERENCES asset_site (id),
    note       TEXT NOT NULL,
    made_at    BIGINT NOT NULL,
    made_by    TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL,
    host       TEXT NOT NULL,
    refused    INTEGER NOT NULL
);

CREATE TABLE asset_host (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    site        TEXT NOT NULL REFERENCES asset_site (id),
    class       TEXT NOT NULL,
    os          TEXT NOT NULL,
    agent       TEXT NOT NULL,
    addresses   TEXT NOT NULL,
    services    TEXT NOT NULL,
    keep        TEXT NOT NULL,
    enrolled_at BIGINT NOT NULL,
    removed_at  BIGINT NOT NULL,
    last_seen   BIGINT NOT NULL,
    health      TEXT NOT NULL,
    hub         TEXT NOT NULL,
    action      TEXT NOT NULL,
    lease_end   BIGINT NOT NULL,
    drill       INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    salt        TEXT NOT NULL
);
CREATE INDEX asset_host_site ON asset_host (site, name);
