//! What the errors of each room are to a user.

use oplet::{
    admin, checkpoint, control, dead_letters,
    flow::workers::{FileError, ListError},
    guest, mongo, sink, source,
};

use super::{FAILED, REFUSED, UserError};
use crate::config;

impl From<Vec<config::Problem>> for UserError {
    fn from(problems: Vec<config::Problem>) -> Self {
        match problems.as_slice() {
            [problem] => Self::refused(problem.to_string()),
            _ => Self {
                points: problems.iter().map(ToString::to_string).collect(),
                ..Self::refused(format!("{} settings are refused", problems.len()))
            },
        }
    }
}

impl From<mongo::Error> for UserError {
    fn from(error: mongo::Error) -> Self {
        let user_error = Self::of(&error);
        match &error {
            mongo::Error::Uri { .. } => Self { code: REFUSED, ..user_error },
            mongo::Error::Unreachable { .. } => user_error
                .hint("is mongod running there, and does --uri (or OPLET_URI) name it?"),
            mongo::Error::Standalone { host } => user_error.hint(format!(
                "only replica sets record changes, and one member is enough: restart mongod with \
                 `--replSet rs0`, then run `{}` once",
                initiate(host)
            )),
            mongo::Error::Uninitiated { host } => {
                user_error.hint(format!("run `{}` once", initiate(host)))
            }
            mongo::Error::Authentication { .. } => user_error
                .hint("check user, password and `authSource` in --uri; special characters are percent-encoded"),
            mongo::Error::Refused { .. } => user_error,
        }
    }
}

/// The command that makes a replica set of a server that was started as a member of one.
fn initiate(host: &str) -> String {
    format!("mongosh 'mongodb://{host}/?directConnection=true' --eval 'rs.initiate()'")
}

impl From<control::DeploymentsError> for UserError {
    fn from(error: control::DeploymentsError) -> Self {
        let user_error = match error {
            control::DeploymentsError::Connect(error) => return error.into(),
            _ => Self::of(&error),
        };
        let refused = |user_error| Self {
            code: REFUSED,
            ..user_error
        };
        match &error {
            control::DeploymentsError::Same { .. } => refused(user_error)
                .hint("one connection string is enough, with all members of the set"),
            control::DeploymentsError::Alike { .. } => refused(user_error).hint(
                "the role `clusterMonitor` lets the user see the ids of replica sets, by which two of one name are \
                 told apart",
            ),
            control::DeploymentsError::NoShards { .. } => refused(user_error)
                .hint("--config-uri names the replica set of the cluster's config servers"),
            control::DeploymentsError::List { .. } => {
                user_error.hint("grant the user the role `read` on the database `config`")
            }
            control::DeploymentsError::Connect(_) => user_error,
        }
    }
}

impl From<guest::Error> for UserError {
    fn from(error: guest::Error) -> Self {
        let hint = error.hint();
        let user_error = Self::of(&error);
        match &error {
            guest::Error::Refused { module, findings } => {
                let user_error = match findings.as_slice() {
                    [finding] => {
                        Self::refused(format!("the module `{module}` is refused: {finding}"))
                    }
                    _ => Self {
                        points: findings.iter().map(ToString::to_string).collect(),
                        ..Self::refused(format!("the module `{module}` is refused"))
                    },
                };
                user_error.hints_of(findings)
            }
            guest::Error::CacheDirectory { .. } | guest::Error::CacheDirectoryOpen { .. } => Self {
                code: REFUSED,
                hints: hint.into_iter().collect(),
                ..user_error
            },
            _ => hint.into_iter().fold(user_error, Self::hint),
        }
    }
}

impl From<control::PlanError> for UserError {
    fn from(error: control::PlanError) -> Self {
        let user_error = Self {
            code: REFUSED,
            ..Self::of(&error)
        };
        match &error {
            control::PlanError::PipelineOnOplog { .. } => user_error.hint(
                "read with `--source change-stream`, or give `--ignore-pipeline` if the module's filter suffices",
            ),
            control::PlanError::OrderOverStreams { .. } => {
                user_error.hint("use `--ordering document`, or give `--ignore-pipeline`")
            }
            control::PlanError::Guest { .. } | control::PlanError::Pipeline { .. } => user_error,
        }
    }
}

impl From<sink::Broken> for UserError {
    fn from(broken: sink::Broken) -> Self {
        match broken.is_closed() {
            true => Self::quiet(),
            false => Self::of(&broken),
        }
    }
}

impl From<dead_letters::Error> for UserError {
    fn from(error: dead_letters::Error) -> Self {
        let user_error = Self::of(&error);
        match &error {
            dead_letters::Error::Mongodb { source, .. }
                if mongo::Fault::of(source) == mongo::Fault::Unauthorized =>
            {
                user_error.hint("grant the user the role `readWrite` on that database")
            }
            dead_letters::Error::Invalid { .. } => user_error
                .hint("something else is stored there; does --dead-letters name the right place?"),
            _ => user_error,
        }
    }
}

impl From<admin::Error> for UserError {
    fn from(error: admin::Error) -> Self {
        let user_error = Self::of(&error);
        match &error {
            admin::Error::NoToken { address } => Self {
                code: REFUSED,
                ..user_error
            }
            .hint(format!(
                "give a token, by --admin-token-file or OPLET_ADMIN_TOKEN, or serve this machine alone: \
                 `--admin 127.0.0.1:{}`",
                address.port()
            )),
            admin::Error::BadToken => Self {
                code: REFUSED,
                ..user_error
            }
            .hint("a token is made of printable characters without spaces, as `openssl rand -hex 32` gives"),
            admin::Error::Bind { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                user_error.hint("another process listens there; port 0 takes a free one, which the log names")
            }
            admin::Error::Bind { .. } => user_error,
        }
    }
}

impl From<checkpoint::Error> for UserError {
    fn from(error: checkpoint::Error) -> Self {
        let hint = error.hint();
        hint.into_iter().fold(Self::of(&error), Self::hint)
    }
}

impl From<control::ShareError> for UserError {
    fn from(error: control::ShareError) -> Self {
        use control::ShareError;
        let user_error = Self {
            code: REFUSED,
            ..Self::of(&error)
        };
        match error {
            ShareError::NotListed { worker, listed, .. } => {
                let names: Vec<&str> = listed.iter().map(String::as_str).collect();
                user_error.hint(config::unknown("there is no", &worker, &names))
            }
            ShareError::File { source, .. } => match source {
                FileError::Read(_) => {
                    user_error.hint("does --workers-file name the right file?")
                }
                FileError::Missing("since" | "before") => user_error.hint(
                    "a list that has changed says since when it holds, and which one held before: \
                     `since = \"1700000001:7\"`, `before = [\"a\"]`",
                ),
                FileError::List {
                    error: ListError::Duplicate { .. },
                    ..
                } => user_error.hint("each worker has a name of its own"),
                FileError::List { .. }
                | FileError::Malformed { .. }
                | FileError::Missing(_)
                | FileError::WrongType { .. }
                | FileError::Unknown(_) => user_error.hint(
                    "a list of workers is written `workers = [\"a\", \"b\"]` in TOML, or \
                     `{\"workers\": [\"a\", \"b\"]}` in JSON",
                ),
            },
            ShareError::Missing { .. } => user_error.hint(
                "insert it: `{_id: ID, workers: [\"a\", \"b\"]}`; --workers-from names collection and `_id`",
            ),
            ShareError::Document { .. } => {
                user_error.hint("it is written `{_id: ID, workers: [\"a\", \"b\"]}`")
            }
            ShareError::Server { .. } => Self {
                code: FAILED,
                ..user_error
            }
            .hint(
                "the user needs to read and watch that collection, and `readWrite` on the database `oplet`",
            ),
            ShareError::Watch(error) => (*error).into(),
        }
    }
}

impl From<control::Error> for UserError {
    fn from(error: control::Error) -> Self {
        match error {
            control::Error::Source(error) => error.into(),
            control::Error::Checkpoint(error) => error.into(),
            control::Error::SinkEnded {
                is_closed: true, ..
            } => Self::quiet(),
            control::Error::Module { .. } => Self::of(&error).hint(
                "the log above has the failure; `--on-error skip` passes such ops over, `--on-error dead-letter` \
                 keeps them for later",
            ),
            control::Error::Share(error) => (*error).into(),
            control::Error::DirectRead { ref source, .. }
                if matches!(**source, source::direct_read::Error::Unauthorized { .. }) =>
            {
                Self::of(&error).hint("the user needs the role `read` on its database")
            }
            control::Error::ReadOfShards => Self {
                code: REFUSED,
                ..Self::of(&error).hint(
                    "read the cluster through a mongos, as one deployment: `--uri mongodb://MONGOS --source \
                     change-stream`, without `--config-uri`",
                )
            },
            control::Error::TokenOfOne => Self {
                code: REFUSED,
                ..Self::of(&error).hint("a cluster time, as `1700000001:7`, is a position in all of them")
            },
            control::Error::CheckpointElsewhere { .. } => Self {
                code: REFUSED,
                ..Self::of(&error).hint(
                    "give the connection string of that deployment first; the order of the others does not matter",
                )
            },
            control::Error::Transactional { .. } => Self {
                code: REFUSED,
                ..Self::of(&error)
            },
            control::Error::LeaseLost { .. } => Self::of(&error)
                .hint("what was handled since is handled by the other process as well, with the same op ids"),
            _ => Self::of(&error),
        }
    }
}
