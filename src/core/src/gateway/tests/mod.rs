//! The rules, told as stories: given, when, then.

mod following;
mod limits;
mod model;
mod money;
mod outages;
mod world;
