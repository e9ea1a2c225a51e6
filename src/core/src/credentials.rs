//! Ids and credentials, cut from the randomness that is handed in.

use crate::step::Entropy;
use crate::units::{MessageId, OrderId, Password, Username};

/// What people read aloud and type on a phone: no `i l o 0 1`.
const TYPED: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// Lower case and digits without the vowels that make words, 32 of them: five bits a character.
const OPAQUE: &[u8] = b"0123456789bcdfghjkmnpqrstvwxyzae";

/// Characters of a user name: 31^8, so that a fleet's accounts hardly ever meet (and each router checks its own).
const USERNAME: usize = 8;
/// Characters of a password: 31^6 with limited tries.
const PASSWORD: usize = 6;

fn pick(bytes: &[u8], alphabet: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
}

/// A payment's id: 130 bits.
#[must_use]
pub fn order_id(entropy: &Entropy) -> Option<OrderId> {
    pick(&entropy.0[..26], OPAQUE).parse().ok()
}

/// A nonce for a hello.
#[must_use]
pub fn nonce(entropy: &Entropy) -> Option<MessageId> {
    pick(&entropy.0[..26], OPAQUE).parse().ok()
}

/// A user name that nobody here has yet.
#[must_use]
pub fn username(entropy: &Entropy, taken: impl Fn(&Username) -> bool) -> Option<Username> {
    // A taken name turns the last character; 31 turns in a row taken is out of any shop's reach.
    (0..=u8::MAX).find_map(|turn| {
        let mut bytes: [u8; USERNAME] = [0; USERNAME];
        bytes.copy_from_slice(&entropy.0[..USERNAME]);
        bytes[USERNAME - 1] = bytes[USERNAME - 1].wrapping_add(turn);
        let name = pick(&bytes, TYPED).parse().ok()?;
        (!taken(&name)).then_some(name)
    })
}

/// A password; from other bytes than the name.
#[must_use]
pub fn password(entropy: &Entropy) -> Option<Password> {
    Password::new(&pick(&entropy.0[USERNAME..USERNAME + PASSWORD], TYPED)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_credentials_keep_to_their_forms() {
        let entropy = Entropy(std::array::from_fn(|i| u8::try_from(i * 37 % 256).unwrap()));
        assert_eq!(order_id(&entropy).unwrap().as_str().len(), 26);
        let name = username(&entropy, |_| false).unwrap();
        assert_eq!(name.as_str().len(), 8);
        let other = username(&entropy, |taken| *taken == name).unwrap();
        assert_ne!(name, other);
        assert_eq!(username(&entropy, |_| true), None);
        assert!(password(&entropy).unwrap().reveal().bytes().all(|b| TYPED.contains(&b)));
    }
}
