//! Direct reads as a whole run sees them.
