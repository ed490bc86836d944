//! What sources fail on, and what to do about it.

use oplet::{
    op::{Namespace, Scope, SourceKind, Timestamp},
    source,
};

use super::{POSITION_LOST, REFUSED, UserError};

/// The way on from a lost position.
pub(super) fn goes_on(flag: &str, oldest: Option<Timestamp>) -> String {
    match oldest {
        Some(oldest) => {
            format!("the oplog begins at {oldest}: `{flag}` goes on there, without what is lost")
        }
        None => format!("`{flag}` goes on with what is left, without what is lost"),
    }
}

impl From<source::Error> for UserError {
    fn from(error: source::Error) -> Self {
        let user_error = Self::of(&error);
        match &error {
            source::Error::PositionLost { oldest, .. } => {
                let user_error = Self {
                    code: POSITION_LOST,
                    ..user_error
                };
                user_error.hint(goes_on("--on-position-lost skip", *oldest))
            }
            source::Error::Unauthorized { kind, .. } => {
                let user_error = user_error.hint(match kind {
                    SourceKind::ChangeStream => {
                        "grant the user `find` and `changeStream` on what is watched, for instance by the role \
                         `read`, or `readAnyDatabase` for the deployment"
                    }
                    SourceKind::Oplog => {
                        "grant the user the role `read` on the database `local`, where the oplog is"
                    }
                });
                user_error.hint(
                    "a user is named in --uri: `mongodb://USER:PASSWORD@HOST/?authSource=admin`",
                )
            }
            source::Error::NoOplog { .. } => {
                user_error.hint("read a sharded cluster with `--source change-stream`, or by its config servers with `--config-uri`")
            }
            source::Error::NoImages => user_error.hint(
                "MongoDB 6.0 and later do; `--before off` and `--full-document lookup` need no such records",
            ),
            source::Error::NoImage { scope, .. } => user_error.hint(record_images(scope)).hint(
                "changes that were made before that have none: `--before when-available` and `--full-document \
                 when-available` go on without what is missing",
            ),
            source::Error::EventTooLarge { .. } => user_error.hint(
                "`--source oplog` reads it, and goes on from the same position",
            ),
            source::Error::Refused { .. } => user_error,
        }
    }
}

/// The command by which a collection records documents as they were before and after changes.
fn record_images(scope: &Scope) -> String {
    let (database, collection) = match scope.namespaces() {
        [
            Namespace::Collection {
                database,
                collection,
            },
        ] => (database.as_str(), collection.as_str()),
        _ => ("DATABASE", "COLLECTION"),
    };
    format!(
        "let the collection record them: `db.getSiblingDB(\"{database}\").runCommand({{collMod: \"{collection}\", \
         changeStreamPreAndPostImages: {{enabled: true}}}})`"
    )
}

impl From<source::ReadingError> for UserError {
    fn from(error: source::ReadingError) -> Self {
        let user_error = Self {
            code: REFUSED,
            ..Self::of(&error)
        };
        match error {
            source::ReadingError::UpdatesOnChangeStream => user_error.hint(
                "`--full-document` says it for a change stream; `--updates` for `--source oplog`",
            ),
            source::ReadingError::FullDocumentOnOplog => user_error.hint(
                "`--full-document` is for `--source change-stream`; `--updates` says it for the oplog",
            ),
        }
    }
}
