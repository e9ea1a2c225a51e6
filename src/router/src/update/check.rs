//! A release's file: fetched where it is not here yet, and held against its manifest; an image against the board, too.

use super::fetch::{self, Patience, Wanted};
use crate::tls;
use lango_core::update::{Kind, Manifest, Reason};
use ring::digest::{Context, SHA256};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Fetches what is not here yet, and checks it.
///
/// # Errors
/// Why it is not to be had; nothing of it is left then.
pub(super) async fn fetch_checked(manifest: Manifest, path: PathBuf, ca: Option<&Path>, patience: Patience) -> Result<(), Reason> {
    let kind = manifest.kind;
    let wanted = Wanted { url: manifest.url.clone(), size: manifest.size, sha256: manifest.sha256, path: path.clone() };
    // It may lie there since before a restart: an image is no smaller the second time, and a line no cheaper.
    if !holds(path, manifest).await.is_ok_and(|holds| holds) {
        fetch_over_tls(&wanted, ca, patience).await?;
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

async fn fetch_over_tls(wanted: &Wanted, ca: Option<&Path>, patience: Patience) -> Result<(), Reason> {
    let tls = tls::client_config(ca, None).map_err(|cause| {
        log::error!("update: {cause}");
        Reason::Unreachable
    })?;
    fetch::fetch(wanted, tls, patience).await
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
pub(super) async fn holds(path: PathBuf, manifest: Manifest) -> io::Result<bool> {
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
