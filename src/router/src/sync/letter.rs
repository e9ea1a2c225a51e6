//! What the relay says, believed only with its signature. Pure: bytes in, message out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lango_core::message::{Down, Malformed, Sealed};
use lango_core::units::RouterName;
use ring::signature::{ED25519, UnparsedPublicKey};

/// Why a payload is not acted on. The text holds nothing of the payload: that may be a customer's number, or whatever
/// somebody wants to see in our log.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is no message, or one for another router, or its envelope lies.
    #[error("{}", without_contents(.0))]
    Malformed(#[from] Malformed),
    /// Its signature is no base64.
    #[error("its signature is not base64")]
    Unreadable,
    /// The relay did not sign it.
    #[error("its signature is not the relay's: is `option relay_key` the one that `lango-relay router add` printed?")]
    Forged,
}

fn without_contents(malformed: &Malformed) -> String {
    match malformed {
        Malformed::Json(cause) => format!("it is no message (line {}, column {})", cause.line(), cause.column()),
        other => other.to_string(),
    }
}

/// Reads a payload that came for the router `me`.
///
/// # Errors
/// When anything about it is not as it must be.
pub fn read(payload: &[u8], relay_key: &[u8; 32], me: &RouterName) -> Result<Down, Refused> {
    let sealed = Sealed::from_json(payload)?;
    let signature = STANDARD.decode(&sealed.signature).map_err(|_| Refused::Unreadable)?;
    // Before the signature holds nothing inside is looked at.
    UnparsedPublicKey::new(&ED25519, relay_key).verify(&sealed.signed_bytes(), &signature).map_err(|_| Refused::Forged)?;
    Ok(sealed.open(me)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lango_core::message::{DownBody, MAX_PAYLOAD, SIGNATURE_CONTEXT, VERSION};
    use lango_core::time::Wall;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    const SEED: [u8; 32] = [7; 32];

    fn key() -> [u8; 32] {
        Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap().public_key().as_ref().try_into().unwrap()
    }

    fn me() -> RouterName {
        "kibera-7".parse().unwrap()
    }

    fn down() -> Down {
        Down {
            v: VERSION,
            id: "m-1".parse().unwrap(),
            seq: 4,
            router: me(),
            at: Wall(1_795_340_999_000),
            body: DownBody::Welcome { nonce: "n-1".parse().unwrap() },
        }
    }

    fn sign(bytes: &[u8]) -> String {
        STANDARD.encode(Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap().sign(bytes))
    }

    fn seal(down: &Down) -> Sealed {
        let text = down.to_json();
        let signature = sign(&[SIGNATURE_CONTEXT, text.as_bytes()].concat());
        down.seal(text, signature)
    }

    #[test]
    fn what_the_relay_signed_is_read() {
        assert_eq!(read(&seal(&down()).to_json(), &key(), &me()).unwrap(), down());
    }

    #[test]
    fn a_frozen_message_is_read() {
        // If this fails, don't change the test: relays in the field sign like this.
        let payload = br#"{"v":1,"id":"m-1","seq":4,"signed":"{\"v\":1,\"id\":\"m-1\",\"seq\":4,\"router\":\"kibera-7\",\"at\":1795340999000,\"type\":\"welcome\",\"nonce\":\"n-1\"}","signature":"OLjKFUfX1m8/b9T1M0/PxDRLpRM3e+1Mvwi6/0aiEVSlk6+IRrNRY9iqPMubojmpX+LiYNEwncv8OJvUENfXDw=="}"#;
        assert_eq!(read(payload, &key(), &me()).unwrap(), down());
    }

    #[test]
    fn everything_else_is_refused() {
        let good = seal(&down());
        let text = good.signed.clone();
        let other_router = Down { router: "mathare-1".parse().unwrap(), ..down() };
        let bare = sign(text.as_bytes());
        let cases: Vec<(&str, Vec<u8>, &str)> = vec![
            ("garbage", b"\xff\x00garbage".to_vec(), "no message"),
            ("nothing", vec![], "no message"),
            ("too large", vec![b' '; MAX_PAYLOAD + 1], "bytes"),
            ("a later version", br#"{"v":2,"id":"m-1"}"#.to_vec(), "version 2"),
            ("no base64", Sealed { signature: "=".into(), ..good.clone() }.to_json(), "base64"),
            ("an empty signature", Sealed { signature: String::new(), ..good.clone() }.to_json(), "not the relay's"),
            ("signed without the context", Sealed { signature: bare, ..good.clone() }.to_json(), "not the relay's"),
            ("changed text", Sealed { signed: text.replace("n-1", "n-2"), ..good.clone() }.to_json(), "not the relay's"),
            ("another id outside", Sealed { id: "m-2".parse().unwrap(), ..good.clone() }.to_json(), "id is not the one"),
            ("another seq outside", Sealed { seq: 5, ..good }.to_json(), "seq is not the one"),
            ("another router's", seal(&other_router).to_json(), "router is not the one"),
        ];
        for (what, payload, why) in cases {
            let refused = read(&payload, &key(), &me()).expect_err(what).to_string();
            assert!(refused.contains(why), "{what}: {refused}");
        }
        assert!(matches!(read(&seal(&down()).to_json(), &[9; 32], &me()), Err(Refused::Forged)));
    }

    #[test]
    fn a_refusal_repeats_nothing_of_the_payload() {
        for payload in [r#"{"v":"0712345678"}"#, r#"{"v":1,"id":"0712345678 ","seq":1}"#, r#"{"v":1,"0712345678":1}"#] {
            let refused = read(payload.as_bytes(), &key(), &me()).unwrap_err();
            assert!(!refused.to_string().contains("0712345678"), "{refused}");
        }
    }
}
