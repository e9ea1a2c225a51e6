//! `make bench`: the gate beside plain NAT and the portal beside a bare server, in one run on one machine, and the tables that README quotes.

mod bare;
mod bench;
mod cloud;
mod daemon;
mod device;
mod figures;
mod forwarding;
mod grants;
mod installing;
mod load;
mod network;
mod plan;
mod portal;
mod program;
mod report;
mod rest;
mod restart;
mod shaper;
mod traffic;

use anyhow::{Context as _, Result, bail, ensure};
use lexopt::prelude::Long;
use plan::Plan;
use program::Program;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// README has the table between these.
const BEGIN: &str = "<!-- make bench: begin -->";
const END: &str = "<!-- make bench: end -->";

/// A run that is not over by then never will be.
const LIMIT: Duration = Duration::from_secs(65 * 60);

fn main() -> Result<()> {
    let (mut plan, mut page, mut readme) = (Plan::FULL, None, None);
    let (mut installing, mut memory, mut portal, mut packets, mut speeds) = (false, false, false, false, false);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => plan = Plan::QUICK,
            Long("installing") => installing = true,
            Long("memory") => memory = true,
            Long("portal") => portal = true,
            Long("packets") => packets = true,
            Long("speeds") => speeds = true,
            Long("page") => page = Some(PathBuf::from(parser.value()?)),
            Long("readme") => readme = Some(PathBuf::from(parser.value()?)),
            Long("help") => {
                println!(
                    "lango-bench [--quick] [--page FILE] [--readme FILE] | --installing | --memory | --portal | --packets | --speeds\n\nFILE gets the table; README only between its marks.\n--installing: only how long thousands of speeds hold up others.\n--memory: only the daemon's memory, up to 1,000 online and after take-overs, without a relay and with one; about five minutes.\n--portal: only the portal, beside a bare server; about two minutes.\n--packets: only TCP with each packet by itself, with 1,000 online; about five minutes.\n--speeds: only what is forwarded with speeds, with 1,000 online; some minutes."
                );
                return Ok(());
            }
            other => bail!(other.unexpected()),
        }
    }
    let program = Program::look(&lango_lab::programs::find("lango")?)?;
    let written = page.is_some() || readme.is_some();
    ensure!(program.is_static || !written, "what is written is of the program that routers get: run `make bench`, which builds it");
    lango_lab::rights::ensure()?;
    std::thread::spawn(|| {
        std::thread::sleep(LIMIT);
        eprintln!("lango-bench: not done after {LIMIT:?}; something hangs");
        lango_lab::rights::remove_live();
        std::process::exit(1);
    });

    let (begun, machine, load) = (Instant::now(), report::machine(), report::load());
    println!("  {machine}; load before: {load}\n  {}", program.words());
    let bench = bench::Bench::new(plan)?;
    if installing {
        return bench.run_installing();
    }
    if memory {
        return bench.run_memory();
    }
    if packets {
        return bench.run_packets();
    }
    if speeds {
        let report = bench.run_speeds()?;
        println!("\n{}", report.table(true));
        return judge(plan, &[&report]);
    }
    if portal {
        let report = bench.run_portal()?;
        println!("\n{}", report.table(true));
        return judge(plan, &[&report]);
    }
    let (report, portal) = bench.run()?;
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    println!("\n{}\n{}\n  {minutes:.1} minutes", report.table(true), portal.table(true));
    let about = format!("Measured by `make bench` in {minutes:.0} minutes on {machine}; load before: {load}. {}.", program.words());
    if let Some(page) = page {
        let text = include_str!("page.txt")
            .replace("{about}", &about)
            .replace("{table}", &report.table(true))
            .replace("{portal}", &portal.table(true));
        std::fs::write(&page, text).with_context(|| format!("{}", page.display()))?;
    }
    if let Some(readme) = readme {
        let text = std::fs::read_to_string(&readme).with_context(|| format!("{}", readme.display()))?;
        let section = format!("{}\n{}\n{about}\n", report.table(false), portal.table(false));
        let text = report::replace_between(&text, BEGIN, END, &section).with_context(|| format!("{}", readme.display()))?;
        std::fs::write(&readme, text).with_context(|| format!("{}", readme.display()))?;
    }
    judge(plan, &[&report, &portal])
}

/// Says which aims were missed. In a run of full length that is an error.
fn judge(plan: Plan, reports: &[&report::Report]) -> Result<()> {
    let missed: Vec<String> = reports.iter().flat_map(|report| report.missed()).collect();
    if missed.is_empty() {
        return Ok(());
    }
    let missed = missed.join("\n  MISSED  ");
    ensure!(!plan.enforced, "aims were missed\n  MISSED  {missed}");
    println!("  Missed, which means little in a short run:\n  MISSED  {missed}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use report::{Figure, Report};

    #[test]
    fn a_missed_aim_ends_a_full_run_with_an_error() {
        let mut report = Report::default();
        for (lost, plan, well) in [(0.0, Plan::FULL, true), (1.0, Plan::QUICK, true), (1.0, Plan::FULL, false)] {
            report.set("lost", 1_000, Figure::new(lost, String::new()));
            assert_eq!(judge(plan, &[&Report::of_portal(), &report]).is_ok(), well, "{lost} lost, enforced: {}", plan.enforced);
        }
    }
}
