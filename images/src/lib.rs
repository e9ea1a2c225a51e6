//! What goes onto routers: which boards there are, what a package holds, how both of OpenWrt's package formats and their feeds are
//! written, and how an image is ordered from OpenWrt's ImageBuilder.
//!
//! Formats are pure code: values in, bytes out, the same bytes whenever and wherever they are made.

pub mod adb;
pub mod apk;
pub mod authority;
pub mod board;
pub mod feed;
pub mod ipk;
pub mod keys;
pub mod package;
pub mod provision;
pub mod recipe;
pub mod tree;
