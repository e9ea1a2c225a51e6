//! The rules, told as stories: given, when, then.

mod limits;
mod model;
mod money;
mod outages;
mod world;
