//! The simulated Safaricom as a program.
fn main() {}
