//! Ordering, and sharing the work between processes.
