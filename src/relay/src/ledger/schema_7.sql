-- Schema 7: updates over the air; the same in SQLite and PostgreSQL. Rows here change.

-- One row an offer to a router: the message that makes it, the release (`digest`: its manifest's SHA-256), and the router's latest word.
CREATE TABLE updates (
    offer      TEXT   NOT NULL PRIMARY KEY,
    router     TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    version    TEXT   NOT NULL,
    number     TEXT   NOT NULL,
    digest     TEXT   NOT NULL,
    offered_at BIGINT NOT NULL,
    state      TEXT   NOT NULL,
    reason     TEXT,
    state_at   BIGINT NOT NULL
);
CREATE INDEX updates_of ON updates (router, offered_at);
