-- Version 3: money paid by hand, receipts that Safaricom is asked about, reversals, routers whose keys are revoked.

-- From when on a router is neither heard nor told anything.
ALTER TABLE routers ADD COLUMN revoked_at BIGINT;

-- Random parts of addresses that are made once and kept.
CREATE TABLE secrets (
    name   TEXT   NOT NULL PRIMARY KEY,
    secret TEXT   NOT NULL UNIQUE,
    at     BIGINT NOT NULL
);

-- What Safaricom posted to other addresses than a payment's, and nobody has worked on yet. The words themselves are in `posts`.
CREATE TABLE posts_open (
    id TEXT   NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL
);
CREATE INDEX posts_open_at ON posts_open (at);

-- Money that came without a prompt, by M-Pesa's receipt. `held`: it may be a prompt's money, which is about to be known. `payment`:
-- it is; the money is in `ledger`. `waiting`: nobody knows whose it is. `given`: the router is told. What was paid stays as it is,
-- and so does the router that has it.
CREATE TABLE deposits (
    receipt      TEXT   NOT NULL PRIMARY KEY,
    state        TEXT   NOT NULL,
    router       TEXT,
    account      TEXT   NOT NULL,
    word         TEXT,
    payer        TEXT   NOT NULL,
    hash         TEXT,
    amount       BIGINT NOT NULL,
    channel      TEXT   NOT NULL,
    completed_at BIGINT,
    at           BIGINT NOT NULL,
    due          BIGINT,
    order_id     TEXT,
    note         TEXT
);
CREATE INDEX deposits_at ON deposits (at);
CREATE INDEX deposits_due ON deposits (due) WHERE due IS NOT NULL;

-- Receipts that nobody knew, and that Safaricom was asked about for a router's customer.
CREATE TABLE status_asks (
    secret       TEXT   NOT NULL PRIMARY KEY,
    receipt      TEXT   NOT NULL,
    router       TEXT   NOT NULL,
    phone        TEXT   NOT NULL,
    at           BIGINT NOT NULL,
    state        TEXT   NOT NULL,
    code         TEXT,
    decided_at   BIGINT
);
CREATE INDEX status_asks_receipt ON status_asks (receipt, at);
CREATE INDEX status_asks_router ON status_asks (router, at);

-- Money that the operator wants back at its payer. A row is made before anything is sent: `claimed`; then `accepted`, `done`,
-- `failed` (no money moved) or `doubt`. Only after a failure there may be another one for the same receipt.
CREATE TABLE reversals (
    secret           TEXT   NOT NULL PRIMARY KEY,
    receipt          TEXT   NOT NULL,
    amount           BIGINT NOT NULL,
    served           BIGINT NOT NULL,
    state            TEXT   NOT NULL,
    code             TEXT,
    reversal_receipt TEXT,
    at               BIGINT NOT NULL,
    decided_at       BIGINT
);
CREATE UNIQUE INDEX reversals_once ON reversals (receipt) WHERE state <> 'failed';
CREATE INDEX reversals_at ON reversals (at);

-- How an account number finds the prompt that it was made for, and a number its payments.
CREATE INDEX payments_reference ON payments (substr(order_id, 1, 12));
CREATE INDEX payments_phone ON payments (phone, received_at);
CREATE INDEX payments_amount ON payments (amount, prompted_at);
CREATE INDEX payments_receipt ON payments (receipt);
CREATE INDEX payments_mpesa_receipt ON payments (mpesa_receipt);
