-- What SQLite spells in its own way.

-- Added to only. Callbacks as they came: kept before the 200, worked on after it.
CREATE TABLE callbacks (
    id         TEXT   NOT NULL PRIMARY KEY,
    router     TEXT   NOT NULL,
    order_id   TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    shortcode  TEXT,
    body       BLOB   NOT NULL
);

CREATE TRIGGER history_stays BEFORE UPDATE ON history BEGIN SELECT RAISE(ABORT, 'history is only added to'); END;
CREATE TRIGGER history_remains BEFORE DELETE ON history BEGIN SELECT RAISE(ABORT, 'history is only added to'); END;
CREATE TRIGGER ledger_stays BEFORE UPDATE ON ledger BEGIN SELECT RAISE(ABORT, 'ledger is only added to'); END;
CREATE TRIGGER ledger_remains BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'ledger is only added to'); END;
CREATE TRIGGER receipts_stay BEFORE UPDATE ON receipts BEGIN SELECT RAISE(ABORT, 'receipts is only added to'); END;
CREATE TRIGGER receipts_remain BEFORE DELETE ON receipts BEGIN SELECT RAISE(ABORT, 'receipts is only added to'); END;
CREATE TRIGGER requests_stay BEFORE UPDATE ON requests BEGIN SELECT RAISE(ABORT, 'requests is only added to'); END;
CREATE TRIGGER requests_remain BEFORE DELETE ON requests BEGIN SELECT RAISE(ABORT, 'requests is only added to'); END;
CREATE TRIGGER callbacks_stay BEFORE UPDATE ON callbacks BEGIN SELECT RAISE(ABORT, 'callbacks is only added to'); END;
CREATE TRIGGER callbacks_remain BEFORE DELETE ON callbacks BEGIN SELECT RAISE(ABORT, 'callbacks is only added to'); END;
CREATE TRIGGER messages_stay BEFORE UPDATE ON messages BEGIN SELECT RAISE(ABORT, 'messages is only added to'); END;
CREATE TRIGGER messages_remain BEFORE DELETE ON messages BEGIN SELECT RAISE(ABORT, 'messages is only added to'); END;
CREATE TRIGGER messages_ended_stay BEFORE UPDATE ON messages_ended BEGIN SELECT RAISE(ABORT, 'messages_ended is only added to'); END;
CREATE TRIGGER messages_ended_remain BEFORE DELETE ON messages_ended BEGIN SELECT RAISE(ABORT, 'messages_ended is only added to'); END;
CREATE TRIGGER signing_keys_stay BEFORE UPDATE ON signing_keys BEGIN SELECT RAISE(ABORT, 'signing_keys is only added to'); END;
CREATE TRIGGER signing_keys_remain BEFORE DELETE ON signing_keys BEGIN SELECT RAISE(ABORT, 'signing_keys is only added to'); END;

CREATE TRIGGER payments_remain BEFORE DELETE ON payments BEGIN SELECT RAISE(ABORT, 'payments stay'); END;
CREATE TRIGGER success_is_final BEFORE UPDATE ON payments
WHEN OLD.state = 'paid' AND (NEW.state <> 'paid' OR NEW.receipt IS NULL OR NEW.receipt <> OLD.receipt)
BEGIN SELECT RAISE(ABORT, 'a success is final'); END;
CREATE TRIGGER what_was_asked_stays BEFORE UPDATE ON payments
WHEN NEW.amount <> OLD.amount OR NEW.phone <> OLD.phone OR NEW.secret <> OLD.secret OR NEW.package <> OLD.package
BEGIN SELECT RAISE(ABORT, 'what was asked for stays'); END;
