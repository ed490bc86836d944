//! Change streams as a source.
