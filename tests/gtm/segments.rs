//! Direct reads: how a collection is split and read.
