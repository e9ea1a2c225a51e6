//! The gate and the neighbours on the real kernel: packets of real hosts in network namespaces, seen to arrive or not.
//! Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

mod captive;
mod conntrack;
mod copies;
mod dns;
mod filling;
mod following;
mod fw4;
mod garden;
mod installing;
mod interfaces;
mod limits;
mod marking;
mod neighbours;
mod offload;
mod senders;
mod takeover;
mod traffic;
mod world;
