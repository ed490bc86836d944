//! The lists that a document has had, as they are kept in `oplet.worker_lists`.
//!
//! ```json
//! {_id: {list: "ops.settings:prod", changed: Timestamp(1700000001, 7)}, workers: [...], read: Timestamp(...)}
//! ```
//! `read` is up to where the changes were read when that was the newest; the first has `changed` 0.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{
    Collection,
    options::{CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern},
};

use super::{
    ShareError,
    changes::Field,
    document::{ListDocument, in_time},
};
use crate::{
    mongo::Server,
    op::{OWN_DATABASE, Timestamp},
};

/// The collection in Oplet's own database that keeps the lists.
pub(super) const COLLECTION: &str = "worker_lists";

/// The lists of one document.
#[derive(Debug)]
pub(super) struct History {
    collection: Collection<Document>,
    /// The document, as text.
    list: String,
}

/// A list as it is kept.
pub(super) struct Entry {
    pub(super) changed: Timestamp,
    pub(super) field: Field,
    pub(super) read: Timestamp,
}

impl History {
    pub(super) fn new(server: &Server, document: &ListDocument) -> Self {
        let options = CollectionOptions::builder()
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .read_concern(ReadConcern::majority())
            .write_concern(WriteConcern::majority())
            .build();
        let database = server.client.database(OWN_DATABASE);
        Self {
            collection: database.collection_with_options(COLLECTION, options),
            list: document.to_string(),
        }
    }

    fn key(&self, changed: Timestamp) -> Document {
        doc! {"list": &self.list, "changed": bson::Timestamp::from(changed)}
    }

    /// The lists, one after another.
    pub(super) async fn entries(&self) -> Result<Vec<Entry>, ShareError> {
        let find = self.collection.find(doc! {"_id.list": &self.list});
        let find = find.sort(doc! {"_id.changed": 1});
        let read = async { find.await?.try_collect::<Vec<_>>().await };
        let documents = in_time("read the lists of workers that are kept", read).await?;
        let entry = |kept: &Document| {
            let changed = kept
                .get_document("_id")
                .ok()?
                .get_timestamp("changed")
                .ok()?;
            Some(Entry {
                changed: changed.into(),
                field: kept.get("workers").cloned(),
                read: kept.get_timestamp("read").ok()?.into(),
            })
        };
        Ok(documents.iter().filter_map(entry).collect())
    }

    /// Keeps a list; another process may have done so.
    pub(super) async fn keep(&self, entry: &Entry) -> Result<(), ShareError> {
        // Of the beginning there is one, by whomever.
        let filter = doc! {"_id": self.key(entry.changed)};
        let mut content = doc! {"read": bson::Timestamp::from(entry.read)};
        content.extend(
            entry
                .field
                .clone()
                .map(|field| ("workers".to_owned(), field)),
        );
        let update = doc! {"$setOnInsert": content};
        let kept = async {
            // Two that insert at the same time: one of them fails, and finds it there.
            match self
                .collection
                .update_one(filter.clone(), update.clone())
                .upsert(true)
                .await
            {
                Ok(_) => Ok(()),
                Err(_) => self
                    .collection
                    .update_one(filter, update)
                    .upsert(true)
                    .await
                    .map(drop),
            }
        };
        in_time("keep the list of workers", kept).await
    }

    /// Keeps up to where the changes were read since the list of that time.
    pub(super) async fn note(&self, changed: Timestamp, read: Timestamp) -> Result<(), ShareError> {
        let filter = doc! {"_id": self.key(changed)};
        let read = bson::Timestamp::from(read);
        let update = self
            .collection
            .update_one(filter, doc! {"$max": {"read": read}});
        in_time("note that the list of workers was read", async {
            update.await.map(drop)
        })
        .await
    }
}
