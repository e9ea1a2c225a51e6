//! Which class an account has, and how fast it is: numbers for the kernel. Pure.

use crate::gate::view::View;
use lango_core::gate::{GateAccount, GateId};
use lango_core::time::Monotonic;
use lango_core::tree::{BTreeMap, BTreeSet};
use lango_core::units::Kbps;

use super::message::HANDLE;

/// How many classes there can be: the kernel has as many handles for their queues.
const MOST: u16 = 0x7fff;

/// Ethernet, IP and TCP headers take 4.6 % (IPv4) to 6 % (IPv6) of full packets. What is sold is what a speed test shows,
/// so the kernel's rate, which counts all of them, is higher by so many percent.
const HEADERS_PERCENT: u64 = 5;

/// A full packet on Ethernet, in bytes.
const FULL_PACKET: u64 = 1_514;

/// What may go at once after a pause, in milliseconds of the rate: routers' clocks tick every 10 ms. At least two packets.
const BURST_MILLISECONDS: u64 = 10;

/// What a class takes of the kernel's memory with its queue, in tenths of a KiB (Linux 6.1, 64 bits): `fq_codel` and `bfifo`.
const FAIR_CLASS: u64 = 107;
const PLAIN_CLASS: u64 = 38;

/// The part of a machine's memory that classes may take: a fifth.
const CLASSES_SHARE: u64 = 5;

/// What a router has whose memory is not known, in KiB.
const LITTLE_MEMORY: u64 = 128 * 1024;

/// Of so many classes, on all interfaces together, how many may have `fq_codel`, and the others plain queues: a router that runs out
/// of memory serves nobody. `memory` is the machine's, in KiB.
#[must_use]
pub fn fair_classes(memory: Option<u64>, classes: usize) -> usize {
    let share = memory.unwrap_or(LITTLE_MEMORY).saturating_mul(10) / CLASSES_SHARE;
    let spare = share.saturating_sub(PLAIN_CLASS.saturating_mul(classes as u64));
    usize::try_from(spare / (FAIR_CLASS - PLAIN_CLASS)).map_or(classes, |fair| fair.min(classes))
}

/// The machine's memory in KiB, as `/proc/meminfo` tells it.
#[must_use]
pub fn memory_in(meminfo: &str) -> Option<u64> {
    meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
}

/// A class of ours, by its number within our root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(u16);

impl Class {
    /// None of ours, where only that there is one is known.
    pub const UNKNOWN: Self = Self(0);
    /// Its number for the kernel (`TC_H_MAKE`): what a packet's priority is set to.
    #[must_use]
    pub const fn id(self) -> u32 {
        HANDLE | self.0 as u32
    }
    /// The class with this number; the part that names the root is not looked at.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the upper half names the root")]
    pub const fn from_id(id: u32) -> Self {
        Self(id as u16)
    }
    /// The `n`th class. The mark stays on the packet, and a port that sorts by priority (`pfifo_fast`) looks at its last four
    /// bits: from 8 on they mean ordinary traffic.
    pub(super) const fn nth(n: u16) -> Self {
        Self(n / 8 * 16 + 8 + n % 8)
    }

    /// The handle of its queue where that is plain: one of those that the kernel never gives by itself (those have the highest bit
    /// set). So the class alone tells which kind of queue it has. Nothing for the class whose handle is our root's.
    #[must_use]
    pub const fn plain_handle(self) -> u32 {
        let handle = ((self.0 / 16 * 8 + self.0 % 8 + 1) as u32) << 16;
        if handle == HANDLE { 0 } else { handle }
    }
}

/// As `tc` shows it.
impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}:{:x}", HANDLE >> 16, self.0)
    }
}

/// The speeds of an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Towards the devices.
    pub down: Option<Kbps>,
    /// From the devices.
    pub up: Option<Kbps>,
}

/// A rate as HTB takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Bytes a second, headers included.
    pub rate: u32,
    /// How long what may go at once takes at this rate, in units of 64 ns (`PSCHED_SHIFT`).
    pub burst_ticks: u32,
    /// Bytes a turn where several classes are due.
    pub quantum: u32,
}

impl Shape {
    /// That of a speed.
    #[must_use]
    pub fn of(speed: Kbps) -> Self {
        let rate = bytes_a_second(speed);
        let burst = (rate * BURST_MILLISECONDS / 1_000).max(2 * FULL_PACKET);
        let ticks = burst * 1_000_000_000 / rate / 64;
        Self { rate: narrow(rate), burst_ticks: narrow(ticks), quantum: narrow(FULL_PACKET) }
    }
}

/// A kind of queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Flows take turns, and none builds up a delay.
    FqCodel,
    /// One queue of so many bytes, for kernels without the other, and for machines without the memory for it.
    Bytes,
}

impl Kind {
    /// The kernel's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FqCodel => "fq_codel",
            Self::Bytes => "bfifo",
        }
    }
}

/// A class's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    /// `fq_codel`
    FqCodel {
        /// The delay that is always accepted.
        target_microseconds: u32,
        /// How long more than that is accepted.
        interval_microseconds: u32,
        /// Queues; only when it is made, the kernel refuses to change it.
        flows: Option<u32>,
        /// The most that wait.
        packets: u32,
        /// The most that they take.
        memory_bytes: u32,
    },
    /// `bfifo`
    Bytes {
        /// The most that wait.
        most: u32,
        /// Whether it is made: it gets its handle then ([`Class::plain_handle`]).
        new: bool,
    },
}

impl Leaf {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::FqCodel { .. } => Kind::FqCodel,
            Self::Bytes { .. } => Kind::Bytes,
        }
    }

    /// That of a speed; `new` where the class has none yet.
    #[must_use]
    pub fn of(kind: Kind, speed: Kbps, new: bool) -> Self {
        let rate = bytes_a_second(speed);
        match kind {
            Kind::FqCodel => {
                // One packet must fit into the target, or a slow link would be taken for a full one.
                let target = (FULL_PACKET * 1_500_000 / rate).max(5_000);
                Self::FqCodel {
                    target_microseconds: narrow(target),
                    interval_microseconds: narrow(target + 95_000),
                    // Of one customer's few devices, 64 flows seldom meet; the kernel's own 1,024 take 64 KiB a class.
                    flows: new.then_some(64),
                    packets: 1_000,
                    memory_bytes: narrow(rate.clamp(256 * 1024, 4 * 1024 * 1024)),
                }
            }
            // 100 ms, and enough for TCP to find its pace.
            Kind::Bytes => Self::Bytes { most: narrow((rate / 10).max(32 * 1024)), new },
        }
    }
}

fn bytes_a_second(speed: Kbps) -> u64 {
    // 1,000 bits are 125 bytes.
    (speed.0.saturating_mul(125 * (100 + HEADERS_PERCENT)) / 100).clamp(1_000, u64::from(u32::MAX))
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Which account has which class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    classes: BTreeMap<GateId, Class>,
    /// Whose a class is, and its speeds; nothing where they are only known to be there.
    rates: BTreeMap<Class, Option<Rates>>,
    /// Where the search for a free class goes on, so that one that was freed is not used again at once.
    next: u16,
}

impl Book {
    /// An account's class.
    #[must_use]
    pub fn class(&self, id: GateId) -> Option<Class> {
        self.classes.get(&id).copied()
    }

    /// A class's speeds; nothing where nobody has it.
    #[must_use]
    pub fn rates(&self, class: Class) -> Option<Rates> {
        self.rates.get(&class).map(|rates| rates.unwrap_or_default())
    }

    /// Whether nobody has a class.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rates.is_empty()
    }

    /// How many classes somebody has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rates.len()
    }

    /// How many of them have such speeds.
    #[must_use]
    pub fn having(&self, such: impl Fn(Rates) -> bool) -> usize {
        self.rates.values().filter(|rates| such(rates.unwrap_or_default())).count()
    }

    /// All classes that somebody has.
    #[must_use]
    pub fn all(&self) -> BTreeSet<Class> {
        self.rates.keys().copied().collect()
    }

    /// Learns from the kernel which account has which class. What is known already stays.
    pub fn adopt(&mut self, view: &View) {
        for (key, class) in &view.classes {
            if let Some(id) = view.owner(*key)
                && !self.classes.contains_key(&id)
                && !self.rates.contains_key(class)
            {
                self.classes.insert(id, *class);
                self.rates.insert(*class, None);
            }
        }
    }

    /// Notes the speeds that these accounts shall have, and gives the classes that are to be looked at: new ones, changed
    /// ones, and those that nobody has any more.
    pub fn want<'a>(&mut self, targets: impl Iterator<Item = (GateId, Option<&'a GateAccount>)>, now: Monotonic) -> BTreeSet<Class> {
        let mut touched = BTreeSet::new();
        let mut fresh = Vec::new();
        for (id, account) in targets {
            let passes = |a: &&GateAccount| a.until.is_none_or(|until| until > now) && !a.devices.is_empty();
            let rates = account.filter(passes).map(|a| Rates { down: a.down, up: a.up }).filter(|r| *r != Rates::default());
            match (self.class(id), rates) {
                (Some(class), Some(rates)) => {
                    if self.rates.insert(class, Some(rates)).flatten() != Some(rates) {
                        touched.insert(class);
                    }
                }
                (Some(class), None) => {
                    self.classes.remove(&id);
                    self.rates.remove(&class);
                    touched.insert(class);
                }
                (None, Some(rates)) => fresh.push((id, rates)),
                (None, None) => {}
            }
        }
        // Those that go make room first.
        for (id, rates) in fresh {
            let Some(class) = self.free() else {
                log::error!("speeds: account {} has none: there are {MOST} already, and the kernel has no room for more", id.0);
                continue;
            };
            self.classes.insert(id, class);
            self.rates.insert(class, Some(rates));
            touched.insert(class);
        }
        touched
    }

    /// Looks for free classes from this one on.
    #[cfg(test)]
    pub fn go_on_at(&mut self, next: u16) {
        self.next = next;
    }

    fn free(&mut self) -> Option<Class> {
        for _ in 0..MOST {
            let class = Class::nth(self.next);
            self.next = (self.next + 1) % MOST;
            if !self.rates.contains_key(&class) {
                return Some(class);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lango_core::gate::GateDevice;
    use lango_core::units::{Bytes, Mac};

    const NOW: Monotonic = Monotonic(1_000);

    fn account(id: u32, down: Option<u64>, up: Option<u64>) -> GateAccount {
        GateAccount {
            id: GateId(id),
            until: None,
            data_end: None,
            used: Bytes::ZERO,
            down: down.map(Kbps),
            up: up.map(Kbps),
            devices: [(Mac([2; 6]), GateDevice::default())].into(),
        }
    }

    fn want(book: &mut Book, account: &GateAccount) -> Vec<u32> {
        book.want([(account.id, Some(account))].into_iter(), NOW).iter().map(|class| class.id() - HANDLE).collect()
    }

    #[test]
    fn only_what_changes_is_touched() {
        let mut book = Book::default();
        assert_eq!(want(&mut book, &account(1, Some(2_000), None)), [8]);
        assert_eq!(want(&mut book, &account(1, Some(2_000), None)), [0u32; 0]);
        assert_eq!(want(&mut book, &account(2, Some(2_000), Some(64))), [9]);
        assert_eq!(want(&mut book, &account(1, Some(3_000), None)), [8]);
        assert_eq!(book.rates(Class(8)), Some(Rates { down: Some(Kbps(3_000)), up: None }));
        assert_eq!(want(&mut book, &account(3, None, None)), [0u32; 0], "without speeds there is no class");
        assert_eq!(want(&mut book, &account(1, None, None)), [8], "no speed any more");
        assert_eq!((book.class(GateId(1)), book.rates(Class(8))), (None, None));
        assert_eq!(want(&mut book, &GateAccount { until: Some(NOW), ..account(2, Some(2_000), None) }), [9], "its time is up");
        assert_eq!(book.want([(GateId(7), None)].into_iter(), NOW), BTreeSet::new());
        assert_eq!(book.all(), BTreeSet::new());
    }

    #[test]
    fn classes_are_the_accounts_own_until_all_are_taken() {
        let mut book = Book::default();
        let accounts: Vec<_> = (0..u32::from(MOST) + 1).map(|id| account(id, Some(64), None)).collect();
        let touched = book.want(accounts.iter().map(|a| (a.id, Some(a))), NOW);
        assert_eq!(touched.len(), usize::from(MOST));
        assert!(touched.iter().all(|class| class.0 & 15 >= 8), "ordinary traffic for pfifo_fast");
        assert_eq!(book.class(GateId(u32::from(MOST))), None);
        // One goes and one comes, at once.
        let last = &accounts[accounts.len() - 1];
        book.want([(last.id, Some(last)), (GateId(5), None)].into_iter(), NOW);
        assert!(book.class(last.id).is_some());
    }

    #[test]
    fn a_freed_class_is_not_used_again_at_once() {
        let mut book = Book::default();
        want(&mut book, &account(1, Some(64), None));
        book.want([(GateId(1), None)].into_iter(), NOW);
        assert_eq!(want(&mut book, &account(2, Some(64), None)), [9]);
    }

    #[test]
    fn speeds_as_the_kernel_takes_them() {
        for (kbps, rate, burst_bytes) in [
            (64, 8_400, 3_028),
            (2_000, 262_500, 3_028),
            (50_000, 6_562_500, 65_625),
            (10_000_000, 1_312_500_000, 13_125_000),
            (u64::MAX, u32::MAX, 42_949_672),
        ] {
            let shape = Shape::of(Kbps(kbps));
            assert_eq!(shape.rate, rate, "{kbps} kbit/s");
            let burst = u64::from(shape.burst_ticks) * 64 * u64::from(rate) / 1_000_000_000;
            assert!(burst.abs_diff(burst_bytes) * 1_000 <= burst_bytes, "{kbps} kbit/s: {burst} bytes at once, not {burst_bytes}");
        }
        assert!(Shape::of(Kbps(0)).rate > 0, "never divided by nothing");
    }

    #[test]
    fn plain_queues_have_handles_of_their_own() {
        let handles: BTreeSet<u32> = (0..MOST).map(|n| Class::nth(n).plain_handle()).collect();
        assert_eq!(handles.len(), usize::from(MOST), "one each, and one has none");
        assert!(handles.iter().all(|handle| *handle < 0x8000_0000 && handle & 0xffff == 0 && *handle != HANDLE));
        assert_eq!(Class::nth(0).plain_handle(), 0x0001_0000);
    }

    #[test]
    fn fair_queues_are_as_many_as_go_into_a_fifth_of_the_memory() {
        for (megabytes, classes, fair) in [
            (128, 0, 0),
            (128, 200, 200),
            (128, 2_000, 2_000), // 1,000 accounts, both ways
            (128, 2_600, 2_367),
            (128, 4_000, 1_596),
            (128, 6_000, 494),
            (128, 8_000, 0),
            (64, 1_000, 1_000),
            (64, 2_000, 798),
            (64, 6_000, 0),
            (256, 4_000, 4_000),
            (256, 6_000, 4_294),
            (1_024, 20_000, 19_379),
            (0, 10, 0),
        ] {
            let kib = megabytes * 1024;
            assert_eq!(fair_classes(Some(kib), classes), fair, "{classes} with {megabytes} MB");
            let takes = (fair as u64 * FAIR_CLASS + (classes - fair) as u64 * PLAIN_CLASS) / 10;
            assert!(fair == 0 || takes <= kib / 5, "{classes} with {megabytes} MB: {takes} KiB");
        }
        assert_eq!(fair_classes(None, 6_000), fair_classes(Some(128 * 1024), 6_000));
        assert_eq!(fair_classes(Some(u64::MAX), usize::MAX), 0, "nothing overflows");
        assert_eq!(memory_in("MemTotal:         117488 kB\nMemFree:           45908 kB\n"), Some(117_488));
        for text in ["", "MemFree: 5 kB\n", "MemTotal: many kB\n", "MemTotal: 5\n"] {
            assert_eq!(memory_in(text), None, "{text:?}");
        }
    }

    #[test]
    fn queues_fit_the_speed() {
        let fq = |kbps, new| Leaf::of(Kind::FqCodel, Kbps(kbps), new);
        let shown = |leaf| match leaf {
            Leaf::FqCodel { target_microseconds, interval_microseconds, flows, memory_bytes, .. } => {
                (target_microseconds, interval_microseconds, flows, memory_bytes)
            }
            Leaf::Bytes { .. } => panic!("not asked for"),
        };
        assert_eq!(shown(fq(64, true)), (270_357, 365_357, Some(64), 262_144));
        assert_eq!(shown(fq(2_000, false)), (8_651, 103_651, None, 262_500));
        assert_eq!(shown(fq(100_000, true)), (5_000, 100_000, Some(64), 4_194_304));
        for (kbps, bytes) in [(64, 32_768), (2_000, 32_768), (10_000, 131_250)] {
            assert_eq!(Leaf::of(Kind::Bytes, Kbps(kbps), true), Leaf::Bytes { most: bytes, new: true });
        }
    }
}
