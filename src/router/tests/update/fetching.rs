//! A file is fetched from web servers that are as they should be, and from others.

use crate::flash::Flash;
use lango::retry::Retry;
use lango::tls;
use lango::update::fetch::{Patience, Wanted, fetch};
use lango_core::update::{Reason, Url};
use lango_lab::authority::Authority;
use lango_lab::downloads::{Downloads, Manner};
use ring::digest::{SHA256, digest};
use std::path::Path;
use std::time::{Duration, Instant};

pub fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect()
}

/// As the program has it, in a hundredth of the time.
pub fn patience() -> Patience {
    let retry = Retry::new(Duration::from_millis(10), Duration::from_millis(50), Duration::MAX);
    Patience { answer: Duration::from_secs(2), pace: (Duration::from_secs(2), 1_000), tries: 3, retry, total: Duration::from_secs(60) }
}

pub struct World {
    authority: Authority,
    pub server: Downloads,
    pub folder: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let authority = Authority::new("The lab's authority").unwrap();
        let server = Downloads::here(&authority, "127.0.0.1").unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self { authority, server, folder }
    }

    fn wanted(&self, file: &[u8]) -> Wanted {
        Wanted {
            url: Url::parse(&format!("https://127.0.0.1:{}/lango", self.server.port)).unwrap(),
            size: file.len() as u64,
            sha256: digest(&SHA256, file).as_ref().try_into().unwrap(),
            path: self.folder.path().join("lango.new"),
        }
    }

    fn fetch_with(&self, wanted: &Wanted, ca: &Path) -> Result<(), Reason> {
        self.fetch_within(wanted, ca, patience())
    }

    fn fetch_within(&self, wanted: &Wanted, ca: &Path, patience: Patience) -> Result<(), Reason> {
        let tls = tls::client_config(Some(ca), None).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(fetch(wanted, tls, patience))
    }

    fn fetch(&self, wanted: &Wanted) -> Result<(), Reason> {
        self.fetch_with(wanted, &self.folder.path().join("ca.pem"))
    }
}

#[test]
fn what_is_fetched_is_what_was_signed() {
    let world = World::new();
    let file = bytes(300_000);
    let other = Downloads::here(&world.authority, "127.0.0.1").unwrap();
    other.serve(&file, Manner::Honest);
    let elsewhere = |port: u16| Manner::Elsewhere(format!("https://127.0.0.1:{port}/b"));
    for (manner, outcome, asked) in [
        (Manner::Honest, Ok(()), vec![0]),
        (Manner::CutsAfter(70_000), Ok(()), vec![0, 70_000, 140_000, 210_000, 280_000]),
        (Manner::AndMore, Ok(()), vec![0]),
        (elsewhere(other.port), Ok(()), vec![0]),
        (elsewhere(world.server.port), Err(Reason::Unreachable), vec![0; 4]), // in a circle
        (Manner::Elsewhere("http://127.0.0.1/".to_owned()), Err(Reason::Unreachable), vec![0]),
        (Manner::KnowsNoRanges(100_000), Err(Reason::Unreachable), vec![0, 100_000, 100_000, 100_000]),
        (Manner::CutsAfter(300), Err(Reason::Unreachable), vec![0, 300, 600]),
        (Manner::Says(1), Err(Reason::WrongSize), vec![0]),
        (Manner::Says(-1), Err(Reason::WrongSize), vec![0]),
        (Manner::Changes, Err(Reason::WrongHash), vec![0]),
        (Manner::Status(404), Err(Reason::Unreachable), vec![0]),
        (Manner::Status(503), Err(Reason::Unreachable), vec![0, 0, 0]),
        (Manner::Trickles, Err(Reason::Unreachable), vec![]),
        (Manner::Silent, Err(Reason::Unreachable), vec![0, 0, 0]),
    ] {
        world.server.serve(&file, manner.clone());
        let wanted = world.wanted(&file);
        // What lies there of another time is no part of it.
        std::fs::write(&wanted.path, bytes(400_000)).unwrap();
        let began = Instant::now();
        assert_eq!(world.fetch(&wanted), outcome, "{manner:?}");
        assert!(began.elapsed() < Duration::from_secs(30), "{manner:?} took {:?}", began.elapsed());
        match outcome {
            Ok(()) => assert_eq!(std::fs::read(&wanted.path).unwrap(), file, "{manner:?}"),
            Err(_) => assert!(!wanted.path.exists(), "{manner:?}: something is left"),
        }
        if manner == Manner::Trickles {
            assert_eq!(world.server.asked().len(), 3, "it went on where it was, and gave up");
        } else if !matches!(manner, Manner::KnowsNoRanges(_)) {
            assert_eq!(world.server.asked(), asked, "{manner:?}");
        }
    }
}

#[test]
fn a_server_that_begins_again_and_again_does_not_wear_the_flash_out() {
    let world = World::new();
    let file = bytes(300_000);
    let ca = world.folder.path().join("ca.pem");
    // Each try brings a third, and each begins at the beginning: twice the file is six of them.
    world.server.serve(&file, Manner::KnowsNoRanges(100_000));
    let patient = Patience { tries: 250, ..patience() };
    assert_eq!(world.fetch_within(&world.wanted(&file), &ca, patient), Err(Reason::Unreachable));
    let asked = world.server.asked().len();
    assert!((6..=7).contains(&asked), "{asked} times");
}

#[test]
fn a_server_that_always_brings_a_little_is_given_up_in_the_end() {
    let world = World::new();
    let file = bytes(3_000_000);
    let ca = world.folder.path().join("ca.pem");
    world.server.serve(&file, Manner::CutsAfter(1_100));
    let began = Instant::now();
    let hasty = Patience { total: Duration::from_secs(2), ..patience() };
    assert_eq!(world.fetch_within(&world.wanted(&file), &ca, hasty), Err(Reason::Unreachable));
    assert!(began.elapsed() < Duration::from_secs(20) && !world.wanted(&file).path.exists());
}

#[test]
fn what_lies_in_the_files_place_is_never_written_through() {
    let world = World::new();
    let file = bytes(100);
    world.server.serve(&file, Manner::Honest);
    let (wanted, others) = (world.wanted(&file), world.folder.path().join("anothers"));
    std::fs::write(&others, "precious").unwrap();
    std::os::unix::fs::symlink(&others, &wanted.path).unwrap();
    assert_eq!(world.fetch(&wanted), Ok(()));
    assert_eq!(std::fs::read_to_string(&others).unwrap(), "precious");
    assert!(std::fs::symlink_metadata(&wanted.path).unwrap().is_file());
}

#[test]
fn another_file_of_the_same_size_is_not_taken() {
    let world = World::new();
    let (signed, served) = (bytes(5_000), vec![1; 5_000]);
    world.server.serve(&served, Manner::Honest);
    assert_eq!(world.fetch(&world.wanted(&signed)), Err(Reason::WrongHash));
}

#[test]
fn a_server_that_another_ca_vouches_for_gives_nothing() {
    let world = World::new();
    let file = bytes(100);
    world.server.serve(&file, Manner::Honest);
    let strangers = world.folder.path().join("strangers.pem");
    std::fs::write(&strangers, Authority::new("Strangers").unwrap().pem()).unwrap();
    assert_eq!(world.fetch_with(&world.wanted(&file), &strangers), Err(Reason::Unreachable));
    assert!(world.server.asked().is_empty());
    // Its certificate is for a number, not for a name.
    let mut by_name = world.wanted(&file);
    by_name.url.host = "localhost".to_owned();
    assert_eq!(world.fetch(&by_name), Err(Reason::Unreachable));
}

#[test]
fn without_a_place_to_keep_it_there_is_an_end() {
    let world = World::new();
    let file = bytes(100);
    world.server.serve(&file, Manner::Honest);
    let wanted = Wanted { path: world.folder.path().join("no/such/folder"), ..world.wanted(&file) };
    assert_eq!(world.fetch(&wanted), Err(Reason::Disk));
}

#[test]
fn a_flash_that_gets_full_on_the_way_is_told_as_that() {
    let flash = Flash::new("128k");
    let world = World::new();
    let file = bytes(300_000);
    world.server.serve(&file, Manner::Honest);
    let wanted = Wanted { path: flash.0.join("lango.new"), ..world.wanted(&file) };
    assert_eq!(world.fetch(&wanted), Err(Reason::NoRoom));
    assert!(!wanted.path.exists(), "what fills it is removed");
}
