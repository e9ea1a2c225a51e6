//! Speeds of everybody set anew, and how long the daemon keeps others waiting meanwhile.

use crate::daemon::Lango;
use crate::network::Network;
use crate::rest;
use anyhow::{Context as _, Result, ensure};
use lango_core::request::Request;
use std::time::{Duration, Instant};

/// How often the classes are counted, which takes the kernel a while by itself.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// After so long something is wrong.
const PATIENCE: Duration = Duration::from_secs(300);

/// What was seen.
pub struct Installing {
    /// From the question to the answer, in the worst case of all that were asked one after the other.
    pub longest: Duration,
    /// The same in processor time of the daemon's, which what else the machine does adds nothing to.
    pub longest_own: Duration,
    /// Until the last class was there.
    pub took: Duration,
}

/// Takes the roots from both interfaces, as an operator's `tc qdisc del` or an interface that is made anew does, and asks for
/// the daemon's status until each of so many accounts has its classes again.
///
/// # Errors
/// When the daemon does not answer, or never sets them.
pub fn anew(network: &Network, lango: &Lango, online: u32) -> Result<Installing> {
    let mut control = lango.control()?;
    let all = 2 * online as usize;
    ensure!(classes(network)? == all, "not all have their classes before");
    for interface in INTERFACES {
        network.router.exec("tc", &["qdisc", "del", "dev", interface, "root"])?;
    }
    // With the counters, the daemon looks after the interfaces.
    let begun = Instant::now();
    control.raw(&Request::Sessions)?;
    let (mut longest, mut longest_own, mut looked) = (Duration::ZERO, Duration::ZERO, Instant::now());
    let pid = lango.pid()?;
    loop {
        let (asked, before) = (Instant::now(), rest::share(pid)?.used);
        control.raw(&Request::Status)?;
        longest = longest.max(asked.elapsed());
        longest_own = longest_own.max(rest::share(pid)?.used.saturating_sub(before));
        if looked.elapsed() > LOOK_EVERY {
            if classes(network)? == all {
                return Ok(Installing { longest, longest_own, took: begun.elapsed() });
            }
            looked = Instant::now();
        }
        ensure!(begun.elapsed() < PATIENCE, "after {PATIENCE:?}, {} of {all} classes are there", classes(network)?);
    }
}

const INTERFACES: [&str; 2] = ["br-lan", "wan"];

/// How many there are on both.
fn classes(network: &Network) -> Result<usize> {
    let of = |interface| network.router.exec("tc", &["class", "show", "dev", interface]).context("the classes");
    INTERFACES.into_iter().map(|interface| Ok(of(interface)?.lines().filter(|line| line.contains("class htb 4c61:")).count())).sum()
}
