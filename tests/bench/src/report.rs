//! The table: what was measured, with what it is compared with. Pure, but for the machine's description.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A line of the table.
struct Line {
    id: &'static str,
    name: &'static str,
    aim: &'static str,
    /// Whether README has it, too.
    key: bool,
}

const fn line(id: &'static str, name: &'static str, aim: &'static str) -> Line {
    Line { id, name, aim, key: false }
}

const fn key(id: &'static str, name: &'static str, aim: &'static str) -> Line {
    Line { id, name, aim, key: true }
}

/// All lines, in their order. Those of which nothing was measured are left out.
const LINES: &[Line] = &[
    key("grant-disk", "grant → first packet, median (99 of 100)", "≤ 3 ms, flat"),
    line("durable", "to compare: one durable write of 4 KiB there", ""),
    line("answer-disk", "grant → its answer", ""),
    key("grant-memory", "grant → first packet, store in memory", ""),
    line("answer-memory", "grant → its answer, store in memory", ""),
    line("grant-speeds", "grant → first packet, store in memory, with speeds", ""),
    line("grant-gate", "gate alone → first packet", ""),
    line("noise-down", "TCP down, no gate in either network", "1"),
    line("noise-up", "TCP up, no gate in either network", "1"),
    key("tcp-down", "TCP down, gated / plain NAT", "≥ 0.95 at 1,000, ≥ 0.9 at 10,000"),
    key("tcp-up", "TCP up, gated / plain NAT", "the same"),
    key("packets-down", "small packets to all in turn, gated / plain NAT", ""),
    key("packets-up", "small packets from all in turn, gated / plain NAT", ""),
    line("speeds-tcp-down", "TCP down, each device with a speed (10 Gbit/s)", ""),
    line("speeds-tcp-up", "TCP up, with speeds", ""),
    line("speeds-packets-down", "small packets to all in turn, with speeds", ""),
    line("speeds-packets-up", "small packets from all in turn, with speeds", ""),
    line("installing", "all speeds set anew: longest wait for an answer, processor time of it (until all are set)", "≤ 100 ms"),
    key("take-over", "`kill -9` → taken over, median (worst)", "≤ 100 ms at 1,000"),
    key("lost", "packets lost meanwhile, of a stream of 1,000 a second", "0"),
    line("list", "`lango sessions --json`: all listed, counters read", ""),
    line("counters", "… of this, the kernel's counters", ""),
    key("memory", "memory of the daemon (own + program file)", "≤ 8 MB at 1,000"),
    line("memory-again", "the same, of one that took over", ""),
    key("memory-relay", "memory, connected with a relay by TLS", "≤ 8 MB at 1,000"),
    line("memory-relay-again", "the same, of one that took over", ""),
    key("wake-ups", "idle: wake-ups a minute", "timers that are due"),
    line("wake-ups-relay", "the same, connected with a relay", "and MQTT's ping"),
    line("processor", "idle: processor time a minute", ""),
];

/// The same of the portal. "Each" is a connection for each request.
const PORTAL: &[Line] = &[
    key("redirects-kept", "redirects a second on kept connections, portal / bare server", "≥ 0.6"),
    line("redirects-kept-processor", "… processor time for each, bare server / portal", "≥ 0.6"),
    line("redirects-kept-times", "… median / 99 of 100 of the portal's times (the bare server's)", ""),
    key("redirects-each", "redirects a second, a connection each", "≥ 0.6"),
    line("redirects-each-processor", "… processor time for each", "≥ 0.6"),
    line("redirects-each-times", "… times, with the connection's beginning", ""),
    key("pages-kept", "whole pages a second on kept connections", "≥ 0.6"),
    line("pages-kept-processor", "… processor time for each", "≥ 0.6"),
    line("pages-kept-times", "… times", ""),
    key("pages-each", "whole pages a second, a connection each", "≥ 0.6"),
    line("pages-each-processor", "… processor time for each", "≥ 0.6"),
    line("pages-each-times", "… times, with the connection's beginning", ""),
    key("first-byte", "slow clients hold so many: a good phone's first byte, median / 99 of 100 / worst", "≤ 1 s"),
    key("portal-memory", "memory of the daemon, so many open (own + program file)", ""),
    key("portal-memory-after", "the same when they are gone", ""),
    line("page", "the page that was asked for, with its head", ""),
];

/// What was measured so far.
pub struct Report {
    lines: &'static [Line],
    columns: &'static str,
    cells: BTreeMap<(&'static str, u32), String>,
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
    pub fn set(&mut self, id: &'static str, online: u32, text: String) {
        let line = self.lines.iter().find(|line| line.id == id).unwrap_or_else(|| panic!("no line {id}"));
        println!("    {:>6} {}  {}: {text}", count(online), self.columns.rsplit(' ').next().unwrap_or_default(), line.name);
        self.cells.insert((id, online), text);
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
                let _infallible = write!(text, " {} |", self.cells.get(&(line.id, *column)).map_or("", String::as_str));
            }
            let _infallible = writeln!(text, " {} |", line.aim);
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

    #[test]
    fn a_table_has_what_was_measured() {
        let mut report = Report::default();
        report.set("lost", 1_000, "0 of 900".into());
        report.set("grant-gate", 1, "0.5 ms".into());
        let all = "| devices online | 1 | 1,000 | aim |\n| --- | --- | --- | --- |\n\
                   | gate alone → first packet | 0.5 ms |  |  |\n\
                   | packets lost meanwhile, of a stream of 1,000 a second |  | 0 of 900 | 0 |\n";
        assert_eq!(report.table(true), all);
        assert_eq!(report.table(false).lines().count(), 3);
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
