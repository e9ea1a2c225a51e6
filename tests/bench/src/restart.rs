//! The daemon killed and started again under traffic, and how long it takes to list everybody.

use crate::daemon::{Lango, gate_config};
use crate::device::Device;
use crate::figures::Samples;
use crate::network::Network;
use crate::traffic::{Sink, Stream};
use anyhow::{Context as _, Result, ensure};
use lango::gate::Gate;
use lango_core::request::Request;
use lango_lab::process::PATIENCE;
use lango_lab::wait::until_true;
use std::path::Path;
use std::time::{Duration, Instant};

/// A thousand packets a second.
const PACE: Duration = Duration::from_millis(1);
/// No further round begins after this.
const ENOUGH: Duration = Duration::from_secs(10);
/// Longer than the daemon takes the counters that it read for fresh: so many times as long as the slowest reading took, and as long
/// again for a reading of its own that was slower.
const STALE: u32 = 2 * lango::daemon::USAGE_SHARE;
/// A small reading is over before it can be timed well.
const STALE_LEAST: Duration = Duration::from_secs(1);
/// So many pass with the daemon dead, and after it is back.
const MEANWHILE: u64 = 100;

/// What was seen.
pub struct TakeOver {
    /// From before the new process was made until it answered, in milliseconds.
    pub took: Samples,
    /// Packets of the stream that did not arrive.
    pub lost: u64,
    /// Packets of the stream.
    pub sent: u64,
}

/// `kill -9` and start again, so often, while a device's packets pass.
///
/// # Errors
/// When the daemon does not start again, or does not know everybody then.
pub fn take_over(
    network: &Network,
    lango: &mut Lango,
    sink: &Sink,
    store: &Path,
    device: Device,
    probe: u32,
    rounds: u32,
) -> Result<TakeOver> {
    let online = lango.control()?.sessions()?.len();
    let stream = Stream::start(network, device, probe, PACE)?;
    let more = |what: &str| {
        let goal = sink.count(probe) + MEANWHILE;
        until_true(what, PATIENCE, || sink.count(probe) >= goal)
    };
    more("the stream to pass")?;
    let mut took = Vec::new();
    let begun = Instant::now();
    // Once is enough to see that it takes far too long.
    while took.is_empty() || (took.len() < rounds as usize && begun.elapsed() < ENOUGH) {
        lango.kill9();
        more("the stream to pass with the daemon dead")?;
        took.push(lango.start(store)?);
        more("the stream to pass after the take-over")?;
    }
    let sent = stream.stop()?;
    // What was sent last may be on its way still; what was lost never comes.
    let _lost_some = until_true("the last packet", Duration::from_millis(500), || sink.count(probe) == sent);
    let again = lango.control()?.sessions()?.len();
    ensure!(again == online, "{online} were online before, and {again} after");
    Ok(TakeOver { took: took.into_iter().collect(), lost: sent - sink.count(probe), sent })
}

/// How long a list of all takes.
pub struct Listing {
    /// Through the control socket: counters read, rules asked, JSON written and received; milliseconds.
    pub asked: Samples,
    /// The kernel's counters alone, by the library; milliseconds.
    pub counters: Samples,
}

/// Lists everybody, so often.
///
/// # Errors
/// When the daemon or the kernel refuses.
pub fn listing(network: &Network, lango: &Lango, times: u32) -> Result<Listing> {
    let mut gate = network.router.run(|| Gate::open(gate_config())).context("the gate")?;
    let mut counters = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        gate.usage().context("the counters")?;
        counters.push(begun.elapsed());
    }
    let mut asked = Vec::new();
    // The control socket lets go of who is silent for longer.
    let stale = counters.iter().max().map_or(STALE_LEAST, |slowest| (*slowest * STALE).clamp(STALE_LEAST, Duration::from_secs(8)));
    let mut control = lango.control()?;
    for _ in 0..times {
        // Counters that were read a moment ago serve more than one asker; here each asks for new ones.
        std::thread::sleep(stale);
        let begun = Instant::now();
        control.raw(&Request::Sessions)?;
        asked.push(begun.elapsed());
    }
    Ok(Listing { asked: asked.into_iter().collect(), counters: counters.into_iter().collect() })
}
