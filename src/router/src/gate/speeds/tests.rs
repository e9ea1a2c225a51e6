//! Classes on the real kernel: what is refused, and what thousands of them cost. Needs root; each test works in a network
//! namespace of its own. To measure: `cargo test --profile lab -p lango --lib -- --ignored --nocapture speeds::tests`.

use super::Speeds;
use super::kernel::{self, Root};
use super::message::Change;
use super::plan::{Class, Kind, Leaf, Shape};
use crate::gate::set::Key;
use crate::gate::view::{Pass, View};
use crate::gate::{GateConfig, Whole};
use crate::netlink::socket::{Family, Socket};
use lango_core::gate::{GateAccount, GateDevice, GateId};
use lango_core::time::Monotonic;
use lango_core::tree::{BTreeMap, BTreeSet};
use lango_core::units::{Bytes, Kbps, Mac};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use std::process::Command;
use std::time::{Duration, Instant};

const SPEED: Kbps = Kbps(2_000);

fn ip(arguments: &str) {
    assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
}

/// A bridge with our root on it, in a namespace that ends with the thread.
struct Bridge {
    socket: Socket,
    index: i32,
    queue: Option<Kind>,
}

impl Bridge {
    fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("needs root");
        ip("link add br-lan type bridge");
        ip("link set br-lan up");
        let mut bridge = Self { socket: Socket::open(Family::Route).unwrap(), index: 0, queue: None };
        bridge.index = kernel::link(&mut bridge.socket, "br-lan").unwrap().unwrap().index;
        // Which queue the kernel has is none of what is measured.
        bridge.root();
        bridge.set(1);
        bridge
    }

    fn root(&mut self) {
        kernel::flush(&mut self.socket).unwrap();
        kernel::make_root(&mut self.socket, self.index).unwrap();
    }

    fn set(&mut self, count: u16) {
        let wanted: Vec<_> = (0..count).map(|n| (Class::nth(n), SPEED)).collect();
        let mut classes = BTreeMap::new();
        assert_eq!(kernel::set(&mut self.socket, (self.index, &mut classes), &wanted, &mut self.queue, usize::MAX).unwrap(), []);
        assert_eq!(classes.len(), usize::from(count));
    }

    fn set_one_by_one(&mut self, count: u16) {
        for class in (0..count).map(Class::nth) {
            let leaf = Leaf::of(self.queue.unwrap(), SPEED, true);
            for change in [Change::Class(class, Shape::of(SPEED)), Change::Leaf(class, leaf)] {
                let (kind, flags) = change.header();
                self.socket.change(kind, flags, |w| change.body(w, self.index)).unwrap();
            }
        }
    }

    fn look(&mut self) -> BTreeMap<Class, super::message::Made> {
        let Root::Ours { classes, .. } = kernel::look_at(&mut self.socket, "br-lan").unwrap() else { panic!("our root is gone") };
        classes
    }
}

#[test]
fn a_refusal_is_told_of_its_class_and_keeps_no_other_from_being_done() {
    let mut bridge = Bridge::new();
    bridge.root();
    let wanted: Vec<_> = (0..300).map(|n| (Class::nth(n), SPEED)).collect();
    // A class with a class of somebody's below it can have no queue of its own.
    let odd = Class::nth(200);
    let mut classes = BTreeMap::new();
    assert_eq!(kernel::set(&mut bridge.socket, (bridge.index, &mut classes), &[(odd, SPEED)], &mut bridge.queue, usize::MAX).unwrap(), []);
    let child = format!("class add dev br-lan parent {odd} classid 4c61:7 htb rate 1mbit");
    let status = Command::new("tc").args(child.split(' ')).status();
    assert!(status.expect("the tests of speeds need tc (package iproute2)").success());
    let mut classes = bridge.look();
    let refused = kernel::set(&mut bridge.socket, (bridge.index, &mut classes), &wanted, &mut bridge.queue, usize::MAX).unwrap();
    assert_eq!(refused.iter().map(|(change, _)| change.class()).collect::<Vec<_>>(), [odd]);
    assert!(matches!(refused[0].0, Change::Leaf(..)), "{refused:?}");
    assert_eq!(classes.values().filter(|made| made.queue.is_some()).count(), 299);
    assert_eq!(bridge.look().values().filter(|made| made.queue.is_some()).count(), 299);

    // What is gone already is no error; what cannot go is told, and no other stays because of it.
    let all: Vec<Class> = (0..301).map(Class::nth).collect();
    let stay = kernel::remove(&mut bridge.socket, bridge.index, &all).unwrap();
    assert_eq!(stay.keys().copied().collect::<Vec<_>>(), [odd]);
    assert_eq!(bridge.look().len(), 2, "that class, and the one below it");

    // Without an interface, each class is refused, and none is taken for made.
    let (mut classes, mut queue) = (BTreeMap::new(), None);
    let refused = kernel::set(&mut bridge.socket, (9_999, &mut classes), &wanted, &mut queue, usize::MAX).unwrap();
    assert_eq!((refused.len(), classes.len(), queue), (300, 0, None));
    assert!(refused.iter().all(|(change, refusal)| matches!(change, Change::Class(..)) && refusal.errno == Errno::ENODEV));
}

#[test]
fn beyond_the_room_for_fair_queues_they_are_plain_and_each_stays_what_it_is() {
    let mut bridge = Bridge::new();
    bridge.root();
    let wanted: Vec<_> = (0..20).map(|n| (Class::nth(n), SPEED)).collect();
    let mut classes = BTreeMap::new();
    assert_eq!(kernel::set(&mut bridge.socket, (bridge.index, &mut classes), &wanted, &mut bridge.queue, 5).unwrap(), []);
    let fair = if bridge.queue == Some(Kind::FqCodel) { 5 } else { 0 };
    let kinds = |classes: &BTreeMap<Class, super::message::Made>| classes.values().map(|made| made.queue.unwrap()).collect::<Vec<_>>();
    assert_eq!(kinds(&classes), [vec![Kind::FqCodel; fair], vec![Kind::Bytes; 20 - fair]].concat());
    assert_eq!(bridge.look(), classes, "a daemon that starts reads it off the classes");
    let queues = || {
        let shown = Command::new("tc").args(["qdisc", "show", "dev", "br-lan"]).output().expect("the tests of speeds need tc");
        let shown = String::from_utf8(shown.stdout).unwrap();
        let mut queues: Vec<(String, bool)> = shown
            .lines()
            .filter(|line| line.contains("parent 4c61:"))
            .map(|line| (line.split_whitespace().take(6).collect::<Vec<_>>().join(" "), line.contains("limit 131250b")))
            .collect();
        queues.sort();
        queues
    };
    let before = queues();
    assert_eq!(before.len(), 20);
    // There is room for all now, and another speed for each.
    let faster: Vec<_> = wanted.iter().map(|(class, _)| (*class, Kbps(10_000))).collect();
    let mut looked = bridge.look();
    let changed = kernel::set(&mut bridge.socket, (bridge.index, &mut looked), &faster, &mut bridge.queue, usize::MAX).unwrap();
    assert_eq!((changed, kinds(&looked)), (Vec::new(), kinds(&classes)));
    let after = queues();
    assert!(after.iter().zip(&before).all(|(after, before)| after.0 == before.0), "the same queues: {before:?}, {after:?}");
    assert_eq!(after.iter().filter(|(_, longer)| *longer).count(), 20 - fair, "changed in place: {after:?}");
}

#[test]
fn what_cannot_be_made_plain_is_named_and_all_others_are() {
    let mut bridge = Bridge::new();
    bridge.root();
    let wanted: Vec<_> = (0..20).map(|n| (Class::nth(n), SPEED)).collect();
    let mut classes = BTreeMap::new();
    assert_eq!(kernel::set(&mut bridge.socket, (bridge.index, &mut classes), &wanted, &mut bridge.queue, usize::MAX).unwrap(), []);
    // One that went behind our back.
    let odd = Class::nth(7);
    assert_eq!(kernel::remove(&mut bridge.socket, bridge.index, &[odd]).unwrap(), BTreeMap::new());
    let kept = kernel::make_plain(&mut bridge.socket, (bridge.index, &mut classes), &wanted).unwrap();
    assert_eq!(kept.iter().map(|(class, _)| *class).collect::<Vec<_>>(), [odd], "{kept:?}");
    let mut plain = bridge.look();
    assert!(plain.len() == 19 && plain.values().all(|made| made.queue == Some(Kind::Bytes)), "{plain:?}");
    // Of that one it is still believed what was known.
    let believed = *classes.get(&odd).unwrap();
    assert_eq!(believed.queue, bridge.queue);
    plain.insert(odd, believed);
    assert_eq!(classes, plain);
}

/// Speeds on a router of two bridges, and what the rules want.
struct Router {
    speeds: Speeds,
    accounts: BTreeMap<u32, GateAccount>,
    kernel: Socket,
}

const INTERFACES: [&str; 2] = ["br-lan", "wan"];

impl Router {
    fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("needs root");
        for name in INTERFACES {
            ip(&format!("link add {name} type bridge"));
            ip(&format!("link set {name} up"));
        }
        Self { speeds: Self::connect(), accounts: BTreeMap::new(), kernel: Socket::open(Family::Route).unwrap() }
    }

    fn connect() -> Speeds {
        let [lan, wan] = INTERFACES.map(str::to_owned);
        let config = GateConfig { lan: vec![lan], wan, portal_port: 8088, https_port: None, isolate: true, learn: false, whole: Whole::No };
        Speeds::connect(&config).unwrap()
    }

    /// These accounts shall have these speeds, down and up.
    fn want(&mut self, ids: std::ops::Range<u32>, speeds: Option<(u64, u64)>) -> BTreeSet<Class> {
        for id in ids.clone() {
            let Some((down, up)) = speeds else {
                self.accounts.remove(&id);
                continue;
            };
            let account = GateAccount {
                id: GateId(id),
                until: None,
                data_end: None,
                used: Bytes::ZERO,
                down: Some(Kbps(down)),
                up: Some(Kbps(up)),
                devices: [(Mac([2; 6]), GateDevice::default())].into(),
            };
            self.accounts.insert(id, account);
        }
        self.speeds.want(ids.map(|id| (GateId(id), self.accounts.get(&id))), Monotonic(1_000))
    }

    /// The same, and what waits for nothing is done.
    fn set(&mut self, ids: std::ops::Range<u32>, speeds: Option<(u64, u64)>) {
        let touched = self.want(ids, speeds);
        self.speeds.settle(&touched);
    }

    /// How many classes the kernel has towards the customers.
    fn made(&mut self) -> usize {
        self.look("br-lan").len()
    }

    fn look(&mut self, name: &str) -> BTreeMap<Class, super::message::Made> {
        match kernel::look_at(&mut self.kernel, name).unwrap() {
            Root::Ours { classes, .. } => classes,
            _ => BTreeMap::new(),
        }
    }

    /// Goes on until this is so, and with nothing else; gives how often.
    fn go_on_until(&mut self, done: impl Fn(&mut Self) -> bool) -> u32 {
        let mut times = 0;
        while !done(self) {
            assert!(self.speeds.busy(), "nothing is left to be done");
            self.speeds.go_on();
            times += 1;
        }
        times
    }

    fn finish(&mut self) -> u32 {
        self.go_on_until(|router| !router.speeds.busy())
    }

    /// The kernel has what is wanted, and nothing else.
    fn assert_whole(&mut self) {
        assert!(!self.speeds.busy());
        for (name, down) in [("br-lan", true), ("wan", false)] {
            let wanted: BTreeMap<Class, u32> = self
                .accounts
                .values()
                .map(|account| {
                    let speed = if down { account.down } else { account.up };
                    (self.speeds.book.class(account.id).expect("a class"), Shape::of(speed.unwrap()).rate)
                })
                .collect();
            let found = self.look(name);
            assert!(found.values().all(|made| made.queue.is_some()), "{name}");
            assert_eq!(found.into_iter().map(|(class, made)| (class, made.rate)).collect::<BTreeMap<_, _>>(), wanted, "{name}");
        }
    }

    /// The table's maps, as a daemon that starts reads them.
    fn maps(&self) -> View {
        let mut view = View::default();
        for (id, account) in &self.accounts {
            let [_, a, b, c] = id.to_be_bytes();
            let key = Key::Mac(Mac([2, 0, 0, a, b, c]));
            let quota = Some(format!("q{id}.0").parse().unwrap());
            view.insert_pass(key, Pass { quota, end: None.into() });
            view.classes.insert(key, self.speeds.book.class(account.id).unwrap());
        }
        view
    }
}

#[test]
fn thousands_are_set_in_portions_and_nobody_waits_for_them() {
    let mut router = Router::new();
    router.set(0..1_500, Some((2_000, 500)));
    assert!(router.speeds.busy() && router.made() < 500, "the caller is back before that");
    // Whoever comes now has a class at once.
    router.set(5_000..5_001, Some((3_000, 700)));
    let newest = router.speeds.book.class(GateId(5_000)).unwrap();
    assert_eq!(router.look("br-lan").get(&newest).map(|made| made.rate), Some(Shape::of(Kbps(3_000)).rate));
    assert!(router.finish() > 3);
    router.assert_whole();
    // Nothing is done twice.
    router.speeds.settle_all();
    router.assert_whole();
    // All go at once: the same.
    router.set(0..1_500, None);
    assert!(router.speeds.busy());
    router.finish();
    router.assert_whole();
}

#[test]
fn what_happens_while_classes_are_made_is_what_counts() {
    let mut router = Router::new();
    let touched = router.want(0..1_000, Some((2_000, 500)));
    router.speeds.backlog.add(touched);
    router.go_on_until(|router| router.made() >= 100);
    // Ended, changed and come while they wait, and after they were made.
    for (ids, speeds) in [
        (10..20, None),
        (20..30, Some((4_000, 900))),
        (900..910, None),
        (910..920, Some((4_000, 900))),
        (2_000..2_010, Some((64, 64))),
        (2_005..2_010, None),
    ] {
        let touched = router.want(ids, speeds);
        router.speeds.backlog.add(touched);
    }
    // Numbers of those that went are somebody's again, before the kernel heard of it.
    router.speeds.book.go_on_at(0);
    let touched = router.want(3_000..3_010, Some((8_000, 8_000)));
    assert!(touched.contains(&Class::nth(10)), "{touched:?}");
    router.speeds.backlog.add(touched);
    router.finish();
    router.assert_whole();
}

#[test]
fn what_fails_in_the_middle_is_made_whole() {
    let mut router = Router::new();
    let touched = router.want(0..600, Some((2_000, 500)));
    router.speeds.backlog.add(touched);
    router.go_on_until(|router| router.made() >= 50);
    // Somebody takes the root away, and the interface with it; its name comes again.
    ip("link del br-lan");
    ip("link add br-lan type bridge");
    ip("link set br-lan up");
    router.finish();
    assert_eq!(router.made(), 0);
    router.speeds.look_after();
    router.finish();
    router.assert_whole();
    // One that cannot be set keeps no other from it, and is tried again.
    let odd = router.speeds.book.class(GateId(300)).unwrap();
    let child = format!("class add dev br-lan parent {odd} classid 4c61:7 htb rate 1mbit");
    router.set(300..301, None);
    assert!(
        Command::new("tc")
            .args(format!("class add dev br-lan parent 4c61: classid {odd} htb rate 1mbit").split(' '))
            .status()
            .unwrap()
            .success()
    );
    assert!(Command::new("tc").args(child.split(' ')).status().unwrap().success());
    router.speeds.book.go_on_at(300);
    router.set(700..800, Some((1_000, 1_000)));
    router.finish();
    assert_eq!(router.speeds.book.class(GateId(700)), Some(odd));
    assert_eq!(router.speeds.failed, [odd].into());
    for name in ["classid 4c61:7", &format!("classid {odd}")] {
        assert!(Command::new("tc").args(format!("class del dev br-lan {name}").split(' ')).status().unwrap().success());
    }
    router.speeds.look_after();
    router.finish();
    router.assert_whole();
}

#[test]
fn a_daemon_that_is_killed_in_the_middle_goes_on_where_it_was() {
    let mut router = Router::new();
    let touched = router.want(0..800, Some((2_000, 500)));
    router.speeds.backlog.add(touched);
    router.go_on_until(|router| router.made() >= 100);
    let (made, maps) = (router.look("br-lan"), router.maps());
    assert!(made.len() < 800);
    router.speeds = Router::connect();
    router.speeds.adopt(&maps);
    // One ended, one changed while nobody was there.
    router.want(5..6, None);
    router.want(6..7, Some((9_000, 500)));
    router.want(7..800, Some((2_000, 500)));
    router.want(0..5, Some((2_000, 500)));
    router.speeds.settle_all();
    assert!(router.speeds.busy());
    router.finish();
    router.assert_whole();
}

#[test]
#[ignore = "measures; needs root"]
fn how_long_a_portion_holds_up_others() {
    for count in [1_000, 10_000] {
        let mut router = Router::new();
        let touched = router.want(0..count, Some((2_000, 500)));
        router.speeds.backlog.add(touched);
        let (mut portions, mut longest, mut all) = (0, Duration::ZERO, Duration::ZERO);
        while router.speeds.busy() {
            let before = crate::clock::processor();
            router.speeds.go_on();
            let portion = crate::clock::processor() - before;
            (portions, longest, all) = (portions + 1, longest.max(portion), all + portion);
        }
        router.assert_whole();
        println!("{count} accounts, two interfaces: {portions} portions, the longest {longest:.1?} of processor time, all {all:.1?}");
        // One more, beside them all.
        let before = crate::clock::processor();
        router.set(count..count + 1, Some((2_000, 500)));
        println!("one more: {:.1?}", crate::clock::processor() - before);
    }
}

fn timed<T>(act: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let done = act();
    (begun.elapsed(), done)
}

#[test]
#[ignore = "measures; needs root"]
fn what_thousands_of_classes_cost_together_and_one_by_one() {
    let mut bridge = Bridge::new();
    for count in [1_000, 3_000] {
        let mut line = format!("{count} classes and queues");
        for _ in 0..3 {
            bridge.root();
            let (one_by_one, ()) = timed(|| bridge.set_one_by_one(count));
            bridge.root();
            let (together, ()) = timed(|| bridge.set(count));
            let (looked_at, classes) = timed(|| bridge.look());
            assert_eq!(classes.len(), usize::from(count));
            assert!(classes.values().all(|made| made.queue.is_some()));
            line += &format!("; one by one {one_by_one:.0?}, together {together:.0?}, looked at {looked_at:.1?}");
        }
        println!("{line}");
    }
    let all: Vec<Class> = bridge.look().into_keys().collect();
    let (deleted, stay) = timed(|| kernel::remove(&mut bridge.socket, bridge.index, &all).unwrap());
    assert_eq!((stay.len(), bridge.look().len()), (0, 0));
    println!("{} deleted: {deleted:.0?}", all.len());
}
