-- people, what lets them in, and what they did with it, see auth/
CREATE TABLE person (
    id         TEXT PRIMARY KEY,
    login      TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    roles      TEXT NOT NULL, -- JSON
    site       TEXT NOT NULL,
    lang       TEXT NOT NULL,
    password   TEXT NOT NULL, -- argon2id with its parameters
    totp       TEXT NOT NULL, -- sealed, base64; empty: no second factor
    totp_step  BIGINT NOT NULL, -- newest time step whose code was used
    disabled   INTEGER NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE invitation (
    hash       TEXT PRIMARY KEY, -- SHA-256 of the token
    person     TEXT NOT NULL, -- whose log-in is made anew; empty: a new person
    first      INTEGER NOT NULL,
    login      TEXT NOT NULL,
    name       TEXT NOT NULL,
    roles      TEXT NOT NULL,
    site       TEXT NOT NULL,
    lang       TEXT NOT NULL,
    totp       TEXT NOT NULL,
    made_by    TEXT NOT NULL,
    made_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL
);

CREATE TABLE session (
    hash       TEXT PRIMARY KEY, -- SHA-256 of the token
    person     TEXT NOT NULL,
    made_at    BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX session_person ON session (person);

-- failed log-ins per log-in name and per address; the key is a keyed digest,
-- because people type passwords into the wrong field
CREATE TABLE attempt (
    key          TEXT PRIMARY KEY,
    failures     INTEGER NOT NULL,
    last_at      BIGINT NOT NULL,
    locked_until BIGINT NOT NULL
);

-- what the ledger holds the digests of
CREATE TABLE auth_record (
    id   TEXT PRIMARY KEY,
    kind TEXT NOT NULL, -- login | person | refusal
    at   BIGINT NOT NULL,
    body TEXT NOT NULL -- JSON of auth.Record
);
CREATE INDEX auth_record_at ON auth_record (at);
