//! "I have paid already": a receipt brings its session to the device that comes with it, as a login does. What this router does
//! not know it asks the relay, and the customer waits a moment for that.

use super::Gateway;
use crate::credentials;
use crate::gate::GateId;
use crate::limiter::Limiter;
use crate::message::{Found, Outcome, PaymentUpdate, ReceiptAnswer, ReceiptQuery, UpBody};
use crate::payer::Payer;
use crate::request::{Answer, AskId, Refusal};
use crate::step::Entropy;
use crate::time::{Monotonic, Now};
use crate::tree::BTreeMap;
use crate::units::{Mac, MessageId, Millis, Msisdn, Receipt, Seconds};

/// How long a customer waits for the relay's answer; well within the portal's own deadlines.
const WAIT: Millis = Millis::from_seconds(5);
/// So many wait at once, over all devices.
const WAITING: usize = 16;
/// And so many of one device: a few devices that ask for receipts of their own making must not keep all others waiting.
const WAITING_OF_ONE: usize = 2;

/// Customers who wait for the relay to know their receipt.
#[derive(Debug, Clone)]
pub(super) struct Reclaims {
    /// Receipts that were not known, and those that the relay was asked for.
    tries: Limiter,
    /// Numbers tried with one receipt, or with those of one account, by devices that never were on it: who has read a neighbour's receipt
    /// must not find out the number by trying, whatever address each try comes from. Apart from failed logins: those keep nobody from coming
    /// with a receipt. No [`crate::limiter::Guard`]: that hears who has not failed yet, and here each guesser can be new, with as many
    /// guesses as a number has endings.
    guesses: Limiter<Guessed>,
    waiting: BTreeMap<MessageId, Waiting>,
}

/// What numbers are tried with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Guessed {
    /// A receipt of this account.
    Account(GateId),
    /// A receipt that this router knows no account of.
    Receipt(Receipt),
}

#[derive(Debug, Clone)]
struct Waiting {
    ask: AskId,
    device: Mac,
    receipt: Receipt,
    phone: Msisdn,
    until: Monotonic,
}

impl Default for Reclaims {
    fn default() -> Self {
        let guesses = Limiter::new(20, Millis::from_minutes(10));
        Self { tries: Limiter::new(6, Millis::from_minutes(5)), guesses, waiting: BTreeMap::new() }
    }
}

impl Reclaims {
    /// Whether the device may try another receipt now; otherwise how long it has to wait.
    pub(super) fn check(&self, device: Mac, now: Monotonic) -> Result<(), Seconds> {
        self.tries.check(device, now)
    }

    /// Counts one that was wrong.
    pub(super) fn count(&mut self, device: Mac, now: Monotonic) {
        self.tries.count(device, now);
    }

    /// When the next one has waited long enough.
    pub(super) fn timeout(&self) -> Option<Monotonic> {
        self.waiting.values().map(|waiting| waiting.until).min()
    }

    /// The device that has come with this receipt, if the payer may be its customer.
    pub(super) fn device_that_waits_for(&self, receipt: &Receipt, payer: Payer) -> Option<Mac> {
        let waits = |waiting: &&Waiting| waiting.receipt == *receipt && payer.matches(waiting.phone);
        self.waiting.values().find(waits).map(|waiting| waiting.device)
    }
}

impl Gateway {
    pub(super) fn reclaim(&mut self, ask: AskId, device: Mac, receipt: Receipt, phone: Msisdn, now: Now, entropy: &Entropy) {
        let account = self.ledger.get(&receipt).and_then(|entry| self.accounts.get(entry.account.as_ref()?));
        // Its own devices are not held to what strangers try.
        let guessed = match account {
            Some(account) if self.was_on(device, account) => None,
            Some(account) => Some(Guessed::Account(account.id)),
            None => Some(Guessed::Receipt(receipt.clone())),
        };
        let tries = &self.reclaims;
        let may = tries
            .tries
            .check(device, now.monotonic)
            .and_then(|()| guessed.clone().map_or(Ok(()), |guessed| tries.guesses.check(guessed, now.monotonic)));
        let answer = match may {
            Err(retry_after) => Answer::Refused(Refusal::TooManyRequests { retry_after }),
            Ok(()) => match self.ledger.get(&receipt).map(|entry| entry.phone) {
                Some(payer) if payer.matches(phone) => self.move_session(&receipt, device, now),
                // M-Pesa did not tell this router who paid; the relay can compare.
                Some(payer) if !payer.is_unknown() => {
                    self.reclaims.tries.count(device, now.monotonic);
                    self.guess(guessed, now);
                    Answer::Refused(Refusal::UnknownReceipt)
                }
                _ => match self.ask_relay(ask, device, receipt, phone, now, entropy) {
                    Ok(()) => {
                        // Already now, and not with a wrong answer: many at once are as many guesses.
                        self.guess(guessed, now);
                        return;
                    }
                    Err(refusal) => Answer::Refused(refusal),
                },
            },
        };
        self.step.replies.push((ask, answer));
    }

    fn guess(&mut self, guessed: Option<Guessed>, now: Now) {
        if let Some(guessed) = guessed {
            self.reclaims.guesses.count(guessed, now.monotonic);
        }
    }

    fn ask_relay(&mut self, ask: AskId, device: Mac, receipt: Receipt, phone: Msisdn, now: Now, entropy: &Entropy) -> Result<(), Refusal> {
        if !self.settings.relay || !self.link.can_pay() {
            return Err(Refusal::NoAnswer);
        }
        let waiting = &self.reclaims.waiting;
        if waiting.len() >= WAITING || waiting.values().filter(|other| other.device == device).count() >= WAITING_OF_ONE {
            return Err(Refusal::TooManyRequests { retry_after: Seconds(5) });
        }
        let query = credentials::nonce(entropy).ok_or(Refusal::NoAnswer)?;
        // Each is work for the relay, and perhaps a question to Safaricom, whatever comes of it.
        self.reclaims.tries.count(device, now.monotonic);
        self.publish_once(UpBody::ReceiptQuery(ReceiptQuery { query: query.clone(), receipt: receipt.clone(), phone }));
        let until = now.monotonic.after(WAIT);
        self.reclaims.waiting.insert(query, Waiting { ask, device, receipt, phone, until });
        Ok(())
    }

    pub(super) fn receipt_answered(&mut self, answer: ReceiptAnswer, now: Now, entropy: &Entropy) {
        let Some(waiting) = self.reclaims.waiting.get(&answer.query).cloned() else { return };
        let known_as = match answer.found {
            // What Safaricom says comes as a deposit; until then the customer goes on waiting.
            Found::Asking => return,
            Found::Unknown => None,
            Found::Payment(paid) => {
                let outcome = Outcome::Paid { receipt: paid.receipt.clone(), amount: paid.amount };
                let update = PaymentUpdate { order: paid.order, package: paid.package, device: waiting.device, phone: paid.phone, outcome };
                self.payment_update(update, now, entropy);
                Some(paid.receipt)
            }
            Found::Deposit(deposit) => {
                // The relay names money by hand only to who knows its number.
                self.deposit(&deposit, Some(waiting.device), Some(waiting.phone), now, entropy);
                Some(deposit.receipt)
            }
        };
        self.reclaims.waiting.remove(&answer.query);
        let reply = match known_as {
            Some(receipt) => self.move_session(&receipt, waiting.device, now),
            None => Answer::Refused(Refusal::UnknownReceipt),
        };
        self.step.replies.push((waiting.ask, reply));
    }

    /// Answers whoever waits for a receipt that is in the ledger by now.
    pub(super) fn answer_reclaims(&mut self, now: Now) {
        let arrived = |waiting: &Waiting| self.ledger.get(&waiting.receipt).is_some_and(|entry| entry.phone.matches(waiting.phone));
        let arrived: Vec<MessageId> =
            self.reclaims.waiting.iter().filter(|(_, waiting)| arrived(waiting)).map(|(query, _)| query.clone()).collect();
        for query in arrived {
            let Some(waiting) = self.reclaims.waiting.remove(&query) else { continue };
            let reply = self.move_session(&waiting.receipt, waiting.device, now);
            self.step.replies.push((waiting.ask, reply));
        }
    }

    pub(super) fn give_up_reclaims(&mut self, now: Now) {
        let over: Vec<MessageId> =
            self.reclaims.waiting.iter().filter(|(_, waiting)| waiting.until <= now.monotonic).map(|(query, _)| query.clone()).collect();
        for query in over {
            let Some(waiting) = self.reclaims.waiting.remove(&query) else { continue };
            self.step.replies.push((waiting.ask, Answer::Refused(Refusal::NoAnswer)));
        }
    }

    /// Brings what a receipt of the ledger paid for to this device.
    fn move_session(&mut self, receipt: &Receipt, device: Mac, now: Now) -> Answer {
        let Some(entry) = self.ledger.get(receipt) else { return Answer::Refused(Refusal::UnknownReceipt) };
        let Some(username) = entry.account.clone() else { return Answer::Refused(Refusal::NotServed) };
        let Some(account) = self.accounts.get(&username) else { return Answer::Refused(Refusal::UnknownReceipt) };
        if !account.open(now.monotonic) {
            return Answer::Refused(Refusal::Expired);
        }
        // Who waits on this account under an old address must not take the place back.
        let waits = |other: &&crate::record::Device| other.mac != device && other.waiting && other.account.as_ref() == Some(&username);
        let others: Vec<Mac> = self.devices.values().filter(waits).map(|other| other.mac).collect();
        others.into_iter().for_each(|other| self.bind(other, Some(&username), false));
        self.make_room(&username, device, now);
        self.open_session(&username, device, now);
        self.log(format!("session: {device} came to {username} with a receipt"));
        self.session_of(device, now).map_or(Answer::Refused(Refusal::Expired), Answer::Session)
    }
}
