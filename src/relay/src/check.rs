//! `lango-relay check`, for a config whose own words are fine: whether what it names can be used. It makes nothing, and what is on this
//! machine is told before anything is waited for.

use crate::config::{Config, Mistake};
use crate::folders;
use crate::ledger::{Place, Unreached};
use crate::radius;
use crate::signer::Signer;
use std::fs::OpenOptions;
use std::path::Path;

/// Something that the config names cannot be reached at this moment; the config itself may be as it should be.
#[derive(Debug, thiserror::Error)]
#[error("the config has no mistake that can be seen without a server, and:\n{0}")]
pub struct Away(String);

/// What must be put right in the config, or on this machine.
///
/// # Errors
/// [`Away`] where a server cannot be asked.
pub async fn look(config: &Config) -> anyhow::Result<Vec<Mistake>> {
    let mut mistakes = here(config);
    if !mistakes.is_empty() {
        return Ok(mistakes);
    }
    let lines = &config.lines;
    let ledger = async { (lines.database, "the ledger's server", config.database.reach().await) };
    let tables = async {
        let radius = config.radius.as_ref()?;
        Some((radius.line, "the RADIUS server's database", radius.place.reach().await))
    };
    let (ledger, tables) = tokio::join!(ledger, tables);
    let mut away = Vec::new();
    for (line, what, reached) in [Some(ledger), tables].into_iter().flatten() {
        match reached {
            Ok(()) => {}
            Err(Unreached::Refused(why)) => mistakes.push(Mistake { line, text: format!("{what} refuses what the config says: {why}") }),
            Err(Unreached::Away(why)) => away.push(format!(
                "line {line}: {what} cannot be reached: {why}. Start it, or correct `database`; then `lango-relay check` again"
            )),
        }
    }
    if away.is_empty() && mistakes.is_empty() {
        mistakes.extend(radius::commands::check(config).await?);
    }
    // What is to be put right comes first, also where something else is away.
    if mistakes.is_empty() && !away.is_empty() {
        return Err(Away(away.join("\n")).into());
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
