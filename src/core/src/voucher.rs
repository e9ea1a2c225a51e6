//! Vouchers: codes that are printed and sold, and what the router keeps of them. Never the code itself: its hash
//! (docs/decisions/0019-vouchers.md says why this hash suffices for codes of this length).

use crate::package::Package;
use crate::step::Entropy;
use crate::time::{BootId, Day, Monotonic, Wall};
use crate::units::{Invalid, Mac, PackageId, RouterName, Username};
use serde::{Deserialize, Serialize, de};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// What is printed, and typed on a phone: no `0 O 1 I L`.
const ALPHABET: &[u8; 31] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";

/// Characters of a code: 31^12, 59 bits.
const LENGTH: usize = 12;

/// Rounds of PBKDF2 (RFC 8018): 1,000 compressions of SHA-256 a try, 2 to 3 ms on the routers' processors.
const ROUNDS: u32 = 500;

/// What is hashed with the salt, so that a hash made for anything else never is a voucher's.
const CONTEXT: &[u8] = b"lango/v1/voucher\n";

/// Vouchers made at once, at most.
pub const MOST_AT_ONCE: u16 = 1_000;

/// Vouchers in one message of the relay, at most: it must stay well below [`crate::message::MAX_PAYLOAD`].
pub const MOST_IN_A_MESSAGE: u16 = 200;

/// For how many days a voucher is good unless said otherwise.
pub const GOOD_FOR_DAYS: u16 = 365;

/// A voucher's code. `Debug` hides it; [`VoucherCode::reveal`] gives it as it is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VoucherCode([u8; LENGTH]);

impl VoucherCode {
    /// A code from randomness; nothing where that is so odd that it holds too few usable bytes (once in 10^20 times).
    #[must_use]
    pub fn from_entropy(entropy: &Entropy) -> Option<Self> {
        // 248 is the largest multiple of 31 in a byte: what is above would make some characters likelier than others.
        let fair = entropy.0.iter().filter(|byte| **byte < 248).map(|byte| ALPHABET[usize::from(byte % 31)]);
        let mut code = [0; LENGTH];
        let mut filled = 0;
        for (place, letter) in code.iter_mut().zip(fair) {
            *place = letter;
            filled += 1;
        }
        (filled == LENGTH).then_some(Self(code))
    }

    /// The code as it is printed: `ABCD-EFGH-JKMN`. Never for a log.
    #[must_use]
    pub fn reveal(&self) -> String {
        let text: String = self.0.iter().copied().map(char::from).collect();
        [text.get(..4), text.get(4..8), text.get(8..)].map(Option::unwrap_or_default).join("-")
    }

    /// What is kept of it. `salt` is the name that the router had when the voucher was made.
    #[must_use]
    pub fn hash(&self, salt: &RouterName) -> VoucherHash {
        let derived = pbkdf2(&self.0, &[CONTEXT, salt.as_str().as_bytes()].concat(), ROUNDS);
        let mut hash = [0; 16];
        hash.copy_from_slice(&derived[..16]);
        VoucherHash(hash)
    }
}

impl FromStr for VoucherCode {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: Invalid = Invalid { what: "a voucher's code", rule: "12 letters and digits, as ABCD-EFGH-JKMN" };
        if text.len() > 64 {
            return Err(RULE);
        }
        // However it is typed: small letters, spaces, dashes of all kinds that phones make, or none.
        let typed = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '.' | '_' | '\u{2010}'..='\u{2015}'));
        let mut code = [0; LENGTH];
        let mut places = code.iter_mut();
        for letter in typed {
            let letter = u8::try_from(letter.to_ascii_uppercase()).ok().filter(|letter| ALPHABET.contains(letter)).ok_or(RULE)?;
            *places.next().ok_or(RULE)? = letter;
        }
        if places.next().is_some() { Err(RULE) } else { Ok(Self(code)) }
    }
}

impl fmt::Debug for VoucherCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VoucherCode(***)")
    }
}

impl Serialize for VoucherCode {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.reveal())
    }
}

impl<'de> Deserialize<'de> for VoucherCode {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        parsed(d)
    }
}

fn parsed<'de, D: serde::Deserializer<'de>, T: FromStr<Err = Invalid>>(d: D) -> Result<T, D::Error> {
    std::borrow::Cow::<'de, str>::deserialize(d)?.parse().map_err(de::Error::custom)
}

/// PBKDF2-HMAC-SHA256 (RFC 8018 section 5.2), its first block. `secret` is shorter than SHA-256's block of 64 bytes.
fn pbkdf2(secret: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    let keyed = |pad: u8| {
        let mut block = [pad; 64];
        block.iter_mut().zip(secret).for_each(|(byte, key)| *byte ^= key);
        Sha256::new_with_prefix(block)
    };
    // HMAC (RFC 2104): both halves begin with the key, and are begun once.
    let (inner, outer) = (keyed(0x36), keyed(0x5c));
    let hmac = |text: &[u8]| -> [u8; 32] { outer.clone().chain_update(inner.clone().chain_update(text).finalize()).finalize().into() };
    let mut last = hmac(&[salt, &1u32.to_be_bytes()].concat());
    let mut sum = last;
    for _ in 1..rounds {
        last = hmac(&last);
        sum.iter_mut().zip(last).for_each(|(byte, other)| *byte ^= other);
    }
    sum
}

/// What is kept of a code: the first half of what PBKDF2 gives, as 32 hex digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoucherHash([u8; 16]);

impl fmt::Display for VoucherHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for VoucherHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VoucherHash {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: Invalid = Invalid { what: "a voucher's hash", rule: "32 hex digits in lower case" };
        let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(lower) {
            return Err(RULE);
        }
        let mut hash = [0; 16];
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = text.get(2 * at..2 * at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or(RULE)?;
        }
        Ok(Self(hash))
    }
}

impl Serialize for VoucherHash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VoucherHash {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        parsed(d)
    }
}

/// Vouchers that were made together: six small letters and digits. With its number it names a voucher on paper.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId([u8; 6]);

impl BatchId {
    /// The first of all, in their order.
    pub(crate) const FIRST: Self = Self([0; 6]);

    /// One from randomness.
    #[must_use]
    pub fn from_entropy(entropy: &Entropy) -> Self {
        // From the end: a code may be cut from the beginning.
        let mut id = [0; 6];
        id.iter_mut().zip(entropy.0.iter().rev()).for_each(|(place, byte)| *place = ALPHABET[usize::from(byte % 31)].to_ascii_lowercase());
        Self(id)
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BatchId {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: Invalid = Invalid { what: "a batch of vouchers", rule: "six letters and digits, as `lango vouchers list` shows them" };
        let id: [u8; 6] = text.to_ascii_lowercase().as_bytes().try_into().map_err(|_| RULE)?;
        if id.iter().all(u8::is_ascii_alphanumeric) { Ok(Self(id)) } else { Err(RULE) }
    }
}

impl Serialize for BatchId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BatchId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        parsed(d)
    }
}

/// Vouchers as they are printed: slips to be cut apart, each with its `title`, code and number. What is not for customers stands
/// in lines that begin with `#`.
#[must_use]
pub fn slips(title: &str, batch: BatchId, first: u16, expires: Option<Wall>, codes: &[VoucherCode]) -> String {
    const CUT: &str = "- - - - - - - - - - - - - - - - - - - -\n";
    let until = expires.map(|at| format!(", good until {}", at.to_rfc3339().get(..10).unwrap_or_default())).unwrap_or_default();
    let head = format!("# {} vouchers, batch {batch}. These codes cannot be shown again: print or keep this now.\n", codes.len());
    let slip =
        |(number, code): (u16, &VoucherCode)| format!("{CUT}  {title}\n\n      {}\n\n  No. {batch}/{number}{until}\n", code.reveal());
    head + &(first..).zip(codes).map(slip).collect::<String>() + CUT
}

/// One voucher of a batch, as its paper says: `k7m2p9/17`; or a whole batch: `k7m2p9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Which {
    /// The batch.
    pub batch: BatchId,
    /// One of it; all of it otherwise.
    pub number: Option<u16>,
}

impl FromStr for Which {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: Invalid = Invalid { what: "a voucher", rule: "a batch, as k7m2p9, or one of it, as k7m2p9/17" };
        let (batch, number) = match text.split_once('/') {
            Some((batch, number)) => (batch, Some(number.parse().map_err(|_| RULE)?)),
            None => (text, None),
        };
        Ok(Self { batch: batch.parse()?, number })
    }
}

/// Vouchers that somebody made, by the operator's command or by the relay's: a batch, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewVouchers {
    /// The batch.
    pub batch: BatchId,
    /// What each is good for.
    pub package: PackageId,
    /// What they were hashed with: the name that the router has.
    pub salt: RouterName,
    /// Until when they can be redeemed, by the router's clock; null: for ever. The relay's always have an end.
    pub expires: Option<Wall>,
    /// The number of the first one here, from 1 on.
    pub first: u16,
    /// Their codes' hashes, in the order of their numbers.
    pub hashes: Vec<VoucherHash>,
}

/// What a router keeps of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// What each is good for.
    pub package: PackageId,
    /// The same as it was offered when the vouchers came: what was sold stays what it was. Null where the package was not
    /// for sale here then.
    pub offer: Option<Package>,
    /// What its codes were hashed with.
    pub salt: RouterName,
    /// When it came.
    pub made: Option<Wall>,
    /// Until when its vouchers can be redeemed.
    pub expires: Option<Wall>,
    /// The first numbers of the parts that came: none is taken twice, even where its vouchers are forgotten.
    pub parts: Vec<u16>,
    /// Since when it is known to be of no more use; it is forgotten some time after that (`gateway/pruning.rs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Day>,
}

/// What a router keeps of a voucher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voucher {
    /// Of its code.
    pub hash: VoucherHash,
    /// Its batch.
    pub batch: BatchId,
    /// Its number in that.
    pub number: u16,
    /// What became of it.
    pub state: VoucherState,
    /// Since when it is known to be of no more use; it is forgotten some time after that (`gateway/pruning.rs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Day>,
}

impl Voucher {
    /// Its boot's text is that of `boot` where they are the same.
    pub fn share(&mut self, boot: &mut Option<BootId>) {
        if let VoucherState::Used(used) = &mut self.state {
            used.boot.share(boot);
        }
    }
}

/// What became of a voucher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum VoucherState {
    /// It is to be redeemed.
    Unused,
    /// It became service.
    Used(Box<Used>),
    /// The operator took it back.
    Revoked {
        /// When.
        at: Option<Wall>,
    },
}

/// How a voucher became service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// When.
    pub at: Option<Wall>,
    /// In which boot `since` is.
    pub boot: BootId,
    /// The same by the clock that never steps: for a while the device that redeemed it is shown the account's password.
    pub since: Monotonic,
    /// The account that has it.
    pub account: Username,
    /// Who redeemed it.
    pub device: Mac,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn codes_as_people_type_them() {
        let code: VoucherCode = "ABCD-EFGH-JKMN".parse().unwrap();
        for typed in [
            "abcd-efgh-jkmn",
            "ABCDEFGHJKMN",
            " abcd efgh jkmn ",
            "Abcd\u{2013}efgh\u{2014}jkmn",
            "ABCD.EFGH.JKMN",
            "ab-cdefgh\u{a0}jkmn\n",
        ] {
            assert_eq!(typed.parse::<VoucherCode>(), Ok(code), "{typed}");
        }
        for typed in
            ["", "ABCD", "ABCD-EFGH-JKM", "ABCD-EFGH-JKMNP", "ABCD-EFGH-JKM0", "ABCO-EFGH-JKMN", "1BCD-EFGH-JKMN", "ÄBCD-EFGH-JKMN"]
        {
            assert!(typed.parse::<VoucherCode>().is_err(), "{typed} was taken");
        }
        assert_eq!(code.reveal(), "ABCD-EFGH-JKMN");
        assert_eq!(format!("{code:?}"), "VoucherCode(***)");
    }

    #[test]
    fn codes_from_randomness_use_each_character_alike() {
        let mut seen = [0u32; 256];
        for n in 0..=255u8 {
            let entropy = Entropy(std::array::from_fn(|i| n.wrapping_add(u8::try_from(i * 37 % 256).unwrap())));
            let code = VoucherCode::from_entropy(&entropy).unwrap();
            assert_eq!(code.reveal().parse(), Ok(code));
            code.0.iter().for_each(|letter| seen[usize::from(*letter)] += 1);
        }
        let used: Vec<u32> = ALPHABET.iter().map(|letter| seen[usize::from(*letter)]).collect();
        assert!(used.iter().all(|times| (80..=120).contains(times)), "{used:?}");
        assert_eq!(VoucherCode::from_entropy(&Entropy([255; 32])), None);
    }

    /// The first is of RFC 7914 section 11; all agree with OpenSSL's.
    #[test]
    fn pbkdf2_is_the_standard_s() {
        for (secret, salt, rounds, derived) in [
            ("passwd", "salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"),
            ("password", "salt", 1, "120fb6cffcf8b32c43e7225256c4f837a86548c92ccc35480805987cb70be17b"),
            ("password", "salt", 2, "ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43"),
            ("password", "salt", 4096, "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"),
        ] {
            assert_eq!(hex(&pbkdf2(secret.as_bytes(), salt.as_bytes(), rounds)), derived, "{secret} {rounds}");
        }
    }

    /// **If this test fails, do not change the test**: printed vouchers are checked by these hashes.
    #[test]
    fn frozen_hashes() {
        for (code, salt, hash) in [
            ("ABCD-EFGH-JKMN", "kibera-7", FROZEN[0]),
            ("ABCD-EFGH-JKMN", "mathare-1", FROZEN[1]),
            ("2345-6789-XYZW", "kibera-7", FROZEN[2]),
        ] {
            let made = code.parse::<VoucherCode>().unwrap().hash(&salt.parse().unwrap());
            assert_eq!(made.to_string(), hash);
            assert_eq!(hash.parse(), Ok(made));
        }
    }
    const FROZEN: [&str; 3] = ["8e3641bdc47fdd51e112feb2cb57bac8", "cf79e20475a8d50df008102ec4c0c27b", "71f86e21b19fcda0ff3083cfd86a1d23"];

    #[test]
    fn slips_to_be_cut_apart() {
        let codes = ["ABCD-EFGH-JKMN", "2345-6789-XYZW"].map(|code| code.parse().unwrap());
        let printed = slips("Wi-Fi kibera-7: 1 hour, KSh 10", "k7m2p9".parse().unwrap(), 7, Some(Wall(1_826_876_999_000)), &codes);
        let slips: Vec<&str> = printed.split("- - - - - - - - - - - - - - - - - - - -\n").collect();
        assert_eq!(slips.len(), 4, "{printed}");
        assert!(slips[0].lines().all(|line| line.starts_with('#')) && slips[3].is_empty());
        assert_eq!(slips[2], "  Wi-Fi kibera-7: 1 hour, KSh 10\n\n      2345-6789-XYZW\n\n  No. k7m2p9/8, good until 2027-11-22\n");
    }

    #[test]
    fn names_of_batches_and_vouchers() {
        let batch: BatchId = "K7M2P9".parse().unwrap();
        assert_eq!(batch.to_string(), "k7m2p9");
        assert_eq!("k7m2p9/17".parse(), Ok(Which { batch, number: Some(17) }));
        assert_eq!("k7m2p9".parse(), Ok(Which { batch, number: None }));
        for wrong in ["", "k7m2p", "k7m2p9x", "k7m2p9/", "k7m2p9/x", "k7m2p9/-1", "k7m2p9/70000", "k7m2p/9"] {
            assert!(wrong.parse::<Which>().is_err(), "{wrong} was taken");
        }
        let id = BatchId::from_entropy(&Entropy([7; 32]));
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
