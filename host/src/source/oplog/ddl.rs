//! Commands in the oplog: what is done to collections and databases.
//!
//! ```json
//! {"op": "c", "ns": "shop.$cmd", "o": {"drop": "orders"}, "o2": {"numRecords": 3}}
//! {"op": "c", "ns": "shop.$cmd", "o": {"dropDatabase": 1}}
//! {"op": "c", "ns": "shop.$cmd", "o": {"renameCollection": "shop.a", "to": "shop.b", "stayTemp": false, "dropTarget": UUID}}
//! {"op": "c", "ns": "shop.$cmd", "o": {"create": "orders", "idIndex": {"v": 2, "key": {"_id": 1}, "name": "_id_"}}}
//! {"op": "c", "ns": "shop.$cmd", "o": {"createIndexes": "orders", "v": 2, "key": {"n": 1}, "name": "n_1"}}
//! {"op": "c", "ns": "shop.$cmd", "o": {"startIndexBuild": "orders", "indexBuildUUID": UUID, "indexes": [...]}}     skipped
//! {"op": "c", "ns": "shop.$cmd", "o": {"commitIndexBuild": "orders", "indexBuildUUID": UUID, "indexes": [...]}}
//! {"op": "c", "ns": "shop.$cmd", "o": {"dropIndexes": "orders", "index": "n_1"}, "o2": {"v": 2, "key": {"n": 1}, "name": "n_1"}}
//! {"op": "c", "ns": "shop.$cmd", "o": {"collMod": "orders", "validationLevel": "off"}, "o2": {"collectionOptions_old": {}}}
//! {"op": "n", "ns": "shop.orders", "o": {"msg": {...}}, "o2": {"shardCollection": "shop.orders", "shardKey": {"n": 1}}}
//! ```
//!
//! The op's namespace is the one that the command acts on, which most entries do not have as text.
//! Indexes are told as a change stream does: `indexes` is an array of what they are, whether one is
//! made in an empty collection, several in one with documents, or one dropped; and what `collMod`
//! changed is in `stateBeforeChange`. A build of indexes in two phases is told at its commit. A command that is not known is passed on as it is.

use oplet_sdk::raw::{Element, Walk, Writer, kind};

use super::{
    Change, Decoder, Fault, Skipped,
    decode::{Stamp, first_of},
    entry::text,
};
use crate::op::{BatchBuilder, Operation, Span, split_namespace};

/// Commands that change nothing that anybody can see, or are told by another entry: the phases of a
/// build of indexes before its end, checks, and what a shard notes for itself.
const INTERNAL: [&str; 8] = [
    "startIndexBuild",
    "abortIndexBuild",
    "dbCheck",
    "createDatabaseMetadata",
    "dropDatabaseMetadata",
    "invalidateCollectionMetadata",
    "createGlobalIndex",
    "dropGlobalIndex",
];

/// Commands that no-op entries tell change streams of: they go through the shards' metadata.
const SHARDING: [&[u8]; 3] = [
    b"shardCollection",
    b"refineCollectionShardKey",
    b"reshardCollection",
];

impl Decoder {
    /// Adds the op of a command, or says why there is none.
    pub(super) fn command<'a>(
        &mut self,
        change: &Change<'a>,
        stamp: &Stamp<'_>,
        index: u32,
        builder: &mut BatchBuilder,
    ) -> Result<Option<Skipped<'a>>, Fault> {
        let object = change.object()?;
        let command = first_of(object)?.ok_or(Fault::Missing("o"))?;
        let entry_name = std::str::from_utf8(command.key).unwrap_or_default();
        let name = match entry_name {
            "commitIndexBuild" => "createIndexes",
            // Up to 4.2.
            "dropIndex" | "deleteIndex" | "deleteIndexes" => "dropIndexes",
            name => name,
        };
        if INTERNAL.contains(&name) || !self.commands.include(name) {
            return Ok(Some(Skipped::Command(entry_name)));
        }
        let (database, _) = split_namespace(change.namespace()?);
        let is_whole = object.len() == command.at + command.value.len() + 1;
        let (namespace, data) = match name {
            "dropDatabase" => {
                if !self.is_watched(database) {
                    return Ok(Some(Skipped::Unwatched));
                }
                let namespace = builder.span_of(database.as_bytes());
                (namespace, alone(object, &command, is_whole, builder))
            }
            "renameCollection" => {
                let from = text("o.renameCollection", &command)?;
                let to = Walk::find(object, "to")?.ok_or(Fault::Missing("o.to"))?;
                if !self.is_watched(from) && !self.is_watched(text("o.to", &to)?) {
                    return Ok(Some(Skipped::Unwatched));
                }
                let namespace = builder.span_of(from.as_bytes());
                (namespace, rename(object, &command, &to, builder)?)
            }
            _ => {
                let field = field_of(name);
                let namespace = match text(field, &command) {
                    Ok(other) if field == OTHER && is_in(database, other) => other.to_owned(),
                    Ok(collection) => format!("{database}.{collection}"),
                    // Of what is not known, not even this is.
                    Err(_) if field == OTHER => database.to_owned(),
                    Err(fault) => return Err(fault),
                };
                if !self.is_watched(&namespace) {
                    return Ok(Some(Skipped::Unwatched));
                }
                let data = match (name, change.object2()) {
                    ("drop", _) => alone(object, &command, is_whole, builder),
                    ("createIndexes", _) => create_indexes(object, &command, builder)?,
                    ("dropIndexes", Some(index)) => builder.make(|out| {
                        let mut writer = Writer::new(out);
                        writer.raw(b"dropIndexes", command.kind, command.value);
                        writer.begin(b"indexes", kind::ARRAY);
                        writer.document(b"0", index);
                        writer.end();
                        writer.finish();
                    }),
                    ("collMod", Some(old)) => coll_mod(object, old, builder)?,
                    _ => builder.span_of(object),
                };
                let namespace = builder.make(|out| out.extend_from_slice(namespace.as_bytes()));
                (namespace, data)
            }
        };
        let mut record = stamp.record(Operation::Command, namespace, index, builder);
        record.data = Some(data);
        builder.push(record);
        Ok(None)
    }

    /// Adds the op of a no-op entry that tells of a collection's sharding; `false` when it does not.
    pub(super) fn sharding(
        &mut self,
        change: &Change<'_>,
        stamp: &Stamp<'_>,
        builder: &mut BatchBuilder,
    ) -> Result<bool, Fault> {
        let Some(object) = change.object2() else {
            return Ok(false);
        };
        let Some(command) = first_of(object)?.filter(|first| SHARDING.contains(&first.key)) else {
            return Ok(false);
        };
        let name = command.key_text().unwrap_or_default();
        let namespace = change.namespace()?;
        if !self.commands.include(name) || !self.is_watched(namespace) {
            return Ok(false);
        }
        let namespace = builder.span_of(namespace.as_bytes());
        let mut record = stamp.record(Operation::Command, namespace, 0, builder);
        record.data = Some(builder.span_of(object));
        builder.push(record);
        Ok(true)
    }
}

/// What stands for the first field of a command that is not known.
const OTHER: &str = "o";

/// The first field of a command, as faults name it.
fn field_of(name: &str) -> &'static str {
    match name {
        "drop" => "o.drop",
        "create" => "o.create",
        "createIndexes" => "o.createIndexes",
        "dropIndexes" => "o.dropIndexes",
        "collMod" => "o.collMod",
        "convertToCapped" => "o.convertToCapped",
        "emptycapped" => "o.emptycapped",
        _ => OTHER,
    }
}

/// Whether that is the whole name of a collection in the database.
fn is_in(database: &str, name: &str) -> bool {
    name.strip_prefix(database)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// The command as a document of one field, which it nearly always is.
fn alone(object: &[u8], command: &Element<'_>, is_whole: bool, builder: &mut BatchBuilder) -> Span {
    if is_whole {
        return builder.span_of(object);
    }
    builder.make(|out| {
        let mut writer = Writer::new(out);
        writer.raw(command.key, command.kind, command.value);
        writer.finish();
    })
}

/// `{createIndexes: coll, indexes: [...]}`, of the commit of a build, which has the array, or of an
/// entry that is the one index, with the command in front.
fn create_indexes(
    object: &[u8],
    command: &Element<'_>,
    builder: &mut BatchBuilder,
) -> Result<Span, Fault> {
    let elements: Vec<_> = Walk::new(object)?.collect::<Result<_, _>>()?;
    let built = elements
        .iter()
        .find(|element| element.key == b"indexes" && element.kind == kind::ARRAY);
    Ok(builder.make(|out| {
        let mut writer = Writer::new(out);
        writer.raw(b"createIndexes", command.kind, command.value);
        match built {
            Some(indexes) => writer.raw(indexes.key, indexes.kind, indexes.value),
            None => {
                writer.begin(b"indexes", kind::ARRAY);
                writer.begin(b"0", kind::DOCUMENT);
                for element in &elements[1..] {
                    writer.raw(element.key, element.kind, element.value);
                }
                writer.end();
                writer.end();
            }
        }
        writer.finish();
    }))
}

/// The command, and behind it what it changed, as a change stream tells that.
fn coll_mod(object: &[u8], old: &[u8], builder: &mut BatchBuilder) -> Result<Span, Fault> {
    let elements: Vec<_> = Walk::new(object)?.collect::<Result<_, _>>()?;
    let olds: Vec<_> = Walk::new(old)?.collect::<Result<_, _>>()?;
    Ok(builder.make(|out| {
        let mut writer = Writer::new(out);
        for element in &elements {
            writer.raw(element.key, element.kind, element.value);
        }
        writer.begin(b"stateBeforeChange", kind::DOCUMENT);
        for (name, old_name) in [
            ("collectionOptions", "collectionOptions_old"),
            ("indexOptions", "indexOptions_old"),
        ] {
            let old = olds.iter().find(|old| old.key == old_name.as_bytes());
            if let Some(old) = old {
                writer.raw(name.as_bytes(), old.kind, old.value);
            }
        }
        writer.end();
        writer.finish();
    }))
}

/// The command with `renameCollection` and `to` in front, as nearly always it is.
fn rename(
    object: &[u8],
    from: &Element<'_>,
    to: &Element<'_>,
    builder: &mut BatchBuilder,
) -> Result<Span, Fault> {
    if to.at == from.at + from.value.len() + b"?to?".len() {
        return Ok(builder.span_of(object));
    }
    let others: Vec<_> = Walk::new(object)?.collect::<Result<_, _>>()?;
    Ok(builder.make(|out| {
        let mut writer = Writer::new(out);
        for element in [from, to] {
            writer.raw(element.key, element.kind, element.value);
        }
        for element in others
            .iter()
            .filter(|other| other.at != from.at && other.at != to.at)
        {
            writer.raw(element.key, element.kind, element.value);
        }
        writer.finish();
    }))
}
