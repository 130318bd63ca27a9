-- what people decided about sites, hosts and enrolment tokens, see ready/asset:
-- each version is a row, and each is covered by a digest in the ledger (leaves
-- of type "asset"). Versions from before this table have leaves of the types
-- "site", "host" and "token" and no rows.
CREATE TABLE asset_record (
    ref  TEXT PRIMARY KEY, -- "host/<id>/<version>", "site/<id>/<version>", "token/<id>/<what>"
    at   BIGINT NOT NULL,
    body TEXT NOT NULL -- JSON of what the leaf covers
);
