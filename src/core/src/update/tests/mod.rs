//! The rules of updates, as tables; and every way that the power can go.

mod cuts;
mod offers;
mod texts;
