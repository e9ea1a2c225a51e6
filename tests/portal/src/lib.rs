//! The portal in a real browser: headless Chromium on a phone of the lab, driven over the DevTools protocol.
//!
//! The ways that customers go are in `walks.rs`: the tests go them with every check there is at every page, and the gallery
//! takes pictures of the same pages.

pub mod audit;
pub mod browser;
pub mod own;
pub mod pipe;
pub mod tab;
pub mod texts;
pub mod walks;
