//! The commands that read a range of keys.

use bson::{RawArrayBuf, RawBsonRef, RawDocumentBuf, cstr, rawdoc};
use oplet_sdk::raw::kind;

use super::{Stages, Target};
use crate::op::{Key, KeyRange, Timestamp};

/// As of when is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AsOf {
    /// A snapshot that contains at least all up to that time; the server says which.
    After(Timestamp),
    /// The snapshot of that time.
    At(Timestamp),
    /// What a majority has when it is read, at least all up to that time: no snapshot.
    Current(Timestamp),
}

impl AsOf {
    fn read_concern(self) -> RawDocumentBuf {
        let time = |at: Timestamp| bson::Timestamp::from(at);
        match self {
            // A time that never was cannot be waited for.
            Self::After(at) if at == Timestamp::default() => rawdoc! { "level": "snapshot" },
            Self::After(at) => rawdoc! { "level": "snapshot", "afterClusterTime": time(at) },
            Self::At(at) => rawdoc! { "level": "snapshot", "atClusterTime": time(at) },
            Self::Current(at) if at == Timestamp::default() => rawdoc! { "level": "majority" },
            Self::Current(at) => rawdoc! { "level": "majority", "afterClusterTime": time(at) },
        }
    }
}

/// How many documents, and how many at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amount {
    /// Documents per reply.
    pub(super) batch: u32,
    /// Documents in all.
    pub(super) limit: Option<u64>,
}

/// `find` over a range: its bounds are places in the index, so that they hold across types. A query by
/// `$gte` would find only what has the type of the bound.
pub(super) fn find(
    target: &Target,
    range: &KeyRange,
    as_of: AsOf,
    amount: Amount,
) -> RawDocumentBuf {
    let mut command = rawdoc! { "find": target.collection() };
    append_range(&mut command, range);
    command.append(cstr!("batchSize"), i64::from(amount.batch));
    if let Some(limit) = amount.limit {
        command.append(cstr!("limit"), i64::try_from(limit).unwrap_or(i64::MAX));
    }
    finish(command, target, as_of)
}

/// `find` over all there is, in the order in which it is kept, from the `skip`th document on.
pub(super) fn scan(target: &Target, as_of: AsOf, skip: u64, batch: u32) -> RawDocumentBuf {
    let mut command = rawdoc! { "find": target.collection() };
    command.append(cstr!("batchSize"), i64::from(batch));
    if skip > 0 {
        command.append(cstr!("skip"), i64::try_from(skip).unwrap_or(i64::MAX));
    }
    finish(command, target, as_of)
}

/// The keys of a range alone: from the `skip`th on, every one, or only one.
pub(super) fn find_keys(
    target: &Target,
    range: &KeyRange,
    as_of: AsOf,
    skip: u64,
    amount: Amount,
) -> RawDocumentBuf {
    let mut command = rawdoc! { "find": target.collection() };
    append_range(&mut command, range);
    command.append(cstr!("projection"), rawdoc! { "_id": 1 });
    command.append(cstr!("skip"), i64::try_from(skip).unwrap_or(i64::MAX));
    command.append(cstr!("batchSize"), i64::from(amount.batch));
    if let Some(limit) = amount.limit {
        command.append(cstr!("limit"), i64::try_from(limit).unwrap_or(i64::MAX));
    }
    finish(command, target, as_of)
}

/// The first key, or the last.
pub(super) fn find_end(target: &Target, as_of: AsOf, direction: i32) -> RawDocumentBuf {
    let mut command = rawdoc! { "find": target.collection() };
    command.append(cstr!("hint"), rawdoc! { "_id": 1 });
    command.append(cstr!("sort"), rawdoc! { "_id": direction });
    command.append(cstr!("projection"), rawdoc! { "_id": 1 });
    command.append(cstr!("limit"), 1_i64);
    finish(command, target, as_of)
}

/// `aggregate` over a range. `$expr` compares across types, with the help of the index, and `$literal`
/// leaves a bound as it is, whatever its fields are called.
pub(super) fn aggregate(
    target: &Target,
    range: &KeyRange,
    as_of: AsOf,
    stages: &Stages,
    batch: u32,
    allow_disk_use: bool,
) -> RawDocumentBuf {
    let mut pipeline = RawArrayBuf::new();
    let has_range = target.has_ranges() && stages.is_per_document();
    if has_range {
        let mut bounds = RawArrayBuf::new();
        for (operator, key) in [(cstr!("$gte"), &range.from), (cstr!("$lt"), &range.to)] {
            if let Some(key) = key {
                let mut operands = RawArrayBuf::new();
                operands.push("$_id");
                operands.push(key.named("$literal"));
                let mut compared = RawDocumentBuf::new();
                compared.append(operator, operands);
                bounds.push(compared);
            }
        }
        if !bounds.is_empty() {
            pipeline.push(rawdoc! { "$match": { "$expr": { "$and": bounds } } });
        }
        pipeline.push(rawdoc! { "$sort": { "_id": 1 } });
    }
    for stage in stages.as_slice() {
        pipeline.push(stage.clone());
    }
    let mut command = rawdoc! { "aggregate": target.collection(), "pipeline": pipeline };
    command.append(cstr!("cursor"), rawdoc! { "batchSize": i64::from(batch) });
    if has_range {
        command.append(cstr!("hint"), rawdoc! { "_id": 1 });
    }
    if allow_disk_use {
        command.append(cstr!("allowDiskUse"), true);
    }
    finish(command, target, as_of)
}

/// A sample of the keys, in the server's order.
pub(super) fn sample(target: &Target, size: u64) -> RawDocumentBuf {
    let mut pipeline = RawArrayBuf::new();
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    pipeline.push(rawdoc! { "$sample": { "size": size } });
    pipeline.push(rawdoc! { "$project": { "_id": 1 } });
    pipeline.push(rawdoc! { "$sort": { "_id": 1 } });
    let mut command = rawdoc! { "aggregate": target.collection(), "pipeline": pipeline };
    command.append(cstr!("cursor"), rawdoc! { "batchSize": size });
    command.append(cstr!("allowDiskUse"), true);
    append_uuid(&mut command, target);
    command
}

/// Whether nothing but the greatest key lies in the range.
pub(super) fn is_of_max_key(range: &KeyRange) -> bool {
    range
        .from
        .as_ref()
        .is_some_and(|from| from.kind() == kind::MAX_KEY)
}

/// Without `max`, the server leaves out the greatest key where there is a `min`, and with one that is
/// the greatest key it says so: a range with an end that is open has to be read in two parts.
fn append_range(command: &mut RawDocumentBuf, range: &KeyRange) {
    command.append(cstr!("hint"), rawdoc! { "_id": 1 });
    if is_of_max_key(range) {
        command.append(cstr!("filter"), rawdoc! { "_id": RawBsonRef::MaxKey });
        return;
    }
    // A mongos gives what comes from several shards in this order, too.
    command.append(cstr!("sort"), rawdoc! { "_id": 1 });
    let bound = |key: &Key| key.named("_id");
    if let Some(from) = &range.from {
        command.append(cstr!("min"), bound(from));
    }
    match (&range.from, &range.to) {
        (_, Some(to)) => command.append(cstr!("max"), bound(to)),
        (Some(_), None) => command.append(cstr!("max"), rawdoc! { "_id": RawBsonRef::MaxKey }),
        (None, None) => {}
    }
}

fn finish(mut command: RawDocumentBuf, target: &Target, as_of: AsOf) -> RawDocumentBuf {
    command.append(cstr!("readConcern"), as_of.read_concern());
    append_uuid(&mut command, target);
    command
}

fn append_uuid(command: &mut RawDocumentBuf, target: &Target) {
    if let Some(uuid) = target.uuid.filter(|_| target.checks_uuid) {
        command.append(cstr!("collectionUUID"), bson::Binary::from(uuid));
    }
}
