//! The shipped programs, found where cargo built them: the lab runs the same binaries that operators run.

use anyhow::{Result, bail};
use std::path::PathBuf;

/// Names the folders where the shipped programs are, a colon between them, when they are not this program's own.
pub const VARIABLE: &str = "LANGO_BIN_DIR";

/// The path of a shipped program: in the first of the folders that [`VARIABLE`] names which has it, or beside this program.
///
/// # Errors
/// When it was not built; the message says how.
pub fn find(name: &str) -> Result<PathBuf> {
    if let Some(folders) = std::env::var_os(VARIABLE) {
        for folder in std::env::split_paths(&folders) {
            let path = std::path::absolute(folder.join(name))?;
            if path.is_file() {
                return Ok(path);
            }
        }
        bail!("{VARIABLE} is {}, and there is no {name} in it: build it there first", folders.display());
    }
    let me = std::env::current_exe()?;
    // Tests lie one folder deeper.
    let found = me.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    match found {
        Some(path) => Ok(path),
        None => bail!("{name} is not built beside {}: run cargo build -p lango -p lango-relay with the same profile", me.display()),
    }
}
