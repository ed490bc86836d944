//! Checkpoints, leases and stores, through the library: what must hold whoever dies, sleeps or lies.
//!
//! - `leases`: one process per name, take-over, fencing
//! - `stored`: what is saved comes back, and what cannot be read is told
//! - `away`: a store that does not answer
//! - `versions`: versions of modules

mod away;
mod leases;
mod stored;
mod versions;

use std::time::Duration;

use mongodb::Client;
use oplet::{
    checkpoint::{self, Checkpoint, Holder, Store},
    op::{Position, SourceKind, StoreSpec, Timestamp},
};
use oplet_testkit::{ReplicaSet, database_name};
use tempfile::TempDir;

/// Long enough for every call of a test, however slow the machine is.
const TTL: Duration = Duration::from_secs(30);

/// A store of each kind, and what it lives in.
struct Scene {
    client: Client,
    directory: TempDir,
    database: String,
}

impl Scene {
    async fn new(hint: &str) -> Self {
        Self::on(ReplicaSet::shared().await.unwrap(), hint).await
    }

    async fn on(set: &ReplicaSet, hint: &str) -> Self {
        Self {
            client: set.client().await.unwrap(),
            directory: tempfile::tempdir().unwrap(),
            database: database_name(hint),
        }
    }

    fn mongodb(&self) -> Store {
        self.open(&format!("mongodb:{}.checkpoints", self.database))
    }

    fn file(&self) -> Store {
        self.open(&format!(
            "file:{}",
            self.directory.path().join("cp").display()
        ))
    }

    fn open(&self, spec: &str) -> Store {
        let spec = StoreSpec::parse(spec, checkpoint::COLLECTION).unwrap();
        Store::open(&spec, &self.client)
    }

    fn both(&self) -> [Store; 2] {
        [self.mongodb(), self.file()]
    }
}

/// A checkpoint that is told from others by its second.
fn checkpoint(seconds: u32) -> Checkpoint {
    let position = Position::Time(Timestamp::new(seconds, 1));
    Checkpoint::by_hand("n", SourceKind::Oplog, position)
}

/// The second of what is stored.
async fn stored(store: &Store) -> Option<u32> {
    let checkpoint = store.load("n").await.unwrap()?;
    let position = &checkpoint.streams[0].frontier.position;
    Some(position.timestamp().unwrap().seconds)
}

/// A holder on a host that nothing can be told of.
fn elsewhere() -> Holder {
    Holder {
        host: "elsewhere".into(),
        place: String::new(),
        ..Holder::this_process()
    }
}

/// A holder on this host, whose process is gone.
fn dead() -> Holder {
    let here = Holder::this_process();
    Holder {
        process_start: here.process_start.map(|start| start + 1),
        ..here
    }
}
