//! What a phone sends to the portal.

use lango::portal::head::{Head, MAX_BODY, field};
use lango::portal::language::Languages;
use lango::portal::route::Route;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;

/// The request line and the headers as lines, then an empty one, then the body: as on the wire, but split before it is read,
/// for that is done by the HTTP library.
pub(crate) fn http(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let mut parts = lines.next().unwrap_or_default().splitn(3, ' ');
    let (method, target, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let headers = lines.filter_map(|line| line.split_once(": "));
    let Ok((head, length)) = Head::read(method, target, version, headers) else { return };
    assert!(length <= MAX_BODY);
    let whole = if target.contains('?') { format!("{}?{}", head.path, head.query) } else { head.path.clone() };
    assert_eq!(whole, target, "a path that is not what was asked for");
    let _ = head.addressee("portal.lan", || Some(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1))));
    let _ = Route::find(method, &head.path);
    static LANGUAGES: OnceLock<Languages> = OnceLock::new();
    let languages = LANGUAGES.get_or_init(Languages::embedded);
    let chosen = languages.choose(head.asked("lang").as_deref(), head.accept_language.as_deref());
    assert!(languages.iter().any(|language| std::ptr::eq(language, chosen)));
    for name in ["phone", "package", "username", "password"] {
        if let Some(value) = field(body.as_bytes(), name) {
            // A byte that is no text becomes U+FFFD, which has three.
            assert!(value.len() <= 3 * body.len());
        }
    }
}

/// What phones call themselves is as short as it must be, and is the same when it is made harmless again.
pub(crate) fn leases(bytes: &[u8]) {
    for name in lango::leases::read(bytes).into_values() {
        assert!(!name.is_empty() && name.chars().count() <= 32, "{name:?}");
        assert!(
            !name
                .chars()
                .any(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}'))
        );
        assert_eq!(lango::leases::harmless(&name).as_deref(), Some(name.as_str()).filter(|name| *name != "*"));
    }
}
