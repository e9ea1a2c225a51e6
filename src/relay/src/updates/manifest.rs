//! `lango-relay update manifest`: what is to be signed, made of the file itself.

use crate::commands::Misused;
use anyhow::Context;
use lango_core::time::Wall;
use lango_core::update::{Kind, Manifest, Url};
use ring::digest::{Context as Digest, SHA256};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// What the file does not say by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The program, or the image.
    pub file: PathBuf,
    /// For people.
    pub version: String,
    /// Higher than that of every release before.
    pub number: u64,
    /// A program's; none: it is an image.
    pub target: Option<String>,
    /// For which boards.
    pub boards: Vec<String>,
    /// Where routers get it.
    pub url: Url,
    /// Until when it may be begun with.
    pub until: Option<Wall>,
}

/// Prints the manifest.
///
/// # Errors
/// When the file cannot be read, or it would be none.
pub fn print(release: &Release) -> anyhow::Result<()> {
    let path = release.file.display();
    let mut file = File::open(&release.file).with_context(|| format!("{path} cannot be read"))?;
    let (mut digest, mut size, mut bytes) = (Digest::new(&SHA256), 0, vec![0; 1 << 16]);
    loop {
        let count = file.read(&mut bytes).with_context(|| format!("{path} cannot be read"))?;
        if count == 0 {
            break;
        }
        digest.update(bytes.get(..count).unwrap_or_default());
        size += count as u64;
    }
    let manifest = Manifest {
        kind: if release.target.is_some() { Kind::Program } else { Kind::Image },
        version: release.version.clone(),
        number: release.number,
        target: release.target.clone(),
        boards: release.boards.clone(),
        size,
        sha256: digest.finish().as_ref().try_into()?,
        url: release.url.clone(),
        until: release.until,
    };
    let text = manifest.to_text();
    // As every router will read it.
    Manifest::parse(&text).map_err(|wrong| Misused(format!("no router would take this manifest: {wrong}")))?;
    print!("{text}");
    Ok(())
}
