//! The command that opens a change stream.

use bson::{RawArrayBuf, RawDocumentBuf, cstr, rawdoc};

use super::super::Start;
use crate::op::{Namespace, Position, Scope, Timestamp};

/// From where the server is to go on.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Resume {
    /// With the first event at or after this cluster time.
    AtTime(Timestamp),
    /// After the event of this token, also when that is an invalidation.
    After(RawDocumentBuf),
}

impl From<&Start> for Resume {
    fn from(start: &Start) -> Self {
        match start {
            // Cluster time is discrete: the first op after T is the first one at T + 1 or later.
            Start::After(Position::Time(timestamp)) => Self::AtTime(timestamp.next()),
            Start::After(Position::Oplog(op_time)) => Self::AtTime(op_time.timestamp.next()),
            Start::After(Position::ChangeStream { token, .. }) => Self::After(token.clone()),
            Start::Oldest(timestamp) => Self::AtTime(*timestamp),
        }
    }
}

/// The database to open the stream on, and the command.
pub(super) fn aggregate(
    scope: &Scope,
    resume: &Resume,
    expanded: bool,
    pipeline: &[RawDocumentBuf],
) -> (String, RawDocumentBuf) {
    let (database, collection, matched) = target(scope);
    let mut options = rawdoc! { "fullDocument": "updateLookup" };
    if database == "admin" {
        options.append(cstr!("allChangesForCluster"), true);
    }
    if expanded {
        options.append(cstr!("showExpandedEvents"), true);
    }
    match resume {
        Resume::AtTime(timestamp) => {
            options.append(
                cstr!("startAtOperationTime"),
                bson::Timestamp::from(*timestamp),
            );
        }
        // `resumeAfter` takes every token but an invalidation's, and that can be where we stand
        // without having seen it: stages that narrow the stream may hold the event back.
        Resume::After(token) => options.append(cstr!("startAfter"), token.clone()),
    }
    let mut stages = RawArrayBuf::new();
    stages.push(rawdoc! { "$changeStream": options });
    if let Some(matched) = matched {
        stages.push(rawdoc! { "$match": matched });
    }
    for stage in pipeline {
        stages.push(stage.clone());
    }
    let mut command = RawDocumentBuf::new();
    match collection {
        Some(collection) => command.append(cstr!("aggregate"), collection),
        None => command.append(cstr!("aggregate"), 1),
    }
    command.append(cstr!("pipeline"), stages);
    // The first reply is empty, so that it comes at once and shows whether the stream could open.
    command.append(cstr!("cursor"), rawdoc! { "batchSize": 0 });
    (database, command)
}

/// The narrowest stream that holds the scope: database, collection, and a match for the rest.
fn target(scope: &Scope) -> (String, Option<String>, Option<RawDocumentBuf>) {
    match scope.namespaces() {
        [Namespace::Deployment] => ("admin".into(), None, None),
        [Namespace::Database(database)] => (database.clone(), None, None),
        [
            Namespace::Collection {
                database,
                collection,
            },
        ] => (database.clone(), Some(collection.clone()), None),
        several => {
            let first = several[0].database();
            let one_database = several
                .iter()
                .all(|namespace| namespace.database() == first);
            let database = if one_database {
                first.unwrap_or("admin")
            } else {
                "admin"
            };
            (database.into(), None, Some(match_namespaces(several)))
        }
    }
}

/// `{$or: [...]}` over the namespaces. A rename is seen by who watches its target, too.
fn match_namespaces(namespaces: &[Namespace]) -> RawDocumentBuf {
    let mut branches = RawArrayBuf::new();
    for namespace in namespaces {
        match namespace {
            Namespace::Deployment => {}
            Namespace::Database(database) => {
                branches.push(rawdoc! { "ns.db": database.as_str() });
                branches.push(rawdoc! { "to.db": database.as_str() });
            }
            Namespace::Collection {
                database,
                collection,
            } => {
                branches
                    .push(rawdoc! { "ns.db": database.as_str(), "ns.coll": collection.as_str() });
                branches
                    .push(rawdoc! { "to.db": database.as_str(), "to.coll": collection.as_str() });
            }
        }
    }
    rawdoc! { "$or": branches }
}
