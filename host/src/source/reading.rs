//! How a source reads, apart from what and from where: plain choices of the user.

use std::time::Duration;

use crate::op::SourceKind;

/// Which commands are delivered beside the changes of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Commands {
    /// Those after which documents are gone or elsewhere: `drop`, `dropDatabase`,
    /// `renameCollection`. Also what this version of Oplet does not know.
    #[default]
    Data,
    /// Also those that change what a collection is: `create`, `createIndexes`, `dropIndexes`,
    /// `collMod`, `shardCollection`, and the like. A server that writes a document into a collection
    /// that does not exist creates it, and tells that, too.
    All,
}

/// Commands that leave documents where they are.
const WITHOUT_DATA: [&str; 7] = [
    "create",
    "createIndexes",
    "dropIndexes",
    "collMod",
    "shardCollection",
    "refineCollectionShardKey",
    "reshardCollection",
];

/// Which document an update of a change stream comes with; other changes carry theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FullDocument {
    /// As it is when the server looks it up, which may be after later changes.
    #[default]
    Lookup,
    /// As this change left it, where the collection records that; else none.
    WhenAvailable,
    /// As this change left it; a change without it ends the source.
    Required,
    /// None.
    None,
}

/// Whether a change comes with the document as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Before {
    /// No.
    #[default]
    Off,
    /// Where the collection records that.
    WhenAvailable,
    /// Always; an update, replacement or deletion without it ends the source.
    Required,
}

/// Which document an update of the oplog comes with; other changes carry theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Updates {
    /// As it is when it is looked up, which may be after later changes.
    #[default]
    Lookup,
    /// None, and nothing is looked up: `updateDescription` says what changed.
    Delta,
    /// As this change left it, where the server has kept the document before it: the change is
    /// applied to that. Else as it is when it is looked up.
    Apply,
}

/// How a source reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Which commands are delivered.
    pub commands: Commands,
    /// Which document an update of a change stream comes with.
    pub full_document: FullDocument,
    /// Which document an update of the oplog comes with.
    pub updates: Updates,
    /// Whether a change comes with the document as it was before.
    pub before: Before,
    /// How long a server that has nothing new waits before it says so. As often the position of an
    /// idle source moves.
    pub await_time: Duration,
    /// What the server's `currentOp` and profiler show of a cursor, to tell whose it is.
    pub comment: Option<String>,
}

/// A choice that this kind of source cannot serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadingError {
    /// The server makes the events of a change stream, and their documents.
    #[error("what documents the updates of a change stream come with is not said by `updates`")]
    UpdatesOnChangeStream,
    /// The oplog says what changed, not what came of it.
    #[error("the oplog has no documents as updates left them")]
    FullDocumentOnOplog,
}

impl Reading {
    /// Whether such a source can read like that.
    ///
    /// # Errors
    /// [`ReadingError`].
    pub fn check(&self, kind: SourceKind) -> Result<(), ReadingError> {
        match kind {
            SourceKind::ChangeStream if self.updates != Updates::Lookup => {
                Err(ReadingError::UpdatesOnChangeStream)
            }
            SourceKind::ChangeStream => Ok(()),
            SourceKind::Oplog if self.full_document != FullDocument::Lookup => {
                Err(ReadingError::FullDocumentOnOplog)
            }
            SourceKind::Oplog => Ok(()),
        }
    }
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            commands: Commands::default(),
            full_document: FullDocument::default(),
            updates: Updates::default(),
            before: Before::default(),
            await_time: Duration::from_secs(1),
            comment: None,
        }
    }
}

// === impl Commands ===

impl Commands {
    /// The words that users write.
    pub const WORDS: [(&'static str, Self); 2] = [("data", Self::Data), ("all", Self::All)];

    /// Whether a command of that name is delivered. It is the name that the command has in the oplog,
    /// of the commands that are known.
    #[must_use]
    pub fn include(self, command: &str) -> bool {
        self == Self::All || !WITHOUT_DATA.contains(&command)
    }
}

// === impl FullDocument ===

impl FullDocument {
    /// The words that users write.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("lookup", Self::Lookup),
        ("when-available", Self::WhenAvailable),
        ("required", Self::Required),
        ("none", Self::None),
    ];

    /// Whether the server has to have recorded what is asked for.
    #[must_use]
    pub fn is_recorded(self) -> bool {
        matches!(self, Self::WhenAvailable | Self::Required)
    }

    /// As a change stream is asked; nothing for what it does by itself.
    pub(super) fn as_asked(self) -> Option<&'static str> {
        match self {
            Self::Lookup => Some("updateLookup"),
            Self::WhenAvailable => Some("whenAvailable"),
            Self::Required => Some("required"),
            Self::None => None,
        }
    }
}

// === impl Updates ===

impl Updates {
    /// The words that users write.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("lookup", Self::Lookup),
        ("delta", Self::Delta),
        ("apply", Self::Apply),
    ];
}

// === impl Before ===

impl Before {
    /// The words that users write.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("off", Self::Off),
        ("when-available", Self::WhenAvailable),
        ("required", Self::Required),
    ];

    /// As a change stream is asked; nothing for what it does by itself.
    pub(super) fn as_asked(self) -> Option<&'static str> {
        match self {
            Self::Off => None,
            Self::WhenAvailable => Some("whenAvailable"),
            Self::Required => Some("required"),
        }
    }
}
