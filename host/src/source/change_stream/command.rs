//! The command that opens a change stream.

use bson::{RawArrayBuf, RawDocumentBuf, cstr, rawdoc};

use super::{Reading, lean};
use crate::{
    mongo::Capabilities,
    op::{Namespace, Position, Scope, Timestamp},
    source::Start,
};

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

/// What a stream is to hold.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub(super) scope: &'a Scope,
    pub(super) reading: &'a Reading,
    pub(super) pipeline: &'a [RawDocumentBuf],
    /// What the server knows.
    pub(super) capabilities: Capabilities,
    /// Events that are too large come without some of their parts.
    pub(super) is_lean: bool,
}

impl Asking<'_> {
    /// The database to open the stream on, and the command.
    pub(super) fn aggregate(&self, resume: &Resume) -> (String, RawDocumentBuf) {
        let (database, collection, matched) = target(self.scope);
        let mut stages = RawArrayBuf::new();
        stages.push(rawdoc! { "$changeStream": self.options(database == "admin", resume) });
        if let Some(matched) = matched {
            stages.push(rawdoc! { "$match": matched });
        }
        for stage in self.pipeline {
            stages.push(stage.clone());
        }
        if self.is_lean {
            for stage in lean::stages() {
                stages.push(stage);
            }
        }
        if self.capabilities.splits_large_events {
            stages.push(rawdoc! { "$changeStreamSplitLargeEvent": {} });
        }
        let mut command = RawDocumentBuf::new();
        match collection {
            Some(collection) => command.append(cstr!("aggregate"), collection),
            None => command.append(cstr!("aggregate"), 1),
        }
        command.append(cstr!("pipeline"), stages);
        // The first reply is empty, so that it comes at once and shows whether the stream could open.
        command.append(cstr!("cursor"), rawdoc! { "batchSize": 0 });
        if let Some(comment) = &self.reading.comment {
            command.append(cstr!("comment"), comment.as_str());
        }
        (database, command)
    }

    fn options(&self, is_deployment: bool, resume: &Resume) -> RawDocumentBuf {
        let mut options = RawDocumentBuf::new();
        if let Some(document) = self.reading.full_document.as_asked() {
            options.append(cstr!("fullDocument"), document);
        }
        if let Some(before) = self.reading.before.as_asked() {
            options.append(cstr!("fullDocumentBeforeChange"), before);
        }
        if is_deployment {
            options.append(cstr!("allChangesForCluster"), true);
        }
        // Also for what they add to updates and renames, whatever commands are delivered.
        if self.capabilities.expanded_events {
            options.append(cstr!("showExpandedEvents"), true);
        }
        match resume {
            Resume::AtTime(timestamp) => {
                let timestamp = bson::Timestamp::from(*timestamp);
                options.append(cstr!("startAtOperationTime"), timestamp);
            }
            // `resumeAfter` takes every token but an invalidation's, and that can be where we stand
            // without having seen it: stages that narrow the stream may hold the event back.
            Resume::After(token) => options.append(cstr!("startAfter"), token.clone()),
        }
        options
    }
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

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;
    use crate::source::{Before, FullDocument};

    /// The options and the names of the stages of a stream.
    fn check(version: &str, reading: &Reading, is_lean: bool) -> (Document, Vec<String>) {
        let pipeline = [rawdoc! { "$match": { "n": 1 } }];
        let asking = Asking {
            scope: &Scope::new(["shop.orders".parse().unwrap()]),
            reading,
            pipeline: &pipeline,
            capabilities: Capabilities::of_version(version),
            is_lean,
        };
        let (database, command) = asking.aggregate(&Resume::AtTime(Timestamp::new(1, 2)));
        assert_eq!(database, "shop");
        let command = Document::try_from(command).unwrap();
        assert_eq!(command.get_str("aggregate").unwrap(), "orders");
        let mut stages = command.get_array("pipeline").unwrap().iter();
        let mut next = || stages.next()?.as_document().cloned();
        let options = next()
            .unwrap()
            .get_document("$changeStream")
            .unwrap()
            .clone();
        let names = std::iter::from_fn(|| Some(next()?.keys().next()?.to_owned()));
        (options, names.collect())
    }

    #[test]
    fn a_server_is_asked_for_what_it_knows() {
        let start = bson::Timestamp {
            time: 1,
            increment: 2,
        };
        let reading = Reading::default();
        let (options, stages) = check("5.0.3", &reading, false);
        let expected = doc! { "fullDocument": "updateLookup", "startAtOperationTime": start };
        assert_eq!((options, stages), (expected, vec!["$match".to_owned()]));
        let (options, stages) = check("6.0.5", &reading, false);
        assert!(options.get_bool("showExpandedEvents").unwrap());
        assert_eq!(stages, ["$match"]);
        // Behind all else, or it would be refused.
        let (_, stages) = check("7.0.0", &reading, true);
        assert_eq!(
            stages,
            ["$match", "$set", "$set", "$changeStreamSplitLargeEvent"]
        );
    }

    #[test]
    fn the_documents_of_a_change_are_asked_for_as_the_user_wants_them() {
        let mut reading = Reading {
            full_document: FullDocument::Required,
            before: Before::WhenAvailable,
            ..Reading::default()
        };
        let (options, _) = check("6.0.5", &reading, false);
        assert_eq!(options.get_str("fullDocument").unwrap(), "required");
        let before = options.get_str("fullDocumentBeforeChange");
        assert_eq!(before.unwrap(), "whenAvailable");
        reading = Reading {
            full_document: FullDocument::None,
            ..Reading::default()
        };
        let (options, _) = check("6.0.5", &reading, false);
        assert!(!options.contains_key("fullDocument"));
        assert!(!options.contains_key("fullDocumentBeforeChange"));
    }
}
