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

mod command;
mod event;
mod tail;
mod token;

pub use tail::Tail;
pub use token::token_time;
