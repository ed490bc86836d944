//! What holds, and what contradicts itself in that.

use std::path::{Path, PathBuf};

use oplet::{
    control::OnError,
    guest::Isolation,
    op::{Since, SourceKind},
};

use super::{
    definitions::Values,
    origin::Origin,
    parts::{ModuleSettings, SinkSettings},
    problem::{Place, Problem},
    values::Begin,
};

/// What holds.
pub(crate) struct Settings {
    pub(crate) values: Values,
    pub(crate) modules: Vec<ModuleSettings>,
    pub(crate) sinks: Vec<SinkSettings>,
    file: File,
}

/// A configuration file, to show places in it; without a text when there is none.
#[derive(Default)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Settings {
    pub(super) fn new(
        values: Values,
        modules: Vec<ModuleSettings>,
        sinks: Vec<SinkSettings>,
        file: File,
    ) -> Self {
        let mut settings = Self {
            values,
            modules,
            sinks,
            file,
        };
        settings.complete();
        settings
    }

    /// Fills in what follows from other settings.
    fn complete(&mut self) {
        if self.values.name.origin == Origin::Default {
            let names: Vec<&str> = self
                .modules
                .iter()
                .map(|module| module.name.value.as_str())
                .collect();
            self.values.name.value = names.join("+");
        }
        // Each worker has a lease and a checkpoint of its own.
        if let Some(worker) = &self.values.worker.value {
            let name = &mut self.values.name.value;
            *name = format!("{name}@{worker}");
        }
        if self.sinks.is_empty() {
            self.sinks = vec![SinkSettings::by_default()];
        }
        // Of those that have no name of their own, the second `http` is `http-2`.
        for index in 1..self.sinks.len() {
            let has_name_of_kind = self.sinks[index].has_name_of_kind();
            let kind = self.sinks[index].name.value.clone();
            let mut number = 1;
            while has_name_of_kind && self.has_sink_before(index) {
                number += 1;
                self.sinks[index].rename(format!("{kind}-{number}"));
            }
        }
    }

    fn has_sink_before(&self, index: usize) -> bool {
        let name = &self.sinks[index].name.value;
        self.sinks[..index]
            .iter()
            .any(|sink| sink.name.value == *name)
    }

    /// What is wrong with values that are right each for itself.
    pub(super) fn contradictions(&self, is_readable: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut refuse = |message: String, origin: &Origin| {
            problems.push(self.problem(message, origin));
        };
        for (index, module) in self.modules.iter().enumerate() {
            let name = &module.name.value;
            let same = |other: &&ModuleSettings| other.name.value == *name;
            let Some(other) = self.modules[..index].iter().find(same) else {
                continue;
            };
            let (path, other) = (&module.path.value, &other.path.value);
            let message = match path == other {
                true => format!("the module {} is given twice", path.display()),
                false => format!(
                    "two modules are named `{name}`: {} and {}; a module is named by its file, unless its \
                     `[[module]]` has a `name`",
                    other.display(),
                    path.display()
                ),
            };
            refuse(message, &module.name.origin);
        }
        for (index, sink) in self.sinks.iter().enumerate() {
            if self.has_sink_before(index) {
                let message = format!("two sinks are named `{}`", sink.name.value);
                refuse(message, &sink.name.origin);
            }
        }
        let transactional = self
            .sinks
            .iter()
            .filter(|sink| sink.spec.is_transactional());
        for (index, sink) in transactional.enumerate() {
            if self.values.checkpoint.value.text == "none" {
                let message = format!(
                    "the sink `{}` is transactional: it is written together with the checkpoint, and `none` is kept",
                    sink.name.value
                );
                refuse(message, &sink.url.origin);
            }
            if index > 0 {
                let message = format!(
                    "the sink `{}` is the second that is transactional, and there can be one",
                    sink.name.value
                );
                refuse(message, &sink.url.origin);
            }
        }
        let values = &self.values;
        let lists = [
            (
                "file",
                &values.workers_file.origin,
                values.workers_file.value.is_some(),
            ),
            (
                "from",
                &values.workers_from.origin,
                values.workers_from.value.is_some(),
            ),
        ];
        let lists: Vec<_> = lists.iter().filter(|(_, _, is_given)| *is_given).collect();
        match (&values.worker.value, lists.as_slice()) {
            (None, []) | (Some(_), [_]) => {}
            (Some(worker), []) => refuse(
                format!(
                    "`{worker}` is one of several workers, but there is no list of them: give --workers-file \
                     or --workers-from, or `file` or `from` in `[workers]`"
                ),
                &values.worker.origin,
            ),
            (None, [(_, origin, _), ..]) => refuse(
                "there is a list of workers, but it is not said which of them this one is: give --worker, or \
                 `name` in `[workers]`"
                    .to_owned(),
                origin,
            ),
            (Some(_), [_, (_, origin, _), ..]) => refuse(
                "there are two lists of workers: one in a file, and one in a document".to_owned(),
                origin,
            ),
        }
        if self.modules.is_empty() && is_readable {
            problems.push(Problem::new(
                "no module is given; name one as an argument, or as `[[module]]` in the configuration",
            ));
        }
        let mut refuse = |message: String, origin: &Origin| {
            problems.push(self.problem(message, origin));
        };
        for module in &self.modules {
            let policy = &module.policy;
            if policy.on_error.value == OnError::Retry
                && policy.backoff_min.value > policy.backoff_max.value
            {
                let message = "`backoff-min-ms` is more than `backoff-max-ms`".to_owned();
                let origin = (&policy.backoff_min.origin).max(&policy.backoff_max.origin);
                refuse(message, origin);
            }
            let guest = &module.guest;
            if guest.tick.value.is_some() && guest.isolation.value == Isolation::Op {
                let message =
                    "`tick` beside `isolation = \"op\"`: an instance that lives for one op is \
                               gone when the clock ticks"
                        .to_owned();
                refuse(message, (&guest.tick.origin).max(&guest.isolation.origin));
            }
        }
        let Values {
            uri,
            config_uri,
            kind,
            since,
            ..
        } = &self.values;
        let several = uri.value.all().len() > 1;
        if config_uri.value.is_some() {
            let mut refuse = |message: &str| refuse(message.to_owned(), &config_uri.origin);
            if kind.value != SourceKind::Oplog {
                refuse(
                    "`config-uri` is for reading the oplogs of shards: give --source oplog beside it",
                );
            }
            if uri.origin == Origin::Default || several {
                refuse(
                    "`config-uri` needs one `uri` beside it, that of a mongos of the cluster: documents are looked \
                     up there, and what the run keeps is kept there",
                );
            }
        }
        if several && matches!(since.value, Begin::At(Since::Token(_))) {
            let message = "a resume token is a position in one deployment, and several are given; a cluster time is \
                           one in all of them";
            refuse(message.to_owned(), &since.origin);
        }
        if let Some(address) = self.values.admin.value
            && !address.ip().is_loopback()
            && self.values.admin_token.value.is_none()
        {
            let message = format!(
                "the admin API on {address} can be reached from outside, and needs a token: give \
                 `token-file`, or --admin-token-file"
            );
            refuse(message, &self.values.admin.origin);
        }
        problems
    }

    /// A problem with a value, shown where that came from.
    pub(crate) fn problem(&self, message: impl Into<String>, origin: &Origin) -> Problem {
        match origin {
            Origin::File { line } => {
                let File { path, text } = &self.file;
                Problem::at(message, Place::of_line(path, text, *line))
            }
            Origin::Environment(variable) => {
                Problem::new(format!("{} (from {variable})", message.into()))
            }
            Origin::Flag | Origin::Default => Problem::new(message),
        }
    }

    /// The file that was read.
    pub(crate) fn file(&self) -> Option<&Path> {
        (!self.file.path.as_os_str().is_empty()).then_some(self.file.path.as_path())
    }
}
