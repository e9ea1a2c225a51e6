//! Updates over the air: manifests, keys, signatures, what is kept, and the heads of web servers' answers.

use lango::update::head::{self, Body, MAX_HEAD};
use lango_core::update::{Facts, Judged, Manifest, Offer, Reason, ReleaseKey, Signature, Standing, Url, judge};

/// What is read is written again as the same bytes; nothing is believed without a signature; no head promises another length.
pub(crate) fn update(bytes: &[u8]) {
    for have in [0, 40] {
        let Some(url) = Url::parse("https://u.example/a/b") else { return };
        if let Ok(Some((length, body))) = head::read(bytes, &url, 100, have) {
            assert!(length <= bytes.len() && length <= MAX_HEAD && bytes.get(..length).is_some_and(|head| head.ends_with(b"\n")));
            assert!(!(matches!(body, Body::Rest) && have == 0 && bytes.starts_with(b"HTTP/1.1 200")), "a rest of nothing");
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(manifest) = Manifest::parse(text) {
        assert_eq!(manifest.to_text(), text);
    }
    if let Ok(standing) = Standing::parse(text) {
        assert_eq!(standing.to_text(), text);
    }
    if let Some(signature) = Signature::parse(text) {
        assert_eq!(Signature::parse(&signature.to_line()), Some(signature));
    }
    let keys: Vec<ReleaseKey> = ReleaseKey::parse(text).into_iter().chain([ReleaseKey { id: [7; 8], key: [7; 32] }]).collect();
    let facts = Facts { keys: &keys, board: Some("a"), target: "t", images: true, guarded: true, time: None };
    let signature = Signature { id: [7; 8], bytes: [0; 64] }.to_line();
    let Ok(id) = "m-1".parse() else { return };
    let offer = Offer { manifest: text.to_owned(), signature };
    assert_eq!(judge(&Standing::default(), &id, &offer, &facts, |_, _, _| false), Judged::Refused(Reason::Forged), "believed");
    if let Judged::Accepted(manifest) = judge(&Standing::default(), &id, &offer, &facts, |_, _, _| true) {
        assert!(manifest.number > 0 && manifest.target.as_deref().is_none_or(|target| target == "t"));
    }
}
