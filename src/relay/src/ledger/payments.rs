//! Payments in the ledger: their rows, their history, and the money that they brought.

use super::place::Kind;
use super::{Change, Ledger, maybe_parsed, maybe_wall, parsed, to_db, unsigned, wall};
use crate::payment::{Payment, State};
use crate::secret::CallbackSecret;
use anyhow::{Context, bail};
use lango_core::message::{PaymentRequest, Reason};
use lango_core::time::Wall;
use lango_core::units::{OrderId, Receipt, RouterName, Shillings};
use serde::de::IntoDeserializer;
use sqlx::Row;
use sqlx::any::AnyRow;

/// Which payment: an order's id is unique at its router only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The router.
    pub router: RouterName,
    /// Its order.
    pub order: OrderId,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.router, self.order)
    }
}

/// A request as it comes in.
pub struct NewRequest<'a> {
    /// Whose.
    pub key: &'a Key,
    /// What is asked.
    pub request: &'a PaymentRequest,
    /// When the customer asked.
    pub asked_at: Wall,
    /// The path of its callback.
    pub secret: &'a CallbackSecret,
}

/// What was heard of a payment, for its history.
pub struct Heard<'a> {
    /// What kind of thing.
    pub event: &'a str,
    /// What it said.
    pub said: Option<String>,
    /// The stored callback that said it.
    pub callback: Option<&'a str>,
    /// What was made of it.
    pub verdict: &'a str,
}

const STATES: [(&str, State); 6] = [
    ("requested", State::Requested),
    ("prompting", State::Prompting),
    ("prompted", State::Prompted),
    ("confirmed", State::Confirmed),
    ("paid", State::Paid),
    ("needs_review", State::NeedsReview),
];

fn state_name(state: State) -> &'static str {
    STATES.iter().find(|(_, known)| *known == state).map_or("failed", |(name, _)| name)
}

/// The reason's name on the wire, which is also its name in the ledger.
fn reason_name(state: State) -> Option<String> {
    let State::Failed(reason) = state else { return None };
    serde_json::to_value(reason).ok()?.as_str().map(str::to_owned)
}

fn state(name: &str, reason: Option<&str>) -> anyhow::Result<State> {
    if let Some((_, state)) = STATES.iter().find(|(known, _)| *known == name) {
        return Ok(*state);
    }
    let text: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = reason.unwrap_or_default().into_deserializer();
    match <Reason as serde::Deserialize>::deserialize(text) {
        Ok(reason) if name == "failed" => Ok(State::Failed(reason)),
        _ => bail!("the ledger holds a payment in a state that this program does not know"),
    }
}

pub(super) fn payment(row: &AnyRow) -> anyhow::Result<Payment> {
    Ok(Payment {
        router: parsed(row, "router")?,
        order: parsed(row, "order_id")?,
        package: parsed(row, "package")?,
        label: row.try_get("label")?,
        amount: Shillings(unsigned(row, "amount")?),
        paid: row.try_get::<Option<i64>, _>("paid")?.and_then(|paid| u64::try_from(paid).ok()).map(Shillings),
        phone: parsed(row, "phone")?,
        device: parsed(row, "device")?,
        asked_at: wall(row, "asked_at")?,
        received_at: wall(row, "received_at")?,
        state: state(row.try_get("state")?, row.try_get("reason")?)?,
        prompted_at: maybe_wall(row, "prompted_at")?,
        checkout: row.try_get("checkout")?,
        tries: u32::try_from(unsigned(row, "tries")?).unwrap_or(u32::MAX),
        due: maybe_wall(row, "due")?,
        code: row.try_get("code")?,
        receipt: maybe_parsed(row, "receipt")?,
        mpesa_receipt: maybe_parsed(row, "mpesa_receipt")?,
        decided_at: maybe_wall(row, "decided_at")?,
        flag: row.try_get("flag")?,
    })
}

impl Ledger {
    /// Stores a request, due at once. `false`: it was known already, and nothing was changed.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn add_request(&self, new: NewRequest<'_>, now: Wall) -> anyhow::Result<bool> {
        let mut change = self.begin().await?;
        let NewRequest { key, request, asked_at, secret } = new;
        let amount = i64::try_from(request.amount.0).context("an amount beyond all amounts")?;
        let done = sqlx::query(
            "INSERT INTO payments (router, order_id, revision, secret, package, label, amount, phone, device, asked_at, received_at, state, tries, due)
             VALUES ($1, $2, 0, $3, $4, $5, $6, $7, $8, $9, $10, 'requested', 0, $10) ON CONFLICT (router, order_id) DO NOTHING",
        )
        .bind(key.router.as_str())
        .bind(key.order.as_str())
        .bind(secret.reveal())
        .bind(request.package.as_str())
        .bind(&request.label)
        .bind(amount)
        .bind(request.phone.digits())
        .bind(request.device.to_string())
        .bind(to_db(asked_at))
        .bind(to_db(now))
        .execute(&mut *change.tx)
        .await?;
        let new = done.rows_affected() == 1;
        if new {
            let (payment, _) = change.payment(key).await?;
            change.record(&payment, 0, Heard { event: "request", said: None, callback: None, verdict: "taken" }, now).await?;
            change.commit().await?;
        }
        Ok(new)
    }

    /// Whether this request is stored.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn has_request(&self, key: &Key) -> anyhow::Result<bool> {
        let row = sqlx::query("SELECT 1 FROM payments WHERE router = $1 AND order_id = $2");
        Ok(row.bind(key.router.as_str()).bind(key.order.as_str()).fetch_optional(&self.pool).await?.is_some())
    }

    /// The payment whose callback has this secret.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn by_secret(&self, secret: &CallbackSecret) -> anyhow::Result<Option<Key>> {
        let row =
            sqlx::query("SELECT router, order_id FROM payments WHERE secret = $1").bind(secret.reveal()).fetch_optional(&self.pool).await?;
        row.map(|row| key(&row)).transpose()
    }

    /// The callback secret of a payment, for its push.
    ///
    /// # Errors
    /// When the ledger cannot be read, or has no such payment.
    pub async fn secret(&self, key: &Key) -> anyhow::Result<CallbackSecret> {
        let row = sqlx::query("SELECT secret FROM payments WHERE router = $1 AND order_id = $2");
        let row = row.bind(key.router.as_str()).bind(key.order.as_str()).fetch_one(&self.pool).await?;
        CallbackSecret::parse(row.try_get("secret")?).context("the ledger's column secret is damaged")
    }

    /// The payments that something is to be done about, the oldest first, at most 100; and whether it is their prompt.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn due(&self, now: Wall) -> anyhow::Result<Vec<(Key, bool)>> {
        let rows = sqlx::query("SELECT router, order_id, state FROM payments WHERE due IS NOT NULL AND due <= $1 ORDER BY due LIMIT 100");
        let rows = rows.bind(to_db(now)).fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok((key(row)?, row.try_get::<String, _>("state")? == state_name(State::Requested)))).collect()
    }

    /// When something is to be done next.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn next_due(&self) -> anyhow::Result<Option<Wall>> {
        let row = sqlx::query("SELECT due FROM payments WHERE due IS NOT NULL ORDER BY due LIMIT 1").fetch_optional(&self.pool).await?;
        Ok(row.map(|row| wall(&row, "due")).transpose()?)
    }

    /// Makes everything due that waits for Safaricom: what was said while no relay was there was said to nobody.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn ask_for_all_open(&self, now: Wall) -> anyhow::Result<u64> {
        let mut change = self.begin().await?;
        // The revision stays: only the time changes, which is nobody's word.
        let update = sqlx::query("UPDATE payments SET due = $1 WHERE state IN ('prompted', 'confirmed')");
        let done = update.bind(to_db(now)).execute(&mut *change.tx).await?;
        change.commit().await?;
        Ok(done.rows_affected())
    }

    /// All payments, newest first.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn payments(&self) -> anyhow::Result<Vec<Payment>> {
        let rows = sqlx::query("SELECT * FROM payments ORDER BY received_at DESC, router, order_id").fetch_all(&self.pool).await?;
        rows.iter().map(payment).collect()
    }

    /// The payments of a time, in its order, each with the moment that counts: when the money came, or, where none did, when
    /// it was asked for.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn payments_between(&self, from: Wall, to: Wall) -> anyhow::Result<Vec<(Wall, Payment)>> {
        let rows = sqlx::query(
            "SELECT p.*, COALESCE(r.completed_at, l.at, p.received_at) AS counts_at FROM payments p
             LEFT JOIN ledger l ON l.router = p.router AND l.order_id = p.order_id LEFT JOIN receipts r ON r.entry = l.receipt
             WHERE COALESCE(r.completed_at, l.at, p.received_at) >= $1 AND COALESCE(r.completed_at, l.at, p.received_at) < $2
             ORDER BY counts_at, p.router, p.order_id",
        );
        let rows = rows.bind(to_db(from)).bind(to_db(to)).fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok((wall(row, "counts_at")?, payment(row)?))).collect()
    }

    /// The payments with this order id: one, save where two routers happened on the same.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn payments_of_order(&self, order: &str) -> anyhow::Result<Vec<Payment>> {
        let rows = sqlx::query("SELECT * FROM payments WHERE order_id = $1 ORDER BY router").bind(order).fetch_all(&self.pool).await?;
        rows.iter().map(payment).collect()
    }
}

pub(super) fn key(row: &AnyRow) -> anyhow::Result<Key> {
    Ok(Key { router: parsed(row, "router")?, order: parsed(row, "order_id")? })
}

impl Change {
    /// A payment and its revision. In PostgreSQL others wait for this change's end from here on; SQLite has them wait anyway.
    ///
    /// # Errors
    /// When the ledger cannot be read, or has no such payment.
    pub async fn payment(&mut self, key: &Key) -> anyhow::Result<(Payment, i64)> {
        let row = sqlx::query(match self.kind {
            Kind::Sqlite => "SELECT * FROM payments WHERE router = $1 AND order_id = $2",
            Kind::Postgres => "SELECT * FROM payments WHERE router = $1 AND order_id = $2 FOR UPDATE",
        });
        let row = row.bind(key.router.as_str()).bind(key.order.as_str()).fetch_one(&mut *self.tx).await?;
        Ok((payment(&row)?, row.try_get("revision")?))
    }

    /// Stores a payment's new state. `false`: somebody else changed it since it was read as `revision`; read it again.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn save(&mut self, payment: &Payment, revision: i64) -> anyhow::Result<bool> {
        let done = sqlx::query(
            "UPDATE payments SET revision = $4, state = $5, reason = $6, prompted_at = $7, checkout = $8, tries = $9, due = $10, code = $11,
             receipt = $12, mpesa_receipt = $13, decided_at = $14, flag = $15, paid = $16
             WHERE router = $1 AND order_id = $2 AND revision = $3",
        )
        .bind(payment.router.as_str())
        .bind(payment.order.as_str())
        .bind(revision)
        .bind(revision + 1)
        .bind(state_name(payment.state))
        .bind(reason_name(payment.state))
        .bind(payment.prompted_at.map(to_db))
        .bind(payment.checkout.as_deref())
        .bind(i64::from(payment.tries))
        .bind(payment.due.map(to_db))
        .bind(payment.code.as_deref())
        .bind(payment.receipt.as_ref().map(Receipt::as_str))
        .bind(payment.mpesa_receipt.as_ref().map(Receipt::as_str))
        .bind(payment.decided_at.map(to_db))
        .bind(payment.flag.as_deref())
        .bind(payment.paid.map(|paid| i64::try_from(paid.0)).transpose().context("an amount beyond all amounts")?)
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Adds a line to a payment's history: what was heard, and how the payment stands after it.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn record(&mut self, payment: &Payment, revision: i64, heard: Heard<'_>, now: Wall) -> anyhow::Result<()> {
        sqlx::query(
            "INSERT INTO history (router, order_id, revision, at, event, heard, callback, verdict, state, code)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(payment.router.as_str())
        .bind(payment.order.as_str())
        .bind(revision)
        .bind(to_db(now))
        .bind(heard.event)
        .bind(heard.said)
        .bind(heard.callback)
        .bind(heard.verdict)
        .bind(state_name(payment.state))
        .bind(payment.code.as_deref())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Whether this payment has its money, or its receipt, from a confirmation, and not from its own callback.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn was_confirmed(&mut self, key: &Key) -> anyhow::Result<bool> {
        let row = sqlx::query("SELECT 1 FROM history WHERE router = $1 AND order_id = $2 AND event = 'confirmation' AND verdict = 'taken'");
        Ok(row.bind(key.router.as_str()).bind(key.order.as_str()).fetch_optional(&mut *self.tx).await?.is_some())
    }

    /// Notes that Safaricom's request is this payment's. The first to whom it belonged keeps it.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn name_request(&mut self, checkout: &str, key: &Key, now: Wall) -> anyhow::Result<()> {
        let insert =
            sqlx::query("INSERT INTO requests (checkout, router, order_id, at) VALUES ($1, $2, $3, $4) ON CONFLICT (checkout) DO NOTHING");
        let insert = insert.bind(checkout).bind(key.router.as_str()).bind(key.order.as_str()).bind(to_db(now));
        insert.execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Whether Safaricom's request belongs to another payment than `key`.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn request_taken(&mut self, checkout: &str, key: &Key) -> anyhow::Result<bool> {
        let owner = sqlx::query("SELECT router, order_id FROM requests WHERE checkout = $1").bind(checkout);
        match owner.fetch_optional(&mut *self.tx).await? {
            Some(row) => Ok(self::key(&row)? != *key),
            None => Ok(false),
        }
    }

    /// Whether M-Pesa's `receipt` is in the books for another payment than `key`.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn receipt_taken(&mut self, receipt: &Receipt, key: &Key) -> anyhow::Result<bool> {
        Ok(self.receipt_owner(receipt).await?.is_some_and(|owner| owner != *key))
    }

    /// The payment for which M-Pesa's `receipt` is in the books.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn receipt_owner(&mut self, receipt: &Receipt) -> anyhow::Result<Option<Key>> {
        let owner = sqlx::query("SELECT l.router, l.order_id FROM receipts r JOIN ledger l ON l.receipt = r.entry WHERE r.receipt = $1");
        owner.bind(receipt.as_str()).fetch_optional(&mut *self.tx).await?.as_ref().map(self::key).transpose()
    }

    /// Enters money that arrived, under the receipt that the router is told; `completed_at` is when it moved, where M-Pesa
    /// said so. A receipt that is there already is an error: money is entered once.
    ///
    /// # Errors
    /// When it is there already, or the ledger cannot be written.
    pub async fn book(&mut self, payment: &Payment, receipt: &Receipt, completed_at: Option<Wall>, now: Wall) -> anyhow::Result<()> {
        let named = payment.mpesa_receipt.is_some();
        sqlx::query(
            "INSERT INTO ledger (receipt, router, order_id, phone, package, amount, channel, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(receipt.as_str())
        .bind(payment.router.as_str())
        .bind(payment.order.as_str())
        .bind(payment.phone.digits())
        .bind(payment.package.as_str())
        .bind(i64::try_from(payment.arrived().0).context("an amount beyond all amounts")?)
        .bind(if named { "callback" } else { "query" })
        .bind(to_db(now))
        .execute(&mut *self.tx)
        .await
        .context("money could not be entered")?;
        if named { self.name_receipt(receipt, receipt, completed_at, now).await } else { Ok(()) }
    }

    /// Notes that the ledger's `entry` is M-Pesa's `receipt`. A receipt belongs to one entry, over all channels.
    ///
    /// # Errors
    /// When the receipt is there already, or the ledger cannot be written.
    pub async fn name_receipt(&mut self, receipt: &Receipt, entry: &Receipt, completed_at: Option<Wall>, now: Wall) -> anyhow::Result<()> {
        sqlx::query("INSERT INTO receipts (receipt, entry, channel, completed_at, at) VALUES ($1, $2, 'callback', $3, $4)")
            .bind(receipt.as_str())
            .bind(entry.as_str())
            .bind(completed_at.map(to_db))
            .bind(to_db(now))
            .execute(&mut *self.tx)
            .await
            .context("a receipt could not be entered")?;
        Ok(())
    }
}

impl Payment {
    /// Which it is.
    #[must_use]
    pub fn key(&self) -> Key {
        Key { router: self.router.clone(), order: self.order.clone() }
    }
    /// The name of its state in the ledger.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        state_name(self.state)
    }
    /// Why it failed, by the name on the wire.
    #[must_use]
    pub fn reason_name(&self) -> Option<String> {
        reason_name(self.state)
    }
}
