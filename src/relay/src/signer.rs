//! The relay's signature: what makes a router believe it. The key is made at the first start and never leaves its file.

use crate::folders;
use anyhow::{Context, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lango_core::message::{Down, SIGNATURE_CONTEXT, Sealed};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Signs.
pub struct Signer {
    key: Ed25519KeyPair,
}

impl Signer {
    /// Reads the key (PKCS#8), or makes it where there is none, with the folders above it.
    ///
    /// # Errors
    /// When it cannot be read or made, is no such key, or can be read by others than its owner.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        match Self::read(path) {
            Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == ErrorKind::NotFound) => {
                Self::make(path)?;
                Self::read(path)
            }
            other => other,
        }
    }

    /// Whether [`Signer::open`] would do, as far as that can be seen without making anything.
    ///
    /// # Errors
    /// As [`Signer::open`].
    pub fn look(path: &Path) -> anyhow::Result<()> {
        match Self::read(path) {
            Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == ErrorKind::NotFound) => {
                folders::could_make(path).with_context(|| format!("{} cannot be made", path.display()))
            }
            other => other.map(drop),
        }
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let mut file = File::open(path).with_context(|| format!("the signing key {shown} cannot be read"))?;
        let mode = file.metadata()?.permissions().mode();
        if mode & 0o077 != 0 {
            bail!("the signing key {shown} can be read by others: chmod 600 it, and make a new one if others had access");
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Self::from_pkcs8(&bytes).with_context(|| format!("{shown} is no signing key of ours; put the right file back from the backup"))
    }

    fn make(path: &Path) -> anyhow::Result<()> {
        let shown = path.display();
        folders::make_for(path).with_context(|| format!("the signing key {shown} cannot be made"))?;
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| anyhow!("the system gives no random numbers"))?;
        // Written beside and moved into place: a crash in between must not leave half a key under the name.
        let beside = path.with_extension("new");
        let _ = std::fs::remove_file(&beside);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .with_context(|| format!("the signing key {shown} cannot be made"))?;
        file.write_all(document.as_ref())?;
        file.sync_all()?;
        // A link and not a rename: where two programs start at once, the first one's key stays.
        match std::fs::hard_link(&beside, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("the signing key {shown} cannot be made"));
            }
            _ => std::fs::remove_file(&beside)?,
        }
        File::open(folders::of(path))?.sync_all()?;
        Ok(())
    }

    /// From a key's PKCS#8 document.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pkcs8(bytes: &[u8]) -> anyhow::Result<Self> {
        Ok(Self { key: Ed25519KeyPair::from_pkcs8(bytes).map_err(|rejected| anyhow!("not an Ed25519 key in PKCS#8 ({rejected})"))? })
    }

    /// What routers check signatures with: the raw 32 bytes, in base64 (option `relay_key`).
    #[must_use]
    pub fn public_key(&self) -> String {
        STANDARD.encode(self.key.public_key())
    }

    /// A secret of ours for one purpose, 128 bits as hex digits: the same for all who have this key, and for ever. It is cut from
    /// a signature (Ed25519's have no randomness) over a text that no message begins with.
    #[must_use]
    pub fn secret_for(&self, purpose: &str) -> String {
        let signature = self.key.sign(format!("lango/v1/secret\n{purpose}").as_bytes());
        let digest = ring::digest::digest(&ring::digest::SHA256, signature.as_ref());
        digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Signs a message and puts it into its envelope.
    #[must_use]
    pub fn seal(&self, down: &Down) -> Sealed {
        let signed = down.to_json();
        let signature = self.key.sign(&[SIGNATURE_CONTEXT, signed.as_bytes()].concat());
        down.seal(signed, STANDARD.encode(signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lango_core::message::{DownBody, Outcome, PaymentUpdate};
    use lango_core::time::Wall;
    use lango_core::units::Shillings;

    /// RFC 8032, section 7.1, TEST 1: its secret and its public key.
    const SEED: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32,
        0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
    ];

    fn signer() -> Signer {
        Signer { key: Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap() }
    }

    /// If this test fails, do not change the test: routers in the field know these bytes.
    #[test]
    fn frozen_signature() {
        let down = Down {
            v: 1,
            id: "5f0c6bd0a7f14f7b9e0d3c2b1a009988".parse().unwrap(),
            seq: 42,
            router: "kibera-7".parse().unwrap(),
            at: Wall(1_795_340_999_000),
            body: DownBody::Payment(PaymentUpdate {
                order: "0kq3v9x1c7mzp2w8tdl5hb6ny4".parse().unwrap(),
                package: "hour".parse().unwrap(),
                device: "02:00:5e:10:00:01".parse().unwrap(),
                phone: "254712345678".parse().unwrap(),
                outcome: Outcome::Paid { receipt: "NLJ7RT61SV".parse().unwrap(), amount: Shillings(10) },
            }),
        };
        let sealed = signer().seal(&down);
        assert_eq!(signer().public_key(), "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
        assert_eq!(String::from_utf8(sealed.to_json()).unwrap(), FROZEN);
        // Not only the same as ever, but right: checked as a router checks it.
        let public = STANDARD.decode(signer().public_key()).unwrap();
        let signature = STANDARD.decode(&sealed.signature).unwrap();
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public);
        assert!(key.verify(&sealed.signed_bytes(), &signature).is_ok());
        assert_eq!(sealed.open(&"kibera-7".parse().unwrap()).unwrap(), down);
    }

    const FROZEN: &str = concat!(
        r#"{"v":1,"id":"5f0c6bd0a7f14f7b9e0d3c2b1a009988","seq":42,"signed":"{\"v\":1,\"id\":\"5f0c6bd0a7f14f7b9e0d3c2b1a009988\",\"seq\":42,"#,
        r#"\"router\":\"kibera-7\",\"at\":1795340999000,\"type\":\"payment\",\"order\":\"0kq3v9x1c7mzp2w8tdl5hb6ny4\",\"package\":\"hour\","#,
        r#"\"device\":\"02:00:5e:10:00:01\",\"phone\":\"254712345678\",\"status\":\"paid\",\"receipt\":\"NLJ7RT61SV\",\"amount\":10}","#,
        r#""signature":"LXX12ACA3mTpoSmmKw/nC5L7xv/k0IDZAwujOEkOBcVAvvUUFRyrapaz9VReZ6jDfM3YKyQJnAwf71b9XM7xAg=="}"#,
    );

    /// If this test fails, do not change the test: the address stands at operators' SMS gateways.
    #[test]
    fn a_secret_is_one_for_each_purpose_and_stays() {
        let secret = signer().secret_for("sms reports");
        assert_eq!((secret.len(), secret.as_str()), (32, "bc42aaca16fa6a322e0dd54608fc00bc"));
        assert_ne!(signer().secret_for("another"), secret);
    }

    #[test]
    fn the_key_is_made_once_and_kept_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        let key = Signer::open(&path).unwrap().public_key();
        assert_eq!(Signer::open(&path).unwrap().public_key(), key);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something was left beside the key");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(Signer::open(&path).err().unwrap().to_string().contains("chmod 600"));
    }

    #[test]
    fn what_is_no_key_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap().write_all(b"hello").unwrap();
        assert!(Signer::open(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"hello");
    }
}
