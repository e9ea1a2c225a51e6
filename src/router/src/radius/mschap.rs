//! CHAP and MS-CHAPv2 (RFC 1994, RFC 2759): what shows that a password is known without sending it. Pure.

use des::Des;
use des::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use md4::Md4;
use md5::{Digest as _, Md5};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use std::fmt::Write as _;

/// The value of CHAP-Password (RFC 2865 section 5.3): the identifier and its digest.
#[must_use]
pub fn chap(identifier: u8, password: &[u8], challenge: &[u8]) -> [u8; 17] {
    let digest: [u8; 16] = Md5::new().chain_update([identifier]).chain_update(password).chain_update(challenge).finalize().into();
    let mut value = [identifier; 17];
    value[1..].copy_from_slice(&digest);
    value
}

/// What goes into MS-CHAP2-Response, and what MS-CHAP2-Success must say.
pub struct Response {
    /// NT-Response: 24 octets.
    pub nt: [u8; 24],
    /// `S=` and 40 hex digits: by it the server shows that it knows the password, too.
    pub success: String,
}

/// RFC 2759 section 8.
#[must_use]
pub fn mschapv2(challenge: &[u8; 16], peer_challenge: &[u8; 16], user: &str, password: &str) -> Response {
    // A user name may have a domain before it, which is not part of the challenge (section 4).
    let name = user.rsplit('\\').next().unwrap_or(user);
    let hashed = sha1(&[peer_challenge, challenge, name.as_bytes()]);
    let mut short = [0; 8];
    short.copy_from_slice(&hashed[..8]);
    let mut md4 = Md4::new();
    for unit in password.encode_utf16() {
        md4.update(unit.to_le_bytes());
    }
    let password_hash: [u8; 16] = md4.finalize().into();
    let nt = challenge_response(short, &password_hash);
    let hash_of_hash: [u8; 16] = Md4::digest(password_hash).into();
    let digest = sha1(&[&hash_of_hash, &nt, b"Magic server to client signing constant"]);
    let digest = sha1(&[&digest, &short, b"Pad to make it do more than one iteration"]);
    let mut success = String::from("S=");
    for octet in digest {
        let written = write!(success, "{octet:02X}");
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    Response { nt, success }
}

fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().try_into().unwrap_or_default()
}

/// RFC 2759 section 8.5: the challenge under three DES keys that the password's hash gives.
fn challenge_response(challenge: [u8; 8], password_hash: &[u8; 16]) -> [u8; 24] {
    let mut padded = [0; 21];
    padded[..16].copy_from_slice(password_hash);
    let mut response = [0; 24];
    for (key, place) in padded.chunks_exact(7).zip(response.chunks_exact_mut(8)) {
        let mut block = challenge.into();
        Des::new(&with_parity(key).into()).encrypt_block(&mut block);
        place.copy_from_slice(&block);
    }
    response
}

/// Seven octets as DES takes them: seven bits in each of eight, above a bit for the parity, which nobody looks at.
fn with_parity(key: &[u8]) -> [u8; 8] {
    let bits = key.iter().fold(0u64, |bits, octet| bits << 8 | u64::from(*octet));
    std::array::from_fn(|index| {
        let seven = bits >> (49 - 7 * index) & 0x7f;
        u8::try_from(seven << 1).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2759 section 9.2.
    #[test]
    fn the_example_of_the_rfc() {
        let challenge = [0x5b, 0x5d, 0x7c, 0x7d, 0x7b, 0x3f, 0x2f, 0x3e, 0x3c, 0x2c, 0x60, 0x21, 0x32, 0x26, 0x26, 0x28];
        let peer = [0x21, 0x40, 0x23, 0x24, 0x25, 0x5e, 0x26, 0x2a, 0x28, 0x29, 0x5f, 0x2b, 0x3a, 0x33, 0x7c, 0x7e];
        for user in ["User", "BIGCO\\User"] {
            let response = mschapv2(&challenge, &peer, user, "clientPass");
            assert_eq!(
                response.nt,
                [
                    0x82, 0x30, 0x9e, 0xcd, 0x8d, 0x70, 0x8b, 0x5e, 0xa0, 0x8f, 0xaa, 0x39, 0x81, 0xcd, 0x83, 0x54, 0x42, 0x33, 0x11, 0x4a,
                    0x3d, 0x85, 0xd6, 0xdf
                ]
            );
            assert_eq!(response.success, "S=407A5589115FD0D6209F510FE9C04566932CDA56");
        }
    }

    /// RFC 2865 section 7.2: the second example, of which the challenge is the packet's authenticator.
    #[test]
    fn the_chap_example_of_the_rfc() {
        let challenge = [0x2a, 0xee, 0x86, 0xf0, 0x8d, 0x0d, 0x55, 0x96, 0x9c, 0xa5, 0x97, 0x8e, 0x0d, 0x33, 0x67, 0xa2];
        let expected = [0x16, 0xe9, 0x75, 0x57, 0xc3, 0x16, 0x18, 0x58, 0x95, 0xf2, 0x93, 0xff, 0x63, 0x44, 0x07, 0x72, 0x75];
        assert_eq!(chap(0x16, b"arctangent", &challenge), expected);
    }
}
