//! One customer's way.
fn main() {}
