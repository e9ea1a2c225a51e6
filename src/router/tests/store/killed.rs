//! `kill -9` at any moment, the start included.

use super::scratch::until;
use super::writer::{Kind, acknowledged, last_whole_batch, open, start};
use lango::store::{Store, StoreError};
use std::thread::sleep;
use std::time::Duration;

#[tokio::test]
async fn a_killed_writer_loses_nothing_and_leaves_no_half_batch() {
    let place = tempfile::tempdir().unwrap();
    let (path, acks) = (place.path().join("store"), place.path().join("acks"));
    let (mut rounds_with_news, mut found) = (0, 0);
    for round in 0..40 {
        let before = acknowledged(&acks);
        let mut writer = start(Kind::Store, &path, &acks);
        if round % 4 == 3 {
            // Somewhere in its start: this length is the test's input, nothing is waited for.
            sleep(Duration::from_millis(round / 2));
        } else {
            until("a few commits", || acknowledged(&acks) > before + round % 7);
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        let acknowledged = acknowledged(&acks);
        rounds_with_news += u64::from(acknowledged > before);
        let (store, records) = open(&path).unwrap();
        let last = last_whole_batch(&records);
        // One may be there that was not acknowledged; the next writer goes on behind it, and may be killed like that, too.
        let at_most = acknowledged.max(found) + 1;
        assert!((acknowledged..=at_most).contains(&last), "round {round}: {acknowledged} acknowledged, {found} before, {last} found");
        assert!(last >= found, "round {round}: {last} found, after {found}");
        found = last;
        store.close().await.unwrap();
    }
    assert!(rounds_with_news >= 30);
}

#[tokio::test]
async fn another_process_has_the_store_until_it_is_killed() {
    let place = tempfile::tempdir().unwrap();
    let (path, acks) = (place.path().join("store"), place.path().join("acks"));
    let mut writer = start(Kind::Store, &path, &acks);
    until("a commit", || acknowledged(&acks) > 0);
    assert!(matches!(Store::open(&path), Err(StoreError::Busy { .. })));
    writer.kill().unwrap();
    writer.wait().unwrap();
    open(&path).unwrap();
}
