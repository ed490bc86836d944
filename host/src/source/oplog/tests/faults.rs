//! Entries that are damaged or odd.

use bson::{Document, doc};

use super::*;
use crate::source::oplog::{Entry, Fault, UpdateFault};

#[test]
fn a_faulty_entry_leaves_no_op_and_names_field_and_time() {
    let wrong = |field, kind| Fault::WrongType { field, kind };
    let with = |fields: Document| {
        let mut faulty = entry(insert("shop.a", 1));
        faulty.extend(fields);
        faulty
    };
    let without = |field: &str, mut from: Document| {
        from.remove(field);
        from
    };
    let string = oplet_sdk::raw::kind::STRING;
    let update = |o: Document| entry(doc! {"op": "u", "o2": {"_id": 1}, "o": o});
    for (faulty, fault) in [
        (
            with(doc! {"op": "zz"}),
            Fault::UnknownOperation("zz".into()),
        ),
        (with(doc! {"op": 1}), wrong("op", 0x10)),
        (with(doc! {"ns": 1}), wrong("ns", 0x10)),
        (with(doc! {"o": "x"}), wrong("o", string)),
        (with(doc! {"o2": "x"}), wrong("o2", string)),
        (with(doc! {"o2": {}}), Fault::Missing("o2._id")),
        (with(doc! {"o": {"n": 1}}), Fault::Missing("o._id")),
        (with(doc! {"t": "x"}), wrong("t", string)),
        (with(doc! {"lsid": "x"}), wrong("lsid", string)),
        (
            with(doc! {"prevOpTime": {"ts": 1}}),
            wrong("prevOpTime", 0x10),
        ),
        (with(doc! {"fromMigrate": 1}), wrong("fromMigrate", 0x10)),
        (without("ns", with(doc! {})), Fault::Missing("ns")),
        (without("o", with(doc! {})), Fault::Missing("o")),
        (without("op", with(doc! {})), Fault::Missing("op")),
        (with(doc! {"op": "c", "o": {}}), Fault::Missing("o")),
        (
            with(doc! {"op": "c", "o": {"drop": 1}}),
            wrong("o.drop", 0x10),
        ),
        (
            with(doc! {"op": "c", "o": {"renameCollection": "a.b"}}),
            Fault::Missing("o.to"),
        ),
        (
            command(doc! {"commitTransaction": 1}, session(None)),
            Fault::Missing("prevOpTime"),
        ),
        (without("o2", update(doc! {"_id": 1})), Fault::Missing("o2")),
        (update(doc! {"$v": 2}), Fault::Update(UpdateFault::NoDiff)),
        // Of two ops the first was added already.
        (
            command(
                doc! {"applyOps": [insert("shop.a", 1), {"op": "i"}]},
                doc! {},
            ),
            Fault::Missing("ns"),
        ),
        (
            command(doc! {"applyOps": [insert("shop.a", 1), 5]}, doc! {}),
            wrong("applyOps", 0x10),
        ),
        (
            command(doc! {"applyOps": {}}, doc! {}),
            wrong("applyOps", 0x03),
        ),
    ] {
        let (decoded, ops) = decode("*", &faulty);
        let timestamp = Some(Timestamp::new(9, 3));
        assert_eq!(decoded, Err(EntryError { timestamp, fault }), "{faulty}");
        assert!(ops.is_empty(), "{faulty}");
    }
    let error = decode("*", &without("ts", with(doc! {}))).0.unwrap_err();
    assert_eq!(
        (error.timestamp, &error.fault),
        (None, &Fault::Missing("ts"))
    );
    assert_eq!(
        error.to_string(),
        "cannot decode an oplog entry without a timestamp"
    );
}

#[test]
fn optional_fields_may_be_missing_or_odd() {
    let mut old = entry(insert("shop.a", 1));
    old.remove("t");
    old.extend(doc! {"h": 5_i64, "wall": "?", "unknown": {"x": 1}});
    let old = raw(&old);
    let entry = Entry::read(&old).unwrap();
    assert_eq!(entry.link.op_time.term, -1);
    assert_eq!(entry.wall_time_ms, None);
}

proptest::proptest! {
    /// Damaged bytes are refused or decoded to ops that can be encoded; nothing panics.
    #[test]
    fn damage_is_no_panic(at: proptest::sample::Index, byte: u8) {
        let inner = [
            insert("shop.a", 1),
            doc! {"op": "u", "ns": "shop.a", "o2": {"_id": 1}, "o": {"$v": 2, "diff": {"u": {"n": 1}}}},
            doc! {"op": "c", "ns": "shop.$cmd", "o": {"renameCollection": "shop.a", "to": "shop.b"}},
        ];
        let mut bytes = raw(&command(doc! {"applyOps": inner.to_vec()}, session(None)));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut builder = BatchBuilder::new(bytes.into());
        let body = builder.body();
        let decoded = Decoder::new(scope("*")).entry(&body, &mut builder);
        if decoded.is_err() {
            proptest::prop_assert!(builder.is_empty());
        }
        let batch = builder.finish(SourceKind::Oplog, Position::Time(Timestamp::default()), true);
        for op in batch.ops() {
            op.encode(DocumentState::NotAsked, &mut Vec::new());
        }
    }
}
