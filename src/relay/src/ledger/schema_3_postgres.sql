-- What PostgreSQL spells in its own way, version 3.

-- Added to only. What Safaricom posted, as it came: kept before the 200, worked on after it.
CREATE TABLE posts (
    id      TEXT   NOT NULL PRIMARY KEY,
    kind    TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    at      BIGINT NOT NULL,
    body    BYTEA  NOT NULL
);

CREATE TRIGGER stays BEFORE UPDATE OR DELETE OR TRUNCATE ON posts EXECUTE FUNCTION only_added_to();
CREATE TRIGGER remain BEFORE DELETE OR TRUNCATE ON deposits EXECUTE FUNCTION only_added_to();
CREATE TRIGGER what_was_paid_stays BEFORE UPDATE ON deposits FOR EACH ROW
WHEN (NEW.receipt <> OLD.receipt OR NEW.amount <> OLD.amount OR NEW.payer <> OLD.payer OR (OLD.router IS NOT NULL AND (NEW.router IS NULL OR NEW.router <> OLD.router)))
EXECUTE FUNCTION is_final();
CREATE TRIGGER remain BEFORE DELETE OR TRUNCATE ON reversals EXECUTE FUNCTION only_added_to();
CREATE TRIGGER a_reversal_is_final BEFORE UPDATE ON reversals FOR EACH ROW
WHEN (NEW.receipt <> OLD.receipt OR NEW.amount <> OLD.amount OR (OLD.state = 'done' AND NEW.state <> 'done'))
EXECUTE FUNCTION is_final();
