//! The process that others kill: it commits batch after batch, and notes each in a file once it was acknowledged.
//!
//! Batch n: the ledger gets entry n, the outbox gets message n and loses message n - 20, the counters say n, and an account
//! that is larger than a piece is written over. So the counters name the last batch, and everything else must fit them.

use super::scratch::until;
use lango::store::{Store, StoreError};
use lango_core::account::{Account, Clock};
use lango_core::few::FewMap;
use lango_core::gate::{GateId, Traffic};
use lango_core::ledger::LedgerEntry;
use lango_core::message::{Up, UpBody};
use lango_core::record::{Change, Counters, Record};
use lango_core::units::{Bytes, Mac, Password, Shillings};
use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How many messages the outbox holds.
const OUTBOX: u64 = 20;

/// Opens a store. A process that the test started just now may, until it is its own program, still hold a lock that was
/// the test's: that passes by itself.
pub fn open(path: &Path) -> Result<(Store, Vec<Record>), StoreError> {
    let mut opened = Store::open(path);
    until("the locks of the test's own past are gone", || match opened {
        Err(StoreError::Busy { .. }) => {
            opened = Store::open(path);
            false
        }
        _ => true,
    });
    opened
}

/// Opens the same folder as sled's, with nothing of ours around it. Waits as [`open`] does.
pub fn open_bare(path: &Path) -> sled::Db {
    let mut opened = None;
    until("sled's own lock is free", || {
        opened = sled::Config::new().path(path).flush_every_ms(None).segment_size(128 << 10).open().ok();
        opened.is_some()
    });
    opened.unwrap()
}

/// What is in a store.
pub async fn contents(path: &Path) -> Vec<Record> {
    let (store, records) = open(path).unwrap();
    store.close().await.unwrap();
    records
}

/// What a batch changes.
pub fn batch(n: u64) -> Vec<Change> {
    let put = |record| Change::Put(Box::new(record));
    let mut changes = vec![
        put(Record::Ledger(ledger_entry(n))),
        put(Record::Outbox(Up {
            v: 1,
            id: format!("{n}").parse().unwrap(),
            seq: n,
            body: UpBody::Ack { of: vec!["a-message".parse().unwrap()] },
        })),
        put(Record::Account(account(n % 7, n))),
        put(Record::Counters(Counters { next_gate: 1, next_seq: n, forgotten_until: None })),
    ];
    if n > OUTBOX {
        changes.push(Change::Delete(Record::outbox_key(n - OUTBOX)));
    }
    changes
}

/// Money of batch n.
pub fn ledger_entry(n: u64) -> LedgerEntry {
    LedgerEntry {
        receipt: format!("R{n:09}").parse().unwrap(),
        order: "a".repeat(26).parse().unwrap(),
        phone: "0712345678".parse().unwrap(),
        package: "hour".parse().unwrap(),
        amount: Shillings(10),
        at: None,
        account: Some(format!("user{n}").parse().unwrap()),
        purchase: None,
        waited: None,
        idle_since: None,
    }
}

/// An account with so many devices that its record has several pieces.
pub fn account(number: u64, bytes: u64) -> Account {
    let traffic = (0..30).map(|device| (Mac([2, 0, 0, 0, 0, device]), Traffic { up: Bytes(bytes), down: Bytes(1_000_000_000 + bytes) }));
    Account {
        username: format!("user{number}").parse().unwrap(),
        password: Password::new("secret").unwrap(),
        id: GateId(u32::try_from(number).unwrap()),
        phone: None,
        package: "hour".parse().unwrap(),
        purchases: VecDeque::new(),
        taken_away: 0,
        clock: Clock::Unlimited,
        traffic: traffic.collect(),
        data_start: Bytes::ZERO,
        online: FewMap::new(),
        idle_since: None,
        untold: 0,
        counted_in: None,
    }
}

/// Checks that the records are those of whole batches, all of them from the first on, and names the last.
pub fn last_whole_batch(records: &[Record]) -> u64 {
    let last = records.iter().find_map(|record| match record {
        Record::Counters(counters) => Some(counters.next_seq),
        _ => None,
    });
    let Some(last) = last else {
        assert!(records.is_empty(), "records of a batch without its counters: {records:?}");
        return 0;
    };
    let keys: BTreeSet<String> = records.iter().map(|record| record.key().0).collect();
    let mut expected: BTreeSet<String> = (1..=last).map(|n| Record::Ledger(ledger_entry(n)).key().0).collect();
    expected.extend((last.saturating_sub(OUTBOX) + 1..=last).map(|n| Record::outbox_key(n).0));
    expected.extend((last.saturating_sub(6).max(1)..=last).map(|n| format!("account/user{}", n % 7)));
    expected.insert("counters".to_owned());
    assert_eq!(keys, expected, "batch {last} is not whole");
    for record in records {
        if let Record::Account(account) = record {
            let n = account.traffic.values().next().unwrap().up.0;
            assert!(n > last.saturating_sub(7), "{} is from batch {n}, the last one is {last}", account.username);
        }
    }
    last
}

/// Where the process notes what was acknowledged; not on the disk whose power is cut.
pub fn acknowledged(path: &Path) -> u64 {
    let mut bytes = [0; 8];
    File::open(path).and_then(|file| file.read_exact_at(&mut bytes, 0)).map_or(0, |()| u64::from_le_bytes(bytes))
}

/// Which writer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Store,
    /// sled with nothing around it but `flush`: what the power cuts must be seen to destroy.
    BareSled,
}

/// Starts the process.
pub fn start(kind: Kind, store: &Path, acks: &Path) -> Child {
    let kind = if kind == Kind::Store { "store" } else { "bare" };
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "writer::the_process_itself"])
        .env("LANGO_TEST_WRITER", kind)
        .env("LANGO_TEST_STORE", store)
        .env("LANGO_TEST_ACKS", acks)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "the process that the other tests start and kill"]
fn the_process_itself() {
    let path = |name| PathBuf::from(std::env::var_os(name).expect("only the other tests start this one"));
    let (store, acks) = (path("LANGO_TEST_STORE"), path("LANGO_TEST_ACKS"));
    let acks = File::options().write(true).create(true).truncate(false).open(acks).unwrap();
    let note = |n: u64| acks.write_all_at(&n.to_le_bytes(), 0).unwrap();
    match std::env::var("LANGO_TEST_WRITER").unwrap().as_str() {
        "store" => {
            let (store, records) = open(&store).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for n in last_whole_batch(&records) + 1.. {
                runtime.block_on(store.commit(batch(n))).unwrap();
                note(n);
            }
        }
        "bare" => {
            let tree = open_bare(&store);
            for n in 1_u64.. {
                tree.insert(n.to_be_bytes(), vec![7; 400]).unwrap();
                tree.flush().unwrap();
                note(n);
            }
        }
        other => panic!("no such writer: {other}"),
    }
}
