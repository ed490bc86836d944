//! Modules whose instances start when they are looked at, and not when they are needed.
