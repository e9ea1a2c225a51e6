//! Keys and signatures in the form of OpenWrt's `usign` and OpenBSD's `signify`: a comment's line, and one of base64. Plain Ed25519
//! (RFC 8032) over the file's bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The name of a key, which its signatures carry: it tells which key to try, and proves nothing.
pub type KeyId = [u8; 8];

/// What releases are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseKey {
    /// Its name.
    pub id: KeyId,
    /// The Ed25519 public key.
    pub key: [u8; 32],
}

/// A signature over a manifest's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The name of the key that made it.
    pub id: KeyId,
    /// Ed25519.
    pub bytes: [u8; 64],
}

/// `Ed`, the key's name, and the rest, out of a file's text or of its line of base64 alone.
fn unwrapped<const N: usize>(text: &str) -> Option<(KeyId, [u8; N])> {
    let text = text.strip_prefix("untrusted comment:").and_then(|rest| rest.split_once('\n')).map_or(text, |(_, line)| line);
    let text = text.strip_suffix('\n').unwrap_or(text);
    // No larger text is looked at: what comes from outside is as long as its sender likes.
    let bytes = STANDARD.decode(Some(text).filter(|text| text.len() <= 128)?).ok()?;
    let (id, rest) = bytes.strip_prefix(b"Ed")?.split_first_chunk::<8>()?;
    Some((*id, rest.try_into().ok()?))
}

impl ReleaseKey {
    /// Reads a public key: the file's text, or its second line alone.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        unwrapped(text).map(|(id, key)| Self { id, key })
    }
}

impl Signature {
    /// Reads a signature: the file's text, or its second line alone.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        unwrapped(text).map(|(id, bytes)| Self { id, bytes })
    }

    /// The line of base64, as it is sent.
    #[must_use]
    pub fn to_line(&self) -> String {
        STANDARD.encode([b"Ed".as_slice(), &self.id, &self.bytes].concat())
    }
}
