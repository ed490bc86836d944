//! The names and numbers of the guest ABI, version 1.
//!
//! The host and this SDK read the same constants, so that they cannot drift apart. Handler authors
//! never need this module; authors of other SDKs do.
//!
//! A *document* is BSON in linear memory, given as `ptr: i32, len: i32`. A returned document is one
//! `i64`, see [`pack`]; `0` means none.

/// Name of the import module that the host provides.
pub const IMPORT_MODULE: &str = "oplet";

/// Names of the exports that the host looks for.
pub mod export {
    /// The linear memory.
    pub const MEMORY: &str = "memory";
    /// `() -> ()`: marks ABI version 1; present, never called.
    pub const MARKER_V1: &str = "oplet_abi_v1";
    /// Every version marker starts with this; the rest is the version number.
    pub const MARKER_PREFIX: &str = "oplet_abi_v";
    /// `(len) -> ptr`: room for the host to write an op into, 8-byte aligned; `0` refuses.
    pub const ALLOC: &str = "oplet_alloc";
    /// `(ptr, len) -> i32`: see [`super::verdict`].
    pub const FILTER: &str = "filter";
    /// `(ptr, len) -> i32`: see [`super::outcome`].
    pub const HANDLE: &str = "handle";
    /// `(ptr, len) -> i64`: `{namespace, source}` in, `{pipeline: [stage, ...]}` or none out.
    pub const PIPELINE: &str = "pipeline";
    /// `() -> ()`: WASI reactor start-up, called once per instance before anything else.
    pub const INITIALIZE: &str = "_initialize";
    /// `() -> ()`: a WASI command's entry; its presence means that this is no handler.
    pub const START: &str = "_start";
    /// `(ptr, len) -> i32`: takes the module's configuration; non-zero refuses it.
    pub const CONFIGURE: &str = "oplet_configure";
    /// `() -> i32`: called at a batch border and before an instance is dropped.
    pub const FLUSH: &str = "oplet_flush";
    /// `() -> i64`: the state that the next version goes on with, see [`super::state`]; `0` for none.
    pub const SAVE: &str = "oplet_save";
    /// `(ptr, len) -> i32`: takes the state of the version before; non-zero refuses it.
    pub const RESTORE: &str = "oplet_restore";
    /// `(now_ms: i64) -> i32`: the time, in milliseconds since 1970, about every `tick` of the
    /// configuration; answers as `oplet_flush` does.
    pub const TICK: &str = "oplet_tick";
}

/// Names of the functions in [`IMPORT_MODULE`].
pub mod import {
    /// `(name_ptr, name_len) -> i32`: the number of a sink, `-1` if there is none.
    pub const SINK: &str = "sink";
    /// `(sink, ptr, len) -> i32`: hands a document to a sink, see [`super::emitted`].
    pub const EMIT: &str = "emit";
    /// `(level, ptr, len)`: a log line, see [`super::level`].
    pub const LOG: &str = "log";
    /// `(ptr, len)`: the reason for a retry, a reject or a refused configuration.
    pub const FAIL: &str = "fail";
    /// `(ms: i64)`: the delay for [`super::outcome::RETRY_AFTER`].
    pub const RETRY_AFTER: &str = "retry_after";
    /// `(name_ptr, name_len, delta: i64)`: adds to a counter of the module's own.
    pub const COUNT: &str = "count";
    /// `(ptr, len) -> i32`: asks MongoDB for documents, see [`super::query`]. The answer's length; when
    /// there is no answer, less than 0, see [`super::looked_up`].
    pub const LOOKUP: &str = "lookup";
    /// `(buf, cap) -> i32`: copies the answer of the last `lookup` to where the guest has room for
    /// it, and forgets it. Its length; nothing is copied when that is more than `cap`. `0` when there
    /// is none.
    pub const REPLY: &str = "reply";
}

/// Fields of the document that `lookup` takes, and of the one that it answers with.
pub mod query {
    /// String: `db.collection`, one that the module has the grant for.
    pub const NAMESPACE: &str = "namespace";
    /// Document: which documents, as for `find`; absent for all.
    pub const FILTER: &str = "filter";
    /// Document: which of their fields, as for `find`; absent for all.
    pub const PROJECTION: &str = "projection";
    /// Number: how many documents, at most; absent for all, which may not be more than the host allows.
    pub const LIMIT: &str = "limit";
    /// Array, in the answer: the documents.
    pub const DOCUMENTS: &str = "documents";
}

/// The document in which a module's state goes from one version to the next.
pub mod state {
    /// Int32: the form of the state, a number of the module's own.
    pub const VERSION: &str = "v";
    /// Any: the state.
    pub const STATE: &str = "state";
    /// Bytes that the whole may have.
    pub const BYTES_MAX: usize = 16 << 20;
}

/// What `lookup` answers when there is no answer. The call may go on without. When it fails, in
/// whichever way, the host tells the lookup as the cause.
pub mod looked_up {
    /// The server cannot be asked at present. A call that fails then is made again later, and that
    /// costs no attempt.
    pub const UNAVAILABLE: i32 = -1;
    /// The server refused, or took too long, or found too much.
    pub const FAILED: i32 = -2;
}

/// What `filter` answers.
pub mod verdict {
    /// The op is not wanted.
    pub const DROP: i32 = 0;
    /// The op is wanted.
    pub const KEEP: i32 = 1;
    /// Allowed on an op marked `pending`: fetch the document and ask again.
    pub const ASK_AGAIN: i32 = 2;
}

/// What `handle` answers.
pub mod outcome {
    /// Done; the outputs are delivered.
    pub const DONE: i32 = 0;
    /// Try again; counts as an attempt.
    pub const RETRY: i32 = 1;
    /// This op can never be handled.
    pub const REJECT: i32 = 2;
    /// Try again after the delay given by `retry_after`; costs no attempt.
    pub const RETRY_AFTER: i32 = 3;
}

/// What `emit` answers.
pub mod emitted {
    /// Taken.
    pub const TAKEN: i32 = 0;
    /// There is no sink of that number.
    pub const NO_SUCH_SINK: i32 = 1;
    /// The op's outputs are over the limit.
    pub const OVER_LIMIT: i32 = 2;
    /// The bytes are not a BSON document.
    pub const NOT_BSON: i32 = 3;
}

/// Levels of `log`.
pub mod level {
    /// Something failed.
    pub const ERROR: i32 = 1;
    /// Something is degraded.
    pub const WARN: i32 = 2;
    /// Life cycle.
    pub const INFO: i32 = 3;
    /// For whoever debugs the handler.
    pub const DEBUG: i32 = 4;
    /// Per-op detail.
    pub const TRACE: i32 = 5;
}

/// Fields of the op document, in the order in which they lie in guest memory: the small ones first,
/// so that a filter on the envelope never touches the body. Absent ones are left out.
pub mod field {
    /// String: `i` insert, `u` update, `d` delete, `c` command.
    pub const OPERATION: &str = "operation";
    /// String: `db.collection`; `db` alone for `dropDatabase`.
    pub const NAMESPACE: &str = "namespace";
    /// String: the same on every redelivery.
    pub const OP_ID: &str = "opId";
    /// Timestamp: cluster time.
    pub const TIMESTAMP: &str = "timestamp";
    /// String: `oplog`, `changeStream`, `directRead`.
    pub const SOURCE: &str = "source";
    /// Bool, `true` or absent: the document of this update has not been fetched yet.
    pub const PENDING: &str = "pending";
    /// Bool, `true` or absent: this update replaced the whole document.
    pub const REPLACE: &str = "replace";
    /// Date: the server's wall clock.
    pub const WALL_TIME: &str = "wallTime";
    /// Document `{lsid, txnNumber, index}` of the transaction that the op was part of.
    pub const TXN: &str = "txn";
    /// String: the replica set's name, when several are tailed.
    pub const CLUSTER: &str = "cluster";
    /// Document: shard key and `_id`, when it holds more than `_id`.
    pub const DOCUMENT_KEY: &str = "documentKey";
    /// Any: the document's `_id`.
    pub const ID: &str = "_id";
    /// Document: what an update changed.
    pub const UPDATE_DESCRIPTION: &str = "updateDescription";
    /// Document: the document, or the command.
    pub const DATA: &str = "data";
    /// Document: the pre-image.
    pub const BEFORE: &str = "before";

    /// All of the above, in order.
    pub const ORDER: [&str; 15] = [
        OPERATION,
        NAMESPACE,
        OP_ID,
        TIMESTAMP,
        SOURCE,
        PENDING,
        REPLACE,
        WALL_TIME,
        TXN,
        CLUSTER,
        DOCUMENT_KEY,
        ID,
        UPDATE_DESCRIPTION,
        DATA,
        BEFORE,
    ];
}

/// Values of [`field::OPERATION`].
pub mod operation {
    /// An insert.
    pub const INSERT: &str = "i";
    /// An update or a replacement.
    pub const UPDATE: &str = "u";
    /// A delete.
    pub const DELETE: &str = "d";
    /// A command: `drop`, `dropDatabase`, `renameCollection`.
    pub const COMMAND: &str = "c";
}

/// Values of [`field::SOURCE`].
pub mod source {
    /// The op was read from the oplog.
    pub const OPLOG: &str = "oplog";
    /// The op came from a change stream.
    pub const CHANGE_STREAM: &str = "changeStream";
    /// The op is a document of a collection that was read as a whole.
    pub const DIRECT_READ: &str = "directRead";
}

/// Packs pointer and length of a returned document into the one `i64` that a guest answers.
#[must_use]
pub const fn pack(ptr: u32, len: u32) -> i64 {
    ((ptr as i64) << 32) | len as i64
}

/// Takes apart what [`pack`] made: `(ptr, len)`, or `None` for `0`.
#[must_use]
pub const fn unpack(packed: i64) -> Option<(u32, u32)> {
    if packed == 0 {
        return None;
    }
    Some(((packed >> 32) as u32, packed as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_documents_survive_the_whole_address_space() {
        for (ptr, len) in [(8, 5), (u32::MAX, u32::MAX), (0x8000_0000, 1)] {
            assert_eq!(unpack(pack(ptr, len)), Some((ptr, len)));
        }
        assert_eq!(unpack(0), None);
    }
}
