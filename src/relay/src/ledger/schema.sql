-- The relay's ledger. Times are milliseconds since 1970 UTC. The same text must do for PostgreSQL, BLOB excepted.

-- The routers that are served.
CREATE TABLE IF NOT EXISTS routers (
    name       TEXT   NOT NULL PRIMARY KEY,
    password   TEXT   NOT NULL,
    added_at   BIGINT NOT NULL,
    next_seq   BIGINT NOT NULL,
    hello_at   BIGINT,
    version    TEXT,
    online     BIGINT,
    online_at  BIGINT
);

-- Each payment's present state; what led to it is in `history`.
CREATE TABLE IF NOT EXISTS payments (
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
CREATE INDEX IF NOT EXISTS payments_due ON payments (due) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS payments_received ON payments (received_at);

-- What happened to each payment. Rows are only ever added.
CREATE TABLE IF NOT EXISTS history (
    router   TEXT   NOT NULL,
    order_id TEXT   NOT NULL,
    revision BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    event    TEXT   NOT NULL,
    state    TEXT   NOT NULL,
    code     TEXT,
    PRIMARY KEY (router, order_id, revision)
);

-- Money that arrived, by the receipt that the router was told. Rows are only ever added.
CREATE TABLE IF NOT EXISTS ledger (
    receipt  TEXT   NOT NULL PRIMARY KEY,
    router   TEXT   NOT NULL,
    order_id TEXT   NOT NULL,
    phone    TEXT   NOT NULL,
    package  TEXT   NOT NULL,
    amount   BIGINT NOT NULL,
    channel  TEXT   NOT NULL,
    at       BIGINT NOT NULL
);

-- M-Pesa's own receipts, each once over all channels, and the ledger's entry that each belongs to.
CREATE TABLE IF NOT EXISTS receipts (
    receipt TEXT   NOT NULL PRIMARY KEY,
    entry   TEXT   NOT NULL,
    at      BIGINT NOT NULL
);

-- Callbacks as they came: kept before the 200, worked on after it.
CREATE TABLE IF NOT EXISTS callbacks (
    id         TEXT   NOT NULL PRIMARY KEY,
    router     TEXT   NOT NULL,
    order_id   TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    shortcode  TEXT,
    body       BLOB   NOT NULL,
    worked_at  BIGINT,
    verdict    TEXT
);
CREATE INDEX IF NOT EXISTS callbacks_open ON callbacks (at) WHERE worked_at IS NULL;

-- Results, as sent, until the router has acknowledged them.
CREATE TABLE IF NOT EXISTS outbox (
    id       TEXT   NOT NULL PRIMARY KEY,
    router   TEXT   NOT NULL,
    order_id TEXT   NOT NULL,
    seq      BIGINT NOT NULL,
    topic    TEXT   NOT NULL,
    payload  TEXT   NOT NULL,
    made_at  BIGINT NOT NULL,
    done_at  BIGINT
);
CREATE INDEX IF NOT EXISTS outbox_open ON outbox (router, seq) WHERE done_at IS NULL;
