//! Documents as they were before a change: which are wanted, and where a server keeps them.
//!
//! ```json
//! config.system.preimages  {"_id": {"nsUUID": UUID, "ts": Timestamp(9, 3), "applyOpsIndex": 0}, "preImage": {...}}
//! config.image_collection  {"_id": lsid, "txnNum": 4, "ts": Timestamp(9, 3), "imageKind": "preImage", "image": {...}}
//! the oplog                {"op": "n", "ts": Timestamp(9, 2), "o": {...}}, to which `preImageOpTime` leads
//! ```
//!
//! The first is there from 6.0 on, of collections with `changeStreamPreAndPostImages`. `ts` is that of
//! the entry, also of one that is a part of a transaction, and `applyOpsIndex` the op's place in it.
//! The others are kept so that a `findAndModify` can be retried: from 5.1 on the last of each session,
//! and up to then as entries of the oplog; either before the change or after it.

use bytes::Bytes;
use oplet_sdk::raw::{Malformed, Walk};

use super::{Change, decode::Stamp};
use crate::op::{BatchBuilder, OpTime, Timestamp};

/// What `config.system.preimages` finds a document by; its order is that of the collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ImageKey {
    /// The collection's.
    pub(super) uuid: [u8; 16],
    /// Of the entry.
    pub(super) timestamp: Timestamp,
    /// Of the op in the entry.
    pub(super) index: i64,
}

/// Where else a document is kept, for a write that may be retried.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RetryImage {
    /// It is the document after the change.
    pub(super) is_after: bool,
    pub(super) place: RetryPlace,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum RetryPlace {
    /// In `config.image_collection`, of that session (a document) and the write at that time.
    Session(Bytes, Timestamp),
    /// In the oplog.
    Entry(OpTime),
}

/// An op of a batch whose document before the change is wanted.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The op's place in its batch.
    pub(super) place: usize,
    /// What finds it; none of entries without the collection's UUID.
    pub(super) key: Option<ImageKey>,
    pub(super) retry: Option<RetryImage>,
    /// The `o` of an update that is to be applied.
    pub(super) change: Option<Bytes>,
}

impl Wanted {
    /// Of the op that is added next; none when nothing can lead to its document.
    pub(super) fn new(
        change: &Change<'_>,
        is_delta: bool,
        stamp: &Stamp<'_>,
        index: u32,
        builder: &BatchBuilder,
    ) -> Option<Self> {
        let body = builder.body();
        let key = change.uuid.map(|uuid| ImageKey {
            uuid,
            timestamp: stamp.entry,
            index: i64::from(index - stamp.first),
        });
        let (retry, is_after) = match (change.pre_image, change.post_image) {
            (Some(op_time), _) => (Some(RetryPlace::Entry(op_time)), false),
            (None, Some(op_time)) => (Some(RetryPlace::Entry(op_time)), true),
            (None, None) => {
                let session = change.retry_image.zip(stamp.lsid);
                let place =
                    session.map(|(_, lsid)| RetryPlace::Session(body.slice_ref(lsid), stamp.entry));
                (place, change.retry_image == Some("postImage"))
            }
        };
        if key.is_none() && retry.is_none() {
            return None;
        }
        let object = change.object().ok().filter(|_| is_delta);
        Some(Self {
            place: builder.len(),
            key,
            retry: retry.map(|place| RetryImage { is_after, place }),
            change: object.map(|object| body.slice_ref(object)),
        })
    }
}

/// Reads a document of `config.system.preimages`; none when it is of another form.
pub(super) fn read_pre_image(document: &[u8]) -> Result<Option<(ImageKey, &[u8])>, Malformed> {
    let (mut key, mut image) = (None, None);
    for element in Walk::new(document)? {
        let element = element?;
        match element.key {
            b"_id" => key = element.document().map(read_key).transpose()?.flatten(),
            b"preImage" => image = element.document(),
            _ => {}
        }
    }
    Ok(key.zip(image))
}

fn read_key(id: &[u8]) -> Result<Option<ImageKey>, Malformed> {
    let (mut uuid, mut timestamp, mut index) = (None, None, None);
    for element in Walk::new(id)? {
        let element = element?;
        match element.key {
            b"nsUUID" => uuid = super::entry::uuid(&element),
            b"ts" => timestamp = element.timestamp().map(Timestamp::from),
            b"applyOpsIndex" => index = element.int64(),
            _ => {}
        }
    }
    Ok(match (uuid, timestamp, index) {
        (Some(uuid), Some(timestamp), Some(index)) => Some(ImageKey {
            uuid,
            timestamp,
            index,
        }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;
    use crate::source::{
        Before, Reading, Updates,
        oplog::{
            Decoder,
            tests::{command, entry, raw, scope, session},
        },
    };

    const UUID: [u8; 16] = [7; 16];

    fn uuid() -> bson::Binary {
        let subtype = bson::spec::BinarySubtype::Uuid;
        let bytes = UUID.to_vec();
        bson::Binary { subtype, bytes }
    }

    fn update(more: Document) -> Document {
        let mut update = doc! {"op": "u", "ns": "shop.a", "ui": uuid(), "o2": {"_id": 1}, "o": {"$v": 2, "diff": {"u": {"n": 1}}}};
        update.extend(more);
        update
    }

    fn key(timestamp: Timestamp, index: i64) -> ImageKey {
        ImageKey {
            uuid: UUID,
            timestamp,
            index,
        }
    }

    fn wanted(reading: &Reading, entry: &Document) -> Vec<Wanted> {
        let mut decoder = Decoder::with_reading(scope("shop"), reading);
        let mut builder = BatchBuilder::new(raw(entry).into());
        let body = builder.body();
        decoder.entry(&body, &mut builder).unwrap();
        decoder.take_wanted()
    }

    #[test]
    fn each_choice_wants_what_it_needs() {
        let apply = Reading {
            updates: Updates::Apply,
            ..Reading::default()
        };
        let before = Reading {
            before: Before::WhenAvailable,
            ..Reading::default()
        };
        let replace = update(doc! {"o": {"_id": 1}});
        let delete = doc! {"op": "d", "ns": "shop.a", "ui": uuid(), "o": {"_id": 1}};
        let insert = doc! {"op": "i", "ns": "shop.a", "ui": uuid(), "o": {"_id": 1}};
        let elsewhere = update(doc! {"ns": "crm.x"});
        for (fields, by_apply, by_before) in [
            (update(doc! {}), 1, 1),
            (replace, 0, 1),
            (delete, 0, 1),
            (insert, 0, 0),
            (elsewhere, 0, 0),
        ] {
            let entry = entry(fields);
            assert_eq!(wanted(&Reading::default(), &entry).len(), 0, "{entry}");
            assert_eq!(wanted(&apply, &entry).len(), by_apply, "{entry}");
            assert_eq!(wanted(&before, &entry).len(), by_before, "{entry}");
        }
    }

    #[test]
    fn a_key_is_of_the_entry_and_the_place_in_it() {
        let reading = Reading {
            updates: Updates::Apply,
            ..Reading::default()
        };
        let inner = [
            doc! {"op": "i", "ns": "shop.a", "o": {"_id": 1}},
            update(doc! {}),
            update(doc! {"ns": "crm.x"}),
            update(doc! {}),
        ];
        let whole = command(doc! {"applyOps": inner.to_vec()}, session(None));
        let found = wanted(&reading, &whole);
        let at = Timestamp::new(9, 3);
        let keys: Vec<_> = found
            .iter()
            .map(|wanted| (wanted.place, wanted.key))
            .collect();
        assert_eq!(keys, [(1, Some(key(at, 1))), (2, Some(key(at, 3)))]);
        assert_eq!(
            found[0].change.as_deref(),
            Some(&raw(&doc! {"$v": 2, "diff": {"u": {"n": 1}}})[..])
        );
    }

    #[test]
    fn what_is_kept_for_retries_is_found() {
        let reading = Reading {
            updates: Updates::Apply,
            ..Reading::default()
        };
        let at = |increment| doc! {"ts": bson::Timestamp { time: 9, increment }, "t": 1_i64};
        let op_time = OpTime {
            timestamp: Timestamp::new(9, 2),
            term: 1,
        };
        let lsid = Bytes::from(raw(&doc! {"id": "s"}));
        let in_session = RetryPlace::Session(lsid, Timestamp::new(9, 3));
        for (more, is_after, place) in [
            (
                doc! {"preImageOpTime": at(2)},
                false,
                RetryPlace::Entry(op_time),
            ),
            (
                doc! {"postImageOpTime": at(2)},
                true,
                RetryPlace::Entry(op_time),
            ),
            (
                doc! {"needsRetryImage": "preImage"},
                false,
                in_session.clone(),
            ),
            (doc! {"needsRetryImage": "postImage"}, true, in_session),
        ] {
            let mut fields = update(session(None));
            fields.extend(more);
            let found = wanted(&reading, &entry(fields));
            let expected = RetryImage { is_after, place };
            assert_eq!(found[0].retry, Some(expected));
        }
        assert_eq!(
            wanted(&reading, &entry(update(session(None))))[0].retry,
            None
        );
    }

    #[test]
    fn a_pre_image_is_read() {
        let id = doc! {"nsUUID": uuid(), "ts": bson::Timestamp { time: 9, increment: 3 }, "applyOpsIndex": 5_i64};
        let whole =
            raw(&doc! {"_id": id, "operationTime": bson::DateTime::now(), "preImage": {"_id": 1}});
        let (found, image) = read_pre_image(&whole).unwrap().unwrap();
        assert_eq!(found, key(Timestamp::new(9, 3), 5));
        assert_eq!(image, raw(&doc! {"_id": 1}));
        assert_eq!(read_pre_image(&raw(&doc! {"_id": 1})), Ok(None));
    }
}
