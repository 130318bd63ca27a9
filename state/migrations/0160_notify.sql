-- who is told, how, until someone answers: see package notify
CREATE TABLE notify_channel (
    id     TEXT PRIMARY KEY,
    body   TEXT NOT NULL, -- JSON of notify.Channel
    sealed TEXT NOT NULL  -- base64: notify.Secrets, encrypted
);
CREATE TABLE notify_contact (
    person TEXT PRIMARY KEY,
    body   TEXT NOT NULL, -- JSON of notify.Contact
    sealed TEXT NOT NULL  -- base64: address of the person's own chat, encrypted
);
CREATE TABLE notify_shift (
    id       TEXT PRIMARY KEY,
    until_at BIGINT NOT NULL,
    body     TEXT NOT NULL -- JSON of notify.Shift
);
CREATE TABLE notify_chain (
    id   TEXT PRIMARY KEY,
    body TEXT NOT NULL -- JSON of notify.Chain
);

-- who changed which of these; each covered by a digest in the ledger
CREATE TABLE notify_change (
    ref  TEXT NOT NULL, -- "<kind>/<id>"
    no   BIGINT NOT NULL,
    body TEXT NOT NULL, -- JSON of notify.Change
    PRIMARY KEY (ref, no)
);

-- one run through a chain
CREATE TABLE notify_call (
    id       TEXT PRIMARY KEY,
    kind     TEXT NOT NULL,
    ref      TEXT NOT NULL,
    site     TEXT NOT NULL,
    incident TEXT NOT NULL, -- '' while there is none
    state    TEXT NOT NULL,
    due_at   BIGINT NOT NULL,
    began_at BIGINT NOT NULL,
    body     TEXT NOT NULL, -- JSON of notify.Call
    UNIQUE (kind, ref)
);
CREATE INDEX notify_call_due ON notify_call (state, due_at);
CREATE INDEX notify_call_incident ON notify_call (incident);
CREATE INDEX notify_call_began ON notify_call (began_at);
CREATE TABLE notify_line (
    call TEXT NOT NULL,
    no   BIGINT NOT NULL,
    at   BIGINT NOT NULL,
    body TEXT NOT NULL, -- JSON of notify.Line
    PRIMARY KEY (call, no)
);

-- the queue: what somebody is to be told, and the messages that carry it
CREATE TABLE notify_note (
    id       TEXT PRIMARY KEY,
    call     TEXT NOT NULL,
    person   TEXT NOT NULL, -- '' for the room of a channel
    channel  TEXT NOT NULL,
    severity INTEGER NOT NULL,
    due_at   BIGINT NOT NULL,
    delivery TEXT NOT NULL -- '' until a message carries it
);
CREATE INDEX notify_note_due ON notify_note (delivery, due_at);
CREATE INDEX notify_note_call ON notify_note (call);
CREATE TABLE notify_delivery (
    id       TEXT PRIMARY KEY,
    person   TEXT NOT NULL,
    channel  TEXT NOT NULL,
    state    TEXT NOT NULL,
    made_at  BIGINT NOT NULL,
    next_at  BIGINT NOT NULL, -- when it is tried next
    sent_at  BIGINT NOT NULL, -- 0 until it was taken
    tries    BIGINT NOT NULL,
    severity INTEGER NOT NULL,
    error    TEXT NOT NULL, -- of the last try
    body     TEXT NOT NULL  -- JSON of notify.Message
);
CREATE INDEX notify_delivery_next ON notify_delivery (state, next_at);
CREATE INDEX notify_delivery_made ON notify_delivery (made_at);
CREATE INDEX notify_delivery_whom ON notify_delivery (person, channel, made_at);
