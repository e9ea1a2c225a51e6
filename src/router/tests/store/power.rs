//! Power cuts: the writer is stopped, its disk is copied as it is in that moment, and the copy is started up.
//!
//! What the writer's file system holds in memory alone is not in the copy: that is what a power cut takes.

use super::scratch::{Mounted, make_image, mount, run, until};
use super::writer::{Kind, acknowledged, batch, contents, last_whole_batch, open, start};
use std::path::Path;
use std::process::Child;

/// A writer on a disk of its own.
struct Machine {
    writer: Child,
    _disk: Mounted, // unmounted before its folder goes
    place: tempfile::TempDir,
}

impl Machine {
    fn start(kind: Kind) -> Self {
        let place = tempfile::tempdir().unwrap();
        make_image(&place.path().join("image"), 32);
        let disk = mount(&place.path().join("image"), &place.path().join("mnt"));
        let writer = start(kind, &disk.at.join("store"), &place.path().join("acks"));
        Self { place, _disk: disk, writer }
    }

    fn acknowledged(&self) -> u64 {
        acknowledged(&self.place.path().join("acks"))
    }

    fn signal(&self, signal: &str) {
        run("kill", &[signal, &self.writer.id().to_string()]);
    }

    /// Cuts the power once, and hands the disk that is left to `look` with the number of acknowledged batches.
    fn cut(&self, look: impl FnOnce(&Path, u64)) {
        self.signal("-STOP");
        let tasks = format!("/proc/{}/task", self.writer.id());
        until("every thread of the writer stands", || {
            std::fs::read_dir(&tasks).unwrap().all(|task| {
                let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
                stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
            })
        });
        let acknowledged = self.acknowledged();
        // Its own name each time: a loop device that is slow to go would be used again, with what it had in memory.
        let copy = self.place.path().join(format!("copy-{acknowledged}"));
        run("cp", &["--sparse=always", self.place.path().join("image").to_str().unwrap(), copy.to_str().unwrap()]);
        self.signal("-CONT");
        let disk = mount(&copy, &self.place.path().join("after"));
        look(&disk.at.join("store"), acknowledged);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.writer.kill();
        let _ = self.writer.wait();
    }
}

#[test]
fn power_cuts_take_nothing_that_was_acknowledged() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let machine = Machine::start(Kind::Store);
    for cut in 0..20 {
        let before = machine.acknowledged();
        until("more commits", || machine.acknowledged() > before + 3 + cut * 5);
        machine.cut(|store, acknowledged| {
            let last = last_whole_batch(&runtime.block_on(contents(store)));
            assert!(last == acknowledged || last == acknowledged + 1, "cut {cut}: {acknowledged} acknowledged, {last} found");
        });
    }
}

#[test]
fn the_same_cuts_destroy_what_sled_alone_calls_flushed() {
    let machine = Machine::start(Kind::BareSled);
    until("some commits", || machine.acknowledged() > 100);
    machine.cut(|store, acknowledged| {
        let found = sled::Config::new().path(store).segment_size(128 << 10).open().map_or(0, |tree| tree.len());
        let lost = acknowledged.saturating_sub(u64::try_from(found).unwrap());
        println!("sled's flush alone: {lost} of {acknowledged} acknowledged entries lost in one power cut");
        assert!(lost > 0, "these power cuts destroy nothing: they show nothing");
    });
}

#[tokio::test]
async fn a_commit_costs_the_flash_little() {
    let place = tempfile::tempdir().unwrap();
    make_image(&place.path().join("image"), 32);
    let disk = mount(&place.path().join("image"), &place.path().join("mnt"));
    let (store, _) = open(&disk.at.join("store")).unwrap();
    for (what, durable) in [("commit", true), ("relaxed commit", false)] {
        let before = disk.written();
        for n in 1..=500 {
            if durable {
                store.commit(batch(n)).await.unwrap();
            } else {
                store.commit_relaxed(batch(n)).await.unwrap();
            }
        }
        store.commit(batch(501)).await.unwrap();
        let each = (disk.written() - before) / 501;
        println!("block writes a {what} of five records, one of them 2.5 KB: {each} bytes");
        assert!(each < 64 * 1024, "{each} bytes a {what}");
    }
    store.close().await.unwrap();
}
