-- The relay's ledger, the same in SQLite and PostgreSQL. Times are milliseconds since 1970 UTC.
-- What was heard, what money came and what was told are rows that are only ever added: `schema_sqlite.sql` and
-- `schema_postgres.sql` have the database itself refuse anything else, and hold what the two must spell differently.

-- The routers that are served.
CREATE TABLE routers (
    name       TEXT   NOT NULL PRIMARY KEY,
    password   TEXT   NOT NULL,
    added_at   BIGINT NOT NULL,
    next_seq   BIGINT NOT NULL,
    hello_at   BIGINT,
    version    TEXT,
    online     BIGINT,
    online_at  BIGINT
);

-- Each payment's present state, for what is asked often; what led to it is in `history`. Changed in one transaction with it.
CREATE TABLE payments (
    router        TEXT   NOT NULL,
    order_id      TEXT   NOT NULL,
    revision      BIGINT NOT NULL,
    secret        TEXT   NOT NULL UNIQUE,
    package       TEXT   NOT NULL,
    label         TEXT   NOT NULL,
    amount        BIGINT NOT NULL,
    phone         TEXT   NOT NULL,
    device        TEXT   NOT NULL,
    asked_at      BIGINT NOT NULL,
    received_at   BIGINT NOT NULL,
    state         TEXT   NOT NULL,
    reason        TEXT,
    prompted_at   BIGINT,
    checkout      TEXT,
    tries         BIGINT NOT NULL,
    due           BIGINT,
    code          TEXT,
    receipt       TEXT,
    mpesa_receipt TEXT,
    decided_at    BIGINT,
    flag          TEXT,
    PRIMARY KEY (router, order_id)
);
CREATE INDEX payments_due ON payments (due) WHERE due IS NOT NULL;
CREATE INDEX payments_received ON payments (received_at);
CREATE INDEX payments_order ON payments (order_id);

-- Added to only. What was heard of each payment, in its order: what it was, what it said, what was made of it, and the
-- state after it. A callback's own words are in `callbacks`, by its id.
CREATE TABLE history (
    router   TEXT   NOT NULL,
    order_id TEXT   NOT NULL,
    revision BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    event    TEXT   NOT NULL,
    heard    TEXT,
    callback TEXT,
    verdict  TEXT   NOT NULL,
    state    TEXT   NOT NULL,
    code     TEXT,
    PRIMARY KEY (router, order_id, revision)
);

-- Added to only. Money that arrived, by the receipt that the router was told.
CREATE TABLE ledger (
    receipt  TEXT   NOT NULL PRIMARY KEY,
    router   TEXT   NOT NULL,
    order_id TEXT   NOT NULL,
    phone    TEXT   NOT NULL,
    package  TEXT   NOT NULL,
    amount   BIGINT NOT NULL,
    channel  TEXT   NOT NULL,
    at       BIGINT NOT NULL
);
CREATE INDEX ledger_at ON ledger (at);
CREATE INDEX ledger_payment ON ledger (router, order_id);

-- Added to only. M-Pesa's own receipts, each once over all channels; the ledger's entry that each belongs to; and when
-- M-Pesa completed it, where it said so.
CREATE TABLE receipts (
    receipt      TEXT   NOT NULL PRIMARY KEY,
    entry        TEXT   NOT NULL UNIQUE,
    channel      TEXT   NOT NULL,
    completed_at BIGINT,
    at           BIGINT NOT NULL
);

-- Added to only. Safaricom's request ids, each once, and the payment that each belongs to.
CREATE TABLE requests (
    checkout TEXT   NOT NULL PRIMARY KEY,
    router   TEXT   NOT NULL,
    order_id TEXT   NOT NULL,
    at       BIGINT NOT NULL
);

-- The callbacks that nobody has worked on yet.
CREATE TABLE callbacks_open (
    id TEXT   NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL
);
CREATE INDEX callbacks_open_at ON callbacks_open (at);

-- Added to only. Results, as sent.
CREATE TABLE messages (
    id       TEXT   NOT NULL PRIMARY KEY,
    router   TEXT   NOT NULL,
    order_id TEXT   NOT NULL,
    seq      BIGINT NOT NULL,
    topic    TEXT   NOT NULL,
    payload  TEXT   NOT NULL,
    made_at  BIGINT NOT NULL
);

-- Added to only. When and why a message is not sent any more: acknowledged by its router, or superseded by another.
CREATE TABLE messages_ended (
    id  TEXT   NOT NULL PRIMARY KEY,
    at  BIGINT NOT NULL,
    how TEXT   NOT NULL
);

-- The messages that are sent until their router has acknowledged them. Whoever sends one claims it until `due`.
CREATE TABLE outbox (
    id       TEXT   NOT NULL PRIMARY KEY,
    router   TEXT   NOT NULL,
    order_id TEXT   NOT NULL,
    times    BIGINT NOT NULL,
    due      BIGINT NOT NULL,
    claim    TEXT
);
CREATE INDEX outbox_due ON outbox (due);
CREATE INDEX outbox_payment ON outbox (router, order_id);

-- Daraja's one access token: each new one makes the one before it useless. Who holds the lease may ask for a new one.
CREATE TABLE tokens (
    account     TEXT   NOT NULL PRIMARY KEY,
    token       TEXT   NOT NULL,
    good_until  BIGINT NOT NULL,
    lease       TEXT   NOT NULL,
    lease_until BIGINT NOT NULL
);

-- The relays that work on this ledger, and when each last said so.
CREATE TABLE relays (
    id         TEXT   NOT NULL PRIMARY KEY,
    started_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL
);

-- Added to only. The public keys whose signatures this ledger's routers believe.
CREATE TABLE signing_keys (
    public_key TEXT   NOT NULL PRIMARY KEY,
    at         BIGINT NOT NULL
);
