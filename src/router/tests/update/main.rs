//! Updates over the air with real files, real shells, real processes and real TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says what is wrong by stopping

mod adapter;
mod fetching;
mod flash;
mod guard;
mod steps;
