//! The `oplet` binary.
fn main() {}
