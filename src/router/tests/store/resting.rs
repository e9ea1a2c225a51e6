//! What an open store costs a router on which nothing happens.

use super::scratch::until;
use super::writer::{Kind, acknowledged, start};
use std::fs;

#[test]
fn an_open_store_is_small_and_its_threads_are_not_woken_by_timers() {
    let place = tempfile::tempdir().unwrap();
    let (path, acks) = (place.path().join("store"), place.path().join("acks"));
    let mut writer = start(Kind::Store, &path, &acks);
    until("a few commits", || acknowledged(&acks) > 3);
    let read = |file: String| fs::read_to_string(file).unwrap_or_default();
    let process = writer.id();
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let threads: Vec<_> = tasks.map(|task| task.unwrap().file_name().into_string().unwrap()).collect();
    let slack = |thread: &String| (read(format!("/proc/{process}/task/{thread}/comm")), read(format!("/proc/{thread}/timerslack_ns")));
    let threads: Vec<(String, String)> = threads.iter().map(slack).collect();
    let status = read(format!("/proc/{process}/status"));
    writer.kill().unwrap();
    writer.wait().unwrap();

    let of_the_store: Vec<_> = threads.iter().filter(|(name, _)| name.starts_with("sled-io") || name == "store\n").collect();
    assert!(of_the_store.len() >= 8, "sled's seven, and the store's own: {threads:?}");
    for (name, nanoseconds) in of_the_store {
        assert!(nanoseconds.trim().parse::<u64>().unwrap() > 4_000_000_000, "{name} is woken on time: {nanoseconds} ns");
    }
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    println!("{} KB of its own", kilobytes.unwrap());
    assert!(kilobytes.unwrap() < 8_000, "{kilobytes:?} KB");
}
