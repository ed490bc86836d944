//! From flags to settings.

use clap::{ArgMatches, parser::ValueSource};

use mongodb::options::ConnectionString;
use oplet::{
    control::{self, ListPlace, ShareOptions},
    mongo,
    op::{Format, StoreSpec},
    sink::Spec,
};

use super::{
    args::{JsonFormat, SettingsArgs},
    error::UserError,
};
use crate::config::{
    self, CommandLine, Layer, Origin, PolicyLayer, Problem, Settings, SinkSettings, Sourced, Uri,
    Uris,
};

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
            uri: given.or("uri", "OPLET_URI", uris(&source.uri)),
            config_uri: args
                .config_uri
                .clone()
                .and_then(|uri| given.or("config_uri", "OPLET_CONFIG_URI", Some(uri))),
            kind: given.or("kind", "OPLET_SOURCE", source.kind),
            watch: given.flag("watch", args.watch.clone()),
            since: args
                .since
                .clone()
                .and_then(|since| given.flag("since", since)),
            oplog_namespace: given.flag("oplog_namespace", source.oplog_namespace.clone()),
            commands: given.flag("commands", source.commands),
            full_document: given.flag("full_document", source.full_document),
            updates: given.flag("updates", source.updates),
            before: given.flag("before", source.before),
            comment: None,
            await_time: None,
            batch_size: None,
            connect_timeout: given.flag("connect_timeout", source.connect_timeout),
            on_position_lost: given.flag("on_position_lost", args.on_position_lost),
            direct_read: match args.direct.direct_read.is_empty() {
                true => None,
                false => given.flag("direct_read", args.direct.direct_read.clone()),
            },
            direct_read_split: given.flag("direct_read_split", args.direct.direct_read_split),
            direct_read_concurrency: given.flag(
                "direct_read_concurrency",
                args.direct.direct_read_concurrency.into(),
            ),
            direct_read_bounded: given.flag("direct_read_bounded", args.direct.direct_read_bounded),
            direct_read_rate: args
                .direct
                .direct_read_rate
                .and_then(|rate| given.flag("direct_read_rate", Some(rate))),
            reload: given.flag("reload", args.reload),
            ignore_pipeline: given.flag("ignore_pipeline", args.ignore_pipeline),
            ordering: given.flag("ordering", args.ordering),
            workers: args
                .workers
                .and_then(|workers| given.flag("workers", workers.into())),
            worker: args
                .worker
                .clone()
                .and_then(|worker| given.or("worker", "OPLET_WORKER", Some(worker))),
            workers_file: given.flag("workers_file", args.workers_file.clone()),
            workers_from: given.flag("workers_from", args.workers_from.clone()),
            ring: given.flag("ring", args.ring),
            queue_bytes: None,
            window_ops: None,
            grace_period: given.flag("grace_period", args.grace_period),
            probation: None,
            checkpoint: None,
            save_every: None,
            lease: None,
            standby: given.flag("standby", args.standby),
            dead_letters: None,
            save_failed: given.flag("save_failed", args.save_failed.clone()),
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
        checkpoint: given.or("checkpoint", "OPLET_CHECKPOINT", args.checkpoint.clone()),
        dead_letters: given.or(
            "dead_letters",
            "OPLET_DEAD_LETTERS",
            args.dead_letters.clone(),
        ),
        admin_token_file: args.admin_token_file.clone(),
        modules: args.modules.clone(),
        module: None,
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

/// Reads the connection strings of a run; of those in a file, the place is told.
pub(super) fn parse_uris(settings: &Settings) -> Result<Vec<ConnectionString>, UserError> {
    let Sourced { value, origin } = &settings.values.uri;
    let parsed = value.all().iter().map(parse_uri);
    let parsed: Result<_, _> = parsed.collect();
    parsed.map_err(|error| placed(settings, origin, error))
}

/// The same of the config servers, if they are named.
pub(super) fn parse_config_uri(settings: &Settings) -> Result<Option<ConnectionString>, UserError> {
    let Sourced { value, origin } = &settings.values.config_uri;
    let parsed = value.as_ref().map(parse_uri).transpose();
    parsed.map_err(|error| placed(settings, origin, error))
}

/// What was given by a flag that may be repeated, or a variable with blanks between.
fn uris(given: &[Uri]) -> Uris {
    Uris::of(given.iter().map(Uri::expose))
}

/// Reads the connection string of a verb that reads one deployment.
pub(super) fn only_uri(given: &[Uri]) -> Result<ConnectionString, UserError> {
    match uris(given).all() {
        [one] => parse_uri(one),
        several => Err(UserError::refused(format!(
            "{} deployments are given, and only `oplet run` reads several",
            several.len()
        ))),
    }
}

/// Why modules cannot be run; of a module in a file, the place is told.
pub(super) fn refused_plan(settings: &Settings, error: control::PlanError) -> UserError {
    let modules = &settings.modules;
    let module = modules
        .iter()
        .find(|module| module.name.value == error.module());
    let origin = module.map_or(&Origin::Default, |module| &module.path.origin);
    placed(settings, origin, error.into())
}

/// Adds where something is written, if that is in the file.
pub(super) fn placed(settings: &Settings, origin: &Origin, error: UserError) -> UserError {
    match (settings.file(), origin) {
        (Some(file), Origin::File { line }) => {
            error.hint(format!("it is named in {}:{line}", file.display()))
        }
        _ => error,
    }
}

/// The sinks of a run; that of one that names none prints as the run was told to.
pub(super) fn sinks(settings: &Settings, format: JsonFormat) -> Vec<Spec> {
    let sink = |sink: &SinkSettings| match (&sink.url.origin, format) {
        (Origin::Default, JsonFormat::Canonical) => Spec::stdout(Format::Canonical),
        _ => sink.spec.clone(),
    };
    settings.sinks.iter().map(sink).collect()
}

/// The part of the work that a run has; what is wrong with a list in a file is told.
pub(super) fn share(settings: &Settings) -> Result<Option<ShareOptions>, UserError> {
    let values = &settings.values;
    let file = values.workers_file.value.clone().map(ListPlace::File);
    let document = values.workers_from.value.clone().map(ListPlace::Document);
    let (Some(worker), Some(list)) = (&values.worker.value, file.or(document)) else {
        return Ok(None);
    };
    let options = ShareOptions {
        worker: worker.clone(),
        list,
        ring: values.ring.value,
    };
    match options.check_file() {
        Ok(()) => Ok(Some(options)),
        Err(error) => Err(placed(settings, &values.workers_file.origin, error.into())),
    }
}

/// A store that settings hold.
pub(super) fn store(text: &str, collection: &str) -> StoreSpec {
    StoreSpec::parse(text, collection).expect("settings hold what was read before")
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::command::Cli;
    use crate::config::{Definition, GuestValues, PolicyValues, Values};

    fn definitions() -> Vec<Definition> {
        [
            Values::definitions(),
            PolicyValues::definitions(),
            GuestValues::definitions(),
        ]
        .concat()
    }

    #[test]
    fn flags_are_as_defined() {
        let command = Cli::command();
        let flags: Vec<_> = command
            .find_subcommand("run")
            .expect("there is a verb")
            .get_arguments()
            .collect();
        for Definition {
            flag,
            variable,
            default,
            ..
        } in definitions()
        {
            if flag.is_empty() {
                continue;
            }
            let found = flags.iter().find(|found| found.get_long() == Some(flag));
            let found = found.unwrap_or_else(|| panic!("there is no --{flag}"));
            let of_clap = found.get_env().and_then(|variable| variable.to_str());
            assert_eq!(of_clap.unwrap_or_default(), variable, "--{flag}");
            // Where the parser of flags has no default, none is given to the settings either.
            let of_clap = found.get_default_values().first();
            let shown = match &default {
                serde_json::Value::Array(items) => items.first().cloned().unwrap_or_default(),
                default => default.clone(),
            };
            let shown = shown
                .as_str()
                .map_or_else(|| shown.to_string(), str::to_owned);
            if let Some(of_clap) = of_clap {
                assert_eq!(of_clap.to_str(), Some(shown.as_str()), "--{flag}");
            }
        }
    }

    #[test]
    fn every_setting_is_in_the_documentation() {
        let page = include_str!("../../../docs/configuration.md");
        let mut section = String::new();
        let mut rows = Vec::new();
        for line in page.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                section = title.replace(['`', '[', ']'], "");
            }
            if line.starts_with("| `") {
                let cells: Vec<String> = line
                    .trim_matches('|')
                    .split(" | ")
                    .map(|cell| cell.replace('`', "").trim().to_owned())
                    .collect();
                rows.push((section.clone(), cells));
            }
        }
        for definition in definitions() {
            let Definition {
                section,
                key,
                flag,
                variable,
                ..
            } = &definition;
            let title = if section.is_empty() { "Top" } else { section };
            let row = rows
                .iter()
                .find(|(of, cells)| of == title && cells[0] == *key);
            let (_, cells) = row.unwrap_or_else(|| panic!("{title}.{key} has no row"));
            let names = match (*flag, *variable) {
                ("", _) => String::new(),
                (flag, "") => format!("--{flag}"),
                (flag, variable) => format!("--{flag}, {variable}"),
            };
            assert_eq!(cells[1], names, "{title}.{key}");
        }
    }
}
