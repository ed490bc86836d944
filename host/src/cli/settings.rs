//! From flags to settings.

use clap::{ArgMatches, parser::ValueSource};

use super::{args::SettingsArgs, error::UserError};
use crate::config::{
    self, CommandLine, Layer, Origin, PolicyLayer, Problem, Settings, Sourced, Uri,
};
use mongodb::options::ConnectionString;
use oplet::mongo;

/// Finds what holds, from the command line, the environment, and the file that they name.
pub(super) fn load(args: &SettingsArgs, matches: &ArgMatches) -> Result<Settings, Vec<Problem>> {
    config::load(command_line(args, matches), &config::environment)
}

/// What was given as a flag or by its environment variable, apart from what stands there by default.
fn command_line(args: &SettingsArgs, matches: &ArgMatches) -> CommandLine {
    let given = Given(matches);
    let source = &args.source;
    CommandLine {
        file: args.config.clone(),
        layer: Layer {
            name: args
                .name
                .clone()
                .and_then(|name| given.or("name", "OPLET_NAME", name)),
            uri: given.or("uri", "OPLET_URI", source.uri.clone()),
            kind: given.or("kind", "OPLET_SOURCE", source.kind),
            watch: given.flag("watch", args.watch.clone()),
            since: args
                .since
                .clone()
                .and_then(|since| given.flag("since", since)),
            oplog_namespace: given.flag("oplog_namespace", source.oplog_namespace.clone()),
            batch_size: None,
            connect_timeout: given.flag("connect_timeout", source.connect_timeout),
            on_position_lost: args
                .on_position_lost
                .and_then(|choice| given.flag("on_position_lost", choice)),
            ignore_pipeline: given.flag("ignore_pipeline", args.ignore_pipeline),
            ordering: given.flag("ordering", args.ordering),
            workers: args
                .workers
                .and_then(|workers| given.flag("workers", workers.into())),
            queue_bytes: None,
            window_ops: None,
            grace_period: given.flag("grace_period", args.grace_period),
            checkpoint: given.flag("checkpoint", args.checkpoint.clone()),
            save_every: None,
            lease: None,
            standby: given.flag("standby", args.standby),
            dead_letters: given.flag("dead_letters", args.dead_letters.clone()),
            admin: given.or("admin", "OPLET_ADMIN", args.admin),
            admin_token: None,
        },
        policy: PolicyLayer {
            on_error: given.flag("on_error", args.on_error),
            attempts: given.flag("attempts", args.attempts),
            backoff_min: None,
            backoff_max: None,
            breaker_failures: given.flag("breaker_failures", args.breaker_failures),
            breaker: given.flag("breaker", args.breaker),
        },
        admin_token_file: args.admin_token_file.clone(),
        modules: args.modules.clone(),
        sinks: args.sink.clone(),
        set: args.set.clone(),
    }
}

/// What the parser of flags knows of where values came from.
struct Given<'a>(&'a ArgMatches);

impl Given<'_> {
    /// A value that may be given by a flag alone.
    fn flag<T>(&self, id: &str, value: T) -> Option<Sourced<T>> {
        self.or(id, "", value)
    }

    /// A value that may be given by a flag, or else by an environment variable.
    fn or<T>(&self, id: &str, variable: &'static str, value: T) -> Option<Sourced<T>> {
        let origin = match self.0.value_source(id)? {
            ValueSource::CommandLine => Origin::Flag,
            ValueSource::EnvVariable => Origin::Environment(variable),
            _ => return None,
        };
        Some(Sourced::new(value, origin))
    }
}

/// Reads a connection string, without opening anything.
pub(super) fn parse_uri(uri: &Uri) -> Result<ConnectionString, UserError> {
    let text = uri.expose();
    mongo::parse_uri(text).map_err(|error| {
        let nearest = format!("mongodb://{text}");
        let forgot_scheme = !text.contains("://") && mongo::parse_uri(&nearest).is_ok();
        let user_error = UserError::from(error);
        match forgot_scheme && !text.contains('@') {
            true => user_error.hint(format!("did you mean `{nearest}`?")),
            false => user_error.hint(
                "it is written `mongodb://USER:PASSWORD@HOST:PORT/?replicaSet=NAME`; user and password may be \
                 left out, and their special characters are percent-encoded",
            ),
        }
    })
}
