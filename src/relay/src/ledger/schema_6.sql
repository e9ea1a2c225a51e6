-- Schema 6: whether accounts roam, which all relays on this ledger have to know; the same in SQLite and PostgreSQL.

-- One row, from the first start of a relay with [radius_sql] on: from then on no relay lets a router forget a purchase before the RADIUS
-- server's tables have it, with that section or without. `lango-relay radius off` removes it.
CREATE TABLE radius_since (
    key   BIGINT NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL
);
