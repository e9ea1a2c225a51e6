-- What SQLite spells in its own way, version 3.

-- Added to only. What Safaricom posted, as it came: kept before the 200, worked on after it.
CREATE TABLE posts (
    id      TEXT   NOT NULL PRIMARY KEY,
    kind    TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    at      BIGINT NOT NULL,
    body    BLOB   NOT NULL
);

CREATE TRIGGER posts_stay BEFORE UPDATE ON posts BEGIN SELECT RAISE(ABORT, 'posts is only added to'); END;
CREATE TRIGGER posts_remain BEFORE DELETE ON posts BEGIN SELECT RAISE(ABORT, 'posts is only added to'); END;
CREATE TRIGGER deposits_remain BEFORE DELETE ON deposits BEGIN SELECT RAISE(ABORT, 'deposits stay'); END;
CREATE TRIGGER what_was_paid_stays BEFORE UPDATE ON deposits
WHEN NEW.receipt <> OLD.receipt OR NEW.amount <> OLD.amount OR NEW.payer <> OLD.payer OR (OLD.router IS NOT NULL AND (NEW.router IS NULL OR NEW.router <> OLD.router))
BEGIN SELECT RAISE(ABORT, 'what was paid stays, and who has it'); END;
CREATE TRIGGER reversals_remain BEFORE DELETE ON reversals BEGIN SELECT RAISE(ABORT, 'reversals stay'); END;
CREATE TRIGGER a_reversal_is_final BEFORE UPDATE ON reversals
WHEN NEW.receipt <> OLD.receipt OR NEW.amount <> OLD.amount OR (OLD.state = 'done' AND NEW.state <> 'done')
BEGIN SELECT RAISE(ABORT, 'a reversal is final'); END;
