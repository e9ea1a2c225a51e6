//! `lango-relay posts`: what Safaricom told of money and this program could not read. It stays until somebody has seen to it, or
//! a newer program reads it.

use crate::clock;
use crate::commands::{Misused, existing, table};
use crate::config::Config;
use crate::daraja::c2b;
use crate::ledger::Ledger;
use crate::nairobi;
use lango_core::time::Wall;
use serde_json::{Value, json};

/// What was posted so lately, in milliseconds, the daemon may be about to read.
const JUST_NOW: u64 = 5_000;

/// A confirmation that is not readable.
pub(crate) struct Unread {
    id: String,
    at: Wall,
    why: String,
    words: String,
}

pub(crate) async fn unread(ledger: &Ledger) -> anyhow::Result<Vec<Unread>> {
    let posts = ledger.open_confirmations(Wall(clock::now().0.saturating_sub(JUST_NOW))).await?;
    let unread = posts.into_iter().filter_map(|(at, post)| {
        let why = c2b::read(&post.body).err()?.to_string();
        Some(Unread { id: post.id, at, why, words: String::from_utf8_lossy(&post.body).into_owned() })
    });
    Ok(unread.collect())
}

/// Lists them, the oldest first, with Safaricom's own words.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn list(config: &Config, as_json: bool) -> anyhow::Result<()> {
    let unread = unread(&existing(config).await?).await?;
    if as_json {
        let object = |post: &Unread| json!({"post": post.id, "at": post.at.to_rfc3339(), "why": post.why, "words": post.words});
        println!("{}", Value::from(unread.iter().map(object).collect::<Vec<_>>()));
        return Ok(());
    }
    // What could move the cursor, or look like other lines, is not for a terminal.
    let shown = |words: &str| words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let rows = unread.iter().map(|post| [nairobi::text(post.at), post.id.clone(), post.why.clone(), shown(&post.words)]);
    print!("{}", table(["TIME", "POST", "WHY", "WORDS"], rows));
    Ok(())
}

/// Somebody has seen to it: it is not shown or read any more.
///
/// # Errors
/// When there is none of that id that could not be read.
pub async fn done(config: &Config, id: &str) -> anyhow::Result<()> {
    let ledger = existing(config).await?;
    if !unread(&ledger).await?.iter().any(|post| post.id == id) {
        return Err(Misused(format!("there is no post {id} that could not be read: `lango-relay posts` lists them")).into());
    }
    ledger.post_is_done(id).await?;
    println!("{id} is seen to. The words themselves stay in the ledger's table posts.");
    Ok(())
}
