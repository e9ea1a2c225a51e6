//! What is accepted, and what is refused and why.

use crate::time::Wall;
use crate::units::MessageId;
use crate::update::{Facts, Judged, Manifest, Offer, Reason, ReleaseKey, Signature, Standing, State, judge, objection};

const ID: [u8; 8] = [1; 8];

/// A signature that holds where the key's first byte is the signature's: the mathematics is not tried here.
fn verify(key: &[u8; 32], _message: &[u8], signature: &[u8; 64]) -> bool {
    key[0] == signature[0]
}

fn text(number: u64) -> String {
    format!(
        "lango-update 1\nkind program\nversion 1\nnumber {number}\ntarget armv7\nboard a\nboard b\nsize 3\nsha256 {}\n\
         url https://u.example/x\nuntil 2027-01-31T00:00:00Z\n",
        "00".repeat(32)
    )
}

fn signed(manifest: String, id: [u8; 8], by: u8) -> Offer {
    Offer { manifest, signature: Signature { id, bytes: [by; 64] }.to_line() }
}

fn good(manifest: String) -> Offer {
    signed(manifest, ID, 5)
}

fn id(text: &str) -> MessageId {
    text.parse().unwrap()
}

fn key(id: [u8; 8], key: u8) -> ReleaseKey {
    ReleaseKey { id, key: [key; 32] }
}

fn facts(keys: &[ReleaseKey]) -> Facts<'_> {
    let time = Wall::from_rfc3339("2026-11-23T00:00:00Z");
    Facts { keys, board: Some("b"), target: "armv7", images: false, guarded: true, time }
}

fn standing(number: u64, state: State) -> Standing {
    Standing::default().accepted("m-1".parse().unwrap(), Manifest::parse(&text(number)).unwrap(), None).now(state, None)
}

#[test]
fn what_is_refused() {
    let keys = [key(ID, 5)];
    let facts = facts(&keys);
    let image = |board: &str| text(7).replace("program", "image").replace("target armv7\nboard a\nboard b", &format!("board {board}"));
    let late = Facts { time: Wall::from_rfc3339("2027-01-31T00:00:01Z"), ..facts };
    let cases: Vec<(&str, Offer, Facts, Judged)> = vec![
        ("without a key", good(text(7)), Facts { keys: &[], ..facts }, Judged::Refused(Reason::Off)),
        ("no signature", Offer { manifest: text(7), signature: "RWQ=".into() }, facts, Judged::Refused(Reason::Malformed)),
        ("another's key", signed(text(7), [2; 8], 5), facts, Judged::Refused(Reason::UnknownKey)),
        ("under the key's name", signed(text(7), ID, 6), facts, Judged::Refused(Reason::Forged)),
        ("no manifest, and not signed", signed("x".into(), ID, 6), facts, Judged::Refused(Reason::Forged)),
        ("no manifest", good("x".into()), facts, Judged::Refused(Reason::Malformed)),
        ("another processor", good(text(7).replace("armv7", "aarch64")), facts, Judged::Refused(Reason::OtherTarget)),
        ("another board", good(text(7)), Facts { board: Some("c"), ..facts }, Judged::Refused(Reason::OtherBoard)),
        ("a board that nobody knows", good(text(7)), Facts { board: None, ..facts }, Judged::Refused(Reason::OtherBoard)),
        ("an older one", good(text(4)), facts, Judged::Refused(Reason::NotNewer)),
        ("too late", good(text(7)), late, Judged::Refused(Reason::Expired)),
        ("an image", good(image("b")), facts, Judged::Refused(Reason::ImagesOff)),
        ("an image of another board", good(image("c")), Facts { images: true, ..facts }, Judged::Refused(Reason::OtherBoard)),
        ("without the start script", good(text(7)), Facts { guarded: false, ..facts }, Judged::Refused(Reason::NoGuard)),
    ];
    for (what, offer, facts, wanted) in cases {
        // Nothing is accepted that was refused before, however things stand.
        for standing in [standing(5, State::Confirmed), standing(5, State::Failed), standing(5, State::Accepted)] {
            assert_eq!(judge(&standing, &id("m-2"), &offer, &facts, verify), wanted, "{what}, {standing:?}");
        }
    }
}

#[test]
fn what_is_accepted() {
    let keys = [key([2; 8], 4), key(ID, 9), key(ID, 5)];
    let facts = facts(&keys);
    let accepted = |text: String| Judged::Accepted(Manifest::parse(&text).unwrap());
    let fresh = Standing::default();
    // By any of the keys, two of which may have one name.
    assert_eq!(judge(&fresh, &id("m-2"), &good(text(1)), &facts, verify), accepted(text(1)));
    // A program for every board of its target; at a time that nobody knows.
    let every = text(1).replace("board a\nboard b\n", "");
    assert_eq!(judge(&fresh, &id("m-2"), &good(every.clone()), &Facts { board: None, time: None, ..facts }, verify), accepted(every));
    // An image needs no start script.
    let image = text(7).replace("program", "image").replace("target armv7\n", "");
    let images = Facts { images: true, guarded: false, ..facts };
    assert_eq!(judge(&fresh, &id("m-2"), &good(image.clone()), &images, verify), accepted(image));
}

#[test]
fn the_same_one_again_and_another_one_meanwhile() {
    let keys = [key(ID, 5)];
    let facts = facts(&keys);
    use State::{Accepted, Applying, Confirmed, Failed, RolledBack, Trying};
    for (state, same, newer) in [
        (Accepted, Judged::Again, true),
        (Applying, Judged::Again, false),
        (Trying, Judged::Again, false),
        (Confirmed, Judged::Again, true),
        (RolledBack, Judged::Again, true),
        (Failed, Judged::Accepted(Manifest::parse(&text(5)).unwrap()), true),
    ] {
        let standing = standing(5, state);
        assert_eq!(judge(&standing, &id("m-2"), &good(text(5)), &facts, verify), same, "{state:?}");
        // The message that the router knows it by, repeated.
        assert_eq!(judge(&standing, &id("m-1"), &good(text(5)), &facts, verify), Judged::Again, "{state:?}");
        let wanted = if newer { Judged::Accepted(Manifest::parse(&text(6)).unwrap()) } else { Judged::Later };
        assert_eq!(judge(&standing, &id("m-2"), &good(text(6)), &facts, verify), wanted, "{state:?}");
        // Another one of the same number is a replay or a mistake, whatever became of the first.
        let other = text(5).replace("size 3", "size 4");
        assert_eq!(judge(&standing, &id("m-2"), &good(other), &facts, verify), Judged::Refused(Reason::NotNewer), "{state:?}");
    }
}

#[test]
fn no_number_is_accepted_twice_in_whatever_order_they_come() {
    let keys = [key(ID, 5)];
    let facts = facts(&keys);
    let mut standing = Standing::default();
    let mut accepted = Vec::new();
    for number in [3, 1, 3, 7, 5, 7, 8, 2, 8] {
        if let Judged::Accepted(manifest) = judge(&standing, &id("m-2"), &good(text(number)), &facts, verify) {
            accepted.push(number);
            standing = standing.accepted("m".parse().unwrap(), manifest, None).now(State::Confirmed, None);
        }
    }
    assert_eq!(accepted, [3, 7, 8]);
}

#[test]
fn what_was_accepted_is_judged_once_more_before_it_runs() {
    let keys = [key(ID, 5)];
    let facts = facts(&keys);
    let signature = Signature { id: ID, bytes: [5; 64] };
    let accepted = Standing::default().accepted(id("m-1"), Manifest::parse(&text(7)).unwrap(), Some(signature.clone()));
    let image = text(7).replace("program", "image").replace("target armv7\n", "");
    let image = Standing::default().accepted(id("m-1"), Manifest::parse(&image).unwrap(), Some(signature));
    let (others, forged) = ([key([2; 8], 5)], [key(ID, 6)]);
    let late = Wall::from_rfc3339("2027-01-31T00:00:01Z");
    for (what, standing, facts, wanted) in [
        ("nothing changed", &accepted, facts, None),
        ("nothing was accepted", &Standing::default(), facts, None),
        ("its key was taken out", &accepted, Facts { keys: &others, ..facts }, Some(Reason::UnknownKey)),
        ("another key has its name", &accepted, Facts { keys: &forged, ..facts }, Some(Reason::Forged)),
        ("updates were turned off", &accepted, Facts { keys: &[], ..facts }, Some(Reason::Off)),
        ("nothing vouches for it", &standing(7, State::Accepted), facts, Some(Reason::UnknownKey)),
        ("it is too late", &accepted, Facts { time: late, ..facts }, Some(Reason::Expired)),
        ("nobody knows the time", &accepted, Facts { time: None, ..facts }, None),
        ("the start script is gone", &accepted, Facts { guarded: false, ..facts }, Some(Reason::NoGuard)),
        ("images were turned off", &image, facts, Some(Reason::ImagesOff)),
        ("images are on", &image, Facts { images: true, ..facts }, None),
    ] {
        assert_eq!(objection(standing, &facts, verify), wanted, "{what}");
    }
}
