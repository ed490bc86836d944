//! What an error of the driver or the server means.

use mongodb::error::{Error, ErrorKind};

/// Server error codes that are told apart, by the names that the server gives them
/// (`src/mongo/base/error_codes.yml`).
pub mod code {
    #![allow(
        missing_docs,
        reason = "the names are the server's, of those that it names"
    )]
    pub const UNAUTHORIZED: i32 = 13;
    pub const AUTHENTICATION_FAILED: i32 = 18;
    pub const NAMESPACE_NOT_FOUND: i32 = 26;
    pub const NO_MATCHING_DOCUMENT: i32 = 47;
    pub const CURSOR_NOT_FOUND: i32 = 43;
    pub const MAX_TIME_MS_EXPIRED: i32 = 50;
    pub const INVALID_OPTIONS: i32 = 72;
    pub const CAPPED_POSITION_LOST: i32 = 136;
    pub const QUERY_PLAN_KILLED: i32 = 175;
    pub const SNAPSHOT_TOO_OLD: i32 = 239;
    pub const SNAPSHOT_UNAVAILABLE: i32 = 246;
    pub const COLLECTION_UUID_MISMATCH: i32 = 361;
    pub const CHANGE_STREAM_FATAL_ERROR: i32 = 280;
    pub const CHANGE_STREAM_HISTORY_LOST: i32 = 286;
    pub const CURSOR_KILLED: i32 = 237;
    pub const CLOSE_CHANGE_STREAM: i32 = 222;
    pub const INVALID_RESUME_TOKEN: i32 = 260;
    pub const OPLOG_QUERY_MIN_TS_MISSING: i32 = 326;
    pub const TOPOLOGY_CHANGE: i32 = 348;
    pub const BSON_OBJECT_TOO_LARGE: i32 = 10334;
    pub const NOT_A_REPLICA_SET: i32 = 40573;
    pub const RESUME_POINT_GONE: i32 = 40576;
    pub const RESUME_TOKEN_NOT_FOUND: i32 = 40585;
    pub const RESUME_TOKEN_REFUSED: i32 = 40615;
    pub const KEY_STRING_FORMAT: i32 = 50811;
    pub const INTERRUPTED: i32 = 11601;
}

/// Codes after which reading goes on from the same position: network, step-down and shutdown
/// families, stale shard views, and cursors that the server dropped. The list is that of the change
/// streams specification, with the codes that close a cursor without a fault in it.
const RESUMABLE: [i32; 25] = [
    code::CURSOR_NOT_FOUND,
    code::CURSOR_KILLED,
    code::CLOSE_CHANGE_STREAM,
    code::TOPOLOGY_CHANGE,
    code::INTERRUPTED, // `killOp`, `killAllSessions`: an operator ends what runs, not what reads
    6,                 // HostUnreachable
    7,                 // HostNotFound
    63,                // StaleShardVersion
    89,                // NetworkTimeout
    91,                // ShutdownInProgress
    133,               // FailedToSatisfyReadPreference
    134,               // ReadConcernMajorityNotAvailableYet
    150,               // StaleEpoch
    189,               // PrimarySteppedDown
    234,               // RetryChangeStream
    262,               // ExceededTimeLimit
    9001,              // SocketException
    10107,             // NotWritablePrimary
    11600,             // InterruptedAtShutdown
    11602,             // InterruptedDueToReplStateChange
    13388,             // StaleConfig
    13435,             // NotPrimaryNoSecondaryOk
    13436,             // NotPrimaryOrSecondary
    code::QUERY_PLAN_KILLED, // the collection was dropped or renamed under the cursor
    code::MAX_TIME_MS_EXPIRED,
];

/// Codes of writes that may go through later, beside those of [`RESUMABLE`]: what a busy, full or
/// partitioned server answers, and what an operator can grant.
const WRITABLE_LATER: [i32; 19] = [
    code::UNAUTHORIZED,
    code::AUTHENTICATION_FAILED,
    11,  // UserNotFound
    24,  // LockTimeout
    46,  // LockBusy
    64,  // WriteConcernFailed
    79,  // UnknownReplWriteConcern
    100, // UnsatisfiableWriteConcern
    112, // WriteConflict
    117, // ConflictingOperationInProgress
    125, // CommandFailed
    146, // ExceededMemoryLimit
    202, // NetworkInterfaceExceededTimeLimit
    code::SNAPSHOT_UNAVAILABLE,
    249,   // StaleDbVersion
    264,   // TooManyFilesOpen
    365,   // TemporarilyUnavailable: the cache is under pressure
    12586, // BackgroundOperationInProgressForDatabase
    14031, // OutOfDiskSpace
];

/// What a caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It passes by itself: reopen at the same position, after a while.
    Passing,
    /// The server no longer has what follows the position.
    PositionLost,
    /// The credentials are wrong.
    Authentication,
    /// The user may not do this.
    Unauthorized,
    /// This server cannot do this: it is no replica set.
    NotReplicaSet,
    /// Trying again would fail again.
    Permanent,
}

impl Fault {
    /// Tells what an error means.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        if error.contains_label("ResumableChangeStreamError") {
            return Self::Passing;
        }
        match &*error.kind {
            ErrorKind::Command(command) => Self::of_code(command.code),
            ErrorKind::Authentication { .. } => Self::Authentication,
            ErrorKind::Io(_)
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::DnsResolve { .. } => Self::Passing,
            _ if error.contains_label("RetryableWriteError")
                || error.contains_label("TransientTransactionError") =>
            {
                Self::Passing
            }
            _ => Self::Permanent,
        }
    }

    /// Whether a write that was answered with this code may go through later, unchanged.
    #[must_use]
    pub fn is_passing_for_writes(code: i32) -> bool {
        RESUMABLE.contains(&code) || WRITABLE_LATER.contains(&code)
    }

    fn of_code(code: i32) -> Self {
        match code {
            code::CAPPED_POSITION_LOST
            | code::CHANGE_STREAM_HISTORY_LOST
            | code::OPLOG_QUERY_MIN_TS_MISSING => Self::PositionLost,
            code::AUTHENTICATION_FAILED => Self::Authentication,
            code::UNAUTHORIZED => Self::Unauthorized,
            code::NOT_A_REPLICA_SET => Self::NotReplicaSet,
            code if RESUMABLE.contains(&code) => Self::Passing,
            _ => Self::Permanent,
        }
    }
}

/// Whether the server answered with one of these codes.
#[must_use]
pub fn has_code(error: &Error, codes: &[i32]) -> bool {
    matches!(&*error.kind, ErrorKind::Command(command) if codes.contains(&command.code))
}

/// An error of the driver as one clause for people: its own text adds labels, the server's whole
/// response, and the state of each connection.
#[must_use]
pub fn describe(error: &Error) -> String {
    match &*error.kind {
        ErrorKind::InvalidArgument { message, .. } | ErrorKind::DnsResolve { message, .. } => {
            message.clone()
        }
        ErrorKind::Io(error) => error.to_string(),
        ErrorKind::Command(command) => match command.code_name.as_str() {
            "" => format!("{} (code {})", command.message, command.code),
            name => format!("{} ({name}, code {})", command.message, command.code),
        },
        ErrorKind::ServerSelection { message, .. } => selection(message),
        kind => kind.to_string(),
    }
}

/// What is worth saying of a failed selection: the first server's own error, if it has one. The
/// driver gives it as text only.
fn selection(message: &str) -> String {
    let own = message
        .split_once("Error: Kind: ")
        .and_then(|(_, rest)| rest.split_once(", labels:"));
    let outline = message.split(". Topology: ").next().unwrap_or(message);
    match own {
        Some((own, _)) => own.trim_start_matches("I/O error: ").to_owned(),
        None => outline.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_selection_is_told_by_its_cause() {
        let refused = "Server selection timeout: No available servers. Topology: { Type: Unknown, \
            Servers: [ { Address: h:1, Type: Unknown, Error: Kind: I/O error: Connection refused (os error 111), \
            labels: {\"RetryableError\"}, source: None, server response: None } ] }";
        assert_eq!(selection(refused), "Connection refused (os error 111)");
        let absent = "Server selection timeout: No available servers. Topology: { Type: ReplicaSetNoPrimary }";
        assert_eq!(
            selection(absent),
            "Server selection timeout: No available servers"
        );
    }

    #[test]
    fn codes_mean_what_the_table_says() {
        for (code, fault) in [
            (43, Fault::Passing),
            (10107, Fault::Passing),
            (286, Fault::PositionLost),
            (136, Fault::PositionLost),
            (13, Fault::Unauthorized),
            (18, Fault::Authentication),
            (40573, Fault::NotReplicaSet),
            (260, Fault::Permanent),
            (11601, Fault::Passing),
            (9, Fault::Permanent),
        ] {
            assert_eq!(Fault::of_code(code), fault, "{code}");
        }
    }
}
