//! The RADIUS adapter among real servers and forged ones. Runs as root; traffic stays in namespaces of its own.
// Helpers of tests: what is not as expected stops them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounting;
mod forged;
mod logins;
mod orders;
mod radsec;
mod servers;
mod storm;
mod world;
