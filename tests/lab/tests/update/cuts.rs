//! The real daemon is killed at each of its steps, by strace, in the moment before the system call that makes it: whatever lies there then, the
//! start script boots a program that sells, and the update goes on where it was.

use crate::site::{LONG, Site};
use lango_lab::downloads::Manner;
use lango_lab::tool;
use lango_lab::wait::until_true;
use std::path::Path;

/// Where it is killed.
struct Cut {
    /// What the step is.
    before: &'static str,
    /// The system calls that make it, in strace's words.
    calls: &'static str,
    /// The file that they are about.
    file: File,
    /// The how manyth of them it is.
    when: u32,
}

enum File {
    /// In the folder of what is kept.
    Kept(&'static str),
    /// The program's name and this.
    Beside(&'static str),
    /// The start script.
    Script,
}
use File::{Beside, Kept, Script};

const fn cut(before: &'static str, calls: &'static str, file: File, when: u32) -> Cut {
    Cut { before, calls, file, when }
}

/// From the offer until the new program runs.
const UNTIL_IT_RUNS: [Cut; 12] = [
    cut("its number is kept", "rename", Kept("floor.part"), 1),
    cut("its offer is kept", "rename", Kept("offer.part"), 1),
    cut("what was accepted is kept", "rename", Kept("standing.part"), 1),
    cut("a part of it is written", "write", Beside(".new"), 4),
    cut("it is whole on the flash", "fsync", Beside(".new"), 1),
    cut("that it takes over is kept", "rename", Kept("standing.part"), 2),
    cut("it may be run", "fchmod", Beside(".new"), 1),
    cut("the old one has its second name", "link,linkat", Beside(".old"), 1),
    cut("the trial is announced", "rename", Kept("trial.part"), 1),
    cut("it has the old one's name", "rename", Beside(".new"), 1),
    cut("the start script takes over", "execve", Script, 2),
    cut("that it is on trial is kept", "rename", Kept("standing.part"), 3),
];

/// Once it has worked for half a minute.
const WHEN_IT_WORKS: [Cut; 4] = [
    cut("the trial ends", "unlink", Kept("trial"), 1),
    cut("that it stays is kept", "rename", Kept("standing.part"), 4),
    cut("the starts are forgotten", "unlink", Kept("start.1"), 2),
    cut("the old one is removed", "unlink", Beside(".old"), 2),
];

impl Site {
    /// A router fresh from its box, killed at that step of the update of that number.
    fn killed_before(&self, cut: &Cut, number: u64, newer: &[u8]) {
        let program = &self.lab.lango.program;
        program.terminate().unwrap();
        for folder in [self.updates.as_path(), self.program.parent().unwrap()] {
            std::fs::remove_dir_all(folder).unwrap();
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(&self.program, &self.shipped).unwrap();
        std::fs::set_permissions(&self.program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let file = match cut.file {
            Kept(name) => text(&self.updates.join(name)),
            Beside(ending) => text(&self.program) + ending,
            Script => text(&crate::site::script()),
        };
        let log = text(&self.updates.with_extension("strace"));
        let (traced, injected) = (format!("trace={}", cut.calls), format!("inject={}:signal=KILL:when={}", cut.calls, cut.when));
        let strace = tool::path("strace").expect("strace is installed: apt-get install strace, or tools/setup.sh");
        // Beside the program, not above it: who is started is the program.
        let words =
            [text(&strace).as_str(), "-D", "-f", "-q", "-e", "signal=kill", "-o", &log, "-P", &file, "-e", &traced, "-e", &injected]
                .map(str::to_owned);
        program.under([words.to_vec(), self.environment.clone()].concat());
        self.lab.lango.start().unwrap();
        self.lab.lango.await_payments().unwrap();
        self.server.serve(newer, Manner::Honest);
        self.offer(newer, number);
        until_true(cut.before, LONG, || !program.running())
            .unwrap_or_else(|e| panic!("killed before {}: {e:#}\n{}\n{}", cut.before, self.update(), program.tail(40)));
        let calls = || std::fs::read_to_string(&log).unwrap_or_default();
        until_true("strace's word of it", LONG, || calls().contains("killed by SIGKILL"))
            .unwrap_or_else(|e| panic!("it ended otherwise before {}: {e:#}\n{}\n{}", cut.before, calls(), program.tail(40)));
        let installed = self.installed();
        assert!(installed == self.shipped || installed == newer, "neither of the two is there, killed before {}", cut.before);
        std::fs::remove_file(&log).unwrap();
        program.under(self.environment.clone());
    }

    fn sells_after(&self, cut: &Cut, number: u64) {
        self.sells();
        self.until(&format!("the relay to hear of it, killed before {}", cut.before), LONG, |site| {
            let update = site.update();
            update["number"] == number && update["state"] != "offered"
        });
    }

    fn is_online(&self, mac: &str) -> bool {
        let sessions = self.lab.lango.sessions().unwrap_or_default();
        sessions.as_array().is_some_and(|all| all.iter().any(|session| session["mac"] == mac))
    }
}

#[test]
fn killed_before_any_step_until_the_new_program_runs_it_sells() {
    let site = Site::start();
    let phone = site.lab.joined_phone();
    phone.await_paid(&phone.pay("day", "0712345678"));
    let newer = site.newer();
    for (cut, number) in UNTIL_IT_RUNS.iter().zip(11..) {
        site.killed_before(cut, number, &newer);
        site.sells_after(cut, number);
        site.until(&format!("its session to go on, killed before {}", cut.before), LONG, |site| site.is_online(&phone.mac));
    }
    // The last of them goes on to its end.
    let (last, newest) = (10 + UNTIL_IT_RUNS.len() as u64, newer);
    site.until("the new program to be confirmed", LONG, |site| site.stands(last, "confirmed", None));
    assert!(site.installed() == newest);
    site.until("nothing to lie around", LONG, Site::is_clear);
}

#[test]
fn killed_before_any_step_in_which_a_trial_ends_it_sells_and_is_confirmed() {
    let site = Site::start();
    let newer = site.newer();
    for (cut, number) in WHEN_IT_WORKS.iter().zip(11..) {
        site.killed_before(cut, number, &newer);
        assert!(site.installed() == newer, "it worked, killed before {}", cut.before);
        site.sells_after(cut, number);
        site.until(&format!("it to be confirmed, killed before {}", cut.before), LONG, |site| site.stands(number, "confirmed", None));
        assert!(site.installed() == newer);
        site.until("nothing to lie around", LONG, Site::is_clear);
    }
}
