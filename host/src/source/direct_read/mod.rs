//! Reads what lies in a collection, one range of `_id`s after another.
//!
//! Enters: a namespace. [`examine`] finds out what it is; [`split`] cuts its keys into
//! [`KeyRange`](crate::op::KeyRange)s that can be read beside one another; a [`SegmentReader`] reads
//! one of them as a snapshot. Leaves: batches of inserts, each of which is a document as it stood at
//! the cluster time of its segment, in the order of the server's keys.
//!
//! Promised: every document of a range that was there at that time is given, once, whatever the type
//! of its `_id`; what the segment's time covers is exact, so that a change of one of its keys is either
//! in the documents that are given or follows them. After a passing fault reading goes on behind the
//! last document at the same time. Where the server no longer has that time, or the segment has grown
//! long enough, it is [cut](Read::Cut): what came before the cut is whole, what comes behind is for
//! another reader, at a newer time. Nothing is promised about views, time series, capped collections
//! and servers before 5.0 but that what stood there all the while is given at least once; a [`Target`]
//! says [so](Target::inexact).
//!
//! One segment, as it is asked for and as the server answers:
//!
//! ```json
//! {"find": "orders", "hint": {"_id": 1}, "sort": {"_id": 1}, "min": {"_id": 5}, "max": {"_id": "m"}, "limit": 200001,
//!  "readConcern": {"level": "snapshot", "afterClusterTime": {"$timestamp": {"t": 1700000001, "i": 7}}}}
//! {"cursor": {"firstBatch": [{"_id": 5}, {"_id": 7.5}, {"_id": "a"}], "id": 0, "ns": "shop.orders",
//!  "atClusterTime": {"$timestamp": {"t": 1700000001, "i": 9}}}, "ok": 1.0, "operationTime": {"$timestamp": {"t": 1700000001, "i": 9}}}
//! ```

mod bounds;
mod command;
mod cursor;
mod decode;
mod error;
mod options;
mod pace;
mod sample;
mod segment;
mod split;
mod stages;
mod target;

pub use error::Error;
pub use options::ReadOptions;
pub use pace::Pace;
pub use segment::{Cut, Read, SegmentReader};
pub use split::{SEGMENT_BYTES, SEGMENT_DOCUMENTS, Splitting, split};
pub use stages::Stages;
pub use target::{Inexact, Kind, Target, examine};
