//! Commands in the oplog that end or rename what is watched.
//!
//! ```json
//! {"op": "c", "ns": "shop.$cmd", "o": {"drop": "orders"}, "o2": {"numRecords": 3}}
//! {"op": "c", "ns": "shop.$cmd", "o": {"dropDatabase": 1}}
//! {"op": "c", "ns": "shop.$cmd", "o": {"renameCollection": "shop.a", "to": "shop.b", "stayTemp": false, "dropTarget": UUID}}
//! ```
//!
//! The op's namespace is the one that the command acts on, which the entry does not have as text for
//! `drop`. All other commands (`create`, `createIndexes`, `collMod`, ...) leave documents as they are.

use oplet_sdk::raw::{Element, Walk, Writer};

use super::{
    Change, Decoder, Fault, Skipped,
    decode::{Stamp, first_of},
    entry::text,
};
use crate::op::{BatchBuilder, Operation, Span, split_namespace};

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
        let (namespace, data) = match command.key {
            b"drop" => {
                let (database, _) = split_namespace(change.namespace()?);
                let name = format!("{database}.{}", text("o.drop", &command)?);
                if !self.is_watched(&name) {
                    return Ok(Some(Skipped::Unwatched));
                }
                let namespace = builder.make(|out| out.extend_from_slice(name.as_bytes()));
                (namespace, alone(object, &command, builder))
            }
            b"dropDatabase" => {
                let (database, _) = split_namespace(change.namespace()?);
                if !self.is_watched(database) {
                    return Ok(Some(Skipped::Unwatched));
                }
                let namespace = builder.span_of(database.as_bytes());
                (namespace, alone(object, &command, builder))
            }
            b"renameCollection" => {
                let from = text("o.renameCollection", &command)?;
                let to = Walk::find(object, "to")?.ok_or(Fault::Missing("o.to"))?;
                if !self.is_watched(from) && !self.is_watched(text("o.to", &to)?) {
                    return Ok(Some(Skipped::Unwatched));
                }
                let namespace = builder.span_of(from.as_bytes());
                (namespace, rename(object, &command, &to, builder)?)
            }
            name => {
                let name = std::str::from_utf8(name).unwrap_or_default();
                return Ok(Some(Skipped::Command(name)));
            }
        };
        let mut record = stamp.record(Operation::Command, namespace, index, builder);
        record.data = Some(data);
        builder.push(record);
        Ok(None)
    }
}

/// The command as a document of one field, which it nearly always is.
fn alone(object: &[u8], command: &Element<'_>, builder: &mut BatchBuilder) -> Span {
    if command.at + command.value.len() + 1 == object.len() {
        return builder.span_of(object);
    }
    builder.make(|out| {
        let mut writer = Writer::new(out);
        writer.raw(command.key, command.kind, command.value);
        writer.finish();
    })
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
