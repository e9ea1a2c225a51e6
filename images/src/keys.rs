//! The keys that feeds are signed with: usign's for opkg (Ed25519, in OpenBSD's signify form) and apk's (ECDSA over P-256).

use crate::adb::Schema;
use crate::tree::write_file;
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::ecdsa::{DerSignature, Signature, SigningKey};
use p256::elliptic_curve::sec1::ToSec1Point as _;
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use ring::digest::{SHA512, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use std::path::Path;
use std::{fs, io};

/// The secret halves, by the names of their files in the keys' folder. Whoever has them can put any program onto the routers.
pub const USIGN_SECRET: &str = "lango-feed.sec";
/// The same for apk.
pub const APK_SECRET: &str = "lango-feed.pem";
/// apk's public half; on routers it lies in `/etc/apk/keys`.
pub const APK_PUBLIC: &str = "lango-feed.pub.pem";

/// opkg's key: Ed25519, with the eight bytes that name it.
pub struct UsignKey {
    id: [u8; 8],
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

/// apk's key.
pub struct ApkKey(SigningKey);

/// Both.
pub struct Keys {
    /// For `Packages`.
    pub usign: UsignKey,
    /// For packages and `packages.adb`.
    pub apk: ApkKey,
}

impl Keys {
    /// New keys.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> anyhow::Result<Self> {
        let (mut id, mut seed) = ([0; 8], [0; 32]);
        fill(&mut id)?;
        fill(&mut seed)?;
        let apk = loop {
            let mut scalar = [0; 32];
            fill(&mut scalar)?;
            // Zero and what is not below the curve's order are no keys: one in 2^32.
            if let Ok(key) = SigningKey::from_slice(&scalar) {
                break ApkKey(key);
            }
        };
        Ok(Self { usign: UsignKey::new(id, seed)?, apk })
    }

    /// Writes them into a folder, secret and public halves. Keys that are there stay.
    ///
    /// # Errors
    /// When there are keys already, or they cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        for name in [USIGN_SECRET, APK_SECRET] {
            let path = folder.join(name);
            anyhow::ensure!(!path.exists(), "{} is there already, and routers may know its other half: it stays as it is", path.display());
        }
        write_file(&folder.join(USIGN_SECRET), 0o600, self.usign.secret_file().as_bytes())?;
        write_file(&folder.join(APK_SECRET), 0o600, self.apk.secret_pem()?.as_bytes())?;
        self.write_public(folder)
    }

    /// Writes the public halves: opkg's as a file that has the key's id as its name, as `/etc/opkg/keys` wants it, and the same with a
    /// name for people.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write_public(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let usign = self.usign.public_file();
        write_file(&folder.join(self.usign.id()), 0o644, usign.as_bytes())?;
        write_file(&folder.join("lango-feed.pub"), 0o644, usign.as_bytes())?;
        write_file(&folder.join(APK_PUBLIC), 0o644, self.apk.public_pem()?.as_bytes())
    }

    /// Reads them from a folder that [`Keys::write`] made.
    ///
    /// # Errors
    /// When they are not there, or are no such keys.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path)
                .with_context(|| format!("{} cannot be read: `lango-images keys {}` makes keys", path.display(), folder.display()))
        };
        let usign = UsignKey::parse(&read(USIGN_SECRET)?).with_context(|| format!("{USIGN_SECRET} is no usign key without a password"))?;
        let apk = SigningKey::from_pkcs8_pem(&read(APK_SECRET)?).with_context(|| format!("{APK_SECRET} is no P-256 key in PKCS #8"))?;
        Ok(Self { usign, apk: ApkKey(apk) })
    }
}

impl UsignKey {
    fn new(id: [u8; 8], seed: [u8; 32]) -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|error| anyhow::anyhow!("the key is none: {error}"))?;
        Ok(Self { id, seed, pair })
    }

    /// The key's name, as usign prints it: 16 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        hex(&self.id)
    }

    /// The public half: two lines.
    #[must_use]
    pub fn public_file(&self) -> String {
        lines(&format!("public key {}", self.id()), &[b"Ed", self.id.as_slice(), self.pair.public_key().as_ref()].concat())
    }

    /// The secret half, without a password: what signify and usign make with `-n`.
    fn secret_file(&self) -> String {
        let key = [self.seed.as_slice(), self.pair.public_key().as_ref()].concat();
        let check = digest(&SHA512, &key);
        // "BK" and no rounds: no password. The salt of 16 bytes means nothing then.
        let content = [b"EdBK\0\0\0\0".as_slice(), &[0; 16], &check.as_ref()[..8], &self.id, &key].concat();
        lines(&format!("private key {}", self.id()), &content)
    }

    fn parse(file: &str) -> Option<Self> {
        let content = BASE64.decode(file.lines().nth(1)?).ok()?;
        let (head, key) = content.split_at_checked(40)?;
        if !head.starts_with(b"EdBK\0\0\0\0") || digest(&SHA512, key).as_ref()[..8] != head[24..32] {
            return None;
        }
        let new = Self::new(head[32..40].try_into().ok()?, key.get(..32)?.try_into().ok()?).ok()?;
        (key.get(32..)? == new.pair.public_key().as_ref()).then_some(new)
    }

    /// A signature's file: plain Ed25519 (RFC 8032) over the content.
    #[must_use]
    pub fn sign(&self, content: &[u8]) -> String {
        let signature = self.pair.sign(content);
        lines(&format!("signed by key {}", self.id()), &[b"Ed", self.id.as_slice(), signature.as_ref()].concat())
    }
}

impl ApkKey {
    /// The content of a signature block: version, digest, the key's id, and the signature over these, the schema and the SHA-512 of the
    /// values (apk-tools, `adb_sign_v0`). The same for the same content: the nonce is RFC 6979's.
    ///
    /// # Errors
    /// None with a digest of that length.
    pub fn sign(&self, schema: Schema, block: &[u8]) -> io::Result<Vec<u8>> {
        const VERSION: u8 = 0;
        const WITH_SHA512: u8 = 4;
        let head = [&[VERSION, WITH_SHA512], self.id().as_slice()].concat();
        let signed = [schema.bytes().as_slice(), &head, digest(&SHA512, block).as_ref()].concat();
        let signature: Signature = self.0.sign_prehash(digest(&SHA512, &signed).as_ref()).map_err(io::Error::other)?;
        Ok([head.as_slice(), DerSignature::from(signature).as_bytes()].concat())
    }

    /// What names it in a signature: the beginning of the SHA-512 of its point.
    fn id(&self) -> [u8; 16] {
        let point = self.0.verifying_key().as_affine().to_sec1_point(false);
        let mut id = [0; 16];
        id.copy_from_slice(&digest(&SHA512, point.as_bytes()).as_ref()[..16]);
        id
    }

    fn secret_pem(&self) -> anyhow::Result<String> {
        Ok(self.0.to_pkcs8_pem(LineEnding::LF)?.to_string())
    }

    /// The public half, as PEM.
    ///
    /// # Errors
    /// None for a key that is one.
    pub fn public_pem(&self) -> anyhow::Result<String> {
        Ok(self.0.verifying_key().to_public_key_pem(LineEnding::LF)?)
    }
}

fn lines(comment: &str, content: &[u8]) -> String {
    format!("untrusted comment: {comment}\n{}\n", BASE64.encode(content))
}

fn fill(bytes: &mut [u8]) -> anyhow::Result<()> {
    SystemRandom::new().fill(bytes).map_err(|_| anyhow::anyhow!("the system has no randomness"))
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::generate().unwrap();
        keys.write(folder.path()).unwrap();
        let read = Keys::read(folder.path()).unwrap();
        assert_eq!(read.usign.sign(b"x"), keys.usign.sign(b"x"));
        assert_eq!(read.apk.sign(Schema::Index, b"x").unwrap(), keys.apk.sign(Schema::Index, b"x").unwrap(), "signing is deterministic");
        let error = Keys::generate().unwrap().write(folder.path()).unwrap_err();
        assert!(error.to_string().contains("is there already"), "{error}");
        assert_eq!(Keys::read(folder.path()).unwrap().usign.id(), keys.usign.id());
    }

    #[test]
    fn a_damaged_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Keys::generate().unwrap().write(folder.path()).unwrap();
        let path = folder.path().join(USIGN_SECRET);
        let text = fs::read_to_string(&path).unwrap();
        let mut content = BASE64.decode(text.lines().nth(1).unwrap()).unwrap();
        content[60] ^= 1;
        fs::write(&path, lines("private key", &content)).unwrap();
        assert!(Keys::read(folder.path()).is_err());
    }
}
