//! Where checkpoints are kept: a collection, or files.
//!
//! Both keep to the same rules. A name has a lease with an epoch, which grows with each holder; a
//! holder whose epoch is over cannot save. The lease holds until it was not renewed for its time to
//! live, by the store's clock, or its process is known to be gone.

mod file;
mod head;
mod kept_documents;
mod kept_files;
mod mongodb;
mod slot;

use std::{path::PathBuf, sync::Arc, time::Duration};

use ::mongodb::{Client, ClientSession};
use bson::Document;

use self::{file::FileStore, mongodb::MongodbStore};
use super::{Checkpoint, Error, Gap, Holder, Holding, KeptVersion, Lease, VersionKey};
use crate::op::StoreSpec;

/// A place for checkpoints. Cheap to clone.
///
/// Every function answers within about ten seconds, if need be with an error that
/// [`is_passing`](Error::is_passing). All may give [`Error::Away`], [`Error::Unauthorized`] and
/// [`Error::Refused`]; what else, is said at each.
#[derive(Debug, Clone)]
pub struct Store(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Mongodb(MongodbStore),
    File(FileStore),
}

impl Store {
    /// The store of that description. Nothing is opened yet.
    #[must_use]
    pub fn open(spec: &StoreSpec, client: &Client) -> Self {
        Self(match spec {
            StoreSpec::Mongodb {
                database,
                collection,
            } => Kind::Mongodb(MongodbStore::new(client.clone(), database, collection)),
            StoreSpec::File(path) => return Self::file(path.clone()),
        })
    }

    /// The store in files of that path, which needs no server.
    #[must_use]
    pub fn file(path: PathBuf) -> Self {
        Self(Kind::File(FileStore::new(path)))
    }

    /// Where it is, as a user writes it.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.0 {
            Kind::Mongodb(store) => store.place(),
            Kind::File(store) => store.place(),
        }
    }

    /// Whether a checkpoint can be saved in a transaction.
    #[must_use]
    pub fn has_transactions(&self) -> bool {
        matches!(self.0, Kind::Mongodb(_))
    }

    /// The checkpoint of that name; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Garbage`], [`Error::NewerFormat`]; [`Error::OtherName`] of a file.
    pub async fn load(&self, name: &str) -> Result<Option<Checkpoint>, Error> {
        match &self.0 {
            Kind::Mongodb(store) => store.load(name).await,
            Kind::File(store) => {
                let store = store.clone();
                let name = name.to_owned();
                blocking(move || store.load(&name)).await
            }
        }
    }

    /// What is stored under that name, as it is: for people who have to see what is wrong with it.
    ///
    /// # Errors
    /// [`Error::Garbage`] of a file that holds no document.
    pub async fn raw(&self, name: &str) -> Result<Option<Document>, Error> {
        match &self.0 {
            Kind::Mongodb(store) => store.raw(name).await,
            Kind::File(store) => {
                let store = store.clone();
                let name = name.to_owned();
                blocking(move || store.raw(&name)).await
            }
        }
    }

    /// The names under which something is stored; a file has one at most.
    ///
    /// # Errors
    /// [`Error::Garbage`] of a file that holds no document.
    pub async fn names(&self) -> Result<Vec<String>, Error> {
        match &self.0 {
            Kind::Mongodb(store) => store.names().await,
            Kind::File(store) => {
                let store = store.clone();
                blocking(move || store.names()).await
            }
        }
    }

    /// Who holds the name, also when the lease is not [live](Holding::is_live) any more.
    ///
    /// # Errors
    /// [`Error::Garbage`], [`Error::NewerFormat`]; [`Error::OtherName`] of a file.
    pub async fn holder(&self, name: &str) -> Result<Option<Holding>, Error> {
        match &self.0 {
            Kind::Mongodb(store) => store.holder(name).await,
            Kind::File(store) => {
                let store = store.clone();
                let name = name.to_owned();
                blocking(move || store.holder(&name)).await
            }
        }
    }

    /// Makes the holder that of the name, if no other's lease is live. A holder may take its own
    /// lease again, which gives it a new epoch.
    ///
    /// # Errors
    /// [`Error::Held`], [`Error::Garbage`], [`Error::NewerFormat`]; [`Error::OtherName`] of a file.
    pub async fn acquire(
        &self,
        name: &str,
        holder: &Holder,
        ttl: Duration,
    ) -> Result<Lease, Error> {
        match &self.0 {
            Kind::Mongodb(store) => store.acquire(name, holder, ttl).await,
            Kind::File(store) => {
                let store = store.clone();
                let name = name.to_owned();
                let holder = holder.clone();
                blocking(move || store.acquire(&name, &holder, ttl)).await
            }
        }
    }

    /// Lets the lease hold for another time to live.
    ///
    /// # Errors
    /// [`Error::Fenced`].
    pub async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        match &self.0 {
            Kind::Mongodb(store) => store.renew(lease).await,
            Kind::File(store) => {
                let store = store.clone();
                let lease = lease.clone();
                blocking(move || store.renew(&lease)).await
            }
        }
    }

    /// Notes that what holders before had left behind ([`Lease::replaced`]) is ended.
    ///
    /// # Errors
    /// [`Error::Fenced`].
    pub async fn settle(&self, lease: &Lease) -> Result<(), Error> {
        match &self.0 {
            Kind::Mongodb(store) => store.settle(lease).await,
            Kind::File(store) => {
                let store = store.clone();
                let lease = lease.clone();
                blocking(move || store.settle(&lease)).await
            }
        }
    }

    /// Gives the lease back, so that another can have it at once; does nothing when it is lost.
    ///
    /// # Errors
    /// None but those of all functions.
    pub async fn release(&self, lease: &Lease) -> Result<(), Error> {
        match &self.0 {
            Kind::Mongodb(store) => store.release(lease).await,
            Kind::File(store) => {
                let store = store.clone();
                let lease = lease.clone();
                blocking(move || store.release(&lease)).await
            }
        }
    }

    /// Saves the checkpoint, which is durable when this returns. Name and epoch are the lease's.
    ///
    /// # Errors
    /// [`Error::Fenced`]; a store that is away may have saved it nevertheless.
    pub async fn save(&self, lease: &Lease, checkpoint: &Checkpoint) -> Result<(), Error> {
        match &self.0 {
            Kind::Mongodb(store) => store.save(lease, checkpoint).await,
            Kind::File(store) => {
                let store = store.clone();
                let lease = lease.clone();
                let checkpoint = checkpoint.clone();
                blocking(move || store.save(&lease, &checkpoint)).await
            }
        }
    }

    /// Saves the checkpoint as part of a transaction on the store's own deployment: it counts when the
    /// transaction is committed, with the rest of it.
    ///
    /// # Errors
    /// [`Error::Fenced`]; [`Error::Refused`] of a file, which knows no transactions. After any error
    /// the transaction has to be aborted.
    pub async fn save_in(
        &self,
        session: &mut ClientSession,
        lease: &Lease,
        checkpoint: &Checkpoint,
    ) -> Result<(), Error> {
        match &self.0 {
            Kind::Mongodb(store) => store.save_in(session, lease, checkpoint).await,
            Kind::File(store) => Err(Error::Refused {
                what: format!("save a checkpoint in {} in a transaction", store.place()),
                source: "it is a file".into(),
            }),
        }
    }

    /// Sets the checkpoint by hand, in a new epoch.
    ///
    /// # Errors
    /// [`Error::Held`] while a lease is live, [`Error::Garbage`], [`Error::NewerFormat`];
    /// [`Error::OtherName`] of a file.
    pub async fn set(&self, name: &str, checkpoint: &Checkpoint) -> Result<(), Error> {
        match &self.0 {
            Kind::Mongodb(store) => store.set(name, checkpoint).await,
            Kind::File(store) => {
                let store = store.clone();
                let name = name.to_owned();
                let checkpoint = checkpoint.clone();
                blocking(move || store.set(&name, &checkpoint)).await
            }
        }
    }

    /// Removes what is stored under that name, whatever it is, and the versions of its modules; tells
    /// whether there was a checkpoint or a lease.
    ///
    /// # Errors
    /// [`Error::Held`] while a lease is live; [`Error::OtherName`] of a file.
    pub async fn clear(&self, name: &str) -> Result<bool, Error> {
        match &self.0 {
            Kind::Mongodb(store) => {
                let was_there = store.clear(name).await?;
                store.clear_versions(name).await?;
                Ok(was_there)
            }
            Kind::File(store) => {
                let store = store.clone();
                let name = name.to_owned();
                blocking(move || store.clear(&name)).await
            }
        }
    }

    /// Keeps the bytes of a version, and lets go of the oldest of its module's where there are more
    /// than [`VERSIONS_MAX`](super::VERSIONS_MAX). To keep one again makes it the newest. Durable when
    /// this returns. They lie in the collection `modules` beside the checkpoints, or in the directory
    /// `PATH.modules`, for its owner alone.
    ///
    /// Needs no lease: what is kept under a digest is the same, whoever keeps it.
    ///
    /// # Errors
    /// [`Error::VersionTooLarge`] of a collection.
    pub async fn keep_version(&self, key: &VersionKey, wasm: Arc<[u8]>) -> Result<(), Error> {
        match &self.0 {
            Kind::Mongodb(store) => store.keep_version(key, &wasm).await,
            Kind::File(store) => {
                let store = store.clone();
                let key = key.clone();
                blocking(move || store.keep_version(&key, &wasm)).await
            }
        }
    }

    /// The bytes of a version, which have its digest; `None` when it is not kept.
    ///
    /// # Errors
    /// [`Error::WrongVersion`].
    pub async fn version(&self, key: &VersionKey) -> Result<Option<Vec<u8>>, Error> {
        match &self.0 {
            Kind::Mongodb(store) => store.version(key).await,
            Kind::File(store) => {
                let store = store.clone();
                let key = key.clone();
                blocking(move || store.version(&key)).await
            }
        }
    }

    /// The versions of a module that are kept, the newest first.
    ///
    /// # Errors
    /// None but those of all functions.
    pub async fn versions(&self, name: &str, module: &str) -> Result<Vec<KeptVersion>, Error> {
        match &self.0 {
            Kind::Mongodb(store) => store.versions(name, module).await,
            Kind::File(store) => {
                let store = store.clone();
                let module = module.to_owned();
                blocking(move || store.versions(&module)).await
            }
        }
    }

    /// Records a gap: in the collection `gaps` beside the checkpoints, or in `PATH.gaps.jsonl`.
    ///
    /// # Errors
    /// None but those of all functions.
    pub async fn record_gap(&self, gap: &Gap) -> Result<(), Error> {
        match &self.0 {
            Kind::Mongodb(store) => store.record_gap(gap).await,
            Kind::File(store) => {
                let store = store.clone();
                let gap = gap.clone();
                blocking(move || store.record_gap(&gap)).await
            }
        }
    }
}

/// Runs what blocks where that is allowed. What was begun is finished, also when nobody waits for it
/// any more.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(Error::Refused {
            what: "work on the files of a checkpoint".to_owned(),
            source: Box::new(error),
        })
    })
}
