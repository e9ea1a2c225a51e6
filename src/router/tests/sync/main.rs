//! Sync against a real mosquitto with passwords and an ACL, a relay that signs, and brokers that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

mod broker;
mod faults;
mod hostile;
mod logbook;
mod relay;
mod router;
mod talk;
mod tls;
