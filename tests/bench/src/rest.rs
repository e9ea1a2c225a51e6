//! What the daemon takes while nothing happens: memory, wake-ups, and the processor's time.

use anyhow::{Context as _, Result, bail};
use std::fs::{read_dir, read_to_string};
use std::time::{Duration, Instant};

/// Memory of a process that is in RAM, in KiB.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// All of it.
    pub all: u64,
    /// Its own: what it allocated.
    pub anonymous: u64,
    /// Pages of its program file (and libraries), which the system may drop and read again.
    pub file: u64,
}

/// As the kernel tells it.
///
/// # Errors
/// When the process is gone.
pub fn memory(pid: u32) -> Result<Memory> {
    let text = read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |name: &str| field(&text, name);
    Ok(Memory { all: kib("VmRSS:")?, anonymous: kib("RssAnon:")?, file: kib("RssFile:")? })
}

/// The number behind a name in one of the files of `/proc/PID`.
fn field(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("there is no {name}"))?;
    line.split_whitespace().next().and_then(|word| word.parse().ok()).with_context(|| format!("{name}{line} is no number"))
}

/// What a process did meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Activity {
    /// How often one of its threads went to sleep, in each minute.
    pub wake_ups: f64,
    /// Milliseconds of processor time in each minute.
    pub processor: f64,
}

/// So long nothing woke a process that has done what was asked of it last.
const QUIET: Duration = Duration::from_secs(3);

/// Waits until nothing wakes a process any more for a moment. One that is woken more often than that has no such moment: then it is
/// watched as it is after `most`.
///
/// # Errors
/// When it is gone.
pub fn settle(pid: u32, most: Duration) -> Result<()> {
    let begun = Instant::now();
    let (mut before, mut since) = (so_far(pid)?.0, Instant::now());
    while since.elapsed() < QUIET && begun.elapsed() < most {
        std::thread::sleep(Duration::from_millis(100));
        let now = so_far(pid)?.0;
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
    Ok(())
}

/// Watches a process for a while.
///
/// # Errors
/// When it is gone.
pub fn activity(pid: u32, length: Duration) -> Result<Activity> {
    let (switches, nanoseconds) = so_far(pid)?;
    std::thread::sleep(length);
    let (more_switches, more_nanoseconds) = so_far(pid)?;
    let minutes = length.as_secs_f64() / 60.0;
    Ok(Activity {
        wake_ups: more_switches.saturating_sub(switches) as f64 / minutes,
        processor: more_nanoseconds.saturating_sub(nanoseconds) as f64 / 1e6 / minutes,
    })
}

/// What a thread had of the processors so far.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// It ran for so long.
    pub used: Duration,
    /// It could have run for so long, and others did.
    pub waited: Duration,
}

/// What a process's first thread had of the processors so far.
///
/// # Errors
/// When it is gone, or the kernel does not count that (`CONFIG_SCHED_INFO`).
pub fn share(pid: u32) -> Result<Share> {
    let text = read_to_string(format!("/proc/{pid}/schedstat"))?;
    let numbers: Vec<u64> = text.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let [used, waited, ..] = numbers[..] else { bail!("/proc/{pid}/schedstat says {text:?}") };
    Ok(Share { used: Duration::from_nanos(used), waited: Duration::from_nanos(waited) })
}

/// Voluntary context switches and processor time (ns) of all threads that live.
fn so_far(pid: u32) -> Result<(u64, u64)> {
    let mut sum = (0, 0);
    for thread in read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let folder = thread.path();
        // A thread may end while we look.
        let (Ok(status), Ok(times)) = (read_to_string(folder.join("status")), read_to_string(folder.join("schedstat"))) else { continue };
        sum.0 += field(&status, "voluntary_ctxt_switches:")?;
        sum.1 += field(&times, "")?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_proc() {
        let text = "Name:\tlango\nVmRSS:\t    5120 kB\nvoluntary_ctxt_switches:\t17\nnonvoluntary_ctxt_switches:\t3\n";
        assert_eq!(field(text, "VmRSS:").unwrap(), 5_120);
        assert_eq!(field(text, "voluntary_ctxt_switches:").unwrap(), 17);
        assert_eq!(field("8123 44 5\n", "").unwrap(), 8_123);
        assert!(field(text, "RssAnon:").is_err() && field("VmRSS: x", "VmRSS:").is_err());
    }

    #[test]
    fn this_process_takes_something() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.all >= memory.anonymous && memory.anonymous > 0 && memory.file > 0);
        assert!(so_far(std::process::id()).unwrap().1 > 0);
    }
}
