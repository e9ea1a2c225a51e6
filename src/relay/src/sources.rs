//! From where callbacks are taken, if the operator wants that looked at. Pure. It is a filter that may go stale, and no proof:
//! what proves a callback is the payment's own secret.

use std::net::IpAddr;
use std::str::FromStr;

/// A network: `196.201.214.0/24`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl FromStr for Network {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "an address or a network, as \"196.201.214.200\" or \"196.201.214.0/24\"";
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| WANTED)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) => digits.parse().ok().filter(|prefix| *prefix <= longest).ok_or(WANTED)?,
        };
        Ok(Self { address, prefix })
    }
}

impl Network {
    fn holds(self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, true),
            IpAddr::V6(v6) => (u128::from(v6), false),
        };
        // A client over IPv4 at a socket for both looks like ::ffff:192.0.2.1.
        let ((own, own_is_v4), (other, other_is_v4)) = (bits(self.address.to_canonical()), bits(address.to_canonical()));
        let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
        own_is_v4 == other_is_v4 && (own ^ other) & mask == 0
    }
}

/// Who may call back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// These; everybody where it is empty.
    pub from: Vec<Network>,
    /// Our own proxies: of them what they say in `X-Forwarded-For` is believed.
    pub proxies: Vec<Network>,
}

impl Sources {
    /// Whether a callback from `peer` is taken; `forwarded` is what `X-Forwarded-For` says, the nearest last.
    #[must_use]
    pub fn admit(&self, peer: IpAddr, forwarded: &[&str]) -> bool {
        if self.from.is_empty() {
            return true;
        }
        let ours = |address: IpAddr| self.proxies.iter().any(|network| network.holds(address));
        // From the nearest back to the first that is not ours: what stands before that, anybody may have written.
        let mut source = peer;
        for text in forwarded.iter().rev() {
            if !ours(source) {
                break;
            }
            let Ok(address) = text.trim().parse() else { return false };
            source = address;
        }
        self.from.iter().any(|network| network.holds(source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn who_may_call_back() {
        let sources =
            Sources { from: networks(&["196.201.214.0/24", "2001:db8::/32"]), proxies: networks(&["127.0.0.0/8", "10.0.0.5", "::1"]) };
        for (peer, forwarded, admitted) in [
            ("196.201.214.200", &[][..], true),
            ("196.201.215.1", &[], false),
            ("::ffff:196.201.214.7", &[], true),
            ("2001:db8::7", &[], true),
            ("2001:db9::7", &[], false),
            // Behind our proxy: its word counts.
            ("127.0.0.1", &["196.201.214.200"], true),
            ("127.0.0.1", &["192.0.2.9"], false),
            ("127.0.0.1", &["192.0.2.9", " 196.201.214.200", "10.0.0.5"], true),
            // The stranger wrote the first himself.
            ("127.0.0.1", &["196.201.214.200", "192.0.2.9"], false),
            // Not our proxy: it may say what it likes.
            ("192.0.2.9", &["196.201.214.200"], false),
            ("127.0.0.1", &[], false),
            ("127.0.0.1", &["unknown"], false),
        ] {
            assert_eq!(sources.admit(peer.parse().unwrap(), forwarded), admitted, "{peer} {forwarded:?}");
        }
        assert!(Sources::default().admit("192.0.2.9".parse().unwrap(), &[]), "nothing is looked at where nothing is configured");
    }

    #[test]
    fn networks_as_they_are_written() {
        assert!(networks(&["0.0.0.0/0"])[0].holds("192.0.2.1".parse().unwrap()));
        assert!(!networks(&["0.0.0.0/0"])[0].holds("2001:db8::1".parse().unwrap()));
        for text in ["", "a", "196.201.214.0/33", "196.201.214/24", "::/129", "1.2.3.4/", "1.2.3.4/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
