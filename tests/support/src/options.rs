//! What kind of MongoDB to start.

/// The name of a replica set that was given no other.
pub const REPLICA_SET_NAME: &str = "rs0";

/// What kind of deployment to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A replica set of one member, initiated, with a writable primary.
    ReplicaSet,
    /// Started as a member of a replica set that was never initiated.
    Uninitiated,
    /// Started without `--replSet`: no oplog, no change streams.
    Standalone,
}

/// How to start a [`ReplicaSet`](crate::ReplicaSet).
#[derive(Clone, Debug)]
pub struct Options {
    /// What kind of deployment.
    pub mode: Mode,
    /// The name of the replica set.
    pub set_name: String,
    /// Upper bound of the oplog; it takes disk space only as it fills.
    pub oplog_megabytes: u32,
    /// The storage engine's cache. It holds a transaction until that ends; a fifth of 0.25, the least
    /// that mongod takes, is too little for one of several oplog entries.
    pub cache_gigabytes: f32,
    /// More arguments for mongod, e.g. `--setParameter`, `periodicNoopIntervalSecs=1`.
    pub arguments: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::ReplicaSet,
            set_name: REPLICA_SET_NAME.into(),
            oplog_megabytes: 4_096,
            cache_gigabytes: 1.0,
            arguments: Vec::new(),
        }
    }
}

/// The arguments of mongod, but for its data folder.
pub(crate) fn arguments(options: &Options, port: u16) -> Vec<String> {
    let mut arguments = vec![
        format!("--port={port}"),
        "--bind_ip=127.0.0.1".into(),
        // Its socket would lie in /tmp, outside our folder.
        "--nounixsocket".into(),
        format!("--wiredTigerCacheSizeGB={}", options.cache_gigabytes),
        // Failpoints, for tests of errors that do not come by themselves.
        "--setParameter=enableTestCommands=1".into(),
        "--setParameter=diagnosticDataCollectionEnabled=false".into(),
    ];
    if options.mode != Mode::Standalone {
        arguments.push(format!("--replSet={}", options.set_name));
        arguments.push(format!("--oplogSize={}", options.oplog_megabytes));
    }
    arguments.extend(options.arguments.iter().cloned());
    arguments
}
