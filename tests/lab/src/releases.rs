//! What an operator makes releases with: keys and signatures by Debian's `signify-openbsd`, manifests and offers by the relay's own commands, and
//! a web server over TLS.

use crate::authority::Authority;
use crate::downloads::Downloads;
use crate::net::Namespace;
use crate::relay::Relay;
use crate::router;
use crate::world::CLOUD4;
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::path::{Path, PathBuf};

const PORT: u16 = 8443;
/// Who signs releases, and somebody whom no router knows.
const NAMES: [&str; 2] = ["release", "stranger"];

/// The operator's folder and web server.
pub struct Releases {
    /// Where the files are fetched from.
    pub server: Downloads,
    /// Its certificate authority, for the routers' `ca`, as PEM.
    pub ca: String,
    /// The release key, for the routers' `key`.
    pub key: String,
    folder: PathBuf,
    target: String,
    board: String,
}

fn signify(arguments: &[&str], folder: &Path) -> Result<()> {
    let output = std::process::Command::new("signify-openbsd").args(arguments).current_dir(folder).output();
    let output = output.context("signify-openbsd is installed: apt-get install signify-openbsd, or tools/setup.sh")?;
    ensure!(output.status.success(), "signify {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

impl Releases {
    /// Makes the keys `release` and `stranger` in that folder, and starts the server in the cloud. What is released is for that board, and built for
    /// that target.
    ///
    /// # Errors
    /// When a program is missing, or the server's port cannot be had.
    pub fn new(cloud: &Namespace, folder: &Path, target: &str, board: &str) -> Result<Self> {
        let authority = Authority::new("The releases' authority")?;
        let server = Downloads::inside(cloud, &authority, CLOUD4, PORT)?;
        for name in NAMES {
            let (public, secret) = (format!("{name}.pub"), format!("{name}.sec"));
            signify(&["-G", "-n", "-p", &public, "-s", &secret, "-c", name], folder)?;
        }
        let public = std::fs::read_to_string(folder.join("release.pub"))?;
        let key = public.lines().nth(1).context("the public key's second line")?.to_owned();
        Ok(Self { server, ca: authority.pem(), key, folder: folder.to_owned(), target: target.to_owned(), board: board.to_owned() })
    }

    /// The manifest of a program, as the relay's command makes it.
    ///
    /// # Errors
    /// When it refuses.
    pub fn manifest(&self, relay: &Relay, file: &[u8], number: u64) -> Result<String> {
        let path = self.folder.join("file");
        std::fs::write(&path, file)?;
        let (number, url) = (number.to_string(), format!("https://{CLOUD4}:{PORT}/lango"));
        let path = path.to_str().context("the lab's folder is text")?;
        let of = ["--number", &number, "--target", &self.target, "--board", &self.board, "--url", &url];
        relay.command(&[&["update", "manifest", path, "--version", "9.9"], of.as_slice()].concat())
    }

    /// Signs it with the key of that name, and offers it to the lab's router.
    ///
    /// # Errors
    /// When the relay does not take it.
    pub fn offer(&self, relay: &Relay, manifest: &str, key: &str) -> Result<()> {
        let path = self.folder.join("manifest");
        std::fs::write(&path, manifest)?;
        signify(&["-S", "-s", &format!("{key}.sec"), "-m", "manifest"], &self.folder)?;
        relay.command(&["update", "offer", path.to_str().context("the lab's folder is text")?, router::NAME]).map(drop)
    }

    /// Makes the key `forged`: the one of `key_of`, under the name that the one of `name_of` has. Its signatures name the key that routers know.
    ///
    /// # Errors
    /// When one of them is no key of signify's.
    pub fn forge(&self, name_of: &str, key_of: &str) -> Result<()> {
        let line = |key: &str| -> Result<Vec<u8>> {
            let text = std::fs::read_to_string(self.folder.join(format!("{key}.sec")))?;
            let key = STANDARD.decode(text.lines().nth(1).context("a secret key's second line")?).ok().context("it is no base64")?;
            // signify(1)'s struct enckey: what it is for, 2 and 2; rounds, 4; salt, 16; checksum, 8; the name, 8; the key, 64.
            ensure!(key.len() == 104, "a secret key of {} bytes", key.len());
            Ok(key)
        };
        let (of_name, mut forged) = (line(name_of)?, line(key_of)?);
        forged[32..40].copy_from_slice(&of_name[32..40]);
        let text = format!("untrusted comment: forged\n{}\n", STANDARD.encode(forged));
        Ok(std::fs::write(self.folder.join("forged.sec"), text)?)
    }

    /// What the relay knows of the lab's router's update.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn update(&self, relay: &Relay) -> Result<Value> {
        let all: Value = serde_json::from_str(&relay.command(&["update", "list", "--json"])?)?;
        let routers = all.as_array().with_context(|| format!("no list: {all}"))?;
        let own = routers.iter().find(|line| line["router"] == router::NAME);
        Ok(own.with_context(|| format!("{} is not in {all}", router::NAME))?["update"].clone())
    }
}
