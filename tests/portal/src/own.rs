//! The portal that an operator made their own: docs/examples/portal, put into the lab's router.

use anyhow::{Context, Result};
use lango_lab::Lab;
use lango_lab::wait::until_true;
use nix::sys::signal::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(40);

/// Puts the example in force by a reload, from a copy of its own; gives back the copy's folder.
///
/// # Errors
/// When it does not come into force.
pub fn brand(lab: &Lab) -> Result<PathBuf> {
    let (example, folder) = (concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/portal"), lab.world.folder.join("own"));
    copy(Path::new(example), &folder).with_context(|| example.to_owned())?;
    let place = folder.display().to_string();
    let section = fs::read_to_string(folder.join("lango"))?.replace("/etc/lango/portal", &place);
    lab.lango.configure(|config| format!("{config}\n{section}"))?;
    reload(lab, "config: read again and in force")?;
    Ok(folder)
}

/// Has the router read its configuration again, and waits for a new line of the log that says how it went.
///
/// # Errors
/// When it is not said in time.
pub fn reload(lab: &Lab, said: &str) -> Result<()> {
    let count = || lab.lango.program.log().matches(said).count();
    let before = count();
    lab.lango.program.signal(Signal::SIGHUP)?;
    until_true(&format!("{said:?} in the log"), SOON, || count() > before).with_context(|| lab.lango.program.tail(20))
}

/// The configuration that it had before.
pub struct Whole(String);

/// Starts the router again with no package of its own and a login server that does not answer: one for accounts that are sold elsewhere.
///
/// # Errors
/// When it does not start.
pub fn sell_nothing(lab: &Lab) -> Result<Whole> {
    let whole = fs::read_to_string(&lab.lango.config)?;
    let rest = whole.split("\nconfig package").next().unwrap_or_default();
    // An address of the cloud's network that nobody has.
    let section = "\nconfig radius 'radius'\n\tlist server '192.0.2.99:1812'\n\toption secret 'a-secret-of-the-lab'\n";
    fs::write(&lab.lango.config, format!("{rest}{section}"))?;
    lab.lango.program.terminate()?;
    lab.lango.start()?;
    Ok(Whole(whole))
}

impl Whole {
    /// Makes it as it was.
    ///
    /// # Errors
    /// When it does not start again.
    pub fn back(self, lab: &Lab) -> Result<()> {
        fs::write(&lab.lango.config, self.0)?;
        lab.lango.program.terminate()?;
        lab.lango.start()?;
        lab.lango.await_payments()
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let into = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &into)?;
        } else {
            fs::copy(entry.path(), into)?;
        }
    }
    Ok(())
}
