-- the keeper of repositories: their keys (sealed), quotas, who may read them,
-- what was refused, cut, read and decided, every version of each, see protect/vault
CREATE TABLE vault_record (
    id    TEXT NOT NULL,
    no    BIGINT NOT NULL,
    kind  TEXT NOT NULL,
    agent TEXT NOT NULL,
    site  TEXT NOT NULL,
    body  TEXT NOT NULL,
    PRIMARY KEY (id, no)
);

CREATE INDEX vault_record_kind ON vault_record (kind, agent);
CREATE INDEX vault_record_site ON vault_record (kind, site);
