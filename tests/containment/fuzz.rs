//! The host's reading of what a guest hands out, under any bytes: through a real instance, and beside
//! the `bson` crate. `make fuzz` runs it for longer; see also `fuzz/`, which is led by coverage.
