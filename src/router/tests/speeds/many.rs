//! Speeds by the thousand: set, taken over, and as fair as the memory allows.

use super::*;

/// The queues of these kinds that an interface's classes have.
fn queues(world: &World, link: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for line in tc(world, &format!("qdisc show dev {link}")).lines().filter(|line| line.contains("parent 4c61:")) {
        *found.entry(line.split_whitespace().nth(1).unwrap().to_owned()).or_default() += 1;
    }
    found
}

/// How many queues may be `fq_codel`, of so many that a machine with this memory has (docs/decisions/0034-room-for-queues.md).
fn fair(classes: usize) -> usize {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<usize>().ok()).unwrap();
    ((2 * kib).saturating_sub(38 * classes) / 69).min(classes)
}

fn has_fq_codel(world: &World) -> bool {
    let router = world.name(Host::Router);
    let tried = |verb| Command::new("tc").args(["-n", &router, "qdisc", verb, "dev", "lo", "root", "fq_codel"]).output().unwrap();
    tried("add").status.success() && tried("del").status.success()
}

/// Sees that as many queues are `fq_codel` as may be, where the kernel has it; all others are plain.
fn as_fair_as_can_be(world: &World, on_each: usize) {
    let kinds = ["br-lan", "wan"].map(|link| queues(world, link));
    println!("{on_each} accounts' queues: {kinds:?}");
    let count = |kind: &str| kinds.iter().filter_map(|kinds| kinds.get(kind)).sum::<usize>();
    let (found, all) = (count("fq_codel"), 2 * on_each);
    assert_eq!(found + count("bfifo"), all);
    let fair = if has_fq_codel(world) { fair(all) } else { 0 };
    assert_eq!(found, fair, "of {all}");
}

#[test]
fn thousands_of_speeds_are_set_and_taken_over() {
    let (_alone, world) = alone();
    let mut gate = world.gate();
    let count = 3_000_u32;
    let desired: Vec<GateAccount> = (0..count)
        .map(|number| {
            let [_, a, b, c] = number.to_be_bytes();
            let addresses = [format!("10.{a}.{b}.{c}").parse().unwrap()].into();
            let devices = [(Mac([2, 1, 0, a, b, c]), GateDevice { addresses, ..GateDevice::default() })].into();
            with_speed(GateAccount { devices, ..account(number, &[]) }, Some(2_000), Some(500))
        })
        .collect();
    // Some first: where memory is short, more than will have fair queues when all are there.
    let some = 1_400;
    gate.reconcile(&desired[..some], now()).unwrap();
    finish(&mut gate);
    as_fair_as_can_be(&world, some);
    let begun = Instant::now();
    gate.reconcile(&desired, now()).unwrap();
    println!("{count} accounts with speeds put in within {:?}; they can be used, and most have no class yet", begun.elapsed());
    assert!(gate.busy_with_speeds());
    finish(&mut gate);
    println!("all have theirs after {:?}", begun.elapsed());
    let all = count as usize;
    assert_eq!((classes(&world, "br-lan").len(), classes(&world, "wan").len()), (all, all));
    as_fair_as_can_be(&world, all);
    let before = classes(&world, "br-lan");
    let begun = Instant::now();
    let mut gate = world.gate();
    gate.reconcile(&desired, now()).unwrap();
    println!("{count} accounts with speeds taken over within {:?}", begun.elapsed());
    assert!(!gate.busy_with_speeds(), "all are as they should be");
    assert_eq!(classes(&world, "br-lan"), before);
    let newcomer = GateDevice { addresses: addresses(1), ..GateDevice::default() };
    let one = with_speed(GateAccount { devices: [(mac(1), newcomer)].into(), ..account(count, &[]) }, Some(2_000), Some(500));
    let begun = Instant::now();
    gate.apply(&[GateChange::Set(one)], now()).unwrap();
    println!("one more within {:?}", begun.elapsed());
    let begun = Instant::now();
    gate.usage().unwrap();
    println!("looked at within {:?}", begun.elapsed());
    // Another speed for somebody whose queue is plain where any is: it stays, of whichever kind.
    let last = desired.last().unwrap().clone();
    gate.apply(&[GateChange::Set(with_speed(last, Some(3_000), Some(500)))], now()).unwrap();
    let of_last = |classes: &[String]| classes.iter().find(|line| line.contains(" rate 3150Kbit ")).map(|line| leaf_of(line));
    let now_there = of_last(&classes(&world, "br-lan")).expect("it has another speed");
    assert!(before.iter().any(|line| leaf_of(line) == now_there), "the same queue, {now_there}");
    gate.reconcile(&[], now()).unwrap();
    finish(&mut gate);
    assert_eq!((classes(&world, "br-lan").len(), classes(&world, "wan").len()), (0, 0));
}

/// The handle of a class's queue, in the line that `tc` shows of the class.
fn leaf_of(class: &str) -> String {
    class.split_whitespace().skip_while(|word| *word != "leaf").nth(1).unwrap_or_default().to_owned()
}
