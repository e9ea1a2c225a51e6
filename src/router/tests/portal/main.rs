//! The portal over real sockets: every call and page of the contract, the probes of every system, and what the street throws at it.

// Helpers of tests are tests, which clippy does not see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod world;

mod calls;
mod pages;
mod probes;
mod restarted;
mod secure;
mod street;
