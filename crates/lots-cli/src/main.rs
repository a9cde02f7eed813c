//! The command line of Lots.

fn main() {}
