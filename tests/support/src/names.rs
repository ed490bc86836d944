//! Names that no other test uses.

use std::sync::atomic::{AtomicU32, Ordering};

/// A database name that nobody else in this process gets: tests that share a
/// replica set stay out of each other's way by it.
///
/// `hint` makes it readable in logs: `tail` gives `tail_7`.
pub fn database_name(hint: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{hint}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
