//! Classes on the real kernel: what is refused, and what thousands of them cost. Needs root; each test works in a network
//! namespace of its own. To measure: `cargo test --profile lab -p lango --lib -- --ignored --nocapture speeds::tests`.

use super::kernel::{self, Root};
use super::message::Change;
use super::plan::{Class, Kind, Leaf, Shape};
use crate::netlink::socket::{Family, Socket};
use lango_core::units::Kbps;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

const SPEED: Kbps = Kbps(2_000);

/// A bridge with our root on it, in a namespace that ends with the thread.
struct Bridge {
    socket: Socket,
    index: i32,
    queue: Option<Kind>,
}

impl Bridge {
    fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("needs root");
        for arguments in ["link add br-lan type bridge", "link set br-lan up"] {
            assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
        }
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
        assert_eq!(kernel::set(&mut self.socket, (self.index, &mut classes), &wanted, &mut self.queue).unwrap(), []);
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
    assert_eq!(kernel::set(&mut bridge.socket, (bridge.index, &mut classes), &[(odd, SPEED)], &mut bridge.queue).unwrap(), []);
    let child = format!("class add dev br-lan parent {odd} classid 4c61:7 htb rate 1mbit");
    let status = Command::new("tc").args(child.split(' ')).status();
    assert!(status.expect("the tests of speeds need tc (package iproute2)").success());
    let mut classes = bridge.look();
    let refused = kernel::set(&mut bridge.socket, (bridge.index, &mut classes), &wanted, &mut bridge.queue).unwrap();
    assert_eq!(refused.iter().map(|(change, _)| change.class()).collect::<Vec<_>>(), [odd]);
    assert!(matches!(refused[0].0, Change::Leaf(..)), "{refused:?}");
    assert_eq!(classes.values().filter(|made| made.leaf).count(), 299);
    assert_eq!(bridge.look().values().filter(|made| made.leaf).count(), 299);

    // What is gone already is no error; what cannot go is told, and no other stays because of it.
    let all: Vec<Class> = (0..301).map(Class::nth).collect();
    let stay = kernel::remove(&mut bridge.socket, bridge.index, &all).unwrap();
    assert_eq!(stay.keys().copied().collect::<Vec<_>>(), [odd]);
    assert_eq!(bridge.look().len(), 2, "that class, and the one below it");

    // Without an interface, each class is refused, and none is taken for made.
    let (mut classes, mut queue) = (BTreeMap::new(), None);
    let refused = kernel::set(&mut bridge.socket, (9_999, &mut classes), &wanted, &mut queue).unwrap();
    assert_eq!((refused.len(), classes.len(), queue), (300, 0, None));
    assert!(refused.iter().all(|(change, refusal)| matches!(change, Change::Class(..)) && refusal.errno == Errno::ENODEV));
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
            assert!(classes.values().all(|made| made.leaf));
            line += &format!("; one by one {one_by_one:.0?}, together {together:.0?}, looked at {looked_at:.1?}");
        }
        println!("{line}");
    }
    let all: Vec<Class> = bridge.look().into_keys().collect();
    let (deleted, stay) = timed(|| kernel::remove(&mut bridge.socket, bridge.index, &all).unwrap());
    assert_eq!((stay.len(), bridge.look().len()), (0, 0));
    println!("{} deleted: {deleted:.0?}", all.len());
}
