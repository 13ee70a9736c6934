//! The alula command line.
fn main() {}
