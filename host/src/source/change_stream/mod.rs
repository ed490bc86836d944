//! Reads change streams.
//!
//! Whatever is watched is one stream: a collection's, a database's, or the deployment's with a
//! `$match` on the namespace. One event, as the server sends it:
//!
//! ```json
//! {"_id": {"_data": "8265..."}, "operationType": "update", "clusterTime": {"$timestamp": {"t": 1700000001, "i": 7}},
//!  "wallTime": {"$date": "2023-11-14T22:13:21Z"}, "ns": {"db": "shop", "coll": "orders"}, "documentKey": {"_id": 7},
//!  "updateDescription": {"updatedFields": {"n": 2}, "removedFields": [], "truncatedArrays": []},
//!  "fullDocument": {"_id": 7, "n": 2}}
//! ```
//!
//! Every kind of event becomes an op: a change of a document, or a command in the words of the oplog
//! (`ddl`). `invalidate` ends the server's stream, and the next one begins behind it. An event that
//! is too large for one reply comes in `fragments`, or, where the server cannot do that, `lean`.

mod command;
mod ddl;
mod decode;
mod event;
mod fragments;
mod gather;
mod lean;
mod tail;
mod token;

pub use tail::Tail;
pub use token::token_time;

use super::{Commands, Reading};
