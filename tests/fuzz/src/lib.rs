//! What is fuzzed: each parser of bytes from outside, and what must hold whatever the bytes are.
//!
//! A target panics where something does not hold. None of them waits, reads a file or speaks to anybody.
// A target's only way to say that something is wrong is to panic.
#![allow(clippy::panic, clippy::expect_used)]

mod cloud;
mod kernel;
mod messages;
mod portal;
mod radius;
mod surface;
mod text;
mod updates;

/// What is tried with some bytes.
pub type Target = fn(&[u8]);

/// All by name, which is also its folder of the corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("router_config", text::router_config),
    ("relay_config", text::relay_config),
    ("statement", text::statement),
    ("daraja", cloud::daraja),
    ("sms", cloud::sms),
    ("http", portal::http),
    ("leases", portal::leases),
    ("portal", surface::surface),
    ("control", messages::control),
    ("down", messages::down),
    ("up", messages::up),
    ("record", messages::record),
    ("pieces", messages::pieces),
    ("typed", messages::typed),
    ("update", updates::update),
    ("netlink", kernel::netlink),
    ("radius", radius::radius),
];

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// All names.
#[must_use]
pub fn names() -> Vec<&'static str> {
    TARGETS.iter().map(|(name, _)| *name).collect()
}

/// The first byte as a choice, and the rest.
fn choice(bytes: &[u8]) -> (u8, &[u8]) {
    bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest))
}
