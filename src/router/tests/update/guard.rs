//! The start script under real shells: it starts what works, counts what does not, and puts the program before it back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// OpenWrt's shell, and Debian's.
pub const SHELLS: [&[&str]; 2] = [&["busybox", "ash"], &["dash"]];

pub fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/files/usr/libexec/lango/start").canonicalize().unwrap()
}

/// Files as on a router. The programs are scripts of the same shell, so that what they say is told apart.
pub struct Router {
    pub folder: tempfile::TempDir,
    shell: &'static [&'static str],
}

/// A program that says its name and ends.
pub const ENDS: &str = "#!/bin/sh\necho NAME >>\"$LANGO_UPDATES/said\"\n";

impl Router {
    pub fn new(shell: &'static [&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("update")).unwrap();
        let router = Self { folder, shell };
        router.put("lango", "old");
        router
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn put(&self, file: &str, name: &str) {
        fs::write(self.path(file), ENDS.replace("NAME", name)).unwrap();
        fs::set_permissions(self.path(file), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn mark(&self, name: &str, text: &str) {
        fs::write(self.path("update").join(name), text).unwrap();
    }

    pub fn marks(&self) -> Vec<String> {
        let names = fs::read_dir(self.path("update")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "said").collect();
        names.sort();
        names
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(self.shell[0]);
        command.args(&self.shell[1..]).arg(script()).args(["run", "--config", "x"]);
        command.env("LANGO_PROGRAM", self.path("lango")).env("LANGO_UPDATES", self.path("update"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Starts it, waits for its end, and tells which program it was.
    pub fn start(&self) -> String {
        let said = self.path("update").join("said");
        let before = fs::read_to_string(&said).unwrap_or_default();
        assert!(self.command().status().unwrap().success());
        let after = fs::read_to_string(&said).unwrap();
        after.strip_prefix(before.as_str()).unwrap().trim().to_owned()
    }

    /// A trial of a program, as it lies there when the old one gave way.
    pub fn on_trial(shell: &'static [&'static str]) -> Self {
        let router = Self::new(shell);
        fs::rename(router.path("lango"), router.path("lango.old")).unwrap();
        router.put("lango", "new");
        router.mark("trial", "600\n");
        router
    }
}

#[test]
fn without_a_trial_it_starts_the_program_and_nothing_else() {
    for shell in SHELLS {
        let router = Router::new(shell);
        for _ in 0..5 {
            assert_eq!(router.start(), "old");
        }
        assert_eq!(router.marks(), Vec::<String>::new());
    }
}

#[test]
fn the_program_hears_who_started_it_and_with_what() {
    for shell in SHELLS {
        let router = Router::new(shell);
        fs::write(
            router.path("lango"),
            "#!/bin/sh\necho \"$LANGO_START|$LANGO_PROGRAM|$LANGO_UPDATES|$*|$PPID\" >\"$LANGO_UPDATES/said\"\n",
        )
        .unwrap();
        assert!(router.command().status().unwrap().success());
        let said = fs::read_to_string(router.path("update/said")).unwrap();
        let program = router.path("lango");
        let wanted = format!(
            "{}|{}|{}|run --config x|{}\n",
            script().display(),
            program.display(),
            router.path("update").display(),
            std::process::id() // no shell stays between
        );
        assert_eq!(said, wanted);
    }
}

#[test]
fn what_ends_again_and_again_is_put_back_after_three_starts() {
    for shell in SHELLS {
        let router = Router::on_trial(shell);
        let started: Vec<String> = (0..5).map(|_| router.start()).collect();
        assert_eq!(started, ["new", "new", "new", "old", "old"], "{shell:?}");
        assert_eq!(router.marks(), ["start.1", "start.2", "start.3", "undone-crashed"]);
        assert!(!router.path("lango.old").exists());
    }
}

#[test]
fn what_is_no_program_at_all_is_put_back() {
    for shell in SHELLS {
        for bytes in [&b"\x7fELF\x01\x01\x01 of another processor"[..], b"", b"\0\0\0\0"] {
            let router = Router::on_trial(shell);
            fs::write(router.path("lango"), bytes).unwrap();
            for _ in 0..3 {
                assert!(!router.marks().contains(&"undone-crashed".to_owned()));
                let _whatever_the_shell_says = router.command().stderr(Stdio::null()).status().unwrap();
            }
            assert_eq!(router.start(), "old", "{shell:?} {bytes:?}");
        }
    }
}

#[test]
fn what_was_confirmed_is_left_alone() {
    for shell in SHELLS {
        let router = Router::on_trial(shell);
        for _ in 0..2 {
            assert_eq!(router.start(), "new");
        }
        fs::remove_file(router.path("update/trial")).unwrap();
        for _ in 0..5 {
            assert_eq!(router.start(), "new", "{shell:?}");
        }
    }
}

/// What lies there when the power went between two lines of the script, and what is started then.
#[test]
fn it_goes_on_after_a_cut_between_any_two_of_its_lines() {
    let starts = ["start.1", "start.2", "start.3"];
    for shell in SHELLS {
        // Put back, or about to be.
        for (undone, moved) in [(false, false), (true, false), (true, true)] {
            for (mark, why) in [("overdue", "undone-overdue"), ("start.3", "undone-crashed")] {
                let router = Router::on_trial(shell);
                starts.iter().take(if mark == "start.3" { 3 } else { 1 }).for_each(|start| router.mark(start, ""));
                router.mark(mark, "");
                if undone {
                    router.mark(why, "");
                }
                if moved {
                    fs::rename(router.path("lango.old"), router.path("lango")).unwrap();
                }
                assert_eq!(router.start(), "old", "{shell:?} {why} {undone} {moved}");
                let marks = router.marks();
                assert!(marks.contains(&why.to_owned()) && !marks.contains(&"trial".to_owned()), "{marks:?}");
                assert!(!router.path("lango.old").exists());
                assert_eq!(router.start(), "old");
            }
        }
        // The old one has its second name, the trial is announced, and the new one still lies aside.
        let router = Router::new(shell);
        fs::hard_link(router.path("lango"), router.path("lango.old")).unwrap();
        router.put("lango.new", "new");
        router.mark("trial", "600\n");
        for _ in 0..6 {
            assert_eq!(router.start(), "old", "{shell:?}");
        }
        assert!(router.path("lango").exists());
    }
}

/// Nothing can be written to the program's folder: what a full flash comes to, also where root may do everything.
fn on_a_full_flash(router: &Router, also_marks: bool) -> String {
    let folder = router.folder.path().display();
    let marks = if also_marks {
        String::new()
    } else {
        format!("mount --bind {folder}/update {folder}/update; mount -o remount,rw,bind {folder}/update;")
    };
    // The programs say their names where there is room.
    let line = format!(
        "set -e; mount --bind \"$SAID\" /mnt; mount --bind {folder} {folder}; mount -o remount,ro,bind {folder}; {marks} exec \"$@\""
    );
    let room = tempfile::tempdir().unwrap();
    for (file, name) in [("lango", "new"), ("lango.old", "old")] {
        if router.path(file).exists() {
            fs::write(router.path(file), format!("#!/bin/sh\necho {name} \"$LANGO_UNDONE\" >/mnt/said\n")).unwrap();
        }
    }
    let inner = router.command();
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &line, "sh"]).arg(inner.get_program()).args(inner.get_args()).env("SAID", room.path());
    command.env("LANGO_PROGRAM", router.path("lango")).env("LANGO_UPDATES", router.path("update"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "as root: {}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(room.path().join("said")).unwrap().trim().to_owned()
}

#[test]
fn on_a_full_flash_the_old_program_runs_from_where_it_is_and_the_trial_stays_announced() {
    for shell in SHELLS {
        for also_marks in [false, true] {
            for (mark, why) in [("overdue", "overdue"), ("start.3", "crashed")] {
                let router = Router::on_trial(shell);
                ["start.1", "start.2", mark].iter().for_each(|mark| router.mark(mark, ""));
                for _ in 0..2 {
                    assert_eq!(on_a_full_flash(&router, also_marks), format!("old {why}"), "{shell:?} {also_marks}");
                    assert!(router.marks().contains(&"trial".to_owned()) && router.path("lango.old").exists(), "{:?}", router.marks());
                }
                // There is room again.
                router.put("lango.old", "old");
                assert_eq!(router.start(), "old");
                assert!(router.marks().contains(&format!("undone-{why}")) && !router.marks().contains(&"trial".to_owned()));
                assert!(!router.path("lango.old").exists());
            }
        }
    }
}

#[test]
fn what_was_put_back_without_room_for_the_word_of_it_stays_told_by_the_trial() {
    for shell in SHELLS {
        let router = Router::on_trial(shell);
        router.mark("start.1", "");
        router.mark("overdue", "");
        // Nothing can be made under this name.
        std::os::unix::fs::symlink("/no/such/folder/x", router.path("update/undone-overdue")).unwrap();
        assert_eq!(router.start(), "old", "{shell:?}");
        let marks = router.marks();
        assert!(marks.contains(&"trial".to_owned()) && !router.path("lango.old").exists(), "{marks:?}");
        fs::remove_file(router.path("update/undone-overdue")).unwrap();
        assert_eq!(router.start(), "old");
        let marks = router.marks();
        assert!(marks.contains(&"undone-overdue".to_owned()) && !marks.contains(&"trial".to_owned()), "{marks:?}");
    }
}

#[test]
fn where_no_start_can_be_counted_the_old_program_is_put_back() {
    for shell in SHELLS {
        let router = Router::on_trial(shell);
        for start in ["start.1", "start.2", "start.3"] {
            std::os::unix::fs::symlink("/no/such/folder/x", router.path("update").join(start)).unwrap();
        }
        assert_eq!(router.start(), "old", "{shell:?}");
        assert!(router.marks().contains(&"undone-crashed".to_owned()));
    }
}

#[test]
fn what_another_start_said_of_a_roll_back_is_not_passed_on() {
    for shell in SHELLS {
        let router = Router::new(shell);
        fs::write(router.path("lango"), "#!/bin/sh\necho \"<$LANGO_UNDONE>\" >\"$LANGO_UPDATES/said\"\n").unwrap();
        assert!(router.command().env("LANGO_UNDONE", "crashed").status().unwrap().success());
        assert_eq!(fs::read_to_string(router.path("update/said")).unwrap(), "<>\n");
    }
}

/// A copy of a real program, so that the kernel has its file open as it has lango's.
fn sleeper(router: &Router, file: &str) {
    fs::remove_file(router.path(file)).unwrap();
    fs::copy("/bin/sleep", router.path(file)).unwrap();
}

fn wait(child: &mut Child, patience: Duration) -> Option<std::process::ExitStatus> {
    let began = Instant::now();
    while began.elapsed() < patience {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

#[test]
fn what_hangs_is_ended_in_time_and_put_back() {
    for shell in SHELLS {
        let router = Router::on_trial(shell);
        sleeper(&router, "lango");
        router.mark("trial", "1\n");
        let mut child = sleeping(&router);
        let ended = wait(&mut child, Duration::from_secs(20)).expect("it is ended");
        assert!(!ended.success(), "{ended}");
        assert!(router.marks().contains(&"overdue".to_owned()), "{:?}", router.marks());
        assert_eq!(router.start(), "old", "{shell:?}");
        assert_eq!(router.marks(), ["overdue", "start.1", "undone-overdue"]);
    }
}

#[test]
fn what_does_not_hear_its_end_is_killed() {
    for shell in SHELLS {
        let router = Router::on_trial(shell);
        // Deaf: the shell's trap stays in force in what it becomes.
        let deaf = router.path("deaf");
        fs::write(&deaf, format!("trap '' TERM\nexec {} \"$@\"\n", script().display())).unwrap();
        sleeper(&router, "lango");
        router.mark("trial", "1\n");
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(&deaf).arg("300");
        command.env("LANGO_PROGRAM", router.path("lango")).env("LANGO_UPDATES", router.path("update"));
        let mut child = command.spawn().unwrap();
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(wait(&mut child, Duration::from_secs(40)).expect("it is ended").signal(), Some(9), "{shell:?}");
        assert_eq!(router.start(), "old");
    }
}

#[test]
fn what_works_by_then_runs_on() {
    for shell in SHELLS {
        let router = Router::on_trial(shell);
        sleeper(&router, "lango");
        router.mark("trial", "1\n");
        let mut child = sleeping(&router);
        fs::remove_file(router.path("update/trial")).unwrap();
        assert!(wait(&mut child, Duration::from_secs(3)).is_none(), "{shell:?}: it was ended");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// The script becomes `sleep`, which takes its argument for seconds.
fn sleeping(router: &Router) -> Child {
    let mut command = Command::new(router.shell[0]);
    command.args(&router.shell[1..]).arg(script()).arg("300");
    command.env("LANGO_PROGRAM", router.path("lango")).env("LANGO_UPDATES", router.path("update"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
