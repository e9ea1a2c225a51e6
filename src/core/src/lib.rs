//! The rules of Lango. Pure code: what happened comes in as [`step::Input`], time as [`time::Now`], randomness as
//! [`step::Entropy`]; what is to be done goes out as [`step::Effect`]. Nothing here waits, reads a clock or does I/O.
#![forbid(unsafe_code)]

pub mod account;
pub mod credentials;
pub mod few;
pub mod gate;
pub mod gateway;
pub mod language;
pub mod ledger;
pub mod limiter;
pub mod message;
pub mod notice;
pub mod order;
pub mod outage;
pub mod package;
pub mod payer;
pub mod radius;
pub mod record;
pub mod request;
pub mod restart;
pub mod settings;
pub mod step;
mod text;
pub mod time;
pub mod tree;
pub mod units;
pub mod update;
pub mod voucher;
