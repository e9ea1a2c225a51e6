-- Schema 8: what arrived for a payment, where it may be another sum than the one that was asked for; the same in SQLite and PostgreSQL.

-- Null while nothing arrived, and in rows from before: there it was what was asked for.
ALTER TABLE payments ADD COLUMN paid BIGINT;
