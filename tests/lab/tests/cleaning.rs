//! A lab leaves nothing behind: not after Ctrl-C, and what a killed one had to leave is removed by the next.

use lango_lab::process::PATIENCE;
use lango_lab::wait::{until, until_true};
use lango_lab::world::World;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Not a test of its own: the others run it as a process that they can end.
#[test]
#[ignore = "run by the tests below"]
fn holds_a_world() {
    let world = World::build().unwrap();
    world.phone().join();
    println!("holding {} in {}", world.router.name(), world.folder.display());
    until_true("the end", std::time::Duration::from_secs(600), || false).unwrap();
}

struct Held {
    process: Child,
    namespace: String,
    folder: String,
}

impl Held {
    fn start() -> Self {
        let args = ["--ignored", "--exact", "holds_a_world", "--nocapture"];
        let mut process = Command::new(std::env::current_exe().unwrap()).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.map_while(Result::ok).find(|line| line.contains("holding ")).expect("it builds its world");
        let mut words = line.split("holding ").nth(1).unwrap().split(' ');
        let (namespace, folder) = (words.next().unwrap().to_owned(), words.nth(1).unwrap().to_owned());
        Self { process, namespace, folder }
    }

    fn signal(&mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).unwrap();
        let status = until("its end", PATIENCE, || self.process.try_wait().unwrap()).unwrap();
        status.code()
    }

    fn left(&self) -> (bool, bool) {
        let namespace = std::path::Path::new("/run/netns").join(&self.namespace).exists();
        (namespace, std::path::Path::new(&self.folder).exists())
    }
}

/// One test for both, because a sweep looks at all labs of the machine.
#[test]
fn a_lab_is_removed_at_ctrl_c_and_a_killed_one_by_the_next() {
    let mut held = Held::start();
    assert_eq!(held.left(), (true, true));
    assert_eq!(held.signal(Signal::SIGINT), Some(130));
    assert_eq!(held.left(), (false, false), "after Ctrl-C");

    let mut held = Held::start();
    assert_eq!(held.signal(Signal::SIGKILL), None);
    assert_eq!(held.left(), (true, true), "nobody can clean up after kill -9 at once");
    let next = World::build().unwrap();
    assert_eq!(held.left(), (false, false), "after the next lab's start");
    assert!(next.phone().join().seconds > 0);
}
