//! The table: what was measured, with what it is compared with. Pure, but for the machine's description.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a figure must be, or the product does not do what it promises.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// At most so many times what it is with a single device online, in the same minutes where that was measured ([`ALONE`]).
    Flat(f64),
}

/// A bound, its unit, and up to how many online it holds; where a line has several that only differ in how many, the first that
/// reaches is the one.
#[derive(Debug, Clone, Copy)]
struct Aim {
    bound: Bound,
    unit: &'static str,
    up_to: u32,
}

const ALL: u32 = u32::MAX;

const fn at_most(most: f64, unit: &'static str, up_to: u32) -> Aim {
    Aim { bound: Bound::AtMost(most), unit, up_to }
}

const fn at_least(least: f64, up_to: u32) -> Aim {
    Aim { bound: Bound::AtLeast(least), unit: "", up_to }
}

impl Aim {
    /// Whether a figure is what it must be; `single` is that with a single device online.
    fn verdict(&self, figure: &Figure, single: f64) -> Verdict {
        let (low, high) = figure.between;
        let (well, badly) = match self.bound {
            Bound::AtMost(most) => (high <= most, low > most),
            Bound::AtLeast(least) => (low >= least, high < least),
            Bound::Flat(times) => (high <= single * times, low > single * times),
        };
        match (well, badly) {
            (true, _) => Verdict::Met,
            (_, true) => Verdict::Missed,
            _ => Verdict::AtTheAim,
        }
    }

    fn words(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        let bound = match self.bound {
            Bound::AtMost(0.0) => "0".to_owned(),
            Bound::AtMost(most) => format!("≤ {most}{unit}"),
            Bound::AtLeast(least) => format!("≥ {least}{unit}"),
            Bound::Flat(times) => format!("flat: ≤ {times} × a single one's"),
        };
        match self.up_to {
            ALL => bound,
            0 => format!("{bound} at 0"),
            most => format!("{bound} to {}", count(most)),
        }
    }
}

/// What a run says of an aim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Met,
    /// What was measured does not tell on which side it is, however often it was.
    AtTheAim,
    Missed,
}

/// A line of the table.
struct Line {
    id: &'static str,
    name: &'static str,
    aims: &'static [Aim],
    /// What stands beside the aims.
    note: &'static str,
    /// Whether README has it, too.
    key: bool,
}

const fn line(id: &'static str, name: &'static str, aims: &'static [Aim]) -> Line {
    Line { id, name, aims, note: "", key: false }
}

const fn key(id: &'static str, name: &'static str, aims: &'static [Aim]) -> Line {
    Line { id, name, aims, note: "", key: true }
}

impl Line {
    const fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    /// The aims that a column is held to: of bounds one way the first that reaches it.
    fn aims_at(&self, online: u32) -> Vec<Aim> {
        let mut found: Vec<Aim> = Vec::new();
        for aim in self.aims.iter().filter(|aim| online <= aim.up_to) {
            if found.iter().all(|other| std::mem::discriminant(&other.bound) != std::mem::discriminant(&aim.bound)) {
                found.push(*aim);
            }
        }
        found
    }

    fn aim_words(&self) -> String {
        let words = self.aims.iter().map(Aim::words).chain([self.note.to_owned()].into_iter().filter(|note| !note.is_empty()));
        words.collect::<Vec<_>>().join(", ")
    }
}

/// What the kernel forwards, as a part of plain NAT's.
const FORWARDED: &[Aim] = &[at_least(0.95, 1_000), at_least(0.9, 10_000)];
/// What the daemon has in RAM.
const IN_RAM: &[Aim] = &[at_most(8.0, "MB", 1_000)];

/// With nobody online no timer is due; with somebody a checkpoint is, of some twenty, or two in a minute's edges.
const WAKE_UPS: &[Aim] = &[at_most(5.0, "", 0), at_most(50.0, "", ALL)];

/// What a line that must be flat is compared with: how fast the machine is changes more in ten minutes than what is measured.
const ALONE: &str = "grant-alone";

/// All lines, in their order. Those of which nothing was measured are left out.
const LINES: &[Line] = &[
    key(
        "grant-disk",
        "grant → first packet, median (99 of 100)",
        &[at_most(3.0, "ms", ALL), Aim { bound: Bound::Flat(1.5), unit: "", up_to: ALL }],
    ),
    line(ALONE, "the same minutes, with a single device online", &[]),
    line("durable", "to compare: one durable write of 4 KiB there", &[]),
    line("answer-disk", "grant → its answer", &[]),
    key("grant-memory", "grant → first packet, store in memory", &[]),
    line("answer-memory", "grant → its answer, store in memory", &[]),
    line("grant-speeds", "grant → first packet, store in memory, with speeds", &[]),
    line("grant-gate", "gate alone → first packet", &[]),
    line("noise-down", "TCP down, no gate in either network", &[]).note("1 without noise"),
    line("noise-up", "TCP up, no gate in either network", &[]).note("1 without noise"),
    key("tcp-down", "TCP down, gated / plain NAT", FORWARDED),
    key("tcp-up", "TCP up, gated / plain NAT", FORWARDED),
    key("tcp-small-down", "TCP down, each packet by itself (1,500 bytes, nothing put together)", FORWARDED),
    key("tcp-small-up", "TCP up, each packet by itself", FORWARDED),
    key("packets-down", "small packets to all in turn, gated / plain NAT", &[]),
    key("packets-up", "small packets from all in turn, gated / plain NAT", &[]),
    line("speeds-tcp-down", "TCP down, each device with a speed (10 Gbit/s), gated / plain NAT with the same speeds", FORWARDED),
    line("speeds-tcp-up", "TCP up, with speeds", FORWARDED),
    line("speeds-packets-down", "small packets to all in turn, with speeds", &[]),
    line("speeds-packets-up", "small packets from all in turn, with speeds", &[]),
    line("unheld-tcp-down", "TCP down, with speeds / plain NAT without any", &[]),
    line("unheld-tcp-up", "TCP up, with speeds / plain NAT without any", &[]),
    line("unheld-packets-down", "small packets to all in turn, the same", &[]),
    line("unheld-packets-up", "small packets from all in turn, the same", &[]),
    line(
        "installing",
        "all speeds set anew: longest wait for an answer, processor time of it (until all are set)",
        &[at_most(100.0, "ms", ALL)],
    ),
    key("take-over", "`kill -9` → taken over, median (worst)", &[at_most(100.0, "ms", 1_000)]).note("the worst"),
    key("lost", "packets lost meanwhile, of a stream of 1,000 a second", &[at_most(0.0, "", ALL)]),
    line("list", "`lango sessions --json`: all listed, counters read", &[]),
    line("counters", "… of this, the kernel's counters", &[]),
    key("memory", "memory of the daemon (own + program file)", IN_RAM),
    line("memory-again", "the same, of one that took over", IN_RAM),
    key("memory-relay", "memory, connected with a relay by TLS", IN_RAM),
    line("memory-relay-again", "the same, of one that took over", IN_RAM),
    key("wake-ups", "idle: wake-ups a minute", WAKE_UPS).note("timers that are due"),
    line("wake-ups-relay", "the same, connected with a relay", &[]).note("and MQTT's ping"),
    line("processor", "idle: processor time a minute", &[]),
];

/// Of the bare server's.
const OF_BARE: &[Aim] = &[at_least(0.6, ALL)];

/// The same of the portal. "Each" is a connection for each request.
const PORTAL: &[Line] = &[
    key("redirects-kept", "redirects a second on kept connections, portal / bare server", OF_BARE),
    line("redirects-kept-processor", "… processor time for each, bare server / portal, and how long it was waited for", OF_BARE),
    line("redirects-kept-times", "… median / 99 of 100 of the portal's times (the bare server's)", &[]),
    key("redirects-each", "redirects a second, a connection each", OF_BARE),
    line("redirects-each-processor", "… processor time for each", OF_BARE),
    line("redirects-each-times", "… times, with the connection's beginning", &[]),
    key("pages-kept", "whole pages a second on kept connections", OF_BARE),
    line("pages-kept-processor", "… processor time for each", OF_BARE),
    line("pages-kept-times", "… times", &[]),
    key("pages-each", "whole pages a second, a connection each", OF_BARE),
    line("pages-each-processor", "… processor time for each", OF_BARE),
    line("pages-each-times", "… times, with the connection's beginning", &[]),
    key(
        "first-byte",
        "at least so many slow clients hold: a good phone's first byte, median / 99 of 100 / worst",
        &[at_most(1_000.0, "ms", ALL)],
    )
    .note("the worst"),
    key("portal-memory", "memory of the daemon, so many open (own + program file)", &[]),
    key("portal-memory-after", "the same when they are gone", &[]),
    line("page", "the page that was asked for, with its head", &[]),
];

/// What was measured: the number that the line's aims are about, in their unit, and all that is said of it.
pub struct Figure {
    value: f64,
    /// Where it is in truth, as far as that is known.
    between: (f64, f64),
    text: String,
}

impl Figure {
    /// One that is taken as it is.
    pub const fn new(value: f64, text: String) -> Self {
        Self { value, between: (value, value), text }
    }

    /// The same, where only this much is known of it: not less than the first, and not more than the other.
    pub fn between(self, between: (f64, f64)) -> Self {
        Self { between, ..self }
    }

    /// All that is said of it, and this besides.
    pub fn and(self, more: &str) -> Self {
        Self { text: self.text + more, ..self }
    }
}

/// What was measured so far.
pub struct Report {
    lines: &'static [Line],
    columns: &'static str,
    cells: BTreeMap<(&'static str, u32), Figure>,
}

impl Default for Report {
    /// For the gate.
    fn default() -> Self {
        Self { lines: LINES, columns: "devices online", cells: BTreeMap::new() }
    }
}

impl Report {
    /// For the portal.
    pub fn of_portal() -> Self {
        Self { lines: PORTAL, columns: "connections", cells: BTreeMap::new() }
    }

    /// Notes a figure, and prints it.
    ///
    /// # Panics
    /// When there is no line of that name.
    pub fn set(&mut self, id: &'static str, online: u32, figure: Figure) {
        let line = self.line(id);
        println!(
            "    {:>6} {}  {}: {text}",
            count(online),
            self.columns.rsplit(' ').next().unwrap_or_default(),
            line.name,
            text = figure.text
        );
        self.cells.insert((id, online), figure);
    }

    /// How much a figure of this line must be at least, with so many.
    ///
    /// # Panics
    /// When there is no line of that name.
    pub fn at_least(&self, id: &'static str, online: u32) -> Option<f64> {
        self.line(id).aims_at(online).into_iter().find_map(|aim| if let Bound::AtLeast(least) = aim.bound { Some(least) } else { None })
    }

    fn line(&self, id: &'static str) -> &'static Line {
        self.lines.iter().find(|line| line.id == id).unwrap_or_else(|| panic!("no line {id}"))
    }

    /// The aims of a line with so many, and what is said of them.
    fn verdicts(&self, line: &Line, online: u32) -> Vec<(Aim, Verdict)> {
        let Some(cell) = self.cells.get(&(line.id, online)) else { return Vec::new() };
        let first = || self.cells.iter().find(|((id, _), _)| *id == line.id).map_or(cell.value, |(_, first)| first.value);
        let single = self.cells.get(&(ALONE, online)).map_or_else(first, |alone| alone.value);
        line.aims_at(online).into_iter().map(|aim| (aim, aim.verdict(cell, single))).collect()
    }

    /// Each figure that is not what it must be, in words.
    pub fn missed(&self) -> Vec<String> {
        let mut all = Vec::new();
        for line in self.lines {
            for (_, online) in self.cells.keys().filter(|(id, _)| *id == line.id) {
                for (aim, _) in self.verdicts(line, *online).into_iter().filter(|(_, verdict)| *verdict == Verdict::Missed) {
                    let value = self.cells[&(line.id, *online)].value;
                    all.push(format!("{} at {}: {value:.4}, and the aim is {}", line.name, count(*online), aim.words()));
                }
            }
        }
        all
    }

    /// As Markdown: every line, or those that README has.
    pub fn table(&self, all: bool) -> String {
        let columns: std::collections::BTreeSet<u32> = self.cells.keys().map(|(_, online)| *online).collect();
        let mut text = format!("| {} |", self.columns);
        for column in &columns {
            let _infallible = write!(text, " {} |", count(*column));
        }
        text.push_str(" aim |\n| --- |");
        text.push_str(&" --- |".repeat(columns.len() + 1));
        text.push('\n');
        for line in self.lines.iter().filter(|line| (all || line.key) && self.cells.keys().any(|(id, _)| *id == line.id)) {
            let _infallible = write!(text, "| {} |", line.name);
            for column in &columns {
                let said = self.cells.get(&(line.id, *column)).map_or("", |cell| cell.text.as_str());
                let mark = match self.verdicts(line, *column).into_iter().map(|(_, verdict)| verdict).max() {
                    Some(Verdict::Missed) => " **MISSED**",
                    Some(Verdict::AtTheAim) => " *at the aim*",
                    _ => "",
                };
                let _infallible = write!(text, " {said}{mark} |");
            }
            let _infallible = writeln!(text, " {} |", line.aim_words());
        }
        text
    }
}

/// A number with its thousands apart.
pub fn count(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The machine, in words.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).and_then(|rest| rest.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} cores of {}, Linux {}",
        model.map_or("an unnamed processor", |(_, name)| name),
        read("/proc/sys/kernel/osrelease").trim()
    )
}

/// How many programs wanted a processor in the last minute.
pub fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default().to_owned()
}

/// A text with what stands between two lines replaced.
///
/// # Errors
/// When the two lines are not there.
pub fn replace_between(text: &str, begin: &str, end: &str, new: &str) -> anyhow::Result<String> {
    let (before, rest) = text.split_once(begin).ok_or_else(|| anyhow::anyhow!("there is no line {begin}"))?;
    let (_, after) = rest.split_once(end).ok_or_else(|| anyhow::anyhow!("there is no line {end}"))?;
    Ok(format!("{before}{begin}\n{new}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64, text: &str) -> Figure {
        Figure::new(value, text.to_owned())
    }

    #[test]
    fn a_table_has_what_was_measured() {
        let mut report = Report::default();
        report.set("lost", 1_000, figure(0.0, "0 of 900"));
        report.set("grant-gate", 1, figure(0.5, "0.5 ms"));
        let all = "| devices online | 1 | 1,000 | aim |\n| --- | --- | --- | --- |\n\
                   | gate alone → first packet | 0.5 ms |  |  |\n\
                   | packets lost meanwhile, of a stream of 1,000 a second |  | 0 of 900 | 0 |\n";
        assert_eq!(report.table(true), all);
        assert_eq!(report.table(false).lines().count(), 3);
        assert_eq!(report.missed(), [""; 0]);
    }

    #[test]
    fn an_aim_that_is_missed_is_said() {
        // A line, a figure at so many, and whether that is what it must be.
        for (id, online, value, met) in [
            ("lost", 1_000, 0.0, true),
            ("lost", 10_000, 1.0, false),
            ("tcp-up", 1_000, 0.95, true),
            ("tcp-up", 1_000, 0.949_9, false),
            ("tcp-up", 1, 0.94, false),
            ("tcp-up", 10_000, 0.9, true),
            ("tcp-up", 10_000, 0.899, false),
            ("speeds-tcp-up", 1_000, 0.94, false),
            ("take-over", 1_000, 100.0, true),
            ("take-over", 1_000, 100.1, false),
            ("take-over", 10_000, 969.0, true),
            ("grant-disk", 10_000, 3.1, false),
            ("memory", 1_000, 8.0, true),
            ("memory-relay", 1_000, 8.1, false),
            ("memory", 10_000, 24.0, true),
            ("wake-ups", 0, 6.0, false),
            ("wake-ups", 1, 42.0, true),
            ("wake-ups", 10_000, 51.0, false),
            ("durable", 1_000, 1e9, true),
        ] {
            let mut report = Report::default();
            report.set(id, online, figure(value, "so much"));
            assert_eq!(report.missed().is_empty(), met, "{id} at {online}: {value}");
            assert_eq!(!report.table(true).contains("so much **MISSED** |"), met, "{id} at {online}: {value}");
        }
        let mut portal = Report::of_portal();
        portal.set("pages-each", 50, figure(0.59, "0.59"));
        assert_eq!(portal.missed(), ["whole pages a second, a connection each at 50: 0.5900, and the aim is ≥ 0.6"]);
    }

    #[test]
    fn what_is_not_known_so_well_is_neither_met_nor_missed() {
        for (between, mark, missed) in [((0.95, 0.97), "", 0), ((0.93, 0.95), " *at the aim*", 0), ((0.92, 0.949), " **MISSED**", 1)] {
            let mut report = Report::default();
            report.set("tcp-up", 1_000, figure(0.95, "0.95").between(between));
            assert_eq!(report.missed().len(), missed, "{between:?}");
            assert!(report.table(true).contains(&format!("| 0.95{mark} |")), "{}", report.table(true));
        }
        let report = Report::default();
        assert_eq!(["tcp-up", "packets-up", "take-over"].map(|id| report.at_least(id, 10_000)), [Some(0.9), None, None]);
    }

    #[test]
    fn flat_is_beside_a_single_one() {
        let mut report = Report::default();
        for (online, value) in [(1, 1.0), (1_000, 1.5), (10_000, 1.6)] {
            report.set("grant-disk", online, figure(value, &format!("{value} ms")));
        }
        let table = report.table(true);
        assert!(table.contains("| 1 ms | 1.5 ms | 1.6 ms **MISSED** | ≤ 3 ms, flat: ≤ 1.5 × a single one's |"), "{table}");
        assert_eq!(report.missed().len(), 1);
        // With a single one in the same minutes that is what counts.
        for (alone, missed) in [(1.2, 0), (1.0, 1), (0.5, 1)] {
            report.set(ALONE, 10_000, figure(alone, "ms"));
            assert_eq!(report.missed().len(), missed, "1.6 beside {alone}");
        }
    }

    #[test]
    fn thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (10_000, "10,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn only_what_is_between_is_replaced() {
        assert_eq!(replace_between("a\n<b>\nold\n<e>\nz\n", "<b>", "<e>", "new\n").unwrap(), "a\n<b>\nnew\n<e>\nz\n");
        assert!(replace_between("a\n<b>\nz\n", "<b>", "<e>", "new\n").is_err());
    }

    #[test]
    fn each_line_has_a_name_of_its_own() {
        for lines in [LINES, PORTAL] {
            let ids: std::collections::BTreeSet<_> = lines.iter().map(|line| line.id).collect();
            assert_eq!(ids.len(), lines.len());
        }
    }
}
