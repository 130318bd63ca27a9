-- standing policies: which action may follow which alert without asking, see
-- action/ and auth/standing; who proposed and approved them stands in
-- action_decision
CREATE TABLE action_policy (
    id          TEXT PRIMARY KEY,
    state       TEXT NOT NULL,
    site        TEXT NOT NULL, -- empty: all sites
    proposed_at BIGINT NOT NULL,
    body        TEXT NOT NULL -- JSON of action.Policy
);
CREATE INDEX action_policy_state ON action_policy (state, site);

-- standing policy that an action follows, see action.Action.Auto
ALTER TABLE action ADD COLUMN auto TEXT NOT NULL DEFAULT '';
CREATE INDEX action_by_policy ON action (auto, requested_at);
