//! The mm-lockstep command line.
fn main() {}
