-- Schema 4: texts (SMS) to customers, the same in SQLite and PostgreSQL. Rows here change: they are no money.

-- One row a text. What it is about is its `cause`: no router's cause is told twice. Whoever sends one claims it until `due`;
-- nothing is due where `due` is null. `body` holds credentials: it is forgotten when the text is delivered, or old.
CREATE TABLE texts (
    id         TEXT   NOT NULL PRIMARY KEY,
    router     TEXT   NOT NULL,
    cause      TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    username   TEXT   NOT NULL,
    phone      TEXT   NOT NULL,
    language   TEXT   NOT NULL,
    order_id   TEXT,
    receipt    TEXT,
    body       TEXT,
    made_at    BIGINT NOT NULL,
    since      BIGINT NOT NULL,
    state      TEXT   NOT NULL,
    tries      BIGINT NOT NULL,
    sends      BIGINT NOT NULL,
    due        BIGINT,
    claim      TEXT,
    gateway_id TEXT,
    code       TEXT,
    note       TEXT,
    sent_at    BIGINT,
    decided_at BIGINT,
    UNIQUE (router, cause)
);
CREATE INDEX texts_due ON texts (due) WHERE due IS NOT NULL;
CREATE INDEX texts_gateway ON texts (gateway_id) WHERE gateway_id IS NOT NULL;
CREATE INDEX texts_made ON texts (made_at);
CREATE INDEX texts_of ON texts (router, username);
CREATE INDEX texts_day ON texts (router, made_at);
CREATE INDEX texts_secret ON texts (made_at) WHERE body IS NOT NULL;

-- Why the SMS gateway sends nothing, as long as that is so: each is logged once, by the relay that found it.
CREATE TABLE text_alerts (
    name TEXT   NOT NULL PRIMARY KEY,
    at   BIGINT NOT NULL,
    code TEXT   NOT NULL
);
