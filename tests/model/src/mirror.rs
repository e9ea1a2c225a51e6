//! The relay's real ledger (SQLite), driven beside the model's: the stand-in is the real one's equal, or the run stops.

use crate::books::Entry;
use lango_core::message::PaymentRequest;
use lango_core::time::Wall;
use lango_core::units::{MessageId, Password, Receipt, RouterName};
use lango_relay::ledger::{Deposit, Heard, Key, Ledger, Message, NewRequest, Place, Stage, StoredCallback, Which};
use lango_relay::payment::{Action, Event, Payment, Step};
use lango_relay::secret::CallbackSecret;
use std::collections::BTreeMap;
use tokio::runtime::Runtime;

/// The real ledger.
pub struct Mirror {
    runtime: Runtime,
    ledger: Ledger,
    claims: u64,
    _folder: tempfile::TempDir,
}

impl Mirror {
    /// An empty ledger with these routers.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(routers: &[RouterName]) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // In memory, where there is such a place: what a crash of the machine would leave is not what is compared here.
        let memory = std::path::Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
        let place = Place::parse(&format!("sqlite://{}/relay.db", folder.path().display())).map_err(anyhow::Error::msg)?;
        let ledger = runtime.block_on(Ledger::open(&place))?;
        for name in routers {
            runtime.block_on(ledger.add_router(name, &Password::new("a-password")?, Wall::EARLIEST))?;
        }
        Ok(Self { runtime, ledger, claims: 0, _folder: folder })
    }

    /// A payment as the real ledger makes it of a request: what the model's own begin with.
    ///
    /// # Errors
    /// When the ledger cannot be made.
    pub fn template(key: &Key, request: &PaymentRequest) -> anyhow::Result<Payment> {
        let mut mirror = Self::new(std::slice::from_ref(&key.router))?;
        mirror.add_request(key, request, Wall::EARLIEST, Wall::EARLIEST, true);
        mirror.runtime.block_on(async {
            let mut change = mirror.ledger.begin().await?;
            Ok(change.payment(key).await?.0)
        })
    }

    pub(crate) fn add_request(&mut self, key: &Key, request: &PaymentRequest, asked_at: Wall, now: Wall, expected: bool) {
        let secret = CallbackSecret::new().unwrap();
        let new = NewRequest { key, request, asked_at, secret: &secret };
        assert_eq!(self.runtime.block_on(self.ledger.add_request(new, now)).unwrap(), expected, "add_request of {key}");
    }

    #[allow(clippy::too_many_arguments)] // all that the model's change was made of
    pub(crate) fn apply(
        &mut self,
        key: &Key,
        event: &Event,
        stored: Option<&str>,
        now: Wall,
        claimed: bool,
        before: &Payment,
        step: &Step,
        messages: &[Message],
        deposit: Option<&Deposit>,
    ) {
        let all = async {
            let mut change = self.ledger.begin().await?;
            let (real, revision) = change.payment(key).await?;
            assert_eq!(real, *before, "the payment before {event:?}");
            if let Some(id) = stored {
                assert!(change.take_callback(id).await?, "callback {id} is open");
            }
            if let Event::Callback(callback) = event {
                // What came by hand has taken a receipt, too; that is held against the deposits themselves.
                if let Some(receipt) = callback.receipt.as_ref().filter(|_| !callback.receipt_taken) {
                    assert!(!change.receipt_taken(receipt, key).await?, "whose receipt it is");
                }
                assert_eq!(change.request_taken(&callback.checkout, key).await?, callback.request_taken, "whose request it is");
            }
            if let Some(deposit) = deposit {
                match change.deposit(&deposit.receipt).await? {
                    Some(_) => change.settle_deposit(deposit).await?,
                    None => change.add_deposit(deposit).await?,
                }
            }
            if step.payment != real || *event != Event::Due {
                assert!(change.save(&step.payment, revision).await?);
                let heard = Heard { event: "model", said: None, callback: stored, verdict: "model" };
                change.record(&step.payment, revision + 1, heard, now).await?;
            }
            if let Some(checkout) = step.payment.checkout.as_ref().filter(|_| real.checkout.is_none()) {
                change.name_request(checkout, key, now).await?;
            }
            for action in &step.actions {
                match action {
                    Action::Book(receipt) => change.book(&step.payment, receipt, None, now).await?,
                    Action::NameReceipt(receipt) => {
                        let entry = step.payment.receipt.clone().unwrap();
                        change.name_receipt(receipt, &entry, None, now).await?;
                    }
                    _ => {}
                }
            }
            for message in messages {
                change.post(message, claimed).await?;
            }
            change.commit().await
        };
        self.runtime.block_on(all).unwrap();
    }

    pub(crate) fn settle(&mut self, was: Option<Stage>, deposit: &Deposit, message: Option<(&Message, bool)>) {
        let all = async {
            let mut change = self.ledger.begin().await?;
            assert_eq!(change.deposit(&deposit.receipt).await?.map(|stored| stored.stage), was, "where a deposit stood");
            match was {
                Some(_) => change.settle_deposit(deposit).await?,
                None => change.add_deposit(deposit).await?,
            }
            if matches!(deposit.stage, Stage::Given | Stage::Waiting) && !matches!(was, Some(Stage::Given | Stage::Waiting)) {
                change.book_deposit(deposit, deposit.at).await?;
            }
            if let Some((message, claimed)) = message {
                change.post(message, claimed).await?;
            }
            change.commit().await
        };
        self.runtime.block_on(all).unwrap();
    }

    pub(crate) fn post(&mut self, message: &Message) {
        let all = async {
            let mut change = self.ledger.begin().await?;
            change.post(message, false).await?;
            change.commit().await
        };
        self.runtime.block_on(all).unwrap();
    }

    pub(crate) fn keep_callback(&mut self, stored: &StoredCallback, now: Wall) {
        self.runtime.block_on(self.ledger.keep_callback(stored, now)).unwrap();
    }

    pub(crate) fn open_callbacks(&mut self, until: Wall, expected: &[(String, Key, Event)]) {
        let mut open: Vec<_> = self.runtime.block_on(self.ledger.open_callbacks(until)).unwrap().into_iter().map(|c| c.id).collect();
        let mut expected: Vec<_> = expected.iter().map(|(id, ..)| id.clone()).collect();
        open.sort();
        expected.sort();
        assert_eq!(open, expected, "open callbacks");
    }

    pub(crate) fn due(&mut self, now: Wall, expected: &[(Key, bool)]) {
        let mut due = self.runtime.block_on(self.ledger.due(now)).unwrap();
        let mut expected = expected.to_vec();
        due.sort();
        expected.sort();
        assert_eq!(due, expected, "what is due");
    }

    pub(crate) fn ask_for_all_open(&mut self, now: Wall, expected: u64) {
        assert_eq!(self.runtime.block_on(self.ledger.ask_for_all_open(now)).unwrap(), expected);
    }

    pub(crate) fn claim(&mut self, which: &Which, now: Wall, expected: &[Message]) {
        self.claims += 1;
        let claim = format!("claim-{}", self.claims);
        assert_eq!(self.runtime.block_on(self.ledger.claim(which, &claim, now)).unwrap(), expected, "claimed for {which:?}");
    }

    pub(crate) fn acknowledged(&mut self, router: &RouterName, ids: &[MessageId], now: Wall, left: usize) {
        self.runtime.block_on(self.ledger.acknowledged(router, ids, now)).unwrap();
        assert_eq!(self.runtime.block_on(self.ledger.unacknowledged()).unwrap(), left as u64, "unacknowledged");
    }

    pub(crate) fn compare(&mut self, payments: Vec<Payment>, money: &BTreeMap<Receipt, Entry>) {
        let by_key = |payment: &Payment| payment.key();
        let (mut real, mut expected) = (self.runtime.block_on(self.ledger.payments()).unwrap(), payments);
        real.sort_by_key(by_key);
        expected.sort_by_key(by_key);
        assert_eq!(real, expected, "all payments");
        let entries = self.runtime.block_on(self.ledger.entries(Wall(0), Wall(u64::MAX))).unwrap();
        let entries: BTreeMap<_, _> =
            entries.into_iter().map(|e| (e.receipt, Entry { key: e.key, router: e.router, amount: e.amount })).collect();
        assert_eq!(entries, *money, "the money");
    }
}
