//! Oplet and its MongoDB are killed again and again while writers write: at the end the copy equals
//! the source.
//!
//! `OPLET_SOAK_ROUNDS` says how many kills there are, `OPLET_SOAK_SEED` which; `make soak` has many.

mod kill;
mod writers;
