//! Events of commands, as the commands that the oplog has.
//!
//! ```json
//! {"operationType": "create", "ns": {"db": "shop", "coll": "orders"},
//!  "operationDescription": {"capped": true, "size": 4096, "idIndex": {"v": 2, "key": {"_id": 1}, "name": "_id_"}}}
//! {"operationType": "createIndexes", "ns": {"db": "shop", "coll": "orders"},
//!  "operationDescription": {"indexes": [{"v": 2, "key": {"n": 1}, "name": "n_1"}]}}
//! {"operationType": "modify", "ns": {"db": "shop", "coll": "orders"},
//!  "operationDescription": {"validationLevel": "moderate"}, "stateBeforeChange": {"collectionOptions": {"uuid": UUID}}}
//! ```
//!
//! Source: the page "Change Events" of the server's manual; the shapes were seen on 6.0.5.

use oplet_sdk::raw::{EMPTY_DOCUMENT, Malformed, Walk, Writer};

use super::event::{Error, Event, namespace_text};

/// What the oplog calls the command of an event; `None` for a kind of event that is not known.
pub(super) fn command_name(operation_type: &str) -> Option<&'static str> {
    Some(match operation_type {
        "drop" => "drop",
        "dropDatabase" => "dropDatabase",
        "rename" => "renameCollection",
        "create" => "create",
        "createIndexes" => "createIndexes",
        "dropIndexes" => "dropIndexes",
        "modify" => "collMod",
        "shardCollection" => "shardCollection",
        "reshardCollection" => "reshardCollection",
        "refineCollectionShardKey" => "refineCollectionShardKey",
        _ => return None,
    })
}

/// The command of that name: what it is about as its first field, then what the event tells of it.
pub(super) fn command(name: &'static str, event: &Event<'_>) -> Result<Vec<u8>, Error> {
    let ns = event.ns.ok_or(Error::Field("ns"))?;
    let mut document = Vec::new();
    let mut writer = Writer::new(&mut document);
    match name {
        "dropDatabase" => writer.int32(name.as_bytes(), 1),
        "renameCollection"
        | "shardCollection"
        | "reshardCollection"
        | "refineCollectionShardKey" => {
            let namespace = namespace_text(ns).ok_or(Error::Field("ns"))?;
            writer.text(name.as_bytes(), &namespace);
        }
        _ => {
            let collection = Walk::find(ns, "coll")?.and_then(|element| element.text());
            writer.text(name.as_bytes(), collection.ok_or(Error::Field("ns.coll"))?);
        }
    }
    if name == "renameCollection" {
        let to = event.to.and_then(namespace_text);
        writer.text(b"to", &to.ok_or(Error::Field("to"))?);
    }
    for element in fields(event.operation_description)? {
        let element = element?;
        // Of a rename, `to` stands there again, in another form.
        if !(name == "renameCollection" && element.key == b"to") {
            writer.raw(element.key, element.kind, element.value);
        }
    }
    if let Some(state) = event.state_before {
        writer.document(b"stateBeforeChange", state);
    }
    writer.finish();
    Ok(document)
}

/// An event of a kind that is not known: all that it says, its kind first, but for its token.
pub(super) fn unknown(operation_type: &str, event: &[u8]) -> Result<Vec<u8>, Error> {
    let mut document = Vec::new();
    let mut writer = Writer::new(&mut document);
    writer.text(b"operationType", operation_type);
    for element in Walk::new(event)? {
        let element = element?;
        if !matches!(element.key, b"_id" | b"operationType") {
            writer.raw(element.key, element.kind, element.value);
        }
    }
    writer.finish();
    Ok(document)
}

/// The fields of a document that may be missing.
fn fields(document: Option<&[u8]>) -> Result<Walk<'_>, Malformed> {
    Walk::new(document.unwrap_or(&EMPTY_DOCUMENT))
}

#[cfg(test)]
mod tests {
    use bson::{Document, RawDocumentBuf, doc};

    use super::{super::decode::tests::op_of, *};
    use crate::source::Commands;

    const NS: [&str; 2] = ["shop", "a.b"];

    fn event(operation_type: &str, more: Document) -> Document {
        let mut event =
            doc! { "operationType": operation_type, "ns": { "db": NS[0], "coll": NS[1] } };
        event.extend(more);
        event
    }

    /// The command that comes of an event in `shop.a.b`.
    fn check(operation_type: &str, more: Document, expected: Document) {
        let op = op_of(event(operation_type, more), Commands::All).expect("it is delivered");
        let whole = doc! { "operation": "c", "namespace": "shop.a.b", "data": expected };
        assert_eq!(op, whole, "{operation_type}");
    }

    #[test]
    fn each_command_is_as_in_the_oplog() {
        let described = |description: Document| doc! { "operationDescription": description };
        let index = doc! { "v": 2, "key": { "n": 1 }, "name": "n_1" };
        check("drop", doc! {}, doc! { "drop": "a.b" });
        check(
            "create",
            described(doc! { "capped": true, "idIndex": &index }),
            doc! { "create": "a.b", "capped": true, "idIndex": &index },
        );
        for (kind, name) in [
            ("createIndexes", "createIndexes"),
            ("dropIndexes", "dropIndexes"),
        ] {
            check(
                kind,
                described(doc! { "indexes": [&index] }),
                doc! { name: "a.b", "indexes": [&index] },
            );
        }
        let mut modify = described(doc! { "validationLevel": "moderate" });
        modify.insert("stateBeforeChange", doc! { "collectionOptions": {} });
        check(
            "modify",
            modify,
            doc! { "collMod": "a.b", "validationLevel": "moderate", "stateBeforeChange": { "collectionOptions": {} } },
        );
        let to = doc! { "db": "shop", "coll": "c" };
        let mut rename = described(doc! { "to": &to, "dropTarget": "UUID" });
        rename.insert("to", to);
        check(
            "rename",
            rename,
            doc! { "renameCollection": "shop.a.b", "to": "shop.c", "dropTarget": "UUID" },
        );
        for name in [
            "shardCollection",
            "reshardCollection",
            "refineCollectionShardKey",
        ] {
            check(
                name,
                described(doc! { "shardKey": { "n": 1 } }),
                doc! { name: "shop.a.b", "shardKey": { "n": 1 } },
            );
        }
    }

    #[test]
    fn a_kind_that_is_not_known_passes_unharmed() {
        let more = doc! { "documentKey": { "_id": 1 }, "news": [1, { "b": 2 }] };
        let event = event("notYetInvented", more);
        let op = op_of(event, Commands::Data).expect("it is delivered");
        let data = op.get_document("data").unwrap();
        assert_eq!(data.keys().next().unwrap(), "operationType");
        assert_eq!(data.get_str("operationType").unwrap(), "notYetInvented");
        assert_eq!(
            data.get_document("documentKey").unwrap(),
            &doc! { "_id": 1 }
        );
        assert_eq!(data.get_array("news").unwrap()[1], doc! { "b": 2 }.into());
        assert!(data.contains_key("clusterTime") && !data.contains_key("_id"));
        assert_eq!(op.get_str("namespace").unwrap(), "shop.a.b");
        // Nor is one that is about no namespace lost.
        let op = op_of(doc! { "operationType": "other" }, Commands::Data);
        assert_eq!(op.unwrap().get_str("namespace").unwrap(), "");
    }

    #[test]
    fn only_commands_about_data_come_unless_all_are_asked_for() {
        for (kind, is_about_data) in [("drop", true), ("create", false), ("modify", false)] {
            let more = doc! { "collectionUUID": 1 };
            let op = op_of(event(kind, more), Commands::Data);
            assert_eq!(op.is_some(), is_about_data, "{kind}");
        }
        // Of a view.
        for (commands, is_told) in [(Commands::Data, false), (Commands::All, true)] {
            let op = op_of(event("drop", doc! {}), commands);
            assert_eq!(op.is_some(), is_told, "{commands:?}");
        }
    }

    #[test]
    fn a_command_without_what_it_is_about_is_refused() {
        let event = RawDocumentBuf::try_from(&doc! { "operationType": "drop" }).unwrap();
        let event = Event::read(event.as_bytes()).unwrap();
        assert!(matches!(command("drop", &event), Err(Error::Field("ns"))));
    }
}
