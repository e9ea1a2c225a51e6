//! The cloud side of Lango: asks M-Pesa for the money, keeps the ledger of it, and tells the routers.
//!
//! `payment` is the rules (pure); `daraja`, `ledger`, `http` and `mqtt` are the outside; `engine` carries out what the
//! rules say; `sms` sends texts to customers, `radius` lets
//! accounts roam; `daemon` starts and stops it all; `commands` and `bookkeeping` are what an
//! operator types beside it.

pub mod args;
pub mod bookkeeping;
pub mod check;
pub mod clock;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod daraja;
pub mod deposits;
pub mod engine;
pub mod folders;
pub mod http;
pub mod https;
pub mod ledger;
pub mod logger;
pub mod mqtt;
pub mod nairobi;
pub mod operator;
pub mod payment;
pub mod posts;
pub mod radius;
pub mod receipts;
pub mod resend;
pub mod reversing;
pub mod routers;
pub mod secret;
pub mod signer;
pub mod sms;
pub mod sources;
pub mod statement;
pub mod updates;
pub mod vouchers;
