//! The control socket: how the command line, and scripts, talk to the running daemon.
//!
//! One JSON line in, one JSON line out (`wire`). The socket is the owner's alone: who may open it may do everything.

pub mod client;
mod server;
pub mod wire;

pub use server::{Ask, serve};
