//! Every setting, defined once: its names in the file, on the command line and in the environment, its
//! default, and how the file's value is read.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use oplet::{
    control::{
        DirectReadOptions, FailurePolicy, ListDocument, OnError, OnPositionLost, Options, WhenOpen,
    },
    flow::{OrderingGuarantee, workers::RingKind},
    guest::{Isolation, Limits, Settings},
    op::{Namespace, SourceKind},
    source::{Before, Commands, FullDocument, Updates},
};

use super::{
    deferred::{self, Deferred},
    document::Sections,
    granted::{self, Variable},
    origin::{Origin, Sourced},
    readers::{milliseconds, number, seconds, size, switch, text, time, whole, word},
    secret::Secret,
    show::Show,
    values::{self, Begin, Size, Uri, Uris},
};

/// The names of a setting.
#[cfg(test)]
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Definition {
    /// The table of the file, empty for the keys before the first.
    pub(crate) section: &'static str,
    /// The key in that table.
    pub(crate) key: &'static str,
    /// The flag, without its dashes; empty where there is none.
    pub(crate) flag: &'static str,
    /// The environment variable; empty where there is none.
    pub(crate) variable: &'static str,
    /// The default, as it is shown.
    pub(crate) default: serde_json::Value,
}

/// A setting as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Its name in the file, with that of its table.
    pub(crate) key: String,
    /// Its value, without secrets.
    pub(crate) value: serde_json::Value,
    /// Where that came from.
    pub(crate) origin: Origin,
}

fn dotted(section: &str, key: &str) -> String {
    match section {
        "" => key.to_owned(),
        _ => format!("{section}.{key}"),
    }
}

macro_rules! settings {
    ($layer:ident, $values:ident: $(
        $(#[$doc:meta])*
        $field:ident: $type:ty = [$section:literal, $key:literal, $flag:literal, $variable:literal],
            $default:expr, $read:expr;
    )*) => {
        /// What one place says: the file, or the command line with the environment.
        #[derive(Debug, Clone, Default)]
        pub(crate) struct $layer {
            $($(#[$doc])* pub(crate) $field: Option<Sourced<$type>>,)*
        }

        /// What holds.
        #[derive(Debug, Clone)]
        pub(crate) struct $values {
            $($(#[$doc])* pub(crate) $field: Sourced<$type>,)*
        }

        impl $layer {
            /// Takes what a file says.
            pub(super) fn read(sections: &mut Sections<'_>) -> Self {
                Self {
                    $($field: sections.get_mut($section).and_then($read),)*
                }
            }

            /// What this layer says, and for the rest another.
            #[allow(dead_code, reason = "no layer is put over one that only files have")]
            pub(super) fn or(self, other: Self) -> Self {
                Self { $($field: self.$field.or(other.$field),)* }
            }

            /// What this layer says, and for the rest the defaults.
            pub(super) fn or_default(self) -> $values {
                $values {
                    $($field: self.$field.unwrap_or_else(|| Sourced::by_default($default)),)*
                }
            }
        }

        impl $values {
            /// All of them, to be shown.
            pub(crate) fn rows(&self) -> Vec<Row> {
                vec![$(Row {
                    key: dotted($section, $key),
                    value: self.$field.value.show(),
                    origin: self.$field.origin.clone(),
                },)*]
            }

            /// The names of all of them.
            #[cfg(test)]
            pub(crate) fn definitions() -> Vec<Definition> {
                vec![$({
                    let default: $type = $default;
                    Definition {
                        section: $section,
                        key: $key,
                        flag: $flag,
                        variable: $variable,
                        default: default.show(),
                    }
                },)*]
            }
        }
    };
}

/// No bound but that of the type.
const ANY: u64 = u64::MAX;

settings! { Layer, Values:
    /// Identity of the checkpoint; empty for the modules' names joined by `+`.
    name: String = ["", "name", "name", "OPLET_NAME"], String::new(),
        |s| s.take("name", |v, _| text(v, values::name));

    /// Swap in modules whose files change.
    reload: bool = ["", "reload", "reload", ""], false,
        |s| s.take("reload", |v, _| switch(v));

    /// The deployments.
    uri: Uris = ["source", "uri", "uri", "OPLET_URI"],
        Uri::from("mongodb://localhost:27017".to_owned()).into(),
        |s| {
            let secrets = s.take_secrets("uri", "uri-file", "uri-env")?;
            let uris = Uris::of(secrets.value.iter().map(Secret::expose));
            Some(Sourced::new(uris, secrets.origin))
        };
    /// The config servers of a cluster whose shards are read.
    config_uri: Option<Uri> = ["source", "config-uri", "config-uri", "OPLET_CONFIG_URI"], None,
        |s| {
            let secret = s.take_secret(Some("config-uri"), "config-uri-file", "config-uri-env")?;
            let uri = Uri::from(secret.value.expose().to_owned());
            Some(Sourced::new(Some(uri), secret.origin))
        };
    /// Which way to read changes.
    kind: SourceKind = ["source", "kind", "source", "OPLET_SOURCE"], SourceKind::ChangeStream,
        |s| s.take("kind", |v, _| word(v, &values::SOURCES));
    /// What to watch.
    watch: Vec<Namespace> = ["source", "watch", "watch", ""], vec![Namespace::Deployment],
        |s| s.take_list("watch", values::namespace);
    /// Where to begin.
    since: Begin = ["source", "since", "since", ""], Begin::Checkpoint,
        |s| s.take("since", |v, _| text(v, values::begin));
    /// The collection that is read as the oplog.
    oplog_namespace: (String, String) = ["source", "oplog-namespace", "oplog-namespace", ""],
        Options::default().oplog_namespace,
        |s| s.take("oplog-namespace", |v, _| text(v, values::oplog_namespace));
    /// Which commands are delivered.
    commands: Commands = ["source", "commands", "commands", ""], Commands::default(),
        |s| s.take("commands", |v, _| word(v, &Commands::WORDS));
    /// Which document an update of a change stream comes with.
    full_document: FullDocument = ["source", "full-document", "full-document", ""],
        FullDocument::default(),
        |s| s.take("full-document", |v, _| word(v, &FullDocument::WORDS));
    /// Which document an update of the oplog comes with.
    updates: Updates = ["source", "updates", "updates", ""], Updates::default(),
        |s| s.take("updates", |v, _| word(v, &Updates::WORDS));
    /// Whether a change comes with the document as it was before.
    before: Before = ["source", "before", "before", ""], Before::default(),
        |s| s.take("before", |v, _| word(v, &Before::WORDS));
    /// What a cursor is known by on the server; empty for `oplet` and the run's name.
    comment: String = ["source", "comment", "", ""], String::new(),
        |s| s.take("comment", |v, _| text(v, |text| Ok(text.to_owned())));
    /// How long a server that has nothing new waits.
    await_time: Duration = ["source", "await-time-ms", "", ""], Options::default().reading.await_time,
        |s| s.take("await-time-ms", |v, _| milliseconds(v, 1..=60_000));
    /// Entries or events per reply, at most.
    batch_size: u32 = ["source", "batch-size", "", ""], Options::default().batch_size,
        |s| s.take("batch-size", |v, _| whole(v, 1..=100_000));
    /// How long to look for a server.
    connect_timeout: Option<Duration> = ["source", "connect-timeout-s", "connect-timeout", ""], None,
        |s| s.take("connect-timeout-s", |v, _| seconds(v, 1..=86_400).map(Some));
    /// What follows a lost position.
    on_position_lost: OnPositionLost = ["source", "on-position-lost", "on-position-lost", ""],
        OnPositionLost::default(),
        |s| s.take("on-position-lost", |v, _| text(v, values::on_position_lost));
    /// What is read directly.
    direct_read: Vec<Namespace> = ["source", "direct-read", "direct-read", ""], Vec::new(),
        |s| s.take_list("direct-read", values::collection);
    /// Into how many segments more than one.
    direct_read_split: i32 = ["source", "direct-read-split", "direct-read-split", ""],
        DirectReadOptions::default().split,
        |s| s.take("direct-read-split", |v, _| number(v, -1_000_000..=1_000_000));
    /// How many segments of a deployment are read side by side.
    direct_read_concurrency: usize =
        ["source", "direct-read-concurrency", "direct-read-concurrency", ""],
        DirectReadOptions::default().concurrency,
        |s| s.take("direct-read-concurrency", |v, _| whole(v, 1..=256));
    /// Nothing beyond the largest key at the start.
    direct_read_bounded: bool = ["source", "direct-read-bounded", "direct-read-bounded", ""], false,
        |s| s.take("direct-read-bounded", |v, _| switch(v));
    /// How many documents a second at most.
    direct_read_rate: Option<NonZeroU32> = ["source", "direct-read-rate", "direct-read-rate", ""],
        None,
        |s| s.take("direct-read-rate", |v, _| {
            whole(v, 1..=u32::MAX.into()).map(NonZeroU32::new)
        });
    /// Do not ask the modules for pipelines.
    ignore_pipeline: bool = ["source", "ignore-pipeline", "ignore-pipeline", ""], false,
        |s| s.take("ignore-pipeline", |v, _| switch(v));

    /// What stays in order.
    ordering: OrderingGuarantee = ["flow", "ordering", "ordering", ""], OrderingGuarantee::default(),
        |s| s.take("ordering", |v, _| word(v, &OrderingGuarantee::WORDS));
    /// How many lanes work.
    workers: usize = ["flow", "workers", "workers", ""], Options::default().workers,
        |s| s.take("workers", |v, _| whole(v, 1..=256));
    /// How many bytes of ops may be in the lanes.
    queue_bytes: usize = ["flow", "queue-bytes", "", ""], Options::default().queue_bytes,
        |s| s.take("queue-bytes", |v, _| whole(v, 1..=ANY));
    /// How many ops may be read and not done.
    window_ops: u64 = ["flow", "window-ops", "", ""], Options::default().window_ops,
        |s| s.take("window-ops", |v, _| whole(v, 1..=ANY));
    /// How long handlers may go on when the run is asked to stop.
    grace_period: Duration = ["flow", "grace-period-s", "grace-period", ""],
        Options::default().grace_period,
        |s| s.take("grace-period-s", |v, _| seconds(v, 0..=86_400));

    /// How long a version that took over may have to give way.
    probation: Duration = ["flow", "probation-s", "", ""], Options::default().probation,
        |s| s.take("probation-s", |v, _| seconds(v, 0..=86_400));

    /// Which of several processes this one is.
    worker: Option<String> = ["workers", "name", "worker", "OPLET_WORKER"], None,
        |s| s.take("name", |v, _| text(v, values::worker).map(Some));
    /// The file with the names of all.
    workers_file: Option<PathBuf> = ["workers", "file", "workers-file", ""], None,
        |s| s.take("file", |v, source| text(v, |t| Ok(Some(source.path(t)))));
    /// The document with the names of all.
    workers_from: Option<ListDocument> = ["workers", "from", "workers-from", ""], None,
        |s| s.take("from", |v, _| text(v, values::list_document).map(Some));
    /// Which way documents are given to them.
    ring: RingKind = ["workers", "ring", "ring", ""], RingKind::default(),
        |s| s.take("ring", |v, _| word(v, &RingKind::WORDS));

    /// Where checkpoints are kept.
    checkpoint: Deferred = ["checkpoint", "store", "checkpoint", "OPLET_CHECKPOINT"],
        Deferred { text: "mongodb:oplet.checkpoints".into() },
        |s| s.take("store", |v, source| text(v, |t| deferred::checkpoint(&source.address(t))));
    /// The least time between two savings.
    save_every: Duration = ["checkpoint", "save-every-ms", "", ""], Options::default().save_every,
        |s| s.take("save-every-ms", |v, _| milliseconds(v, 1..=3_600_000));
    /// How long the lease lasts.
    lease: Duration = ["checkpoint", "lease-s", "", ""], Options::default().lease,
        |s| s.take("lease-s", |v, _| seconds(v, 1..=3_600));
    /// Wait while another process works under the name.
    standby: bool = ["checkpoint", "standby", "standby", ""], false,
        |s| s.take("standby", |v, _| switch(v));

    /// Where dead letters are kept.
    dead_letters: Deferred = ["dead-letters", "store", "dead-letters", "OPLET_DEAD_LETTERS"],
        Deferred { text: "mongodb:oplet.dead_letters".into() },
        |s| s.take("store", |v, source| text(v, |t| deferred::dead_letters(&source.address(t))));

    /// The folder that ops are saved to that a module fails on.
    save_failed: Option<PathBuf> = ["dead-letters", "save-failed", "save-failed", ""], None,
        |s| s.take("save-failed", |v, source| text(v, |t| match t {
            "" => Err("it is empty".to_owned()),
            _ => Ok(Some(source.path(t))),
        }));

    /// Where the admin API listens.
    admin: Option<SocketAddr> = ["admin", "address", "admin", "OPLET_ADMIN"], None,
        |s| s.take("address", |v, _| text(v, values::address).map(Some));
    /// What its callers have to show.
    admin_token: Option<Secret> = ["admin", "token-file", "admin-token-file", ""], None,
        |s| {
            let secret = s.take_secret(None, "token-file", "token-env")?;
            Some(Sourced::new(Some(secret.value), secret.origin))
        };
}

settings! { PolicyLayer, PolicyValues:
    /// What becomes of an op that the module failed on.
    on_error: OnError = ["module", "on-error", "on-error", ""], OnError::default(),
        |s| s.take("on-error", |v, _| word(v, &OnError::WORDS));
    /// How often an op is tried.
    attempts: u32 = ["module", "attempts", "attempts", ""], FailurePolicy::default().attempts_max,
        |s| s.take("attempts", |v, _| whole(v, 1..=1_000));
    /// The first delay before another try.
    backoff_min: Duration = ["module", "backoff-min-ms", "", ""], FailurePolicy::default().backoff_min,
        |s| s.take("backoff-min-ms", |v, _| milliseconds(v, 1..=3_600_000));
    /// The longest.
    backoff_max: Duration = ["module", "backoff-max-ms", "", ""], FailurePolicy::default().backoff_max,
        |s| s.take("backoff-max-ms", |v, _| milliseconds(v, 1..=3_600_000));
    /// After so many failed ops in a row the breaker opens.
    breaker_failures: u32 = ["module", "breaker-failures", "breaker-failures", ""],
        FailurePolicy::default().breaker_failures,
        |s| s.take("breaker-failures", |v, _| whole(v, 0..=1_000_000));
    /// What an open breaker does.
    breaker: WhenOpen = ["module", "breaker", "breaker", ""], WhenOpen::default(),
        |s| s.take("breaker", |v, _| word(v, &WhenOpen::WORDS));
}

impl PolicyValues {
    /// As a run is told.
    pub(crate) fn policy(&self) -> FailurePolicy {
        FailurePolicy {
            on_error: self.on_error.value,
            attempts_max: self.attempts.value,
            backoff_min: self.backoff_min.value,
            backoff_max: self.backoff_max.value,
            breaker_failures: self.breaker_failures.value,
            breaker: self.breaker.value,
        }
    }
}

settings! { GuestLayer, GuestValues:
    /// Linear memory of an instance.
    memory: Size = ["module", "memory", "", ""], Size(Limits::default().memory_bytes),
        |s| s.take("memory", |v, _| size(v, 64 << 10..=4 << 30));
    /// How long a call may take.
    call_time: Duration = ["module", "call-time", "", ""], Limits::default().call_time,
        |s| s.take("call-time", |v, _| time(v, Duration::from_millis(1)..=HOUR));
    /// Fuel of a call.
    fuel: Option<u64> = ["module", "fuel", "", ""], None,
        |s| s.take("fuel", |v, _| whole(v, 1..=i64::MAX as u64).map(Some));
    /// How many documents may be emitted for an op.
    outputs: usize = ["module", "outputs", "", ""], Limits::default().outputs_documents,
        |s| s.take("outputs", |v, _| whole(v, 0..=1_000_000));
    /// How large they may be together.
    outputs_size: Size = ["module", "outputs-size", "", ""], Size(Limits::default().outputs_bytes),
        |s| s.take("outputs-size", |v, _| size(v, 0..=1 << 30));
    /// How many lines may be logged in a second.
    log_lines: u32 = ["module", "log-lines", "", ""], Limits::default().log_lines_per_second,
        |s| s.take("log-lines", |v, _| whole(v, 0..=1_000_000));
    /// How long an instance lives.
    isolation: Isolation = ["module", "isolation", "", ""], Isolation::default(),
        |s| s.take("isolation", |v, _| word(v, &Isolation::WORDS));
    /// Clock and random come from the op.
    deterministic: bool = ["module", "deterministic", "", ""], false,
        |s| s.take("deterministic", |v, _| switch(v));
    /// How often the module is told the time.
    tick: Option<Duration> = ["module", "tick", "", ""], None,
        |s| s.take("tick", |v, _| time(v, Duration::from_millis(10)..=24 * HOUR).map(Some));
    /// Environment variables that it can read.
    variables: Vec<Variable> = ["module", "variables", "", ""], Vec::new(),
        |s| {
            let environment = s.source().environment;
            s.take_list_hidden("variables", |name| granted::variable(name, environment))
        };
    /// Collections that it can look documents up in.
    lookup: Vec<String> = ["module", "lookup", "", ""], Vec::new(),
        |s| s.take_list("lookup", values::lookup_grant);
    /// How many documents a lookup may find.
    lookup_documents: usize = ["module", "lookup-documents", "", ""],
        Limits::default().lookup_documents,
        |s| s.take("lookup-documents", |v, _| whole(v, 1..=100_000));
    /// How large they may be together: less than one reply of the server.
    lookup_size: Size = ["module", "lookup-size", "", ""], Size(Limits::default().lookup_bytes),
        |s| s.take("lookup-size", |v, _| size(v, 1 << 10..=8 << 20));
    /// How long the server may take for a lookup.
    lookup_time: Duration = ["module", "lookup-time", "", ""], Limits::default().lookup_time,
        |s| s.take("lookup-time", |v, _| time(v, Duration::from_millis(1)..=Duration::from_secs(60)));
}

const HOUR: Duration = Duration::from_secs(3600);

impl GuestValues {
    /// As a module is loaded.
    pub(crate) fn settings(&self) -> Settings {
        let limits = Limits {
            memory_bytes: self.memory.value.0,
            call_time: self.call_time.value,
            outputs_documents: self.outputs.value,
            outputs_bytes: self.outputs_size.value.0,
            log_lines_per_second: self.log_lines.value,
            lookup_documents: self.lookup_documents.value,
            lookup_bytes: self.lookup_size.value.0,
            lookup_time: self.lookup_time.value,
            ..Limits::default()
        };
        let variables = self.variables.value.iter();
        Settings {
            limits,
            isolation: self.isolation.value,
            deterministic: self.deterministic.value,
            fuel: self.fuel.value,
            tick: self.tick.value,
            variables: variables.map(Variable::granted).collect(),
            lookup: self.lookup.value.clone(),
        }
    }
}
