//! Manifests, keys, signatures, and what is kept.

use crate::time::Wall;
use crate::units::Millis;
use crate::update::{Hours, Kind, Manifest, NotAManifest, Reason, ReleaseKey, Signature, Standing, State, Url, may_apply};
use proptest::prelude::*;

const PROGRAM: &str = "lango-update 1\nkind program\nversion 0.2.0\nnumber 7\ntarget armv7-unknown-linux-musleabihf\nsize 3\n\
     sha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\nurl https://updates.example.org/lango\n";

#[test]
fn a_manifest_is_read_as_it_is_written_and_in_no_other_way() {
    let manifest = Manifest::parse(PROGRAM).unwrap();
    assert_eq!((manifest.kind, manifest.number, manifest.size, manifest.url.port), (Kind::Program, 7, 3, 443));
    assert_eq!(manifest.to_text(), PROGRAM);
    let image = PROGRAM.replace("kind program", "kind image").replace("target armv7-unknown-linux-musleabihf", "board linksys,ea8300");
    assert_eq!(Manifest::parse(&image).unwrap().boards, ["linksys,ea8300"]);
    use NotAManifest::{Head, Line, More};
    for (was, is, why) in [
        ("lango-update 1", "lango-update 2", Head),
        ("lango-update 1", " lango-update 1", Head),
        ("kind program", "kind firmware", Line("kind")),
        ("kind program\n", "", Line("kind")),
        ("kind program", "kind image", Line("board")), // an image is for no board, and then for a target
        ("version 0.2.0", "version 0.2.0 beta", Line("version")),
        ("version 0.2.0", "version ", Line("version")),
        ("number 7", "number 0", Line("number")),
        ("number 7", "number 07", Line("number")),
        ("number 7", "number +7", Line("number")),
        ("number 7", "number 18446744073709551616", Line("number")),
        ("number 7", "number 18446744073709551615", Line("number")), // nothing would be above it: the way to updates would be closed
        ("target armv7-unknown-linux-musleabihf", "target a/b", Line("target")),
        ("target armv7-unknown-linux-musleabihf\n", "", Line("target")),
        ("size 3", "board a b\nsize 3", Line("board")),
        ("size 3", "size 0", Line("size")),
        ("size 3", "size 16777217", Line("size")),
        ("size 3", "size 3\r", Line("size")),
        ("sha256 ba", "sha256 BA", Line("sha256")),
        ("sha256 ba", "sha256 b", Line("sha256")),
        ("sha256 ba", "sha256 +a", Line("sha256")),
        ("https://", "http://", Line("url")),
        ("/lango\n", "/lango", Line("url")),
        ("/lango\n", "/lango\nuntil tomorrow\n", Line("until")),
        ("/lango\n", "/lango\n\n", More),
        ("/lango\n", "/lango\nnumber 8\n", More),
    ] {
        assert_eq!(Manifest::parse(&PROGRAM.replacen(was, is, 1)), Err(why), "{was} -> {is}");
    }
    let boards = "board a\n".repeat(33);
    assert_eq!(Manifest::parse(&PROGRAM.replace("size 3", &format!("{boards}size 3"))), Err(Line("board")));
    assert_eq!(Manifest::parse(&"a".repeat(4_097)), Err(NotAManifest::TooLarge));
}

#[test]
fn only_https_is_an_address() {
    for (text, read) in [
        ("https://a.example/x?y=1&z=%20", Some(("a.example", 443, "/x?y=1&z=%20"))),
        ("https://192.0.2.7:8443/", Some(("192.0.2.7", 8443, "/"))),
        ("https://a.example", None),
        ("https://a.example:443/", None), // written in one way only
        ("https://a.example:0/", None),
        ("https://a.example:65536/", None),
        ("https://A.example/", None),
        ("https:///x", None),
        ("https://user@a.example/", None),
        ("https://a.example/x y", None),
        ("https://a.example/x#y", None),
        ("https://a.example/\u{e9}", None),
        ("https://-a.example/", None),
        ("http://a.example/", None),
        ("file:///etc/passwd", None),
    ] {
        let url = Url::parse(text);
        assert_eq!(url.as_ref().map(|url| (url.host.as_str(), url.port, url.path.as_str())), read, "{text}");
        assert!(url.is_none_or(|url| url.to_string() == text));
    }
}

#[test]
fn what_signify_writes_is_read() {
    let key = "untrusted comment: lango release public key\nRWQXGZDXUyQBO8wVtQLOLc8USe0xvRw9CvwdBDhs3iUMaWUzXmZhUGa6\n";
    let line = key.lines().nth(1).unwrap();
    let read = ReleaseKey::parse(key).unwrap();
    assert_eq!(read.id, [0x17, 0x19, 0x90, 0xd7, 0x53, 0x24, 0x01, 0x3b]);
    assert_eq!(ReleaseKey::parse(line), Some(read.clone()));
    let line = "RWQXGZDXUyQBO4CzJDebjGEsMHd73UEkRxxLgXvnXZVQNRmbbMGAppK43WFX8Tz4G6TKMiLSUOBXiOG9MPfBd62tUMQHtxgPvQo=";
    let signature = Signature::parse(&format!("untrusted comment: verify with release.pub\n{line}\n")).unwrap();
    assert_eq!((signature.id, signature.to_line()), (read.id, line.to_owned()));
    for not in ["", "\n", "untrusted comment: x", "untrusted comment: x\n", &line[..80], &line.replace("RWQ", "RXQ"), &line.repeat(2), key]
    {
        assert_eq!(Signature::parse(not), None, "{not}");
    }
    assert_eq!(ReleaseKey::parse(line), None, "a signature is no key");
}

#[test]
fn what_is_kept_comes_back() {
    let nothing = Standing::default();
    assert_eq!(nothing.to_text(), "lango-update-standing 1\nfloor 0\n");
    let accepted = nothing.accepted("5f0c".parse().unwrap(), Manifest::parse(PROGRAM).unwrap(), None);
    assert_eq!((accepted.floor, accepted.state), (7, Some(State::Accepted)));
    let failed = accepted.now(State::RolledBack, Some(Reason::Crashed));
    assert_eq!(
        failed.to_text(),
        format!("lango-update-standing 1\nfloor 7\noffer 5f0c\nstate rolled_back\nreason crashed\n{PROGRAM}"),
        "if this fails, do not change the test: routers in the field have it in their flash"
    );
    for standing in [nothing, accepted, failed.clone()] {
        assert_eq!(Standing::parse(&standing.to_text()).unwrap(), standing);
    }
    // Only an end is told of what nobody knows any more.
    let lost = Standing { manifest: None, ..failed.clone() };
    assert_eq!(lost.to_text(), "lango-update-standing 1\nfloor 7\noffer 5f0c\nstate rolled_back\nreason crashed\nrelease lost\n");
    assert_eq!(Standing::parse(&lost.to_text()).unwrap(), lost);
    assert_eq!(lost.now(State::Trying, None).to_text(), "lango-update-standing 1\nfloor 7\n");
    assert!(Standing::parse(&lost.to_text().replace("rolled_back\nreason crashed", "trying")).is_err());
    assert!(Standing::parse(&lost.to_text().replace("release lost\n", "")).is_err());
    let text = failed.to_text();
    for (was, is) in
        [("floor 7\n", ""), ("rolled_back", "refused"), ("rolled_back", "gone"), ("crashed", "tired"), ("kind", "kin"), (" 1\n", " 2\n")]
    {
        assert!(Standing::parse(&text.replacen(was, is, 1)).is_err(), "{was} -> {is}");
    }
    for end in 0..text.len() {
        let cut = Standing::parse(&text[..end]);
        assert!(cut.is_err() || cut.is_ok_and(|cut| cut.state.is_none() && cut.floor == 7), "cut at {end}");
    }
}

#[test]
fn hours_are_nairobi_s() {
    let at = |hour: u64| Wall(1_795_305_600_000 + hour * 3_600_000 - 3 * 3_600_000); // a day's midnight in Nairobi
    for (hours, inside) in [("2-5", vec![2, 3, 4]), ("22-3", vec![22, 23, 0, 1, 2]), ("0-24", (0..24).collect()), ("23-24", vec![23])] {
        let hours = Hours::parse(hours).unwrap();
        let held: Vec<u64> = (0..24).filter(|hour| hours.hold(at(*hour))).collect();
        let mut inside = inside;
        inside.sort_unstable();
        assert_eq!(held, inside);
    }
    for not in ["", "2", "2-", "-5", "5-5", "2-25", "24-2", "02-5", "2-5-7", "a-b"] {
        assert_eq!(Hours::parse(not), None, "{not}");
    }
}

#[test]
fn when_it_may_begin() {
    let (night, day) = (Some(Wall(1_795_305_600_000)), Some(Wall(1_795_305_600_000 + 9 * 3_600_000)));
    let hours = Hours::parse("2-5"); // the first is 03:00 in Nairobi
    let (short, long) = (Millis::from_minutes(9), Millis::from_minutes(10));
    for (kind, hours, time, pending, online, ready, may) in [
        (Kind::Program, None, None, 0, 40, short, true),
        (Kind::Program, None, None, 1, 40, short, false),
        (Kind::Program, None, None, 1, 40, long, true),
        (Kind::Program, hours, night, 0, 40, short, true),
        (Kind::Program, hours, day, 0, 0, long, false),
        (Kind::Program, hours, None, 0, 0, long, false),
        (Kind::Image, None, night, 0, 0, short, true),
        (Kind::Image, None, night, 0, 1, long, false),
        (Kind::Image, hours, night, 0, 40, short, true),
        (Kind::Image, hours, night, 1, 40, short, false),
    ] {
        assert_eq!(may_apply(kind, hours, time, pending, online, ready), may, "{kind:?} {hours:?} {time:?} {pending} {online} {ready:?}");
    }
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_as_it_was(
        lines in proptest::collection::vec((0_usize..12, "[a-z0-9.,:/ -]{0,12}"), 0..12)
    ) {
        // A manifest with lines taken out, doubled or changed.
        let mut text: Vec<String> = PROGRAM.lines().map(str::to_owned).collect();
        for (at, value) in lines {
            let line = text.get(at).and_then(|line| line.split(' ').next()).unwrap_or("board").to_owned();
            match at % 3 {
                0 => text.insert(at.min(text.len()), format!("{line} {value}")),
                1 if at < text.len() => text[at] = format!("{line} {value}"),
                _ => text.truncate(text.len().saturating_sub(at / 8)),
            }
        }
        let text = text.join("\n") + "\n";
        if let Ok(manifest) = Manifest::parse(&text) {
            prop_assert_eq!(manifest.to_text(), text);
        }
    }
}

#[test]
fn where_a_redirection_leads() {
    let long = format!("https://cdn.example/a?{}", "s".repeat(2_000));
    for (from, location, wanted) in [
        ("https://u.example/a/b?c", "https://v.example:8443/x", Some("https://v.example:8443/x")),
        ("https://u.example/a/b", long.as_str(), Some(long.as_str())),
        ("https://u.example:8443/a/b?c", "/x?y", Some("https://u.example:8443/x?y")),
        ("https://u.example/a/b?c", "x", Some("https://u.example/a/x")),
        ("https://u.example/a/b?c/d", "?y", Some("https://u.example/a/b?y")),
        ("https://u.example/a/b/c", "../x", Some("https://u.example/a/x")),
        ("https://u.example/a/b", "../../../x/./y/..", Some("https://u.example/x/")),
        ("https://u.example/a/b", "//v.example/x#part", Some("https://v.example/x")),
        ("https://u.example/a", "x?https://v.example/", Some("https://u.example/x?https://v.example/")),
        ("https://u.example/a", "http://v.example/", None),
        ("https://u.example/a", "HTTP://v.example/", None),
        ("https://u.example/a", "ftp:x", None),
        ("https://u.example/a", "", None),
        ("https://u.example/a", "#here", None),
        ("https://u.example/a", "/with a blank", None),
        ("https://u.example/a", "//", None),
    ] {
        let led = Url::parse(from).unwrap().elsewhere(location);
        assert_eq!(led.map(|url| url.to_string()).as_deref(), wanted, "{from} to {location}");
    }
    let longer = format!("https://cdn.example/a?{}", "s".repeat(2_048));
    assert_eq!(Url::parse("https://u.example/a").unwrap().elsewhere(&longer), None);
    // What a manifest may say stays as it was.
    assert_eq!(Url::parse(&long), None);
}
