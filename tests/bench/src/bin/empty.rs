//! The cost of a process as such.

fn main() {}
