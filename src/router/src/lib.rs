//! The program on the router: one loop (`daemon`), and an adapter for each thing outside.
//!
//! Adapters know `lango_core`'s types, never each other.
#![recursion_limit = "256"]

pub mod certificate;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod daemon;
pub mod file;
pub mod gate;
pub mod leases;
pub mod logger;
pub mod memory;
pub mod neighbours;
pub mod netlink;
pub mod portal;
pub mod radius;
pub mod restart;
pub mod retry;
pub mod store;
pub mod sync;
pub mod tls;
pub mod update;
