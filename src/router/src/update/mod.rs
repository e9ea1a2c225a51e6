//! Updates over the air: fetched, checked, put in place, and watched until they work (docs/updates.md). What is decided is the core's;
//! the last word, where a new program does not even start, is the start script's (`images/files/usr/libexec/lango/start`).

pub mod fetch;
pub mod files;
pub mod head;

use crate::config::settings::Update as Settings;
use crate::tls;
use fetch::{Patience, Wanted};
use files::Files;
use lango_core::gateway::Business;
use lango_core::request::UpdateView;
use lango_core::time::Wall;
use lango_core::units::{MessageId, Millis, Seconds};
use lango_core::update::{self, Facts, Found, Judged, Kind, Manifest, Offer, Reason, Recovery, Report, Signature, Standing, State};
use ring::digest::{Context, SHA256};
use ring::signature::{ED25519, UnparsedPublicKey};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// What this program was built for, in rustc's words.
pub const TARGET: &str = env!("LANGO_TARGET");

/// Where OpenWrt says what board it runs on.
const BOARD: &str = "/tmp/sysinfo/board_name";

/// A new program must have worked for so long without a break.
const STEADY: Duration = Duration::from_secs(30);

/// How often it is looked whether what runs works.
const LOOK: Duration = Duration::from_secs(1);

/// sysupgrade has ended this program by then, or never will.
const LONGEST_SYSUPGRADE: Duration = Duration::from_secs(600);

/// How often it is looked whether the time has come.
const LOOK_SELDOM: Duration = Duration::from_secs(20);

/// How a fetch ended, under the number of its release.
#[derive(Debug)]
pub struct Ended {
    number: u64,
    outcome: Result<(), Reason>,
}

/// What takes this program's place, once everything is stored.
#[derive(Debug)]
pub enum Successor {
    /// The start script, with this program's own arguments: it starts the new program.
    Start(PathBuf),
}

impl Successor {
    /// Becomes it. Returns only where that failed.
    #[must_use]
    pub fn take_over(&self) -> io::Error {
        use std::os::unix::process::CommandExt as _;
        match self {
            Self::Start(script) => Command::new(script).args(std::env::args_os().skip(1)).exec(),
        }
    }
}

/// What came of a look.
#[derive(Debug)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// The relay is to be told.
    Tell(Report),
    /// It is to be told, and this program is to end for that one.
    GiveWay(Report, Successor),
    /// It is to be told, and then [`Updates::begin_image`] is due.
    BeginImage(Report),
}

/// What is under way.
enum Work {
    Nothing,
    Fetching(AbortHandle),
    /// It is here and was checked. Since when hours and an empty house allow it, if they do.
    Ready(Option<Instant>),
    /// The time has come: it is checked once more, for it may have lain there for hours. Since when it was allowed.
    Checking(AbortHandle, Instant),
    /// That went well.
    Checked(Instant),
    /// sysupgrade has the image since then; it ends this program when it wants to.
    Sysupgrade(Child, Instant),
    /// It runs. Since when everything works, if it does.
    Trial(Option<Instant>),
    /// It is over, and could not be written down yet: that is tried again.
    Over(State, Option<Reason>),
}

/// Updates over the air, at this router.
pub struct Updates {
    settings: Option<Settings>,
    files: Files,
    /// The start script, where it started this program.
    script: Option<PathBuf>,
    board: Option<String>,
    standing: Standing,
    /// Nobody knows which numbers were accepted before: none is.
    closed: bool,
    work: Work,
    ended: mpsc::Sender<Ended>,
    look: Instant,
}

impl Updates {
    /// Begins with what lies there: a trial, or what a power cut left. Gives back what the relay is to be told, too.
    #[must_use]
    pub fn start(settings: Option<Settings>, ended: mpsc::Sender<Ended>) -> (Self, Option<Report>) {
        let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let script = path("LANGO_START");
        let program = path("LANGO_PROGRAM").or_else(|| std::env::current_exe().ok()).unwrap_or_default();
        let files = Files::new(program, path("LANGO_UPDATES"));
        let (floor, standing) = (files.floor(), files.standing());
        // Every router that ever accepted something has the one where it has the other.
        let closed = floor.is_err() || (standing.is_err() && matches!(floor, Ok(0)));
        if closed {
            log::error!(
                "update: the highest number that was accepted cannot be read: nothing is accepted until somebody removes the files floor and standing"
            );
        }
        let lost = standing.is_err();
        let mut standing = standing.unwrap_or_else(|cause| {
            log::error!("update: what was kept of the last one cannot be read: {cause}");
            Standing::default()
        });
        standing.floor = standing.floor.max(floor.unwrap_or_default());
        let board = board(settings.as_ref());
        let mut found = files.found();
        // The start script's own word: on a full flash there is no file of it.
        match std::env::var("LANGO_UNDONE").as_deref() {
            Ok("overdue") => found.undone_overdue = true,
            Ok("crashed") => found.undone_crashed = true,
            _ => {}
        }
        let mut updates = Self { settings, files, script, board, standing, closed, work: Work::Nothing, ended, look: Instant::now() };
        let told = if lost { updates.go_on_blindly(found) } else { updates.go_on(found) };
        (updates, told)
    }

    /// Other settings from now on. What is under way and not to be any more by them ends; the relay is told.
    pub fn reconfigure(&mut self, settings: Option<Settings>) -> Option<Report> {
        self.board = board(settings.as_ref());
        self.settings = settings;
        match self.work {
            Work::Fetching(_) | Work::Ready(_) | Work::Checking(..) | Work::Checked(_) => {
                let reason = self.objection(None)?;
                self.end(State::Failed, Some(reason))
            }
            Work::Nothing | Work::Trial(_) | Work::Sysupgrade(..) | Work::Over(..) => None,
        }
    }

    fn facts(&self, time: Option<Wall>) -> Facts<'_> {
        Facts {
            keys: self.settings.as_ref().map_or(&[][..], |settings| &settings.keys),
            board: self.board.as_deref(),
            target: TARGET,
            images: self.settings.as_ref().is_some_and(|settings| settings.images),
            guarded: self.script.is_some(),
            time,
        }
    }

    /// Why what was accepted is not to be any more.
    fn objection(&self, time: Option<Wall>) -> Option<Reason> {
        update::objection(&self.standing, &self.facts(time), verify)
    }

    /// How it stands, for the operator.
    #[must_use]
    pub fn view(&self) -> Option<UpdateView> {
        let (manifest, state) = (self.standing.manifest.as_ref()?, self.standing.state?);
        Some(UpdateView { version: manifest.version.clone(), number: manifest.number, state, reason: self.standing.reason })
    }

    /// When [`Updates::look`] is wanted; nothing where there is nothing to look at.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        matches!(self.work, Work::Ready(_) | Work::Checked(_) | Work::Trial(_) | Work::Sysupgrade(..) | Work::Over(..)).then_some(self.look)
    }

    /// A trial whose release nobody knows any more is one all the same: a program that works is not to be put back for a file's sake.
    /// The relay cannot be told, for nobody knows of what.
    fn go_on_blindly(&mut self, found: Found) -> Option<Report> {
        match update::recover(Kind::Program, State::Trying, found) {
            Recovery::Try => {
                log::warn!("update: this program is on trial, and what release it is cannot be told");
                self.work = Work::Trial(None);
            }
            Recovery::Ended(State::RolledBack, _) if found.old => {
                if let Err(cause) = self.files.carry_out(update::put_back(), Seconds::ZERO) {
                    log::error!("update: the program before cannot be put back in its place, and runs from beside it: {cause}");
                }
            }
            _ => self.clear_away(),
        }
        None
    }

    fn go_on(&mut self, found: Found) -> Option<Report> {
        let (kind, state) = (self.standing.manifest.as_ref()?.kind, self.standing.state?);
        let objection = self.objection(None);
        match update::recover(kind, state, found) {
            Recovery::Rest => {
                self.clear_away();
                None
            }
            // Somebody took its key or the whole section out meanwhile.
            Recovery::Fetch | Recovery::Apply if objection.is_some() => self.end(State::Failed, objection),
            Recovery::Fetch => {
                self.fetch();
                None
            }
            Recovery::Apply => {
                // It may have to wait for its hour, and until then the old program is on no trial.
                if let Err(cause) = self.files.carry_out(update::confirm(kind), Seconds::ZERO) {
                    log::warn!("update: {cause}");
                }
                self.work = Work::Ready(None);
                None
            }
            Recovery::Try => {
                self.work = Work::Trial(None);
                if state == State::Trying {
                    return None;
                }
                log::info!("update: {} is on trial", self.name());
                self.now(State::Trying, None)
            }
            Recovery::Ended(state, reason) => self.end(state, reason),
        }
    }

    fn name(&self) -> String {
        self.standing
            .manifest
            .as_ref()
            .map_or_else(String::new, |manifest| format!("{} {} (number {})", manifest.kind.name(), manifest.version, manifest.number))
    }

    /// Writes down how it stands now; the relay is told what is written down.
    fn now(&mut self, state: State, reason: Option<Reason>) -> Option<Report> {
        self.keep(self.standing.now(state, reason)).then(|| self.standing.report())?
    }

    fn keep(&mut self, standing: Standing) -> bool {
        match self.files.keep(&standing) {
            Ok(()) => self.standing = standing,
            Err(cause) => {
                log::error!("update: what became of it cannot be kept: {cause}");
                return false;
            }
        }
        true
    }

    fn end(&mut self, state: State, reason: Option<Reason>) -> Option<Report> {
        match reason {
            None => log::info!("update: {} is {}", self.name(), state.name()),
            Some(reason) => log::warn!("update: {} {}: {}", self.name(), state.name(), reason.told()),
        }
        self.stop_working();
        self.over(state, reason)
    }

    /// Writes down how it ended, or sees to it that this is tried again: it would stand in every other update's way.
    fn over(&mut self, state: State, reason: Option<Reason>) -> Option<Report> {
        self.look = Instant::now() + LOOK_SELDOM;
        self.work = Work::Over(state, reason);
        // The old program runs from beside its place where the start script could not move it.
        if state == State::RolledBack
            && self.files.found().old
            && let Err(cause) = self.files.carry_out(update::put_back(), Seconds::ZERO)
        {
            log::error!("update: the program before cannot be put back in its place, and runs from beside it: {cause}; trying again");
            return None;
        }
        let told = self.now(state, reason)?;
        self.work = Work::Nothing;
        // Not before it is written down: it is told by what lies there otherwise.
        self.clear_away();
        Some(told)
    }

    fn clear_away(&self) {
        if let Err(cause) = self.files.carry_out(update::discard(), Seconds::ZERO) {
            log::warn!("update: what lies around cannot be removed: {cause}");
        }
        if self.standing.manifest.as_ref().is_some_and(|manifest| manifest.kind == Kind::Image) {
            // After a restart it is not there any more.
            let _ = std::fs::remove_file(self.files.image());
        }
    }

    /// The relay offers something. Gives back what it is told; nothing, and it offers it again.
    pub fn offered(&mut self, id: MessageId, offer: &Offer, time: Option<Wall>) -> Option<Report> {
        if self.closed {
            log::warn!("update: an offer is refused: the highest number that was accepted cannot be read");
            return Some(Report { offer: id, state: State::Refused, reason: Some(Reason::Disk) });
        }
        // Judged once that is over: what it leaves behind would be taken for the next one's.
        if self.standing.manifest.is_none() && matches!(self.work, Work::Trial(_)) {
            return None;
        }
        let judged = update::judge(&self.standing, &id, offer, &self.facts(time), verify);
        match judged {
            Judged::Refused(reason) => {
                log::warn!("update: an offer is refused: {}", reason.told());
                Some(Report { offer: id, state: State::Refused, reason: Some(reason) })
            }
            Judged::Later => None,
            Judged::Again => {
                // What becomes of it is told of the offer that the relay knows.
                if self.standing.offer.as_ref() != Some(&id) && !self.keep(Standing { offer: Some(id), ..self.standing.clone() }) {
                    return None;
                }
                self.standing.report()
            }
            Judged::Accepted(manifest) => {
                self.stop_working();
                if !self.keep(self.standing.accepted(id, manifest, Signature::parse(&offer.signature))) {
                    return None;
                }
                log::info!("update: {} is accepted", self.name());
                let told = self.standing.report();
                match self.room() {
                    Ok(true) => self.fetch(),
                    Ok(false) => return self.end(State::Failed, Some(Reason::NoRoom)),
                    Err(cause) => {
                        log::warn!("update: nobody knows how much room there is: {cause}");
                        return self.end(State::Failed, Some(Reason::Disk));
                    }
                }
                told
            }
        }
    }

    fn room(&self) -> io::Result<bool> {
        match self.standing.manifest.as_ref() {
            Some(Manifest { kind: Kind::Program, size, .. }) => self.files.has_room(*size),
            Some(Manifest { kind: Kind::Image, size, .. }) => self.files.has_memory(*size),
            None => Ok(false),
        }
    }

    fn path(&self, kind: Kind) -> PathBuf {
        match kind {
            Kind::Program => self.files.new_program(),
            Kind::Image => self.files.image().to_owned(),
        }
    }

    fn stop_working(&mut self) {
        if let Work::Fetching(task) | Work::Checking(task, _) = std::mem::replace(&mut self.work, Work::Nothing) {
            task.abort();
        }
    }

    fn fetch(&mut self) {
        let Some(manifest) = &self.standing.manifest else { return };
        let (kind, number, ended) = (manifest.kind, manifest.number, self.ended.clone());
        let (manifest, path, files) = (manifest.clone(), self.path(kind), self.files.clone());
        let ca = self.settings.as_ref().and_then(|settings| settings.ca.clone());
        let task = tokio::task::spawn_local(async move {
            let prepared = if kind == Kind::Image { files.prepare_image() } else { Ok(()) };
            let outcome = if let Err(cause) = prepared {
                log::error!("update: {cause}");
                Err(Reason::Disk)
            } else {
                fetch_checked(manifest, path, ca.as_deref()).await
            };
            // Nobody listens: the daemon stops.
            let _ = ended.send(Ended { number, outcome }).await;
        });
        self.work = Work::Fetching(task.abort_handle());
    }

    /// A fetch ended.
    pub fn fetched(&mut self, ended: Ended) -> Option<Report> {
        if self.standing.manifest.as_ref().is_none_or(|manifest| manifest.number != ended.number) {
            return None; // another one was accepted meanwhile
        }
        match (ended.outcome, &self.work) {
            (Ok(()), Work::Checking(_, since)) => {
                (self.work, self.look) = (Work::Checked(*since), Instant::now());
                None
            }
            (Ok(()), _) => {
                log::info!("update: {} is here", self.name());
                (self.work, self.look) = (Work::Ready(None), Instant::now());
                None
            }
            (Err(reason), _) => self.end(State::Failed, Some(reason)),
        }
    }

    /// Looks whether the time has come to put it in place, or whether what runs works. `works`: the gate, the store and the portal
    /// do.
    pub fn look(&mut self, business: Business, works: bool) -> Next {
        let now = Instant::now();
        self.look = now + if matches!(self.work, Work::Trial(_) | Work::Sysupgrade(..)) { LOOK } else { LOOK_SELDOM };
        match self.work {
            Work::Ready(since) => self.ready(business, since, false),
            Work::Checked(since) => self.ready(business, Some(since), true),
            Work::Sysupgrade(ref mut child, since) => {
                // One that began well ends this program, after it has packed what is kept.
                let refused = child.try_wait().is_ok_and(|ended| ended.is_some_and(|status| !status.success()));
                if refused || now.duration_since(since) >= LONGEST_SYSUPGRADE {
                    return failed(self.end(State::Failed, Some(Reason::SysupgradeRefused)));
                }
                Next::Nothing
            }
            Work::Over(state, reason) => self.over(state, reason).map_or(Next::Nothing, Next::Tell),
            Work::Trial(since) => {
                let since = since.filter(|_| works && business.relay_answers).or((works && business.relay_answers).then_some(now));
                self.work = Work::Trial(since);
                if since.is_some_and(|since| now.duration_since(since) >= STEADY) { self.confirm() } else { Next::Nothing }
            }
            Work::Nothing | Work::Fetching(_) | Work::Checking(..) => Next::Nothing,
        }
    }

    /// Reads the file once more, beside everything else: a large one takes seconds.
    fn check(&mut self, since: Instant) {
        let Some(manifest) = self.standing.manifest.clone() else { return };
        let (path, number, ended) = (self.path(manifest.kind), manifest.number, self.ended.clone());
        let task = tokio::task::spawn_local(async move {
            let outcome = match holds(path, manifest).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(Reason::WrongHash),
                Err(cause) => {
                    log::warn!("update: the file cannot be read: {cause}");
                    Err(Reason::Disk)
                }
            };
            // Nobody listens: the daemon stops.
            let _ = ended.send(Ended { number, outcome }).await;
        });
        self.work = Work::Checking(task.abort_handle(), since);
    }

    fn confirm(&mut self) -> Next {
        let kind = self.standing.manifest.as_ref().map_or(Kind::Program, |manifest| manifest.kind);
        if let Err(cause) = self.files.carry_out(update::confirm(kind), Seconds::ZERO) {
            log::error!("update: the trial cannot be ended: {cause}; trying again");
            return Next::Nothing;
        }
        if self.standing.manifest.is_none() {
            log::info!("update: the program on trial works, and stays");
            self.work = Work::Nothing;
            self.clear_away();
            return Next::Nothing;
        }
        self.end(State::Confirmed, None).map_or(Next::Nothing, Next::Tell)
    }

    /// `since`: since when it is allowed, as far as anybody looked; `checked`: just now.
    fn ready(&mut self, business: Business, since: Option<Instant>, checked: bool) -> Next {
        let (Some(manifest), Some(settings)) = (&self.standing.manifest, &self.settings) else { return Next::Nothing };
        let kind = manifest.kind;
        let Business { payments_pending, devices_online, time, .. } = business;
        let now = Instant::now();
        let since = update::is_allowed(kind, settings.hours, time, devices_online).then(|| since.unwrap_or(now));
        let ready = since.map_or(Duration::ZERO, |since| now.duration_since(since));
        let ready = Millis(u64::try_from(ready.as_millis()).unwrap_or(u64::MAX));
        self.work = Work::Ready(since);
        if !update::may_apply(kind, settings.hours, time, payments_pending, devices_online, ready) {
            return Next::Nothing;
        }
        let (script, trial) = (self.script.clone(), settings.trial);
        if let Some(reason) = self.objection(time) {
            return failed(self.end(State::Failed, Some(reason)));
        }
        if !checked {
            self.check(since.unwrap_or(now));
            return Next::Nothing;
        }
        log::info!("update: {} takes over", self.name());
        let told = match kind {
            Kind::Program => {
                let told = self.now(State::Applying, None);
                if told.is_some()
                    && let Err(cause) = self.files.carry_out(update::apply(kind), trial)
                    // Where it was moved already, and only that was not confirmed, there is no way but on: it is on trial.
                    && self.files.found().new
                {
                    log::error!("update: it cannot be put in place: {cause}");
                    return failed(self.end(State::Failed, Some(Reason::Disk)));
                }
                told
            }
            Kind::Image => match self.files.carry_out(update::apply(kind), trial) {
                Ok(()) => self.now(State::Applying, None),
                Err(cause) => {
                    log::error!("update: {cause}");
                    return failed(self.end(State::Failed, Some(Reason::Disk)));
                }
            },
        };
        match (told, kind, script) {
            (None, _, _) => Next::Nothing,
            (Some(told), Kind::Image, _) => Next::BeginImage(told),
            (Some(told), Kind::Program, Some(script)) => Next::GiveWay(told, Successor::Start(script)),
            // It was judged just now.
            (Some(_), Kind::Program, None) => failed(self.end(State::Failed, Some(Reason::NoGuard))),
        }
    }

    /// Hands the image to sysupgrade. This program runs and sells on until sysupgrade stops the service.
    pub fn begin_image(&mut self) -> Option<Report> {
        match sysupgrade(Path::new("sysupgrade"), self.files.image()) {
            Ok(child) => {
                (self.work, self.look) = (Work::Sysupgrade(child, Instant::now()), Instant::now());
                None
            }
            Err(cause) => {
                log::error!("update: sysupgrade cannot be started: {cause}");
                self.end(State::Failed, Some(Reason::SysupgradeRefused))
            }
        }
    }
}

fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
}

fn failed(told: Option<Report>) -> Next {
    told.map_or(Next::Nothing, Next::Tell)
}

/// Never in this process's place: sysupgrade stops the service before it packs what is kept, and procd ends the process that it
/// started by its number. Nor with this process's output: procd closes that.
fn sysupgrade(program: &Path, image: &Path) -> io::Result<Child> {
    use std::os::unix::process::CommandExt as _;
    let quiet = Stdio::null;
    Command::new(program).arg(image).process_group(0).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn()
}

fn board(settings: Option<&Settings>) -> Option<String> {
    let set = settings.and_then(|settings| settings.board.clone());
    set.or_else(|| std::fs::read_to_string(BOARD).ok().map(|name| name.trim().to_owned()))
}

async fn fetch_checked(manifest: Manifest, path: PathBuf, ca: Option<&Path>) -> Result<(), Reason> {
    let kind = manifest.kind;
    let wanted = Wanted { url: manifest.url.clone(), size: manifest.size, sha256: manifest.sha256, path: path.clone() };
    // It may lie there since before a restart: an image is no smaller the second time, and a line no cheaper.
    if !holds(path, manifest).await.is_ok_and(|holds| holds) {
        fetch_over_tls(&wanted, ca).await?;
    }
    if kind == Kind::Image {
        let path = wanted.path.clone();
        let valid = tokio::task::spawn_blocking(move || is_valid_image(&path)).await;
        if !valid.is_ok_and(|valid| valid) {
            let _ = std::fs::remove_file(&wanted.path);
            return Err(Reason::SysupgradeRefused);
        }
    }
    Ok(())
}

async fn fetch_over_tls(wanted: &Wanted, ca: Option<&Path>) -> Result<(), Reason> {
    let tls = tls::client_config(ca, None).map_err(|cause| {
        log::error!("update: {cause}");
        Reason::Unreachable
    })?;
    fetch::fetch(wanted, tls, Patience::default()).await
}

/// Whether OpenWrt takes an image for one of this board's. It says so in JSON, whatever its exit code.
fn is_valid_image(path: &Path) -> bool {
    #[derive(serde::Deserialize)]
    struct Said {
        valid: bool,
    }
    let asked = serde_json::json!({ "path": path }).to_string();
    match Command::new("ubus").args(["call", "system", "validate_firmware_image", &asked]).output() {
        Ok(output) => serde_json::from_slice(&output.stdout).is_ok_and(|Said { valid }| valid),
        Err(cause) => {
            log::warn!("update: ubus cannot be asked about the image: {cause}");
            false
        }
    }
}

/// Whether the file is the one of the manifest. Read aside: it may be large, and the daemon has one thread.
async fn holds(path: PathBuf, manifest: Manifest) -> io::Result<bool> {
    tokio::task::spawn_blocking(move || is_the_one(&path, &manifest)).await.map_err(io::Error::other)?
}

fn is_the_one(path: &Path, manifest: &Manifest) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != manifest.size {
        return Ok(false);
    }
    let mut hash = Context::new(&SHA256);
    let mut bytes = vec![0; 64 * 1_024];
    let mut size = 0;
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(size == manifest.size && hash.finish().as_ref() == manifest.sha256),
            count => {
                hash.update(bytes.get(..count).unwrap_or_default());
                size += count as u64;
            }
        }
    }
}
