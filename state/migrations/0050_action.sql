-- measures and the signed orders that carry them out, see action/
CREATE TABLE action (
    id           TEXT PRIMARY KEY,
    kind         TEXT NOT NULL,
    state        TEXT NOT NULL,
    incident     TEXT NOT NULL,
    host         TEXT NOT NULL,
    site         TEXT NOT NULL,
    requested_at BIGINT NOT NULL,
    version      BIGINT NOT NULL, -- counts the changes; makes message ids
    body         TEXT NOT NULL    -- JSON of action.Action
);
CREATE INDEX action_by_incident ON action (incident, host, kind);
CREATE INDEX action_by_host ON action (host, state);
CREATE INDEX action_by_state ON action (state, requested_at);

CREATE TABLE action_order (
    id         TEXT PRIMARY KEY,
    action     TEXT NOT NULL,
    host       TEXT NOT NULL,
    kind       TEXT NOT NULL,
    issued_at  BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    waiting    INTEGER NOT NULL, -- 1 until the agent answered or the order was withdrawn
    signed     TEXT NOT NULL     -- JSON of order.Signed: the exact bytes
);
CREATE INDEX action_order_waiting ON action_order (host, waiting);
CREATE INDEX action_order_action ON action_order (action);

-- who decided what, with a digest in the ledger
CREATE TABLE action_decision (
    action   TEXT NOT NULL,
    no       BIGINT NOT NULL,
    body     TEXT NOT NULL, -- JSON of action.Decision
    PRIMARY KEY (action, no)
);

-- every different answer of an agent, once
CREATE TABLE action_answer (
    digest TEXT PRIMARY KEY,
    action TEXT NOT NULL,
    at     BIGINT NOT NULL,
    body   TEXT NOT NULL -- JSON of order.Result
);
CREATE INDEX action_answer_action ON action_answer (action, at);
