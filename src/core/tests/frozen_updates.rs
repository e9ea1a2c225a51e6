//! The bytes of updates, frozen: the manifest as it is signed, and what relay and router say of it. **If this test fails, do not change
//! the test**: releases are signed, and routers and relays in the field speak exactly this.
#![allow(clippy::unwrap_used)] // a test says what is wrong by stopping

use lango_core::message::{Down, DownBody, Up, UpBody, VERSION};
use lango_core::time::Wall;
use lango_core::update::{Kind, Manifest, Offer, Reason, ReleaseKey, Report, Signature, State, Url};

/// Signed with Debian's `signify-openbsd` by the key below.
const MANIFEST: &str = "lango-update 1\nkind program\nversion 0.2.0\nnumber 20261123\ntarget armv7-unknown-linux-musleabihf\n\
     board mikrotik,hap-ac2\nboard linksys,ea8300\nsize 3\n\
     sha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\nurl https://updates.example.org/lango-0.2.0-armv7\n\
     until 2027-01-31T00:00:00Z\n";
const KEY: &str = "untrusted comment: lango release public key\nRWQXGZDXUyQBO8wVtQLOLc8USe0xvRw9CvwdBDhs3iUMaWUzXmZhUGa6\n";
const SIGNATURE: &str = "RWQXGZDXUyQBO4CzJDebjGEsMHd73UEkRxxLgXvnXZVQNRmbbMGAppK43WFX8Tz4G6TKMiLSUOBXiOG9MPfBd62tUMQHtxgPvQo=";

#[test]
fn a_manifest() {
    let manifest = Manifest {
        kind: Kind::Program,
        version: "0.2.0".to_owned(),
        number: 20_261_123,
        target: Some("armv7-unknown-linux-musleabihf".to_owned()),
        boards: vec!["mikrotik,hap-ac2".to_owned(), "linksys,ea8300".to_owned()],
        size: 3,
        sha256: [
            0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96,
            0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
        ],
        url: Url::parse("https://updates.example.org/lango-0.2.0-armv7").unwrap(),
        until: Wall::from_rfc3339("2027-01-31T00:00:00Z"),
    };
    assert_eq!(manifest.to_text(), MANIFEST);
    assert_eq!(Manifest::parse(MANIFEST).unwrap(), manifest);
    assert_eq!(ReleaseKey::parse(KEY).unwrap().id, Signature::parse(SIGNATURE).unwrap().id);
}

#[test]
fn an_offer() {
    let offer = Offer { manifest: "lango-update 1\nkind program\n".to_owned(), signature: SIGNATURE.to_owned() };
    let down = Down {
        v: VERSION,
        id: "5f0c6bd0a7f14f7b9e0d3c2b1a009988".parse().unwrap(),
        seq: 42,
        router: "kibera-7".parse().unwrap(),
        at: Wall(1_795_340_999_000),
        body: DownBody::Update(offer),
    };
    let bytes = format!(
        "{}{SIGNATURE}\"}}",
        concat!(
            r#"{"v":1,"id":"5f0c6bd0a7f14f7b9e0d3c2b1a009988","seq":42,"router":"kibera-7","at":1795340999000,"type":"update","#,
            r#""manifest":"lango-update 1\nkind program\n","signature":""#
        )
    );
    assert_eq!(down.to_json(), bytes);
    assert_eq!(down.body.topic(), "update");
    assert_eq!(down.seal(bytes, String::new()).open(&"kibera-7".parse().unwrap()).unwrap(), down);
}

#[test]
fn reports() {
    for (state, reason, tail) in [
        (State::Accepted, None, r#""state":"accepted","reason":null}"#),
        (State::Refused, Some(Reason::NotNewer), r#""state":"refused","reason":"not_newer"}"#),
        (State::Failed, Some(Reason::WrongHash), r#""state":"failed","reason":"wrong_hash"}"#),
        (State::Applying, None, r#""state":"applying","reason":null}"#),
        (State::Trying, None, r#""state":"trying","reason":null}"#),
        (State::Confirmed, None, r#""state":"confirmed","reason":null}"#),
        (State::RolledBack, Some(Reason::NotHealthy), r#""state":"rolled_back","reason":"not_healthy"}"#),
    ] {
        let body = UpBody::Update(Report { offer: "5f0c6bd0a7f14f7b9e0d3c2b1a009988".parse().unwrap(), state, reason });
        let up = Up { v: VERSION, id: "update-9".parse().unwrap(), seq: 9, body };
        let bytes = format!(r#"{{"v":1,"id":"update-9","seq":9,"type":"update","offer":"5f0c6bd0a7f14f7b9e0d3c2b1a009988",{tail}"#);
        assert_eq!(String::from_utf8(up.to_json()).unwrap(), bytes);
        assert_eq!(Up::from_json(bytes.as_bytes()).unwrap(), up);
    }
}

#[test]
fn reasons_have_one_name() {
    for (reason, name) in [
        (Reason::Off, "off"),
        (Reason::Malformed, "malformed"),
        (Reason::UnknownKey, "unknown_key"),
        (Reason::Forged, "forged"),
        (Reason::OtherBoard, "other_board"),
        (Reason::OtherTarget, "other_target"),
        (Reason::NotNewer, "not_newer"),
        (Reason::Expired, "expired"),
        (Reason::ImagesOff, "images_off"),
        (Reason::NoGuard, "no_guard"),
        (Reason::NoRoom, "no_room"),
        (Reason::Unreachable, "unreachable"),
        (Reason::WrongSize, "wrong_size"),
        (Reason::WrongHash, "wrong_hash"),
        (Reason::SysupgradeRefused, "sysupgrade_refused"),
        (Reason::Disk, "disk"),
        (Reason::Crashed, "crashed"),
        (Reason::NotHealthy, "not_healthy"),
        (Reason::Replaced, "replaced"),
    ] {
        assert_eq!(reason.name(), name);
        assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{name}\""));
    }
}
