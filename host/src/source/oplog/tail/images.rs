//! Documents before the changes of a batch, and updates applied to them.

use std::{collections::HashMap, time::Duration};

use bson::{RawDocumentBuf, cstr, doc, rawdoc, spec::BinarySubtype};
use bytes::Bytes;
use oplet_sdk::raw::Walk;
use tracing::warn;

use super::{
    super::{
        apply_update,
        images::{ImageKey, RetryImage, RetryPlace, Wanted, read_pre_image},
    },
    Ready, Tail,
};
use crate::{
    mongo::{Reader, ReaderOptions, only_reply},
    op::{Additions, Batch, Position, Scope, SourceKind, Timestamp},
    source::{Before, Error, Updates, default_oplog_namespace, resume::wait_or_fail},
};

/// How many documents are asked for at a time.
const WANTED_PER_QUERY: usize = 1_000;

/// How many bytes of documents are read at a time, about; what is wanted beyond comes in a batch of
/// its own.
const BYTES_MAX: usize = 32 << 20;

/// How long the server may take to answer about one document.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// A batch whose documents before the changes are to be read.
#[derive(Debug)]
pub(super) struct Incomplete {
    pub(super) batch: Batch,
    /// In the order of the batch.
    pub(super) wanted: Vec<Wanted>,
    /// Where the batch before it ended.
    pub(super) before: Position,
}

/// What was found.
#[derive(Debug, Default)]
struct Images {
    found: HashMap<ImageKey, Bytes>,
    bytes: usize,
    /// Of which collections everything was read, and of which up to where.
    read: HashMap<[u8; 16], Option<ImageKey>>,
}

impl Images {
    /// The document of that key, once it is known whether there is one; without a key there is none.
    fn get(&self, key: Option<&ImageKey>) -> Option<Option<Bytes>> {
        let Some(key) = key else {
            return Some(None);
        };
        match (self.found.get(key), self.read.get(&key.uuid)?) {
            (Some(image), _) => Some(Some(image.clone())),
            (None, Some(last)) if last < key => None,
            (None, _) => Some(None),
        }
    }
}

/// The keys of one collection that are looked for.
struct Range {
    from: ImageKey,
    to: ImageKey,
}

impl Tail {
    /// A batch with the documents that its ops are to have. Where they are too many to be held at
    /// once, the rest of it is given next, and this one ends where the batch before it did: a run that
    /// begins again there passes over what is done.
    pub(super) async fn complete(&mut self, incomplete: Incomplete) -> Result<Batch, Error> {
        let Incomplete {
            mut batch,
            mut wanted,
            before,
        } = incomplete;
        let some = wanted.len().min(WANTED_PER_QUERY);
        let newest = batch.ops().last().map(|op| op.timestamp());
        let images = self.read_images(&wanted[..some], newest).await?;
        let is_answered = |wanted: &&Wanted| images.get(wanted.key.as_ref()).is_some();
        let answered = wanted[..some].iter().take_while(is_answered).count();
        let mut rest = wanted.split_off(answered);
        // Cut before documents are added, which the rest would hold, too.
        if let Some(place) = rest.first().map(|first| first.place) {
            let first = batch.split_to(place, before.clone());
            rest.iter_mut().for_each(|wanted| wanted.place -= place);
            self.ready.push_front(Ready::Incomplete(Incomplete {
                batch: std::mem::replace(&mut batch, first),
                wanted: rest,
                before,
            }));
        }
        let mut additions = batch.add_documents();
        for wanted in &wanted {
            let image = images.get(wanted.key.as_ref()).flatten();
            self.give(&mut additions, wanted, image).await?;
        }
        additions.finish();
        Ok(batch)
    }

    /// Gives an op what it is to have of its document before the change.
    async fn give(
        &mut self,
        batch: &mut Additions<'_>,
        wanted: &Wanted,
        image: Option<Bytes>,
    ) -> Result<(), Error> {
        let mut is_after = false;
        let image = match (image, &wanted.retry) {
            (None, Some(retry)) => {
                is_after = retry.is_after;
                self.read_retry_image(retry).await?
            }
            (image, _) => image,
        };
        let reading = &self.options.reading;
        if reading.before != Before::Off {
            match &image {
                Some(image) if !is_after => batch.set_before(wanted.place, image),
                _ if reading.before == Before::Required => {
                    let namespace = batch.op(wanted.place).namespace().parse();
                    return Err(Error::NoImage {
                        scope: namespace.map_or_else(
                            |_| self.options.scope.clone(),
                            |namespace| Scope::new([namespace]),
                        ),
                        position: self.pushed.clone(),
                        source: None,
                    });
                }
                _ => {}
            }
        }
        let (Some(change), Some(image), Updates::Apply) = (&wanted.change, image, reading.updates)
        else {
            return Ok(());
        };
        let applied = batch.set_data(wanted.place, |out| match is_after {
            true => {
                out.extend_from_slice(&image);
                Ok(())
            }
            false => apply_update(&image, change, out),
        });
        if let Err(error) = applied {
            let op = batch.op(wanted.place);
            warn!(namespace = op.namespace(), op_id = %op.id(), %error,
                "an update cannot be applied to the document that was kept; it is looked up");
        }
        Ok(())
    }

    /// Reads documents of `config.system.preimages`; the first is answered for certain.
    async fn read_images(
        &mut self,
        wanted: &[Wanted],
        newest: Option<Timestamp>,
    ) -> Result<Images, Error> {
        let mut ranges: Vec<Range> = Vec::new();
        for key in wanted.iter().filter_map(|wanted| wanted.key) {
            match ranges.iter_mut().find(|range| range.from.uuid == key.uuid) {
                Some(range) => {
                    range.from = range.from.min(key);
                    range.to = range.to.max(key);
                }
                None => ranges.push(Range { from: key, to: key }),
            }
        }
        let mut images = Images::default();
        for range in &ranges {
            let what = "read config.system.preimages";
            while let Err(error) = self.read_range(range, newest, &mut images).await {
                let (position, backoff) = (Some(&self.position), &mut self.backoff);
                let stats = Some(&*self.stats);
                wait_or_fail(error, what, SourceKind::Oplog, position, backoff, stats).await?;
            }
            if images.bytes >= BYTES_MAX {
                break;
            }
        }
        Ok(images)
    }

    /// Reads the documents of one collection in the order of their keys, until there is enough.
    async fn read_range(
        &self,
        range: &Range,
        newest: Option<Timestamp>,
        images: &mut Images,
    ) -> mongodb::error::Result<()> {
        let options = ReaderOptions {
            batch_size: None,
            await_time: None,
            tailable: false,
        };
        let id = |key: &ImageKey, index: i64| {
            let uuid = bson::Binary {
                subtype: BinarySubtype::Uuid,
                bytes: key.uuid.to_vec(),
            };
            rawdoc! { "nsUUID": uuid, "ts": bson::Timestamp::from(key.timestamp), "applyOpsIndex": index }
        };
        // The collection is clustered by `_id`: the server reads nothing but this range, in its order.
        let ids = rawdoc! { "$gte": id(&range.from, 0), "$lte": id(&range.to, i64::MAX) };
        let mut command = rawdoc! { "find": "system.preimages", "filter": { "_id": ids } };
        command.append(cstr!("readConcern"), self.read_concern(newest));
        let mut reader = Reader::open(self.client.database("config"), command, options);
        let mut last = None;
        while let Some(reply) = reader.next().await {
            let reply = reply?;
            let documents = reply.documents().and_then(Walk::new);
            for document in documents.map_err(malformed)? {
                let document = document.map_err(malformed)?.value;
                let Some((key, image)) = read_pre_image(document).map_err(malformed)? else {
                    continue;
                };
                last = Some(key);
                images.bytes += image.len();
                images.found.insert(key, reply.bytes().slice_ref(image));
            }
            if images.bytes >= BYTES_MAX && last >= Some(range.from) {
                images.read.insert(range.from.uuid, last);
                return Ok(());
            }
        }
        images.read.insert(range.from.uuid, None);
        Ok(())
    }

    /// Reads what is kept of a write so that it can be retried.
    async fn read_retry_image(&mut self, retry: &RetryImage) -> Result<Option<Bytes>, Error> {
        let (lsid, timestamp) = match &retry.place {
            RetryPlace::Entry(op_time) => {
                let at = doc! { "ts": bson::Timestamp::from(op_time.timestamp) };
                let entry = self.find_entry(at, None).await?;
                return Ok(entry.and_then(|entry| document_in(entry.as_bytes(), "o")));
            }
            RetryPlace::Session(lsid, timestamp) => (lsid, *timestamp),
        };
        let kind = if retry.is_after {
            "postImage"
        } else {
            "preImage"
        };
        let what = "read config.image_collection";
        loop {
            match self.find_session_image(lsid, timestamp, kind).await {
                Ok(found) => {
                    return Ok(found.and_then(|found| document_in(found.as_bytes(), "image")));
                }
                Err(error) => {
                    let (position, backoff) = (Some(&self.position), &mut self.backoff);
                    let stats = Some(&*self.stats);
                    wait_or_fail(error, what, SourceKind::Oplog, position, backoff, stats).await?;
                }
            }
        }
    }

    async fn find_session_image(
        &self,
        lsid: &Bytes,
        timestamp: Timestamp,
        kind: &str,
    ) -> mongodb::error::Result<Option<RawDocumentBuf>> {
        let lsid =
            RawDocumentBuf::from_bytes(lsid.to_vec()).map_err(mongodb::error::Error::custom)?;
        let at = bson::Timestamp::from(timestamp);
        // A later write of the session has taken its place by now, mostly.
        let command = rawdoc! {
            "find": "image_collection", "limit": 1, "singleBatch": true,
            "filter": { "_id": lsid, "ts": at, "imageKind": kind, "invalidated": { "$ne": true } },
            "readConcern": self.read_concern(Some(timestamp)),
        };
        let config = self.client.database("config");
        let reply = only_reply(&config, command, ANSWER_TIME).await?;
        let mut documents = reply.documents().and_then(Walk::new).map_err(malformed)?;
        let first = documents.next().transpose().map_err(malformed)?;
        let first = first.map(|first| RawDocumentBuf::from_bytes(first.value.to_vec()));
        first.transpose().map_err(mongodb::error::Error::custom)
    }

    /// What a majority has acknowledged, at least up to there. A stand-in for the oplog has times that
    /// the server knows nothing of.
    fn read_concern(&self, at_least: Option<Timestamp>) -> RawDocumentBuf {
        let mut read_concern = rawdoc! { "level": "majority" };
        let is_real = self.options.oplog_namespace == default_oplog_namespace();
        if let Some(timestamp) = at_least.filter(|_| is_real) {
            read_concern.append(cstr!("afterClusterTime"), bson::Timestamp::from(timestamp));
        }
        read_concern
    }
}

fn malformed(malformed: oplet_sdk::raw::Malformed) -> mongodb::error::Error {
    mongodb::error::Error::custom(malformed.to_string())
}

/// The document in a field.
fn document_in(bytes: &[u8], field: &str) -> Option<Bytes> {
    let found = Walk::find(bytes, field).ok()??;
    found.document().map(Bytes::copy_from_slice)
}
