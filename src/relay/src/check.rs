//! `lango-relay check`, for a config whose own words are fine: whether what it names can be used. It makes nothing, and what is on this
//! machine is told before anything is waited for.

use crate::config::{Config, Mistake};
use crate::folders;
use crate::ledger::Place;
use crate::radius;
use crate::signer::Signer;
use std::fs::OpenOptions;
use std::path::Path;

/// What must be put right in the config, or on this machine.
///
/// # Errors
/// When a database cannot be reached.
pub async fn look(config: &Config) -> anyhow::Result<Vec<Mistake>> {
    let mut mistakes = here(config);
    if mistakes.is_empty() {
        mistakes.extend(radius::commands::check(config).await?);
    }
    Ok(mistakes)
}

/// The files that the config names.
fn here(config: &Config) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    if let Err(error) = Signer::look(&config.signing_key) {
        mistakes.push(Mistake { line: config.lines.signing_key, text: format!("signing_key: {error:#}") });
    }
    if let Place::Sqlite(path) = &config.database
        && let Err(error) = database(path)
    {
        mistakes.push(Mistake { line: config.lines.database, text: format!("database: {error:#}") });
    }
    mistakes.sort_by_key(|mistake| mistake.line);
    mistakes
}

fn database(path: &Path) -> anyhow::Result<()> {
    use anyhow::Context;
    if path.exists() {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        return opened.map(drop).with_context(|| format!("{} cannot be opened", path.display()));
    }
    folders::could_make(path).with_context(|| format!("{} cannot be made", path.display()))
}
