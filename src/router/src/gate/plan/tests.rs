//! The plan, told by lines: what is wanted, what the kernel has, and exactly the changes between.

use super::*;
use lango_core::gate::{GateDevice, Traffic};
use lango_core::units::Kbps;
use std::fmt::Write as _;

const NOW: Monotonic = Monotonic(1_000_000);

/// An account from a line like `7 until 60 end 500 used 100: a 10.0.0.1 fd77::1, b 10.0.0.2`: seconds from now, bytes,
/// devices by a letter, and addresses that wait behind a question mark.
fn account(line: &str) -> GateAccount {
    let (head, devices) = line.split_once(':').unwrap();
    let words: Vec<&str> = head.split_whitespace().collect();
    let number = |name| words.iter().position(|w| *w == name).map(|at| words[at + 1].parse::<i64>().unwrap());
    let device = |text: &str| {
        let mut words = text.split_whitespace();
        let letter = words.next().unwrap().bytes().next().unwrap();
        let (held, addresses): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with('?'));
        let held = held.iter().map(|word| word[1..].parse().unwrap()).collect();
        let addresses = addresses.iter().map(|word| word.parse().unwrap()).collect();
        (Mac([2, 0, 0, 0, 0, letter]), GateDevice { addresses, held, traffic: Traffic::default() })
    };
    GateAccount {
        id: GateId(words[0].parse().unwrap()),
        until: number("until").map(|seconds| Monotonic(NOW.0.checked_add_signed(seconds * 1_000).unwrap())),
        data_end: number("end").map(|bytes| Bytes(bytes.cast_unsigned())),
        used: Bytes(number("used").unwrap_or(0).cast_unsigned()),
        down: number("down").map(|rate| Kbps(rate.cast_unsigned())),
        up: number("up").map(|rate| Kbps(rate.cast_unsigned())),
        devices: devices.split(',').filter(|d| !d.trim().is_empty()).map(device).collect(),
    }
}

/// An operation as a short line.
fn shown(op: &Op) -> String {
    let key = |key: Key| match key {
        Key::Mac(Mac([.., letter])) => char::from(letter).to_string(),
        Key::Address(address) => address.to_string(),
        Key::Pair(Mac([.., letter]), address) => format!("{}@{address}", char::from(letter)),
    };
    let counter = |name: CounterName| {
        let arrow = if name.direction == Direction::Up { "up" } else { "down" };
        format!("{}/{} {arrow}", name.id.0, key(Key::Mac(name.mac)))
    };
    let until = |until: Option<Monotonic>| until.map_or("ever".into(), |u| (u.0 / 1_000 - NOW.0 / 1_000).to_string());
    match *op {
        Op::AddQuota { name, limit: UNLIMITED, consumed } => format!("+{name} unlimited used {consumed}"),
        Op::AddQuota { name, limit, consumed } => format!("+{name} {limit} used {consumed}"),
        Op::SetLimit { name, limit: UNLIMITED } => format!("={name} unlimited"),
        Op::SetLimit { name, limit } => format!("={name} {limit}"),
        Op::DeleteQuota(name) => format!("-{name}"),
        Op::AddCounter { name, bytes } => format!("+counter {} {bytes}", counter(name)),
        Op::DeleteCounter(name) => format!("-counter {}", counter(name)),
        Op::AddPass { key: k, quota, until: u } => format!("+pass {} {quota} {}", key(k), until(u)),
        Op::DeletePass(k) => format!("-pass {}", key(k)),
        Op::AddCount { key: k, counter: c } => format!("+count {} {}", key(k), counter(c)),
        Op::DeleteCount(k) => format!("-count {}", key(k)),
        Op::AddClass { key: k, class } => format!("+class {} {:x}", key(k), class.id() & 0xffff),
        Op::DeleteClass(k) => format!("-class {}", key(k)),
        Op::AddHeld(mac, address) => format!("+held {}", key(Key::Pair(mac, address.into()))),
        Op::DeleteHeld(mac, address) => format!("-held {}", key(Key::Pair(mac, address.into()))),
        Op::AddPaid { mac, until: u } => format!("+paid {} {}", key(Key::Mac(mac)), until(u)),
        Op::DeletePaid(mac) => format!("-paid {}", key(Key::Mac(mac))),
    }
}

struct Kernel {
    view: View,
    facts: Facts,
}

impl Kernel {
    fn with(lines: &[&str]) -> Self {
        let mut kernel = Self { view: View::default(), facts: Facts::default() };
        kernel.facts.classes = [(GateId(7), Class::from_id(8)), (GateId(8), Class::from_id(9))].into();
        for line in lines {
            kernel.set(&[line], NOW);
        }
        kernel
    }
    /// Plans and does; gives what was done.
    fn set(&mut self, lines: &[&str], now: Monotonic) -> String {
        let accounts: Vec<_> = lines.iter().filter(|l| l.contains(':')).map(|line| account(line)).collect();
        let removed = lines.iter().filter(|l| !l.contains(':')).map(|line| (GateId(line.parse().unwrap()), None));
        let targets: Vec<_> = accounts.iter().map(|a| (a.id, Some(a))).chain(removed).collect();
        let groups = plan(&self.view, &targets, BTreeSet::new(), &self.facts, now);
        let mut text = String::new();
        for op in groups.iter().flatten() {
            self.view.apply(op);
            let _ = write!(text, "{}; ", shown(op));
        }
        text
    }
}

#[test]
fn the_difference_and_nothing_else() {
    let one = "7 until 60 end 500: a 10.0.0.1";
    for (what, there, wanted, expected) in [
        (
            "the first time",
            &[][..],
            &[one][..],
            "+q7.0 500 used 0; +counter 7/a up 0; +counter 7/a down 0; +count a 7/a up; +pass a q7.0 60; +paid a 60; +count 10.0.0.1 7/a down; +pass 10.0.0.1 q7.0 60; +pass a@10.0.0.1 q7.0 60; ",
        ),
        ("the same again", &[one], &[one], ""),
        (
            "without limits",
            &[],
            &["7 used 9: a"],
            "+q7.0 unlimited used 9; +counter 7/a up 0; +counter 7/a down 0; +count a 7/a up; +pass a q7.0 ever; +paid a ever; ",
        ),
        ("more data", &[one], &["7 until 60 end 900: a 10.0.0.1"], "=q7.0 900; "),
        ("no data limit any more", &[one], &["7 until 60: a 10.0.0.1"], "=q7.0 unlimited; "),
        (
            "more time",
            &[one],
            &["7 until 90 end 500: a 10.0.0.1"],
            "-pass a; +pass a q7.0 90; -paid a; +paid a 90; -pass 10.0.0.1; +pass 10.0.0.1 q7.0 90; -pass a@10.0.0.1; +pass a@10.0.0.1 q7.0 90; ",
        ),
        ("no end any more", &["7 until 60: a"], &["7: a"], "-pass a; +pass a q7.0 ever; -paid a; +paid a ever; "),
        (
            "another address",
            &["7: a 10.0.0.1"],
            &["7: a fd77::1"],
            "-count 10.0.0.1; -pass 10.0.0.1; +count fd77::1 7/a down; +pass fd77::1 q7.0 ever; -pass a@10.0.0.1; +pass a@fd77::1 q7.0 ever; ",
        ),
        (
            "a second device",
            &["7: a"],
            &["7: a, b"],
            "+counter 7/b up 0; +counter 7/b down 0; +count b 7/b up; +pass b q7.0 ever; +paid b ever; ",
        ),
        (
            "a device leaves",
            &["7: a, b 10.0.0.2"],
            &["7: a"],
            "-count b; -pass b; -paid b; -count 10.0.0.2; -pass 10.0.0.2; -pass b@10.0.0.2; ",
        ),
        (
            "an address goes to another device",
            &["7: a 10.0.0.1, b"],
            &["7: a, b 10.0.0.1"],
            "-count 10.0.0.1; +count 10.0.0.1 7/b down; -pass a@10.0.0.1; +pass b@10.0.0.1 q7.0 ever; ",
        ),
        ("the account goes", &["7: a 10.0.0.1"], &["7"], "-count a; -pass a; -paid a; -count 10.0.0.1; -pass 10.0.0.1; -pass a@10.0.0.1; "),
        ("no device at all", &["7: a"], &["7:"], "-count a; -pass a; -paid a; "),
        ("its time is up", &["7: a"], &["7 until 0: a"], "-count a; -pass a; -paid a; "),
        ("its time was up long ago", &[], &["7 until -60: a"], ""),
        ("one that is not there goes", &[one], &["8"], ""),
        (
            "a device changes its account",
            &["7: a", "8: b"],
            &["7:", "8: a, b"],
            "+counter 8/a up 0; +counter 8/a down 0; -count a; +count a 8/a up; -pass a; +pass a q8.0 ever; ",
        ),
        (
            "two want the same device",
            &[],
            &["7: a", "8: a"],
            "+q7.0 unlimited used 0; +counter 7/a up 0; +counter 7/a down 0; +q8.0 unlimited used 0; +counter 8/a up 0; +counter 8/a down 0; +count a 8/a up; +pass a q8.0 ever; +paid a ever; ",
        ),
        ("a speed each way", &["7: a 10.0.0.1"], &["7 down 2000 up 500: a 10.0.0.1"], "+class a 8; +class 10.0.0.1 8; "),
        ("a speed one way only", &["7 down 2000 up 500: a 10.0.0.1"], &["7 down 2000: a 10.0.0.1"], "-class a; "),
        ("another speed is the class's affair", &["7 down 2000: a 10.0.0.1"], &["7 down 500: a 10.0.0.1"], ""),
        (
            "a device with a speed changes its account",
            &["7 up 500: a", "8 up 64: b"],
            &["7:", "8 up 64: a, b"],
            "+counter 8/a up 0; +counter 8/a down 0; -count a; +count a 8/a up; -pass a; +pass a q8.0 ever; -class a; +class a 9; ",
        ),
        (
            "an account with speeds goes",
            &["7 down 2000 up 500: a 10.0.0.1"],
            &["7"],
            "-count a; -pass a; -class a; -paid a; -count 10.0.0.1; -pass 10.0.0.1; -class 10.0.0.1; -pass a@10.0.0.1; ",
        ),
        ("an address waits", &["7: a 10.0.0.1"], &["7: a 10.0.0.1 ?10.0.0.2"], "+held a@10.0.0.2; "),
        (
            "it is the device's after all",
            &["7: a 10.0.0.1 ?10.0.0.2"],
            &["7: a 10.0.0.1 10.0.0.2"],
            "-held a@10.0.0.2; +count 10.0.0.2 7/a down; +pass 10.0.0.2 q7.0 ever; +pass a@10.0.0.2 q7.0 ever; ",
        ),
        ("it went", &["7: a ?10.0.0.2, b"], &["7: a ?10.0.0.3, b"], "-held a@10.0.0.2; +held a@10.0.0.3; "),
        ("its device leaves", &["7: a ?10.0.0.2, b"], &["7: b"], "-held a@10.0.0.2; -count a; -pass a; -paid a; "),
        ("its device's account goes", &["7: a ?10.0.0.2"], &["7"], "-held a@10.0.0.2; -count a; -pass a; -paid a; "),
        (
            "its device changes its account",
            &["7: a ?10.0.0.2", "8: b"],
            &["7:", "8: a ?10.0.0.2, b"],
            "+counter 8/a up 0; +counter 8/a down 0; -count a; +count a 8/a up; -pass a; +pass a q8.0 ever; ",
        ),
        ("more used than there is", &[], &["7 end 100 used 101: "], ""),
        (
            "used up already",
            &[],
            &["7 end 100 used 101: a"],
            "+q7.0 100 used 100; +counter 7/a up 0; +counter 7/a down 0; +count a 7/a up; +pass a q7.0 ever; +paid a ever; ",
        ),
    ] {
        let mut kernel = Kernel::with(there);
        assert_eq!(kernel.set(wanted, NOW), expected, "{what}");
        assert_eq!(kernel.set(wanted, NOW), "", "{what}: done once is done");
    }
}

#[test]
fn an_end_that_is_near_enough_is_left_alone() {
    let mut kernel = Kernel::with(&["7 until 60: a"]);
    let mut wanted = account("7 until 60: a");
    for (off, touched) in [(-250, false), (250, false), (-251, true), (251, true)] {
        wanted.until = Some(Monotonic((NOW.0 + 60_000).checked_add_signed(off).unwrap()));
        let groups = plan(&kernel.view, &[(wanted.id, Some(&wanted))], BTreeSet::new(), &kernel.facts, NOW);
        assert_eq!(!groups.is_empty(), touched, "{off} ms off");
    }
    kernel.set(&["7 until 60: a"], NOW);
}

#[test]
fn what_ended_by_itself_is_not_taken_out_again() {
    let mut kernel = Kernel::with(&["7 until 60: a 10.0.0.1"]);
    let later = Monotonic(NOW.0 + 60_001);
    assert_eq!(kernel.set(&["7"], later), "-count a; -count 10.0.0.1; ");
    let mut kernel = Kernel::with(&["7 until 60: a"]);
    assert_eq!(kernel.set(&["7 until 120: a"], later), "+pass a q7.0 120; +paid a 120; ");
}

#[test]
fn a_quota_that_was_hit_is_replaced_only_to_give_more() {
    let hit = || {
        let mut kernel = Kernel::with(&["7 end 500: a"]);
        kernel.facts.hit.insert(GateId(7));
        let mac = Mac([2, 0, 0, 0, 0, b'a']);
        for (direction, bytes) in [(Direction::Up, 400), (Direction::Down, 90)] {
            kernel.facts.counted.insert(CounterName { id: GateId(7), mac, direction }, bytes);
        }
        kernel
    };
    // What it refused since is not in the counters, and is not held against the customer.
    assert_eq!(hit().set(&["7 end 900 used 0: a"], NOW), "+q7.1 900 used 490; -pass a; +pass a q7.1 ever; ");
    // What others used on the account before counts, too.
    assert_eq!(hit().set(&["7 end 900 used 50: a"], NOW), "+q7.1 900 used 540; -pass a; +pass a q7.1 ever; ");
    assert_eq!(hit().set(&["7 end 500: a"], NOW), "");
    assert_eq!(hit().set(&["7 end 400: a"], NOW), "=q7.0 400; ");
}

#[test]
fn what_went_is_left_over_until_it_is_swept() {
    let mut kernel = Kernel::with(&["7: a, b"]);
    let left = |kernel: &Kernel| {
        let counters = kernel.view.left_counters(GateId(7)).map(|name| shown(&Op::DeleteCounter(name)));
        counters.chain(kernel.view.left_quotas(GateId(7)).map(|name| shown(&Op::DeleteQuota(name)))).collect::<String>()
    };
    assert_eq!(left(&kernel), "");
    kernel.set(&["7: a"], NOW);
    assert_eq!(left(&kernel), "-counter 7/b up-counter 7/b down");
    kernel.set(&["7: a, b"], NOW);
    assert_eq!(left(&kernel), "");
    kernel.set(&["8: a, b"], NOW);
    assert_eq!(left(&kernel), "-counter 7/a up-counter 7/a down-counter 7/b up-counter 7/b down-q7.0");
    assert_eq!(kernel.view.accounts().len(), 2);
    assert_eq!(kernel.view.keys_of(GateId(7)).count(), 0);
}
