//! Where changes come from.

pub mod oplog;
