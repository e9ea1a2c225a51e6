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
