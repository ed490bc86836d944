//! One command of statements, sent raw.

use anyhow::{Context, Result};
use bson::{Document, doc};
use mongodb::{ClientSession, Database};

/// The commands that write documents.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    Insert,
    Update,
    Delete,
}

/// Which of a command's statements the server took.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) accepted: usize,
    /// The indexes of the others.
    pub(super) refused: Vec<usize>,
}

impl Verb {
    /// The command, and its field for the statements.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Insert => ("insert", "documents"),
            Self::Update => ("update", "updates"),
            Self::Delete => ("delete", "deletes"),
        }
    }
}

/// Runs `statements` on `collection`, one after the other, each whatever became
/// of the one before. In a transaction a refused one aborts it.
pub(super) async fn send(
    database: &Database,
    session: Option<&mut ClientSession>,
    verb: Verb,
    collection: &str,
    statements: Vec<Document>,
) -> Result<Reply> {
    let count = statements.len();
    if count == 0 {
        return Ok(Reply::default());
    }
    let (verb, field) = verb.names();
    let action =
        database.run_command(doc! { verb: collection, field: statements, "ordered": false });
    let reply = match session {
        Some(session) => action.session(session).await,
        None => action.await,
    };
    let reply = reply.with_context(|| format!("cannot run `{verb}` of {count} statements"))?;
    let mut refused = Vec::new();
    for error in reply.get_array("writeErrors").into_iter().flatten() {
        let error = error
            .as_document()
            .context("a write error is no document")?;
        refused.push(usize::try_from(error.get_i32("index")?)?);
    }
    Ok(Reply {
        accepted: count - refused.len(),
        refused,
    })
}
