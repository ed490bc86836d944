//! The oplog as a source.
