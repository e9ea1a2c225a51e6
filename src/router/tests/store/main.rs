//! The store against what happens to it: other programs, damage, `kill -9`, a full flash and power cuts.
//!
//! Needs root and loop devices: the power cuts are made on a file system of the test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper fails the test")]

mod damage;
mod killed;
mod life;
mod power;
mod resting;
mod scratch;
mod writer;
