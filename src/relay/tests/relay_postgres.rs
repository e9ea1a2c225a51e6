//! All tests of `relay/` once more, with the ledger in a real PostgreSQL; and what only that can do: several relays at once.

#[path = "relay/fleet/mod.rs"]
mod fleet;
#[path = "relay/main.rs"]
mod relay;
#[path = "relay/texts.rs"]
mod texts;
