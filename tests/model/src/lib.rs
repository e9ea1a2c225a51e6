//! The model: the rules of router and relay, as shipped, in a world of a few hundred lines: simulated time, a lossy bus, a simulated
//! Safaricom, crashes between any two effects; and beside them the reference, which only knows that money in is service out.
//!
//! A run is a seed: the seed makes a list of inputs ([`input::story`]), and those are all that happens. A run that fails is made
//! shorter for as long as it still fails, and printed as lines that `--replay` takes.

pub mod books;
pub mod check;
pub mod input;
pub mod kernel;
pub mod lies;
pub mod mirror;
pub mod purse;
pub mod random;
pub mod relay;
pub mod router;
pub mod run;
pub mod safaricom;
pub mod service;
pub mod sold;
pub mod vouchers;
pub mod world;
