//! The rules, told as stories: given, when, then.

mod clocks;
mod copies;
mod deposits;
mod devices;
mod following;
mod late;
mod limits;
mod model;
mod money;
mod notices;
mod outages;
mod pages;
mod pruning;
mod radius;
mod updates;
mod vouchers;
mod walking;
mod world;
