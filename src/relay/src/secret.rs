//! Random texts that nobody can guess, from the operating system.

use anyhow::anyhow;
use lango_core::step::Entropy;
use lango_core::units::{MessageId, Password};
use ring::rand::{SecureRandom, SystemRandom};

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow!("the system gives no random numbers"))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The last part of a payment's callback URL: 128 bits as hex digits. Whoever knows it is believed to be Safaricom, so it
/// is shown to nobody else: it has neither `Debug` nor `Display`. Hex, because Daraja refuses addresses with capitals
/// or with any of the words that a random text over more letters would hold sooner or later.
#[derive(Clone, PartialEq, Eq)]
pub struct CallbackSecret(String);

impl CallbackSecret {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self(hex(&random::<16>()?)))
    }
    /// Reads one from a path.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 32 && text.bytes().all(hex)).then(|| Self(text.to_owned()))
    }
    /// The text, for the URL and the ledger. Never for a log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// An id for a new message to a router.
///
/// # Errors
/// When the system gives no random numbers.
pub fn message_id() -> anyhow::Result<MessageId> {
    Ok(hex(&random::<16>()?).parse()?)
}

/// An id for a row of the ledger.
///
/// # Errors
/// When the system gives no random numbers.
pub fn row_id() -> anyhow::Result<String> {
    Ok(hex(&random::<16>()?))
}

/// An id for a text (SMS): short enough to be typed, and no payment's, which has no `-`.
///
/// # Errors
/// When the system gives no random numbers.
pub fn text_id() -> anyhow::Result<String> {
    Ok(format!("sms-{}", hex(&random::<6>()?)))
}

/// Randomness as the core takes it.
///
/// # Errors
/// When the system gives no random numbers.
pub fn entropy() -> anyhow::Result<Entropy> {
    random().map(Entropy)
}

/// A password for a router at the broker: 26 letters and digits that cannot be mistaken for each other, 130 bits.
///
/// # Errors
/// When the system gives no random numbers.
pub fn password() -> anyhow::Result<Password> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let text: String = random::<26>()?.iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect();
    Ok(Password::new(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_secret_is_lower_case_hex_and_nothing_else() {
        let secret = CallbackSecret::new().unwrap();
        assert!(CallbackSecret::parse(secret.reveal()).is_some_and(|parsed| parsed == secret));
        assert!(CallbackSecret::new().unwrap() != secret);
        for text in ["", "00", "0123456789abcdef0123456789abcdeF", "0123456789abcdef0123456789abcdeg", "0123456789abcdef0123456789abcdef0"]
        {
            assert!(CallbackSecret::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn passwords_are_long_and_differ() {
        let (one, other) = (password().unwrap(), password().unwrap());
        assert_eq!(one.reveal().len(), 26);
        assert!(!one.matches(&other));
    }
}
