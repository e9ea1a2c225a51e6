//! The ordinary life of a store.

use super::writer::{account, batch, contents, last_whole_batch, open};
use lango::store::{Store, StoreError};
use lango_core::record::{Change, Counters, Key, Record};
use std::collections::BTreeMap;

fn put(record: Record) -> Change {
    Change::Put(Box::new(record))
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let (store, records) = open(place.path()).unwrap();
    assert!(records.is_empty());
    for n in 1..=50 {
        store.commit(batch(n)).await.unwrap();
    }
    store.close().await.unwrap();
    let (store, records) = open(place.path()).unwrap();
    assert_eq!(last_whole_batch(&records), 50);
    // Records come by key, with the outbox in the order in which it was made.
    let keys: Vec<_> = records.iter().map(Record::key).collect();
    assert!(keys.is_sorted());
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_last_word_on_a_key_within_a_batch_holds() {
    let place = tempfile::tempdir().unwrap();
    let (store, _) = open(place.path()).unwrap();
    let counters = |n| Record::Counters(Counters { next_gate: n, next_seq: 0, forgotten_until: None });
    let large = Record::Account(account(1, 5));
    store
        .commit(vec![
            put(counters(1)),
            put(large.clone()),
            Change::Delete(Key("counters".into())),
            put(counters(2)),
            Change::Delete(large.key()),
        ])
        .await
        .unwrap();
    store.commit(vec![]).await.unwrap();
    store.commit(vec![Change::Delete(Key("account/nobody".into()))]).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(contents(place.path()).await, [counters(2)]);
}

#[tokio::test]
async fn a_record_that_shrinks_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let mut small = account(1, 5);
    small.traffic.clear();
    for record in [account(1, 5), small.clone(), account(1, 6), small] {
        let record = Record::Account(record);
        let (store, _) = open(place.path()).unwrap();
        store.commit(vec![put(record.clone())]).await.unwrap();
        store.close().await.unwrap();
        assert_eq!(contents(place.path()).await, [record]);
    }
}

#[tokio::test]
async fn large_records_stay_out_of_files_of_their_own() {
    // sled never syncs those files: see store/form.rs.
    let place = tempfile::tempdir().unwrap();
    let (store, _) = open(place.path()).unwrap();
    for round in 0..20 {
        let mut changes = Vec::new();
        for number in 0..40 {
            let mut account = account(number, round);
            for device in 0..200 {
                account.traffic.insert(lango_core::units::Mac([2, 1, 0, 0, 0, device]), lango_core::gate::Traffic::default());
            }
            changes.push(put(Record::Account(account)));
        }
        store.commit(changes).await.unwrap();
        assert_eq!(std::fs::read_dir(place.path().join("blobs")).unwrap().count(), 0);
    }
    store.close().await.unwrap();
    let records = contents(place.path()).await;
    assert_eq!(records.len(), 40);
    assert_eq!(std::fs::read_dir(place.path().join("blobs")).unwrap().count(), 0);
}

#[tokio::test]
async fn commits_that_wait_together_are_made_in_their_order() {
    let place = tempfile::tempdir().unwrap();
    let (store, _) = open(place.path()).unwrap();
    let commit = |n| store.commit(vec![put(Record::Counters(Counters { next_gate: n, next_seq: 0, forgotten_until: None }))]);
    let (a, b, c) = tokio::join!(commit(1), store.commit_relaxed(batch(7)), commit(3));
    a.and(b).and(c).unwrap();
    store.close().await.unwrap();
    let records = contents(place.path()).await;
    assert!(records.contains(&Record::Counters(Counters { next_gate: 3, next_seq: 0, forgotten_until: None })));
    assert_eq!(records.len(), 4); // the counters stand for those of batch 7
}

#[tokio::test]
async fn relaxed_changes_are_there_after_a_close_and_after_a_drop() {
    let place = tempfile::tempdir().unwrap();
    let (store, _) = open(place.path()).unwrap();
    store.commit_relaxed(batch(1)).await.unwrap();
    store.close().await.unwrap();
    let (store, records) = open(place.path()).unwrap();
    assert_eq!(last_whole_batch(&records), 1);
    store.commit_relaxed(batch(2)).await.unwrap();
    drop(store);
    // The lock goes when the thread has written and let go; until then this waits.
    assert_eq!(last_whole_batch(&contents(place.path()).await), 2);
}

#[tokio::test]
async fn a_second_program_is_told_so() {
    let place = tempfile::tempdir().unwrap();
    let (store, _) = open(place.path()).unwrap();
    let error = Store::open(place.path()).unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }));
    assert!(error.to_string().contains("another lango runs on the store"), "{error}");
    store.close().await.unwrap();
    contents(place.path()).await;
}

#[tokio::test]
async fn long_use_agrees_with_a_model() {
    // A fixed generator: the same run each time, so that a failure can be looked at again.
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let place = tempfile::tempdir().unwrap();
    let mut model = BTreeMap::new();
    for _ in 0..20 {
        let (store, records) = open(place.path()).unwrap();
        assert_eq!(records, model.values().cloned().collect::<Vec<Record>>());
        for _ in 0..random(60) {
            let mut changes = Vec::new();
            for _ in 0..random(8) {
                let number = random(60);
                let mut record = account(number, random(1 << 40));
                record.traffic.retain(|_, _| random(3) > 0);
                let record = Record::Account(record);
                if random(3) == 0 {
                    model.remove(&record.key());
                    changes.push(Change::Delete(record.key()));
                } else {
                    model.insert(record.key(), record.clone());
                    changes.push(put(record));
                }
            }
            store.commit_relaxed(changes).await.unwrap();
        }
        store.close().await.unwrap();
    }
    assert!(model.len() > 20);
}
