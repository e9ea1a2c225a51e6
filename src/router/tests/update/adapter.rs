//! The adapter as the daemon drives it, with real files, a real web server over TLS and real signatures. Whatever is offered, served or in the
//! way: what runs stays as it was until the file that was signed is here, whole, and the relay hears why.

use crate::fetching::{World, bytes, patience};
use crate::flash::Flash;
use lango::config::settings::Update as Settings;
use lango::update::files::Files;
use lango::update::{Ended, Next, Started, TARGET, Updates};
use lango_core::gateway::Business;
use lango_core::time::Wall;
use lango_core::units::Seconds;
use lango_core::update::{Offer, Reason, ReleaseKey, Report, Signature, State};
use lango_lab::downloads::Manner;
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use std::fs;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

const OLD: &[u8] = b"the program that runs";
const KEY: [u8; 8] = *b"releases";
/// November 2026.
const NOW: Wall = Wall(1_795_400_000_000);

/// A key pair of that seed, under the name of the releases' key.
fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn signed_by(seed: u8, name: [u8; 8], manifest: &str) -> Offer {
    let bytes = key(seed).sign(manifest.as_bytes()).as_ref().try_into().unwrap();
    Offer { manifest: manifest.to_owned(), signature: Signature { id: name, bytes }.to_line() }
}

fn signed(manifest: &str) -> Offer {
    signed_by(1, KEY, manifest)
}

fn refused(told: Option<Report>) -> Option<Reason> {
    told.filter(|told| told.state == State::Refused)?.reason
}

/// One router, whose program may be started again and again.
struct Router {
    world: World,
    sbin: PathBuf,
    folder: PathBuf,
    settings: Option<Settings>,
    started: Started,
    updates: Updates,
    ended: mpsc::Receiver<Ended>,
}

impl Router {
    fn new() -> Self {
        let world = World::new();
        let sbin = world.folder.path().join("sbin");
        fs::create_dir(&sbin).unwrap();
        Self::at(world, sbin)
    }

    /// The same with its program in that folder.
    fn at(world: World, sbin: PathBuf) -> Self {
        let folder = world.folder.path().join("update");
        fs::write(sbin.join("lango"), OLD).unwrap();
        let keys = vec![ReleaseKey { id: KEY, key: key(1).public_key().as_ref().try_into().unwrap() }];
        let (board, ca) = (Some("lab,box".to_owned()), Some(world.folder.path().join("ca.pem")));
        let settings = Some(Settings { keys, board, images: false, hours: None, ca, trial: Seconds(60) });
        let files = Files::new(sbin.join("lango"), Some(folder.clone()));
        let started = Started { script: Some("/start".into()), files, undone: None, patience: patience() };
        let (sender, ended) = mpsc::channel(1);
        let (updates, told) = Updates::start(settings.clone(), started.clone(), sender);
        assert_eq!(told, None);
        Self { world, sbin, folder, settings, started, updates, ended }
    }

    /// The program ends and starts again, as far as updates go. Gives what the relay is told.
    fn restart(&mut self) -> Option<Report> {
        let (sender, ended) = mpsc::channel(1);
        let (updates, told) = Updates::start(self.settings.clone(), self.started.clone(), sender);
        (self.updates, self.ended) = (updates, ended);
        told
    }

    fn manifest(&self, number: u64, file: &[u8]) -> String {
        let hash: String = digest(&SHA256, file).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "lango-update 1\nkind program\nversion 9\nnumber {number}\ntarget {TARGET}\nboard lab,box\nsize {}\nsha256 {hash}\nurl https://127.0.0.1:{}/lango\n",
            file.len(),
            self.world.server.port
        )
    }

    fn offered(&mut self, id: &str, offer: &Offer) -> Option<Report> {
        self.updates.offered(id.parse().unwrap(), offer, Some(NOW))
    }

    fn offered_ok(&mut self, id: &str, offer: &Offer) {
        assert_eq!(self.offered(id, offer), Some(report(id, State::Accepted, None)));
    }

    /// Waits for the end of a fetch or a check.
    async fn ended(&mut self) -> Option<Report> {
        let ended = self.ended.recv().await.unwrap();
        self.updates.fetched(ended)
    }

    /// Looks as the daemon does, until something comes of it.
    async fn looked(&mut self) -> Next {
        let business = Business { payments_pending: 0, devices_online: 3, relay_answers: true, time: Some(NOW) };
        for _ in 0..3 {
            match self.updates.look(business, true) {
                Next::Nothing => {}
                next => return next,
            }
            if let Some(told) = self.ended().await {
                return Next::Tell(told);
            }
        }
        panic!("nothing comes of it");
    }

    fn names(folder: &Path) -> Vec<String> {
        let Ok(all) = fs::read_dir(folder) else { return Vec::new() };
        let mut names: Vec<String> = all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What runs is what ran, and nothing of another one lies beside it.
    fn is_untouched(&self) -> bool {
        fs::read(self.sbin.join("lango")).unwrap() == OLD && Self::names(&self.sbin) == ["lango"]
    }

    fn kept(&self) -> Vec<String> {
        Self::names(&self.folder)
    }
}

fn report(offer: &str, state: State, reason: Option<Reason>) -> Report {
    Report { offer: offer.parse().unwrap(), state, reason }
}

/// As the daemon does it: one thread.
fn run(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, story);
}

#[test]
fn whatever_a_server_does_nothing_but_the_signed_file_gets_in_place() {
    run(async {
        let file = bytes(300_000);
        for (manner, reason) in [
            (Manner::Honest, None),
            (Manner::CutsAfter(70_000), None),
            (Manner::AndMore, None),
            (Manner::CutsAfter(300), Some(Reason::Unreachable)),
            (Manner::Says(1), Some(Reason::WrongSize)),
            (Manner::Says(-1), Some(Reason::WrongSize)),
            (Manner::Changes, Some(Reason::WrongHash)),
            (Manner::Elsewhere("http://127.0.0.1/lango".to_owned()), Some(Reason::Unreachable)),
            (Manner::Status(404), Some(Reason::Unreachable)),
            (Manner::Status(503), Some(Reason::Unreachable)),
            (Manner::Trickles, Some(Reason::Unreachable)),
            (Manner::Silent, Some(Reason::Unreachable)),
        ] {
            let mut router = Router::new();
            let offer = signed(&router.manifest(7, &file));
            if let Some(reason) = reason {
                router.world.server.serve(&file, manner.clone());
                router.offered_ok("m-1", &offer);
                assert_eq!(router.ended().await, Some(report("m-1", State::Failed, Some(reason))), "{manner:?}");
                assert!(router.is_untouched(), "{manner:?}");
                // The line repeats itself: no new try. Somebody offers it again: one.
                assert_eq!(router.offered("m-1", &offer), Some(report("m-1", State::Failed, Some(reason))), "{manner:?}");
            }
            router.world.server.serve(&file, if reason.is_some() { Manner::Honest } else { manner.clone() });
            router.offered_ok("m-2", &offer);
            assert_eq!(router.ended().await, None, "{manner:?}");
            assert_eq!(fs::read(router.sbin.join("lango")).unwrap(), OLD, "it is here, and not in place");
            let next = router.looked().await;
            assert!(matches!(&next, Next::GiveWay(told, _) if *told == report("m-2", State::Applying, None)), "{manner:?}: {next:?}");
            assert_eq!(fs::read(router.sbin.join("lango")).unwrap(), file, "{manner:?}");
            assert_eq!(fs::read(router.sbin.join("lango.old")).unwrap(), OLD, "{manner:?}");
            assert!(router.kept().contains(&"trial".to_owned()));
        }
    });
}

#[test]
fn what_was_changed_after_it_was_fetched_does_not_get_in_place() {
    run(async {
        let (mut router, file) = (Router::new(), bytes(5_000));
        router.world.server.serve(&file, Manner::Honest);
        let offer = signed(&router.manifest(7, &file));
        router.offered_ok("m-1", &offer);
        assert_eq!(router.ended().await, None);
        fs::write(router.sbin.join("lango.new"), bytes(4_999)).unwrap();
        let next = router.looked().await;
        assert!(matches!(&next, Next::Tell(told) if *told == report("m-1", State::Failed, Some(Reason::WrongHash))), "{next:?}");
        assert!(router.is_untouched());
    });
}

#[test]
fn nothing_is_fetched_that_is_not_signed_for_this_router() {
    run(async {
        let (mut router, file) = (Router::new(), bytes(1_000));
        router.world.server.serve(&file, Manner::Honest);
        let good = router.manifest(7, &file);
        let with = |was: &str, is: &str| signed(&good.replacen(was, is, 1));
        let changed = Offer { manifest: good.replacen("number 7", "number 8", 1), ..signed(&good) };
        let half = Offer { signature: signed(&good).signature[..60].to_owned(), ..signed(&good) };
        for (what, offer, reason) in [
            ("by another key of the same name", signed_by(2, KEY, &good), Reason::Forged),
            ("by a stranger", signed_by(2, *b"stranger", &good), Reason::UnknownKey),
            ("under the good key, by a name that nobody knows", signed_by(1, *b"stranger", &good), Reason::UnknownKey),
            ("changed after it was signed", changed, Reason::Forged),
            ("with half a signature", half, Reason::Malformed),
            ("with none", Offer { signature: String::new(), ..signed(&good) }, Reason::Malformed),
            ("for another board", with("lab,box", "glinet,gl-ax"), Reason::OtherBoard),
            ("for another processor", with(TARGET, "mips-unknown-linux-musl"), Reason::OtherTarget),
            ("too late", signed(&format!("{good}until 2026-01-01T00:00:00Z\n")), Reason::Expired),
            ("of no size", with("size 1000\n", "size 0\n"), Reason::Malformed),
            ("larger than any program", with("size 1000\n", "size 99000000\n"), Reason::Malformed),
            ("with a number that none is above", with("number 7", "number 18446744073709551615"), Reason::Malformed),
            ("with a number that does not fit", with("number 7", "number 18446744073709551616"), Reason::Malformed),
            ("from a server without TLS", with("https://", "http://"), Reason::Malformed),
            ("an image", signed(&good.replace("program", "image").replace(&format!("target {TARGET}\n"), "")), Reason::ImagesOff),
        ] {
            assert_eq!(refused(router.offered("m-1", &offer)), Some(reason), "{what}");
        }
        for end in 0..good.len() {
            let told = refused(router.offered("m-1", &Offer { manifest: good[..end].to_owned(), ..signed(&good) }));
            assert_eq!(told, Some(Reason::Forged), "its first {end} bytes");
            let told = router.offered("m-1", &signed(&good[..end]));
            assert!(told.is_none_or(|told| told.state == State::Refused), "its first {end} bytes, and signed so");
        }
        // Who has nobody to put the old one back takes no program; who has no key takes nothing.
        router.started.script = None;
        router.restart();
        assert_eq!(refused(router.offered("m-1", &signed(&good))), Some(Reason::NoGuard));
        router.settings = None;
        router.restart();
        assert_eq!(refused(router.offered("m-1", &signed(&good))), Some(Reason::Off));
        assert!(router.world.server.asked().is_empty() && router.is_untouched() && router.kept().is_empty());
    });
}

#[test]
fn of_two_offers_at_once_the_higher_number_gets_in_place_and_no_other() {
    for first_is_here in [false, true] {
        run(async {
            let (mut router, first, second) = (Router::new(), bytes(300_000), bytes(200_000));
            let (seven, eight) = (signed(&router.manifest(7, &first)), signed(&router.manifest(8, &second)));
            router.world.server.serve(&first, if first_is_here { Manner::Honest } else { Manner::Silent });
            router.offered_ok("m-1", &seven);
            // Its fetch is under way, or over, and nobody has heard of that yet.
            let begun = async {
                while router.world.server.asked().is_empty() || (first_is_here && router.ended.is_empty()) {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(std::time::Duration::from_secs(60), begun).await.unwrap();
            router.world.server.serve(&second, Manner::Honest);
            // The number of the first for another file is a replay, or a mistake.
            assert_eq!(refused(router.offered("m-2", &signed(&router.manifest(7, &second)))), Some(Reason::NotNewer));
            router.offered_ok("m-3", &eight);
            assert_eq!(refused(router.offered("m-1", &seven)), Some(Reason::NotNewer), "it is over, whatever comes of its fetch");
            if first_is_here {
                assert_eq!(router.ended().await, None);
                assert_eq!(router.updates.due(), None, "the end of the first one's fetch is not the second one's");
            }
            assert_eq!(router.ended().await, None);
            let next = router.looked().await;
            assert!(matches!(&next, Next::GiveWay(told, _) if *told == report("m-3", State::Applying, None)), "{next:?}");
            assert_eq!(fs::read(router.sbin.join("lango")).unwrap(), second);
            assert_eq!(fs::read(router.sbin.join("lango.old")).unwrap(), OLD);
        });
    }
}

#[test]
fn what_was_accepted_once_is_never_an_update_again() {
    run(async {
        let (mut router, file) = (Router::new(), bytes(1_000));
        router.world.server.serve(&file, Manner::Honest);
        let (last, other) = (signed(&router.manifest(7, &file)), bytes(999));
        router.offered_ok("m-1", &last);
        assert_eq!(router.ended().await, None);
        assert!(matches!(router.looked().await, Next::GiveWay(..)));
        // The start script put it back.
        fs::rename(router.sbin.join("lango.old"), router.sbin.join("lango")).unwrap();
        fs::remove_file(router.folder.join("trial")).unwrap();
        fs::write(router.folder.join("undone-crashed"), "").unwrap();
        let over = report("m-1", State::RolledBack, Some(Reason::Crashed));
        assert_eq!(router.restart(), Some(over.clone()));
        router.world.server.serve(&file, Manner::Honest);
        let offers = [6, 7].map(|number| signed(&router.manifest(number, &other)));
        for lost in [None, Some("standing"), Some("offer")] {
            for offer in &offers {
                assert_eq!(refused(router.offered("m-2", offer)), Some(Reason::NotNewer), "without {lost:?}");
            }
            let again = router.offered("m-2", &last).unwrap();
            assert!(again == report("m-2", State::RolledBack, Some(Reason::Crashed)) || refused(Some(again)) == Some(Reason::NotNewer));
            if let Some(lost) = lost {
                fs::remove_file(router.folder.join(lost)).unwrap();
            }
            router.restart();
        }
        assert!(router.world.server.asked().is_empty() && router.is_untouched());
    });
}

#[test]
fn room_is_asked_for_before_the_first_byte_and_again_after_a_restart() {
    let flash = Flash::new("2m");
    let mut router = Router::at(World::new(), flash.0.clone());
    let spare = 512 * 1_024;
    let most = usize::try_from(flash.free()).unwrap() - OLD.len() - spare;
    let (large, fits) = (bytes(most + 1), bytes(most));
    // Each of these is one life of the program: what it was doing ends with it.
    run(async {
        router.world.server.serve(&large, Manner::Honest);
        let offer = signed(&router.manifest(7, &large));
        assert_eq!(router.offered("m-1", &offer), Some(report("m-1", State::Failed, Some(Reason::NoRoom))));
        assert!(router.world.server.asked().is_empty() && router.is_untouched());
        // A byte less fits.
        let offer = signed(&router.manifest(8, &fits));
        router.offered_ok("m-2", &offer);
    });
    // Also where a part of it lies there from before.
    fs::write(router.sbin.join("lango.new"), bytes(most / 2)).unwrap();
    run(async {
        router.world.server.serve(&fits, Manner::Honest);
        assert_eq!(router.restart(), None);
        assert_eq!(router.ended().await, None);
        assert_eq!(fs::read(router.sbin.join("lango.new")).unwrap().len(), most);
    });
    // The flash is full by the next start.
    fs::remove_file(router.sbin.join("lango.new")).unwrap();
    flash.fill();
    run(async {
        router.world.server.serve(&fits, Manner::Honest);
        assert_eq!(router.restart(), Some(report("m-2", State::Failed, Some(Reason::NoRoom))));
        assert!(router.world.server.asked().is_empty());
    });
}

#[test]
fn a_flash_that_takes_nothing_leaves_the_program_and_tells_why() {
    run(async {
        let flash = Flash::new("2m");
        let (mut router, file) = (Router::at(World::new(), flash.0.clone()), bytes(1_000));
        router.world.server.serve(&file, Manner::Honest);
        let offer = signed(&router.manifest(7, &file));
        // Not to be fetched to.
        flash.writable(false);
        router.offered_ok("m-1", &offer);
        assert_eq!(router.ended().await, Some(report("m-1", State::Failed, Some(Reason::Disk))));
        assert!(router.is_untouched());
        // Not to be put in place.
        flash.writable(true);
        router.offered_ok("m-2", &offer);
        assert_eq!(router.ended().await, None);
        flash.writable(false);
        let next = router.looked().await;
        assert!(matches!(&next, Next::Tell(told) if *told == report("m-2", State::Failed, Some(Reason::Disk))), "{next:?}");
        assert_eq!(fs::read(router.sbin.join("lango")).unwrap(), OLD);
    });
}

#[test]
fn what_cannot_be_written_down_is_not_accepted_and_comes_again() {
    run(async {
        let flash = Flash::new("1m");
        let (mut router, file) = (Router::new(), bytes(1_000));
        std::os::unix::fs::symlink(&flash.0, &router.folder).unwrap();
        router.world.server.serve(&file, Manner::Honest);
        let offer = signed(&router.manifest(7, &file));
        flash.writable(false);
        assert_eq!(router.offered("m-1", &offer), None, "the relay hears nothing, and offers it again");
        assert!(router.world.server.asked().is_empty());
        flash.writable(true);
        router.offered_ok("m-1", &offer);
        assert_eq!(router.ended().await, None);
    });
}

/// The relay is told of a trial whose file cannot be read any more.
#[test]
fn a_roll_back_is_told_whatever_has_become_of_what_was_kept() {
    for rubbish in ["", "lango-update-standing 2\n", "\u{0}\u{0}\u{0}"] {
        for (mark, undone, reason) in [
            (Some("undone-crashed"), None, Reason::Crashed),
            (Some("undone-overdue"), None, Reason::NotHealthy),
            // On a full flash there is no file of it.
            (None, Some(Reason::Crashed), Reason::Crashed),
            (None, Some(Reason::NotHealthy), Reason::NotHealthy),
        ] {
            for old_lies_beside in [false, true] {
                let mut router = Router::new();
                fs::create_dir(&router.folder).unwrap();
                for (name, text) in [("floor", "7\n"), ("offer", "m-7\n"), ("standing", rubbish), ("start.1", "")] {
                    fs::write(router.folder.join(name), text).unwrap();
                }
                if let Some(mark) = mark {
                    fs::write(router.folder.join(mark), "").unwrap();
                }
                if old_lies_beside {
                    fs::rename(router.sbin.join("lango"), router.sbin.join("lango.old")).unwrap();
                    fs::write(router.sbin.join("lango"), "what does not work").unwrap();
                    fs::write(router.folder.join("trial"), "60\n").unwrap();
                }
                router.started.undone = undone;
                assert_eq!(router.restart(), Some(report("m-7", State::RolledBack, Some(reason))), "{rubbish:?} {mark:?}");
                assert!(router.is_untouched(), "{mark:?}");
                assert_eq!(router.kept(), ["floor", "offer", "standing"]);
                // The power may have gone before the store had it, and before all was cleared away; it opens no way back.
                router.started.undone = None;
                fs::write(router.folder.join("start.1"), "").unwrap();
                assert_eq!(router.restart(), Some(report("m-7", State::RolledBack, Some(reason))));
                assert_eq!(router.kept(), ["floor", "offer", "standing"]);
                let offer = signed(&router.manifest(7, b"x"));
                assert_eq!(refused(router.offered("m-8", &offer)), Some(Reason::NotNewer));
            }
        }
    }
}

#[test]
fn where_the_highest_number_is_gone_too_it_is_told_and_nothing_is_accepted_any_more() {
    run(async {
        for (floor, offer, told) in [
            (None, Some("m-7\n"), Some(report("m-7", State::RolledBack, Some(Reason::Crashed)))),
            (Some("x"), Some("m-7\n"), Some(report("m-7", State::RolledBack, Some(Reason::Crashed)))),
            (Some("7\n"), None, None),
            (Some("7\n"), Some("No id"), None),
        ] {
            let mut router = Router::new();
            fs::create_dir(&router.folder).unwrap();
            for (name, text) in [("floor", floor), ("offer", offer), ("standing", Some("?")), ("undone-crashed", Some(""))] {
                if let Some(text) = text {
                    fs::write(router.folder.join(name), text).unwrap();
                }
            }
            assert_eq!(router.restart(), told, "{floor:?} {offer:?}");
            assert_eq!(router.updates.due(), None, "nothing of it is left to do");
            assert_eq!(router.restart(), told, "the power may have gone before the store had it");
            let known = floor == Some("7\n");
            let offer = signed(&router.manifest(8, b"x"));
            assert_eq!(refused(router.offered("m-8", &offer)), if known { None } else { Some(Reason::Disk) }, "{floor:?}");
        }
    });
}

/// What had not begun to run when its file went ends, and the relay hears of it: it would wait for ever.
#[test]
fn what_was_accepted_and_cannot_be_read_any_more_has_failed() {
    for (what, beside, kept) in [
        ("nothing was fetched yet, or an image", &[][..], &[][..]),
        ("a part is here", &["lango.new"], &[]),
        ("an image that sysupgrade did not take", &["lango.before-image"], &[]),
        ("about to be moved", &["lango.new", "lango.old"], &["trial", "start.1"]),
    ] {
        let mut router = Router::new();
        fs::create_dir(&router.folder).unwrap();
        for (name, text) in [("floor", "7\n"), ("offer", "m-7\n"), ("standing", "lango-upd")] {
            fs::write(router.folder.join(name), text).unwrap();
        }
        beside.iter().for_each(|name| fs::write(router.sbin.join(name), OLD).unwrap());
        kept.iter().for_each(|name| fs::write(router.folder.join(name), "60\n").unwrap());
        let failed = Some(report("m-7", State::Failed, Some(Reason::Disk)));
        assert_eq!(router.restart(), failed, "{what}");
        assert!(router.is_untouched(), "{what}");
        assert_eq!(router.kept(), ["floor", "offer", "standing"], "{what}");
        assert_eq!(router.restart(), failed, "{what}: the power may have gone before the store had it");
        let offer = signed(&router.manifest(7, b"x"));
        assert_eq!(refused(router.offered("m-8", &offer)), Some(Reason::NotNewer), "{what}");
    }
}

#[test]
fn how_it_ended_is_told_again_after_a_restart() {
    run(async {
        let (mut router, file) = (Router::new(), bytes(1_000));
        router.world.server.serve(&file, Manner::Status(404));
        let offer = signed(&router.manifest(7, &file));
        router.offered_ok("m-1", &offer);
        let failed = Some(report("m-1", State::Failed, Some(Reason::Unreachable)));
        assert_eq!(router.ended().await, failed);
        // The power may have gone before the store had it.
        assert_eq!(router.restart(), failed);
    });
}
