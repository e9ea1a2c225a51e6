//! Ordered maps and sets, used as those of the standard library are, for a router's flash: their code is made once for each type of key and
//! for each type of value, where the standard library's is made for each pair (docs/decisions/0038-room.md).
//!
//! A map is two columns of the same shape, one of keys and one of values; a column is a list of short lists. Which of them is split or
//! joined depends on places and lengths alone, so that both do the same. [`crate::few`] is for those that are there in thousands with
//! an entry or two each.

mod column;
mod map;
mod set;
#[cfg(test)]
mod tests;

pub use column::{IntoIter, Iter};
pub use map::{BTreeMap, Entries, Entry};
pub use set::BTreeSet;
