//! Lets the plan's faults happen, each at its time and on a thread of its own; two of the same thing wait for each other.

use crate::cloud::Cloud;
use crate::plan::{Fault, Trouble};
use crate::street::Router;
use anyhow::Result;
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What can have one fault at a time.
#[derive(Default)]
struct Locks {
    routers: [Mutex<()>; 4],
    uplinks: [Mutex<()>; 4],
    relays: [Mutex<()>; 4],
    broker: Mutex<()>,
    database: Mutex<()>,
}

/// Runs all of it. Gives back how many there were of each.
pub fn run(troubles: &[Trouble], routers: &[Router], cloud: &Cloud, start: Instant) -> Result<BTreeMap<String, u64>> {
    let locks = Locks::default();
    let counts = Mutex::new(BTreeMap::new());
    let failed: Vec<anyhow::Error> = std::thread::scope(|scope| {
        let threads: Vec<_> = troubles
            .iter()
            .map(|trouble| {
                let (locks, counts) = (&locks, &counts);
                scope.spawn(move || {
                    // The plan's own moments are what is tried.
                    std::thread::sleep((start + Duration::from_millis(trouble.at)).saturating_duration_since(Instant::now()));
                    let name = happen(trouble, routers, cloud, locks)?;
                    *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_insert(0) += 1;
                    anyhow::Ok(())
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).err()).collect()
    });
    match failed.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(counts.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

fn happen(trouble: &Trouble, routers: &[Router], cloud: &Cloud, locks: &Locks) -> Result<&'static str> {
    let lasts = || std::thread::sleep(Duration::from_millis(trouble.length)); // how long the fault lasts
    Ok(match trouble.fault {
        Fault::KillRouter(n) => {
            let _one = locks.routers[n].lock();
            routers[n].lango.program.kill9();
            lasts();
            routers[n].start()?;
            "router's program killed (-9)"
        }
        Fault::PowerCut(n) => {
            let _one = locks.routers[n].lock();
            routers[n].power_cut()?;
            lasts();
            routers[n].power_on()?;
            "router's power cut"
        }
        Fault::CutOff(n) => {
            let _one = locks.uplinks[n].lock();
            routers[n].spoil("")?;
            lasts();
            routers[n].mend()?;
            "router's uplink cut off"
        }
        Fault::Lossy(n) => {
            let _one = locks.uplinks[n].lock();
            routers[n].spoil("numgen random mod 100 < 30")?;
            lasts();
            routers[n].mend()?;
            "router's uplink slow (30 % of the packets lost)"
        }
        Fault::KillRelay(n) => {
            let _one = locks.relays[n].lock();
            cloud.relays[n].program.kill9();
            lasts();
            cloud.start_relay(n)?;
            "relay killed (-9)"
        }
        Fault::StallRelay(n) => {
            let _one = locks.relays[n].lock();
            cloud.relays[n].program.signal(Signal::SIGSTOP)?;
            lasts();
            cloud.relays[n].program.signal(Signal::SIGCONT)?;
            "relay stood still"
        }
        Fault::KillBroker => {
            let _one = locks.broker.lock();
            cloud.broker.program.kill9();
            lasts();
            cloud.start_broker()?;
            "broker killed (-9)"
        }
        Fault::StallBroker => {
            let _one = locks.broker.lock();
            cloud.broker.program.signal(Signal::SIGSTOP)?;
            lasts();
            cloud.broker.program.signal(Signal::SIGCONT)?;
            "broker stood still"
        }
        Fault::KillDatabase => {
            let _one = locks.database.lock();
            let Some(database) = &cloud.database else { return Ok("(no database server to kill)") };
            database.kill9()?;
            lasts();
            database.start_again()?;
            "database killed (-9)"
        }
        Fault::StallDatabase => {
            let _one = locks.database.lock();
            let Some(database) = &cloud.database else { return Ok("(no database server to stop)") };
            database.signal(Signal::SIGSTOP);
            lasts();
            database.signal(Signal::SIGCONT);
            "database stood still"
        }
        Fault::Token => {
            cloud.safaricom.forget_token();
            "token made invalid"
        }
        Fault::SilentQueries => {
            cloud.safaricom.silence_queries(5);
            "five queries without an answer"
        }
    })
}
