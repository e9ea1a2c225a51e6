//! The run: one daemon, filled step by step, measured at each.

use crate::cloud::Cloud;
use crate::daemon::{Lango, NAME};
use crate::device::Device;
use crate::figures::Samples;
use crate::forwarding::{self, Comparison, Direction, Spread, compare};
use crate::grants::{self, Grants};
use crate::network::{Memory, Network};
use crate::plan::Plan;
use crate::report::{Figure, Report, count};
use crate::shaper::Shaper;
use crate::traffic::Sink;
use crate::{installing, portal, rest, restart};
use anyhow::{Context as _, Result, ensure};
use lango_core::request::OnlineView;
use lango_core::units::PackageId;
use lango_lab::wait::until_true;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Devices that are granted, timed, and taken offline again are numbered from here.
const TIMED: u32 = 20_000;

/// As many online as the aim for memory is for.
const FEW: u32 = 1_000;

/// As many packets as veth pairs put together where nothing is said.
const TOGETHER: u32 = 65_535;
/// The longest frame on an Ethernet, in bytes.
const WHOLE_PACKET: f64 = 1_514.0;

/// Everything that a run needs. Fields are dropped in this order: the daemon first, what it runs in last.
pub struct Bench {
    plan: Plan,
    report: Report,
    lango: Lango,
    cloud: Option<Cloud>,
    sink: Sink,
    plain: Network,
    gated: Network,
    memory: Memory,
    online: u32,
    timed: u32,
    take_overs: u32,
}

impl Bench {
    /// Builds both networks; nothing runs in them yet.
    ///
    /// # Errors
    /// When rights or programs are missing.
    pub fn new(plan: Plan) -> Result<Self> {
        let memory = Memory::folder()?;
        println!("  two networks, of {} phones each", plan.phones);
        let (plain, gated) = (Network::build(plan.phones)?, Network::build(plan.phones)?);
        let (lango, sink) = (Lango::new(&gated)?, Sink::start(&gated)?);
        Ok(Self { plan, report: Report::default(), lango, cloud: None, sink, plain, gated, memory, online: 0, timed: TIMED, take_overs: 0 })
    }

    /// Measures everything.
    ///
    /// # Errors
    /// When something does not work. A figure that is bad is none: the reports say it ([`Report::missed`]).
    pub fn run(mut self) -> Result<(Report, Report)> {
        let portal = self.portal().context("the portal")?;
        self.noise().context("before Lango runs")?;
        // Before the crowd: thousands of neighbours that the kernel forgets one by one afterwards are memory and wake-ups as well.
        self.memory_with_relay().context("with a relay")?;
        self.lango.flush()?;
        self.lango.stop()?;
        self.lango.set_relay("");
        (self.cloud, self.online) = (None, 0);
        self.without_speeds()?;
        self.lango.flush()?;
        self.lango.stop()?;
        self.with_speeds().context("with speeds")?;
        Ok((self.report, portal))
    }

    /// Only the portal.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_portal(mut self) -> Result<Report> {
        self.portal()
    }

    /// The portal with nobody online, in a daemon of its own: what is measured afterwards begins with a new one.
    fn portal(&mut self) -> Result<Report> {
        let mut report = Report::of_portal();
        self.lango.start(&self.memory.path().join("portal"))?;
        portal::run(&self.plan, &self.plain, &self.gated, self.lango.pid()?, &mut report)?;
        self.lango.flush()?;
        self.lango.stop()?;
        self.plain.router.nft("delete table ip bare")?;
        Ok(report)
    }

    /// The two networks before one of them has a gate: how far from 1 a ratio is that should be 1.
    fn noise(&mut self) -> Result<()> {
        for (id, direction) in [("noise-down", Direction::Down), ("noise-up", Direction::Up)] {
            let compared = self.tcp(&self.plan, (id, 0), self.plan.phones, direction)?;
            self.report.set(id, 0, bits(&compared));
        }
        Ok(())
    }

    fn without_speeds(&mut self) -> Result<()> {
        let package: PackageId = "plain".parse()?;
        let store = self.memory.path().join("plain");
        self.lango.start(&store)?;
        self.at_rest(0)?;
        for online in self.plan.fills.iter().copied() {
            self.step_without_speeds(online, &package, &store).with_context(|| format!("at {} devices", count(online)))?;
        }
        Ok(())
    }

    fn step_without_speeds(&mut self, online: u32, package: &PackageId, store: &Path) -> Result<()> {
        self.fill(online, package)?;
        if online > 1 {
            self.at_rest(online)?;
        }
        let devices = self.timed_devices();
        let grants = grants::through_daemon(&self.gated, &self.lango, &self.sink, package, &devices)?;
        self.set_grants(online, &grants, "grant-memory", "answer-memory");

        // The same store on the disk, for as long as that is measured.
        self.lango.stop()?;
        let disk = self.gated.folder.join("store");
        copy(store, &disk)?;
        self.lango.start(&disk)?;
        let devices = self.timed_devices();
        let grants = grants::through_daemon(&self.gated, &self.lango, &self.sink, package, &devices)?;
        self.set_grants(online, &grants, "grant-disk", "answer-disk");
        let durable = grants::durable_write(&self.gated.folder, self.plan.grants)?;
        self.report.set("durable", online, median_and_99(&durable));
        self.lango.stop()?;
        std::fs::remove_dir_all(&disk)?;
        let single = self.memory.path().join("single");
        if online == 1 {
            copy(store, &single)?;
        } else {
            copy(&single, &disk)?;
            self.lango.start(&disk)?;
            rest::settle(self.lango.pid()?, self.plan.settle)?; // who is not online any more is cleaned up after
            let devices = self.timed_devices();
            let grants = grants::through_daemon(&self.gated, &self.lango, &self.sink, package, &devices)?;
            self.report.set("grant-alone", online, median_and_99(&grants.first_packet));
            self.lango.stop()?;
            std::fs::remove_dir_all(&disk)?;
        }

        let devices = self.timed_devices();
        let grants = grants::gate_alone(&self.gated, &self.sink, &devices)?;
        self.report.set("grant-gate", online, median_and_99(&grants.first_packet));
        self.lango.start(store)?;

        self.forwarding(online, ["tcp-down", "tcp-up", "packets-down", "packets-up"])?;
        if online > 1 && online <= FEW {
            self.each_by_itself(online)?;
        }
        if online > 1 {
            self.restarts(online, store)?;
        }
        Ok(())
    }

    fn with_speeds(&mut self) -> Result<()> {
        let package: PackageId = "fast".parse()?;
        let store = self.memory.path().join("fast");
        self.lango.start(&store)?;
        self.online = 0;
        for online in self.plan.fills.iter().copied().filter(|online| *online > 1) {
            self.fill(online, &package)?;
            let devices = self.timed_devices();
            let grants = grants::through_daemon(&self.gated, &self.lango, &self.sink, &package, &devices)?;
            self.report.set("grant-speeds", online, median_and_99(&grants.first_packet));
            self.forwarding_with_speeds(online)?;
            self.installing(online)?;
        }
        Ok(())
    }

    /// Beside a router that holds the same speeds without Lango, and beside plain NAT.
    fn forwarding_with_speeds(&mut self, online: u32) -> Result<()> {
        let shaper = Shaper::set_up(&self.plain, &self.gated, online)?;
        self.forwarding(online, ["speeds-tcp-down", "speeds-tcp-up", "speeds-packets-down", "speeds-packets-up"])?;
        shaper.ensure_used()?;
        drop(shaper);
        self.forwarding(online, ["unheld-tcp-down", "unheld-tcp-up", "unheld-packets-down", "unheld-packets-up"])
    }

    /// Only TCP and small packets with speeds.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_speeds(mut self) -> Result<Report> {
        let package: PackageId = "fast".parse()?;
        self.lango.start(&self.memory.path().join("fast"))?;
        let online = self.plan.fills.iter().copied().find(|online| *online > 1).context("a plan with more than one online")?;
        self.fill(online, &package)?;
        self.forwarding_with_speeds(online)?;
        Ok(self.report)
    }

    /// Only how long thousands of speeds hold up others.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_installing(mut self) -> Result<()> {
        let package: PackageId = "fast".parse()?;
        let store = self.memory.path().join("fast");
        self.lango.start(&store)?;
        for online in self.plan.fills.iter().copied().filter(|online| *online > 1) {
            self.fill(online, &package)?;
            self.installing(online)?;
        }
        Ok(())
    }

    /// Only TCP with each packet by itself.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_packets(mut self) -> Result<()> {
        let store = self.memory.path().join("packets");
        self.lango.start(&store)?;
        let online = self.plan.fills.iter().copied().find(|online| *online > 1).context("a plan with more than one online")?;
        self.fill(online, &"plain".parse()?)?;
        self.each_by_itself(online)
    }

    /// Only the memory, without a relay and with one.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_memory(mut self) -> Result<()> {
        self.measure_memory("plain", ["memory", "memory-again", "wake-ups"])?;
        self.lango.flush()?;
        self.lango.stop()?;
        self.memory_with_relay().context("with a relay")
    }

    fn memory_with_relay(&mut self) -> Result<()> {
        println!("  a broker over TLS, and a relay");
        let cloud = Cloud::start(&self.gated, NAME)?;
        self.lango.set_relay(&cloud.section);
        self.cloud = Some(cloud);
        self.online = 0;
        self.measure_memory("relay", ["memory-relay", "memory-relay-again", "wake-ups-relay"])
    }

    /// The daemon's memory on a store of its own, up to as many online as the aim is for, after the same requests as in
    /// [`Self::run`]: what was asked for before decides what lies between the pieces that are in use.
    fn measure_memory(&mut self, store: &str, [at_rest, again, wake_ups]: [&'static str; 3]) -> Result<()> {
        let package: PackageId = "plain".parse()?;
        let store = self.memory.path().join(store);
        self.start(&store)?;
        rest::settle(self.lango.pid()?, self.plan.settle)?;
        self.say_memory("at once")?;
        self.report.set(at_rest, 0, megabytes(rest::memory(self.lango.pid()?)?));
        for online in self.plan.fills.iter().copied().filter(|online| *online <= FEW) {
            self.fill(online, &package)?;
            if online > 1 {
                rest::settle(self.lango.pid()?, self.plan.settle)?;
                let activity = rest::activity(self.lango.pid()?, self.plan.idle)?;
                self.say_memory("after a checkpoint")?;
                self.report.set(at_rest, online, megabytes(rest::memory(self.lango.pid()?)?));
                self.report.set(wake_ups, online, plain(activity.wake_ups, 0, ""));
            }
            let devices = self.timed_devices();
            grants::through_daemon(&self.gated, &self.lango, &self.sink, &package, &devices)?;
            self.lango.stop()?;
            self.start(&store)?;
        }
        restart::listing(&self.gated, &self.lango, self.plan.restarts)?;
        self.take_overs += 1;
        let (device, rounds) = (Device(self.online - 1), self.plan.restarts);
        restart::take_over(&self.gated, &mut self.lango, &self.sink, &store, device, self.take_overs, rounds)?;
        self.await_relay()?;
        self.say_memory("of one that took over")?;
        self.report.set(again, self.online, megabytes(rest::memory(self.lango.pid()?)?));
        Ok(())
    }

    fn start(&mut self, store: &Path) -> Result<()> {
        self.lango.start(store)?;
        self.await_relay()
    }

    fn await_relay(&self) -> Result<()> {
        if self.cloud.is_some() { self.lango.connected() } else { Ok(()) }
    }

    fn say_memory(&self, when: &str) -> Result<()> {
        let rest::Memory { all, anonymous, file } = rest::memory(self.lango.pid()?)?;
        println!("    {:>6} online, {when}: {all} KiB, {anonymous} + {file}", count(self.online));
        Ok(())
    }

    fn installing(&mut self, online: u32) -> Result<()> {
        let seen = installing::anew(&self.gated, &self.lango, online).context("setting all speeds anew")?;
        let [longest, own] = [seen.longest, seen.longest_own].map(|time| time.as_secs_f64() * 1e3);
        let text = format!("{longest:.0} ms, {own:.0} ms ({:.1} s)", seen.took.as_secs_f64());
        self.report.set("installing", online, Figure::new(longest, text));
        Ok(())
    }

    /// Lets devices online until there are so many, each by a grant of its own, and waits until the gate has all of their
    /// addresses.
    fn fill(&mut self, online: u32, package: &PackageId) -> Result<()> {
        let devices: Vec<Device> = (self.online..online).map(Device).collect();
        let places = || devices.iter().map(|device| (device.address(), device.mac()));
        self.plain.neighbours(places())?;
        let mut control = self.lango.control()?;
        if self.online == 0 {
            self.gated.neighbours(places())?;
        } else {
            grants::meet(&self.gated, &mut control, &devices)?;
        }
        let begun = Instant::now();
        devices.iter().try_for_each(|device| control.grant(*device, package).map(drop))?;
        println!("    {:>6} online, after {:.1} s of one grant after the other", count(online), begun.elapsed().as_secs_f64());
        let reachable = |sessions: &[OnlineView]| sessions.iter().filter(|s| !s.addresses.is_empty()).count();
        until_true("all devices to be online with their addresses", grants::LONG, || {
            control.sessions().is_ok_and(|sessions| reachable(&sessions) == online as usize)
        })?;
        self.online = online;
        Ok(())
    }

    fn timed_devices(&mut self) -> Vec<Device> {
        let first = self.timed;
        self.timed += self.plan.grants;
        (first..self.timed).map(Device).collect()
    }

    fn set_grants(&mut self, online: u32, grants: &Grants, first_packet: &'static str, answer: &'static str) {
        self.report.set(first_packet, online, median_and_99(&grants.first_packet));
        self.report.set(answer, online, median_and_99(&grants.answered));
    }

    fn at_rest(&mut self, online: u32) -> Result<()> {
        let pid = self.lango.pid()?;
        rest::settle(pid, self.plan.settle)?;
        let activity = rest::activity(pid, self.plan.idle)?;
        self.report.set("memory", online, megabytes(rest::memory(pid)?));
        self.report.set("wake-ups", online, plain(activity.wake_ups, 0, ""));
        self.report.set("processor", online, plain(activity.processor, 1, " ms"));
        Ok(())
    }

    fn tcp(&self, plan: &Plan, (id, online): (&'static str, u32), phones: u32, direction: Direction) -> Result<Comparison> {
        let measure = |network| move || forwarding::tcp(network, phones as usize, direction, plan);
        compare(plan, self.report.at_least(id, online), measure(&self.plain), measure(&self.gated))
    }

    fn forwarding(&mut self, online: u32, [tcp_down, tcp_up, packets_down, packets_up]: [&'static str; 4]) -> Result<()> {
        let phones = online.min(self.plan.phones);
        for (id, direction) in [(tcp_down, Direction::Down), (tcp_up, Direction::Up)] {
            let compared = self.tcp(&self.plan, (id, online), phones, direction).with_context(|| id.to_owned())?;
            self.report.set(id, online, bits(&compared));
        }
        // The phones have ports of their own: what the crowd sent in their name would confuse the bridge.
        let devices: Vec<Device> = (phones..online).map(Device).collect();
        if devices.is_empty() {
            return Ok(());
        }
        let (plain, gated) = (Spread::prepare(&self.plain, &devices)?, Spread::prepare(&self.gated, &devices)?);
        let mut found = Vec::new();
        for (id, direction) in [(packets_down, Direction::Down), (packets_up, Direction::Up)] {
            let compared = compare(&self.plan, None, || plain.measure(direction, &self.plan), || gated.measure(direction, &self.plan));
            found.push((id, compared.with_context(|| id.to_owned())?));
        }
        for (id, compared) in found {
            self.report.set(id, online, packets(&compared));
        }
        Ok(())
    }

    /// TCP whose packets nothing puts together, as on a router whose network card and driver do not.
    fn each_by_itself(&mut self, online: u32) -> Result<()> {
        let phones = online.min(self.plan.phones);
        let plan = Plan { rounds_at_most: self.plan.rounds_by_packet, ..self.plan };
        [&self.plain, &self.gated].into_iter().try_for_each(|network| network.packets_together(1))?;
        for (id, direction) in [("tcp-small-down", Direction::Down), ("tcp-small-up", Direction::Up)] {
            let compared = self.tcp(&plan, (id, online), phones, direction).with_context(|| id.to_owned())?;
            self.report.set(id, online, bits(&compared));
            for network in [&self.plain, &self.gated] {
                let mean = forwarding::packet_length(network, phones as usize, direction, &self.plan)?;
                ensure!(mean <= WHOLE_PACKET, "{id}: packets of {mean:.0} bytes on average are put together after all");
            }
        }
        [&self.plain, &self.gated].into_iter().try_for_each(|network| network.packets_together(TOGETHER))
    }

    fn restarts(&mut self, online: u32, store: &Path) -> Result<()> {
        let listing = restart::listing(&self.gated, &self.lango, self.plan.restarts)?;
        self.report.set("list", online, median_and_worst(&listing.asked));
        self.report.set("counters", online, median_and_worst(&listing.counters));
        self.take_overs += 1;
        let (device, rounds) = (Device(online - 1), self.plan.restarts);
        let seen = restart::take_over(&self.gated, &mut self.lango, &self.sink, store, device, self.take_overs, rounds)?;
        self.report.set("take-over", online, median_and_worst(&seen.took));
        let text = format!("{} of {}", seen.lost, count(u32::try_from(seen.sent)?));
        self.report.set("lost", online, Figure::new(seen.lost as f64, text));
        self.report.set("memory-again", online, megabytes(rest::memory(self.lango.pid()?)?));
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

fn plain(value: f64, digits: usize, unit: &str) -> Figure {
    Figure::new(value, format!("{value:.digits$}{unit}"))
}

fn median_and_99(samples: &Samples) -> Figure {
    Figure::new(samples.median(), format!("{:.2} ({:.1}) ms", samples.median(), samples.quantile(0.99)))
}

/// The worst is what counts.
fn median_and_worst(samples: &Samples) -> Figure {
    Figure::new(samples.worst(), format!("{:.0} ({:.0}) ms", samples.median(), samples.worst()))
}

fn bits(compared: &Comparison) -> Figure {
    let Comparison { plain, gated, ratio, between: (low, high) } = *compared;
    let text = format!("{ratio:.2} ({low:.2} to {high:.2}; {:.1} / {:.1} Gbit/s)", gated / 1e9, plain / 1e9);
    Figure::new(ratio, text).between(compared.between)
}

fn packets(Comparison { plain, gated, ratio, .. }: &Comparison) -> Figure {
    Figure::new(*ratio, format!("{ratio:.2} ({:.0} / {:.0} thousand)", gated / 1e3, plain / 1e3))
}

/// All of it is what counts.
pub fn megabytes(rest::Memory { all, anonymous, file }: rest::Memory) -> Figure {
    let mega = |kib: u64| kib as f64 * 1_024.0 / 1e6;
    Figure::new(mega(all), format!("{:.1} MB ({:.1} + {:.1})", mega(all), mega(anonymous), mega(file)))
}
