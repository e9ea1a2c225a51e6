//! The names under which router and relay speak (docs/protocol.md). Pure.

use lango_core::message::UpBody;
use lango_core::units::RouterName;

/// Where the relay's presence is kept.
pub const RELAY_PRESENCE: &str = "lango/v1/relay/presence";

/// What a presence topic holds while its owner is there.
pub const ONLINE: &str = "online";

/// What it holds while its owner is not; the broker writes it where the owner fell silent (its last will).
pub const OFFLINE: &str = "offline";

/// Where a router says `body`.
#[must_use]
pub fn up(router: &RouterName, body: &UpBody) -> String {
    format!("lango/v1/{router}/up/{}", body.topic())
}

/// Where a router's presence is kept.
#[must_use]
pub fn presence(router: &RouterName) -> String {
    format!("lango/v1/{router}/up/presence")
}

/// What a router listens to: everything that the relay says to it.
#[must_use]
pub fn all_down(router: &RouterName) -> String {
    format!("lango/v1/{router}/down/#")
}

/// Whether a topic is one of [`all_down`].
#[must_use]
pub fn is_down(router: &RouterName, topic: &str) -> bool {
    let below = |rest: &str| Some(rest.strip_prefix("lango/v1/")?.strip_prefix(router.as_str())?.starts_with("/down/"));
    below(topic).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lango_core::message::UpBody;

    #[test]
    fn a_router_s_topics_hold_its_name() {
        let router: RouterName = "kibera-7".parse().unwrap();
        assert_eq!(up(&router, &UpBody::Ack { of: vec![] }), "lango/v1/kibera-7/up/ack");
        assert_eq!(presence(&router), "lango/v1/kibera-7/up/presence");
        assert_eq!(all_down(&router), "lango/v1/kibera-7/down/#");
        for (topic, down) in [
            ("lango/v1/kibera-7/down/payment", true),
            ("lango/v1/kibera-7/down/a/b", true),
            ("lango/v1/kibera-7/down", false),
            ("lango/v1/kibera-70/down/payment", false),
            ("lango/v1/kibera/down/payment", false),
            ("lango/v1/kibera-7/up/ack", false),
            ("", false),
        ] {
            assert_eq!(is_down(&router, topic), down, "{topic}");
        }
    }
}
