//! What a Rust program that tails without modules sees.
