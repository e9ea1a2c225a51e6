//! The real daemon is killed at each of its steps, by strace, in the moment before the system call that makes it: whatever lies there then, the
//! start script boots a program that sells, and the update goes on where it was. Steps after which nothing else lies there than before are not taken twice: a kill loses
//! nothing of what was written. (The power does; that is the router's tests'.)

use crate::site::{LONG, Site};
use lango_lab::downloads::Manner;
use lango_lab::tool;
use lango_lab::wait::until_true;
use std::path::Path;
use std::thread;

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
    /// What lies there then: beside the program, and in the folder of what is kept. It shows that it was this step.
    lies: [&'static str; 2],
    /// The state that is written down then.
    state: Option<&'static str>,
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

const fn cut(
    before: &'static str,
    calls: &'static str,
    file: File,
    when: u32,
    lies: [&'static str; 2],
    state: Option<&'static str>,
) -> Cut {
    Cut { before, calls, file, when, lies, state }
}

const ACCEPTED: Option<&str> = Some("accepted");
const APPLYING: Option<&str> = Some("applying");
const TRYING: Option<&str> = Some("trying");
const CONFIRMED: Option<&str> = Some("confirmed");

/// Its number is kept by then, and nobody wrote down what it was: such a number is lost, and opens no way back.
const LOST: Cut = cut("what was accepted is kept", "rename", Kept("standing.part"), 1, ["lango", "floor offer standing.part"], None);

/// From the offer until the new program runs.
const UNTIL_IT_RUNS: [Cut; 8] = [
    cut("its number is kept", "rename", Kept("floor.part"), 1, ["lango", "floor.part"], None),
    cut("a part of it is written", "write", Beside(".new"), 4, ["lango lango.new", "floor offer standing"], ACCEPTED),
    cut(
        "that it takes over is kept",
        "rename",
        Kept("standing.part"),
        2,
        ["lango lango.new", "floor offer standing standing.part"],
        ACCEPTED,
    ),
    cut("the old one has its second name", "link,linkat", Beside(".old"), 1, ["lango lango.new", "floor offer standing"], APPLYING),
    cut(
        "the trial is announced",
        "rename",
        Kept("trial.part"),
        1,
        ["lango lango.new lango.old", "floor offer standing trial.part"],
        APPLYING,
    ),
    cut("it has the old one's name", "rename", Beside(".new"), 1, ["lango lango.new lango.old", "floor offer standing trial"], APPLYING),
    cut("the start script takes over", "execve", Script, 2, ["lango lango.old", "floor offer standing trial"], APPLYING),
    cut(
        "that it is on trial is kept",
        "rename",
        Kept("standing.part"),
        3,
        ["lango lango.old", "floor offer standing standing.part start.1 trial"],
        APPLYING,
    ),
];

/// Once it has worked for half a minute.
const WHEN_IT_WORKS: [Cut; 4] = [
    cut("the trial ends", "unlink", Kept("trial"), 1, ["lango lango.old", "floor offer standing start.1 trial"], TRYING),
    cut(
        "that it stays is kept",
        "rename",
        Kept("standing.part"),
        4,
        ["lango lango.old", "floor offer standing standing.part start.1"],
        TRYING,
    ),
    cut("the starts are forgotten", "unlink", Kept("start.1"), 2, ["lango lango.old", "floor offer standing start.1"], CONFIRMED),
    cut("the old one is removed", "unlink", Beside(".old"), 2, ["lango lango.old", "floor offer standing"], CONFIRMED),
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
        self.releases.server.serve(newer, Manner::Honest);
        self.offer(newer, number);
        until_true(cut.before, LONG, || !program.running())
            .unwrap_or_else(|e| panic!("killed before {}: {e:#}\n{}\n{}", cut.before, self.update(), program.tail(40)));
        let calls = || std::fs::read_to_string(&log).unwrap_or_default();
        until_true("strace's word of it", LONG, || calls().contains("killed by SIGKILL"))
            .unwrap_or_else(|e| panic!("it ended otherwise before {}: {e:#}\n{}\n{}", cut.before, calls(), program.tail(40)));
        assert_eq!(self.lies(), cut.lies, "killed elsewhere than before {}", cut.before);
        let standing = std::fs::read_to_string(self.updates.join("standing")).unwrap_or_default();
        let state = standing.lines().find_map(|line| line.strip_prefix("state "));
        assert_eq!(state, cut.state, "killed elsewhere than before {}", cut.before);
        // Only where it was moved is the new one in its place.
        let moved = self.lies()[0] == "lango lango.old";
        assert!(self.installed() == if moved { newer } else { &self.shipped }, "another program is there, killed before {}", cut.before);
        std::fs::remove_file(&log).unwrap();
        program.under(self.environment.clone());
    }

    fn sells_and_is_confirmed(&self, cut: &Cut, number: u64, newer: &[u8]) {
        self.sells();
        self.until(&format!("it to be confirmed, killed before {}", cut.before), LONG, |site| site.stands(number, "confirmed", None));
        assert!(self.installed() == newer, "another program is there, killed before {}", cut.before);
        self.until(&format!("nothing to lie around, killed before {}", cut.before), LONG, Site::is_clear);
    }

    fn is_online(&self, mac: &str) -> bool {
        let sessions = self.lab.lango.sessions().unwrap_or_default();
        sessions.as_array().is_some_and(|all| all.iter().any(|session| session["mac"] == mac))
    }
}

/// Half a minute of each is waiting: some routers beside each other take the steps in turn.
fn beside_each_other(cuts: &[Cut], routers: usize, story: impl Fn(&Site, &Cut, u64) + Sync) {
    thread::scope(|scope| {
        for part in cuts.chunks(cuts.len().div_ceil(routers)) {
            let story = &story;
            scope.spawn(move || {
                let site = Site::start();
                part.iter().zip(11..).for_each(|(cut, number)| story(&site, cut, number));
            });
        }
    });
}

#[test]
fn killed_before_any_step_until_the_new_program_runs_it_sells_and_the_update_goes_on() {
    beside_each_other(&UNTIL_IT_RUNS, 3, |site, cut, number| {
        let (phone, newer) = (site.lab.joined_phone(), site.newer());
        phone.await_paid(&phone.pay("day", "0712345678"));
        site.killed_before(cut, number, &newer);
        site.sells_and_is_confirmed(cut, number, &newer);
        assert!(site.is_online(&phone.mac), "its session goes on, killed before {}", cut.before);
    });
}

#[test]
fn killed_before_what_was_accepted_is_kept_it_sells_and_the_number_is_lost() {
    let (site, number) = (Site::start(), 11);
    let newer = site.newer();
    site.killed_before(&LOST, number, &newer);
    site.sells();
    site.until("it to be refused", LONG, |site| site.stands(number, "refused", Some("not_newer")));
    assert!(site.installed() == site.shipped && site.releases.server.asked().is_empty());
    // The next number is not.
    site.offer(&newer, number + 1);
    site.until("the next one to be confirmed", LONG, |site| site.stands(number + 1, "confirmed", None));
    assert!(site.installed() == newer);
    site.until("nothing to lie around", LONG, Site::is_clear);
}

#[test]
fn killed_before_any_step_in_which_a_trial_ends_it_sells_and_is_confirmed() {
    beside_each_other(&WHEN_IT_WORKS, 2, |site, cut, number| {
        let newer = site.newer();
        site.killed_before(cut, number, &newer);
        site.sells_and_is_confirmed(cut, number, &newer);
    });
}
