//! Each demand that gtm's behaviour makes of its successor, as one test: the rows of the table in
//! `docs/gtm.md`, whose numbers the names begin with.

mod direct_reads;
mod library;
mod oplog;
mod segments;
mod shards;
mod streams;
mod workers;
