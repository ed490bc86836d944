//! Updates applied to the documents before them. That the results are the server's own, byte for
//! byte, is shown on a server: `tests/parity/images.rs`.

use bson::{Document, doc};

use super::*;

/// The document after an update, read from its bytes.
pub(super) fn applied(before: &Document, object: &Document) -> Result<Document, UpdateFault> {
    let mut out = Vec::new();
    apply_update(&raw(before), &raw(object), &mut out)?;
    oplet_sdk::raw::validate(&out).unwrap();
    Ok(RawDocumentBuf::from_bytes(out).unwrap().try_into().unwrap())
}

#[test]
fn fields_keep_their_places_and_new_ones_come_last() {
    let array = || bson::bson!([1, {"x": 1, "y": 2}, [5, 6], 4]);
    let rows = [
        (
            "nothing",
            v2(doc! {}),
            doc! {"_id": 1, "a": 1, "b": {"c": 1, "d": 2}, "l": array()},
        ),
        (
            "updated in place, removed, and inserted in their order",
            v2(doc! {"d": {"a": false}, "u": {"b": 5}, "i": {"z": 1, "y": 2}}),
            doc! {"_id": 1, "b": 5, "l": array(), "z": 1, "y": 2},
        ),
        (
            "an inserted field that was there moves; an updated one that was not comes before it",
            v2(doc! {"u": {"new": 1}, "i": {"a": 9}}),
            doc! {"_id": 1, "b": {"c": 1, "d": 2}, "l": array(), "new": 1, "a": 9},
        ),
        (
            "nested, in documents and arrays",
            v2(
                doc! {"sb": {"d": {"c": false}, "i": {"e": 3}}, "sl": {"a": true, "u0": 7, "s1": {"u": {"y": 8}}, "s2": {"a": true, "l": 1}}},
            ),
            doc! {"_id": 1, "a": 1, "b": {"d": 2, "e": 3}, "l": [7, {"x": 1, "y": 8}, [5], 4]},
        ),
        (
            "a cut array, and one that grows over a hole",
            v2(doc! {"sl": {"a": true, "l": 2, "u0": 0}}),
            doc! {"_id": 1, "a": 1, "b": {"c": 1, "d": 2}, "l": [0, {"x": 1, "y": 2}]},
        ),
        (
            "a place beyond the end",
            v2(doc! {"sl": {"a": true, "u5": "six"}}),
            doc! {"_id": 1, "a": 1, "b": {"c": 1, "d": 2}, "l": [1, {"x": 1, "y": 2}, [5, 6], 4, null, "six"]},
        ),
        (
            "a length beyond the end",
            v2(doc! {"sl": {"a": true, "l": 5}}),
            doc! {"_id": 1, "a": 1, "b": {"c": 1, "d": 2}, "l": [1, {"x": 1, "y": 2}, [5, 6], 4, null]},
        ),
        (
            "a replacement",
            doc! {"_id": 1, "$v": 2},
            doc! {"_id": 1, "$v": 2},
        ),
        (
            "$v: 1",
            doc! {"$v": 1, "$unset": {"a": true, "l.1": true, "no.where": true, "b.c": true}, "$set": {"b.f.g": 3, "b.d": 4, "l.5": 6, "x.0": 7}},
            doc! {"_id": 1, "b": {"d": 4, "f": {"g": 3}}, "l": [1, null, [5, 6], 4, null, 6], "x": {"0": 7}},
        ),
        (
            "$v: 1 without $v, of servers before 3.6",
            doc! {"$set": {"l.1.x": 5, "l.2.0": 0}},
            doc! {"_id": 1, "a": 1, "b": {"c": 1, "d": 2}, "l": [1, {"x": 5, "y": 2}, [0, 6], 4]},
        ),
    ];
    let before = doc! {"_id": 1, "a": 1, "b": {"c": 1, "d": 2}, "l": array()};
    for (name, object, expected) in rows {
        // As bytes, so that the order of fields counts.
        let after = applied(&before, &object).unwrap();
        assert_eq!(raw(&after), raw(&expected), "{name}: {after}");
    }
}

#[test]
fn an_update_of_another_document_is_refused() {
    let before = doc! {"_id": 1, "a": 1, "l": [1]};
    for object in [
        v2(doc! {"sa": {"u": {"b": 1}}}),
        v2(doc! {"sgone": {"u": {"b": 1}}}),
        v2(doc! {"sl": {"u": {"b": 1}}}),
        v2(doc! {"sl": {"a": true, "s3": {"u": {"b": 1}}}}),
        doc! {"$v": 1, "$set": {"a.b": 1}},
        doc! {"$v": 1, "$set": {"l.x": 1}},
    ] {
        let refused = applied(&before, &object);
        // What is not there is no field of a difference at all: it is passed over, as a server does.
        if object == v2(doc! {"sgone": {"u": {"b": 1}}}) {
            assert_eq!(refused, Ok(before.clone()));
        } else {
            assert_eq!(refused, Err(UpdateFault::OtherDocument), "{object}");
        }
    }
    assert!(applied(&doc! {}, &v2(doc! {"sl": {"a": true, "u1": 1, "u0": 1}})).is_ok());
    let backwards = v2(doc! {"sl": {"a": true, "u1": 1, "u0": 1}});
    let wrong = UpdateFault::WrongSection("u0".into());
    assert_eq!(applied(&before, &backwards), Err(wrong));
    let far = v2(doc! {"sl": {"a": true, "u2000000000": 1}});
    assert!(applied(&before, &far).is_err());
    let both = v2(doc! {"u": {"a": 1}, "i": {"a": 2}});
    let wrong = UpdateFault::WrongSection("a".into());
    assert_eq!(applied(&before, &both), Err(wrong));
    let twice = doc! {"$v": 1, "$set": {"a": 1, "a.b": 2}};
    assert!(applied(&before, &twice).is_err());
}
