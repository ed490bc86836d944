//! Sharded clusters.
