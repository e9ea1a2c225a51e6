//! What a damaged, emptied or foreign store is answered with.

use super::scratch::{make_image, mount};
use super::writer::{batch, contents, last_whole_batch, ledger_entry, open, open_bare};
use lango::store::StoreError;
use lango_core::record::{Change, Record};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

async fn filled(path: &Path, batches: u64) {
    let (store, _) = open(path).unwrap();
    for n in 1..=batches {
        store.commit_relaxed(batch(n)).await.unwrap();
    }
    store.close().await.unwrap();
}

fn refused(path: &Path) -> String {
    let error = open(path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("put a backup"), "{error}");
    error.to_string()
}

#[tokio::test]
async fn an_emptied_store_is_not_taken_for_a_new_one() {
    let place = tempfile::tempdir().unwrap();
    filled(place.path(), 10).await;
    for entry in fs::read_dir(place.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() == "db" || entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    assert!(refused(place.path()).contains("now it is empty"));
}

#[tokio::test]
async fn no_damage_anywhere_in_the_file_passes_unnoticed() {
    let place = tempfile::tempdir().unwrap();
    let whole = place.path().join("whole");
    let (store, _) = open(&whole).unwrap();
    for n in 0..40 {
        let entries = (n * 50..n * 50 + 50).map(|n| Change::Put(Box::new(Record::Ledger(ledger_entry(n)))));
        store.commit_relaxed(entries.collect()).await.unwrap();
    }
    store.close().await.unwrap();
    // Opened once more, so that a snapshot covers all of the log. In what comes after the last one, rot looks like the end
    // that a power cut tore off, and sled goes back to the last whole batch before it: docs/decisions/0005-store.md.
    let undamaged = contents(&whole).await;
    assert_eq!(undamaged.len(), 2_000);
    let length = fs::metadata(whole.join("db")).unwrap().len();
    let mut noticed = 0;
    for (number, at) in (0..length).step_by(usize::try_from(length / 40).unwrap()).enumerate() {
        let hurt = place.path().join(format!("hurt{number}"));
        super::scratch::run("cp", &["-a", whole.to_str().unwrap(), hurt.to_str().unwrap()]);
        fs::File::options().write(true).open(hurt.join("db")).unwrap().write_all_at(&[0x5a; 512], at).unwrap();
        match open(&hurt) {
            // What was hurt there was not in use.
            Ok((_, records)) => assert!(records == undamaged, "hurt at {at} of {length}, and {} records left", records.len()),
            Err(StoreError::Damaged { .. }) => noticed += 1,
            Err(other) => panic!("hurt at {at}: {other}"),
        }
    }
    println!("{noticed} of 40 places mattered");
    assert!(noticed > 0, "none of 40 places mattered: this test shows nothing");
}

#[tokio::test]
async fn a_file_of_rubbish_is_refused() {
    for name in ["db", "conf", "format"] {
        let place = tempfile::tempdir().unwrap();
        filled(place.path(), 10).await;
        let length = fs::metadata(place.path().join(name)).unwrap().len();
        fs::write(place.path().join(name), vec![0x5a; usize::try_from(length).unwrap()]).unwrap();
        refused(place.path());
    }
}

#[tokio::test]
async fn another_s_database_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let other = open_bare(place.path());
    other.insert("account/a", "b").unwrap();
    other.flush().unwrap();
    drop(other);
    assert!(refused(place.path()).contains("not a store of lango"));
}

#[tokio::test]
async fn a_later_program_s_store_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    filled(place.path(), 1).await;
    fs::write(place.path().join("format"), "lango store, format 2\n").unwrap();
    let error = open(place.path()).unwrap_err();
    assert!(matches!(error, StoreError::Later { format: 2, .. }), "{error}");

    let place = tempfile::tempdir().unwrap();
    filled(place.path(), 1).await;
    let tree = open_bare(place.path());
    tree.insert(b"\0lango", "{\"v\":2,\"digest\":\"of another kind\"}").unwrap();
    tree.flush().unwrap();
    drop(tree);
    let error = open(place.path()).unwrap_err();
    assert!(matches!(error, StoreError::Later { format: 2, .. }), "{error}");
}

#[tokio::test]
async fn an_entry_that_vanished_changed_or_came_back_is_noticed() {
    // Each is sound for sled: only the digest knows better.
    let key = Record::outbox_key(1).0;
    let changes: [fn(&sled::Db, &str); 4] = [
        |tree, key| drop(tree.remove(key).unwrap().unwrap()),
        |tree, key| drop(tree.insert(key, tree.get(Record::outbox_key(2).0).unwrap().unwrap()).unwrap()),
        |tree, key| drop(tree.insert(format!("{key}1"), "{}").unwrap()),
        |tree, _| drop(tree.remove("account/user1\0\0\0\0\x01").unwrap().unwrap()),
    ];
    for change in changes {
        let place = tempfile::tempdir().unwrap();
        filled(place.path(), 10).await;
        let tree = open_bare(place.path());
        change(&tree, &key);
        tree.flush().unwrap();
        drop(tree);
        refused(place.path());
    }
}

#[tokio::test]
async fn a_half_written_snapshot_is_no_damage() {
    let place = tempfile::tempdir().unwrap();
    filled(place.path(), 10).await;
    fs::write(place.path().join("snap.00000000FFFFFFFF.generating"), "half").unwrap();
    assert_eq!(last_whole_batch(&contents(place.path()).await), 10);
}

#[tokio::test]
async fn a_full_flash_is_an_error_for_ever_and_loses_nothing_acknowledged() {
    let place = tempfile::tempdir().unwrap();
    make_image(&place.path().join("image"), 8);
    let mounted = mount(&place.path().join("image"), &place.path().join("mnt"));
    let path = mounted.at.join("store");
    let (store, _) = open(&path).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match store.commit(batch(acknowledged + 1)).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        if acknowledged == 5 {
            // Everything that is free goes, but for a little.
            let filler = fs::File::create(mounted.at.join("filler")).unwrap();
            let mut at = 0;
            while filler.write_all_at(&[0x11; 4096], at).is_ok() {
                at += 4096;
            }
            filler.set_len(at - 300 * 1024).unwrap();
            filler.sync_all().unwrap();
        }
        assert!(acknowledged < 100_000, "the file system never got full");
    };
    assert!(matches!(error, StoreError::Write { .. }), "{error}");
    assert!(error.to_string().contains("free space"), "{error}");
    // Room again: but what failed has failed.
    fs::remove_file(mounted.at.join("filler")).unwrap();
    for _ in 0..3 {
        assert!(matches!(store.commit(batch(acknowledged + 1)).await, Err(StoreError::Write { .. })));
    }
    assert!(matches!(store.commit_relaxed(vec![]).await, Err(StoreError::Write { .. })));
    assert!(matches!(store.close().await, Err(StoreError::Write { .. })));
    let (store, records) = open(&path).unwrap();
    let last = last_whole_batch(&records);
    assert!(last == acknowledged || last == acknowledged + 1, "{acknowledged} acknowledged, {last} found");
    store.commit(batch(last + 1)).await.unwrap();
    store.close().await.unwrap();
}
