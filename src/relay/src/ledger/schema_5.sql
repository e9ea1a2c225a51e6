-- Schema 5: what was bought on which account, for a RADIUS server's tables; the same in SQLite and PostgreSQL. Rows here change.

-- One row a purchase, made when its router tells of it, and only where [radius_sql] is configured. `state` is waiting, written (its
-- rows are in the RADIUS server's tables, durably) or refused. `notice` is the router's message as JSON: it holds the password, and is
-- forgotten when the account is. The row stays: a router may tell of it again after years.
CREATE TABLE radius_purchases (
    router   TEXT   NOT NULL,
    cause    TEXT   NOT NULL,
    message  TEXT   NOT NULL,
    username TEXT   NOT NULL,
    notice   TEXT,
    made_at  BIGINT NOT NULL,
    state    TEXT   NOT NULL,
    due      BIGINT,
    note     TEXT,
    done_at  BIGINT,
    PRIMARY KEY (router, cause)
);
CREATE INDEX radius_purchases_due ON radius_purchases (due) WHERE due IS NOT NULL;
CREATE INDEX radius_purchases_of ON radius_purchases (username);
