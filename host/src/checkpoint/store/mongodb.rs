//! Checkpoints in a collection: one document per name, which is the lease, too.
//!
//! Every write is one update of that document whose filter names what was seen before (epoch and
//! holder), so that of two writers one finds nothing to update. Times are the server's.

use std::time::Duration;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{
    Client, ClientSession, Collection,
    error::ErrorKind,
    options::{
        CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria, UpdateModifications,
        WriteConcern,
    },
};
use tokio::time::timeout;

use super::head::{Head, held, holder_fields, of_epoch};
use crate::{
    checkpoint::{Checkpoint, Error, Gap, Holder, Holding, Lease, record::FORMAT},
    mongo::end_sessions,
};

/// How long a call may take, looking for a primary included: the driver itself waits for ever for a
/// server that holds the connection open and says nothing.
const CALL_TIME_MAX: Duration = Duration::from_secs(10);

/// How often a name is looked at again when others change it at the same moment.
const RACES_MAX: usize = 10;

/// The server's code for a second document of one `_id`.
const DUPLICATE_KEY: i32 = 11000;

/// The collection for records of lost positions, beside that of the checkpoints.
const GAPS: &str = "gaps";

/// A collection of checkpoints.
#[derive(Debug, Clone)]
pub(super) struct MongodbStore {
    client: Client,
    database: String,
    collection: String,
}

/// A document as it was seen.
struct Seen {
    document: Document,
    /// The server's clock when it was read.
    now_ms: i64,
}

impl MongodbStore {
    pub(super) fn new(client: Client, database: &str, collection: &str) -> Self {
        Self {
            client,
            database: database.to_owned(),
            collection: collection.to_owned(),
        }
    }

    pub(super) fn place(&self) -> String {
        format!("mongodb:{}.{}", self.database, self.collection)
    }

    /// A collection beside the checkpoints, as a user writes it.
    pub(super) fn beside(&self, collection: &str) -> String {
        format!("mongodb:{}.{collection}", self.database)
    }

    /// The collection with majority concerns, on the primary whatever the connection string prefers.
    pub(super) fn collection(&self, collection: &str) -> Collection<Document> {
        let options = CollectionOptions::builder()
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .read_concern(ReadConcern::majority())
            .write_concern(WriteConcern::majority())
            .build();
        self.client
            .database(&self.database)
            .collection_with_options(collection, options)
    }

    fn checkpoints(&self) -> Collection<Document> {
        self.collection(&self.collection)
    }

    /// Makes one call, and says in which words it failed.
    pub(super) async fn call<T>(
        &self,
        what: &str,
        name: &str,
        call: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T, Error> {
        let what = || format!("{what} `{name}` in {}", self.place());
        match timeout(CALL_TIME_MAX, call.into_future()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Error::of_driver(what(), error)),
            Err(_) => Err(Error::too_late(what(), CALL_TIME_MAX)),
        }
    }

    async fn see(&self, name: &str) -> Result<Option<Seen>, Error> {
        let collection = self.checkpoints();
        let pipeline = [
            doc! {"$match": {"_id": name}},
            doc! {"$replaceWith": {"document": "$$ROOT", "now": "$$NOW"}},
        ];
        let read = async { collection.aggregate(pipeline).await?.try_next().await };
        let Some(mut seen) = self.call("read the checkpoint", name, read).await? else {
            return Ok(None);
        };
        let now = seen.get_datetime("now");
        let now_ms = now.map_or(0, |now| now.timestamp_millis());
        let document = seen.remove("document");
        let document = document.and_then(|document| match document {
            Bson::Document(document) => Some(document),
            _ => None,
        });
        Ok(document.map(|document| Seen { document, now_ms }))
    }

    async fn head(&self, name: &str) -> Result<Option<Head>, Error> {
        let seen = self.see(name).await?;
        seen.map(|seen| Head::read(name, &self.place(), &seen.document, seen.now_ms))
            .transpose()
    }

    pub(super) async fn load(&self, name: &str) -> Result<Option<Checkpoint>, Error> {
        let Some(seen) = self.see(name).await? else {
            return Ok(None);
        };
        Head::read(name, &self.place(), &seen.document, seen.now_ms)?;
        match seen.document.get("checkpoint") {
            None => Ok(None),
            Some(Bson::Document(checkpoint)) => {
                Checkpoint::from_document(name, &self.place(), checkpoint).map(Some)
            }
            Some(_) => Err(Error::Garbage {
                name: name.to_owned(),
                store: self.place(),
                reason: "`checkpoint` is not a document".to_owned(),
            }),
        }
    }

    pub(super) async fn raw(&self, name: &str) -> Result<Option<Document>, Error> {
        Ok(self.see(name).await?.map(|seen| seen.document))
    }

    pub(super) async fn holder(&self, name: &str) -> Result<Option<Holding>, Error> {
        Ok(self.head(name).await?.and_then(|head| head.holding))
    }

    pub(super) async fn names(&self) -> Result<Vec<String>, Error> {
        let collection = self.checkpoints();
        let read = async {
            let found = collection
                .find(doc! {})
                .projection(doc! {"_id": 1})
                .sort(doc! {"_id": 1});
            found.await?.try_collect::<Vec<_>>().await
        };
        let documents = self.call("list the names", "*", read).await?;
        let names = documents
            .iter()
            .filter_map(|found| found.get_str("_id").ok());
        Ok(names.map(str::to_owned).collect())
    }

    /// Runs the update on the document as it was seen; false when it has changed since.
    async fn replace_seen(
        &self,
        what: &str,
        name: &str,
        seen: Option<&Head>,
        update: Vec<Document>,
    ) -> Result<bool, Error> {
        let collection = self.checkpoints();
        let filter = match seen {
            Some(head) => unchanged(name, head),
            None => doc! {"_id": name, "epoch": {"$exists": false}},
        };
        let update = collection
            .update_one(filter, UpdateModifications::Pipeline(update))
            .upsert(seen.is_none());
        match self.call(what, name, update).await {
            Ok(result) => Ok(result.matched_count > 0 || result.upserted_id.is_some()),
            Err(error) if is_duplicate_key(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn acquire(
        &self,
        name: &str,
        holder: &Holder,
        ttl: Duration,
    ) -> Result<Lease, Error> {
        for _ in 0..RACES_MAX {
            let head = self.head(name).await?;
            if let Some(by) = head.as_ref().and_then(|head| head.held_against(&holder.id)) {
                return Err(held(name, by));
            }
            let before = head.clone().unwrap_or_default();
            let holder = before.successor(holder);
            // First: a transaction that was left open may have locked the very document.
            end_sessions(&self.client, &holder.inherited.sessions).await;
            let epoch = before.epoch + 1;
            let fields = holder_fields(&holder, ttl);
            let update = vec![doc! {"$set": {
                "format": FORMAT,
                "epoch": epoch as i64,
                "holder": {"$mergeObjects": [{"$literal": fields}, {"since": "$$NOW"}]},
                "renewedAt": "$$NOW",
            }}];
            let what = "take the lease of";
            if self.replace_seen(what, name, head.as_ref(), update).await? {
                return Ok(Lease {
                    name: name.to_owned(),
                    epoch,
                    replaced: holder.inherited.clone(),
                    holder,
                    ttl,
                });
            }
        }
        Err(self.too_many_races("take the lease of", name))
    }

    pub(super) async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        let update = vec![doc! {"$set": {"renewedAt": "$$NOW"}}];
        let update = UpdateModifications::Pipeline(update);
        let collection = self.checkpoints();
        let update = collection.update_one(fence(lease), update);
        let result = self.call("renew the lease of", &lease.name, update).await?;
        self.check_fence(lease, result.matched_count).await
    }

    pub(super) async fn settle(&self, lease: &Lease) -> Result<(), Error> {
        let update = doc! {"$unset": {"holder.inherited": ""}};
        let collection = self.checkpoints();
        let update = collection.update_one(fence(lease), update);
        let what = "note that nothing is left of who held";
        let result = self.call(what, &lease.name, update).await?;
        self.check_fence(lease, result.matched_count).await
    }

    pub(super) async fn release(&self, lease: &Lease) -> Result<(), Error> {
        let update = doc! {"$unset": {"holder": "", "renewedAt": ""}};
        let collection = self.checkpoints();
        let update = collection.update_one(fence(lease), update);
        self.call("give back the lease of", &lease.name, update)
            .await?;
        Ok(())
    }

    pub(super) async fn save(&self, lease: &Lease, checkpoint: &Checkpoint) -> Result<(), Error> {
        let collection = self.checkpoints();
        let update = collection.update_one(fence(lease), saving(lease, checkpoint));
        let result = self
            .call("save the checkpoint of", &lease.name, update)
            .await?;
        self.check_fence(lease, result.matched_count).await
    }

    /// As [`save`](Self::save), within a transaction of the caller's: its write concern is the
    /// transaction's.
    pub(super) async fn save_in(
        &self,
        session: &mut ClientSession,
        lease: &Lease,
        checkpoint: &Checkpoint,
    ) -> Result<(), Error> {
        let database = self.client.database(&self.database);
        let collection = database.collection::<Document>(&self.collection);
        let update = collection
            .update_one(fence(lease), saving(lease, checkpoint))
            .session(session);
        let result = self
            .call("save the checkpoint of", &lease.name, update)
            .await?;
        self.check_fence(lease, result.matched_count).await
    }

    async fn check_fence(&self, lease: &Lease, matched: u64) -> Result<(), Error> {
        if matched > 0 {
            return Ok(());
        }
        // Who it is now is good to know, but that the lease is lost is known without it.
        let by = self.holder(&lease.name).await.ok().flatten();
        Err(Error::Fenced {
            name: lease.name.clone(),
            epoch: lease.epoch,
            by: by.map(|holding| Box::new(holding.holder)),
        })
    }

    pub(super) async fn set(&self, name: &str, checkpoint: &Checkpoint) -> Result<(), Error> {
        for _ in 0..RACES_MAX {
            let head = self.head(name).await?;
            if let Some(by) = head.as_ref().and_then(|head| head.held_against("")) {
                return Err(held(name, by));
            }
            // A new epoch: a holder that is only suspended must not save over this.
            let epoch = head.as_ref().map_or(0, |head| head.epoch) + 1;
            let checkpoint = of_epoch(name, epoch, checkpoint);
            let update = vec![
                doc! {"$set": {
                    "format": FORMAT, "epoch": epoch as i64, "checkpoint": {"$literal": checkpoint},
                }},
                doc! {"$unset": ["holder", "renewedAt"]},
            ];
            let what = "set the checkpoint of";
            if self.replace_seen(what, name, head.as_ref(), update).await? {
                return Ok(());
            }
        }
        Err(self.too_many_races("set the checkpoint of", name))
    }

    pub(super) async fn clear(&self, name: &str) -> Result<bool, Error> {
        let what = "clear the checkpoint of";
        for _ in 0..RACES_MAX {
            let Some(seen) = self.see(name).await? else {
                return Ok(false);
            };
            // Whatever lies there can be cleared, but a live lease is heeded if it can be read.
            let filter = match Head::read_any(&seen.document, seen.now_ms) {
                Ok(head) => {
                    if let Some(by) = head.held_against("") {
                        return Err(held(name, by));
                    }
                    unchanged(name, &head)
                }
                Err(_) => doc! {"_id": name},
            };
            let collection = self.checkpoints();
            let result = self.call(what, name, collection.delete_one(filter)).await?;
            if result.deleted_count > 0 {
                return Ok(true);
            }
        }
        Err(self.too_many_races(what, name))
    }

    pub(super) async fn record_gap(&self, gap: &Gap) -> Result<(), Error> {
        let gaps = self.collection(GAPS);
        let filter = doc! {"_id": gap.id()};
        // Found again, it may reach further by now.
        let mut fields = gap.to_document();
        fields.remove("_id");
        let at = fields.remove("at");
        let update = doc! {"$set": fields, "$setOnInsert": {"at": at}};
        let update = gaps.update_one(filter, update).upsert(true);
        match self.call("record a gap of", &gap.name, update).await {
            // Another process has just recorded it.
            Err(error) if is_duplicate_key(&error) => {}
            recorded => {
                recorded?;
            }
        }
        Ok(())
    }

    fn too_many_races(&self, what: &str, name: &str) -> Error {
        let source = "others change it at the same time, again and again";
        Error::Away {
            what: format!("{what} `{name}` in {}", self.place()),
            source: source.into(),
        }
    }
}

/// The document as long as nobody took, renewed or gave back the lease since it was seen.
fn unchanged(name: &str, head: &Head) -> Document {
    let holding = head.holding.as_ref();
    let id = holding.map(|holding| holding.holder.id.clone());
    let renewed_at = holding.map(|holding| bson::DateTime::from_millis(holding.renewed_at_ms));
    doc! {"_id": name, "epoch": head.epoch as i64, "holder.id": id, "renewedAt": renewed_at}
}

/// The document as long as the lease holds.
fn fence(lease: &Lease) -> Document {
    doc! {"_id": &lease.name, "epoch": lease.epoch as i64, "holder.id": &lease.holder.id}
}

fn saving(lease: &Lease, checkpoint: &Checkpoint) -> UpdateModifications {
    let checkpoint = of_epoch(&lease.name, lease.epoch, checkpoint);
    let set = doc! {"checkpoint": {"$literal": checkpoint}, "renewedAt": "$$NOW"};
    UpdateModifications::Pipeline(vec![doc! {"$set": set}])
}

pub(super) fn is_duplicate_key(error: &Error) -> bool {
    let Error::Refused { source, .. } = error else {
        return false;
    };
    let Some(error) = source.downcast_ref::<mongodb::error::Error>() else {
        return false;
    };
    match &*error.kind {
        ErrorKind::Write(mongodb::error::WriteFailure::WriteError(error)) => {
            error.code == DUPLICATE_KEY
        }
        ErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        _ => false,
    }
}
