-- What PostgreSQL spells in its own way.

-- Added to only. Callbacks as they came: kept before the 200, worked on after it.
CREATE TABLE callbacks (
    id         TEXT   NOT NULL PRIMARY KEY,
    router     TEXT   NOT NULL,
    order_id   TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    shortcode  TEXT,
    body       BYTEA  NOT NULL
);

CREATE FUNCTION only_added_to() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '% is only added to', TG_TABLE_NAME; END $$;
CREATE FUNCTION is_final() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'a success is final, and what was asked for stays'; END $$;

CREATE TRIGGER stays BEFORE UPDATE OR DELETE OR TRUNCATE ON history EXECUTE FUNCTION only_added_to();
CREATE TRIGGER stays BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger EXECUTE FUNCTION only_added_to();
CREATE TRIGGER stays BEFORE UPDATE OR DELETE OR TRUNCATE ON receipts EXECUTE FUNCTION only_added_to();
CREATE TRIGGER stays BEFORE UPDATE OR DELETE OR TRUNCATE ON requests EXECUTE FUNCTION only_added_to();
CREATE TRIGGER stays BEFORE UPDATE OR DELETE OR TRUNCATE ON callbacks EXECUTE FUNCTION only_added_to();
CREATE TRIGGER stays BEFORE UPDATE OR DELETE OR TRUNCATE ON messages EXECUTE FUNCTION only_added_to();
CREATE TRIGGER stays BEFORE UPDATE OR DELETE OR TRUNCATE ON messages_ended EXECUTE FUNCTION only_added_to();
CREATE TRIGGER stays BEFORE UPDATE OR DELETE OR TRUNCATE ON signing_keys EXECUTE FUNCTION only_added_to();

CREATE TRIGGER remain BEFORE DELETE OR TRUNCATE ON payments EXECUTE FUNCTION only_added_to();
CREATE TRIGGER success_is_final BEFORE UPDATE ON payments FOR EACH ROW
WHEN (OLD.state = 'paid' AND (NEW.state <> 'paid' OR NEW.receipt IS NULL OR NEW.receipt <> OLD.receipt))
EXECUTE FUNCTION is_final();
CREATE TRIGGER what_was_asked_stays BEFORE UPDATE ON payments FOR EACH ROW
WHEN (NEW.amount <> OLD.amount OR NEW.phone <> OLD.phone OR NEW.secret <> OLD.secret OR NEW.package <> OLD.package)
EXECUTE FUNCTION is_final();
