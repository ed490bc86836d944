mod apply;
mod model;

use bson::{Bson, Document, RawDocumentBuf, doc};

use super::*;

fn raw(document: &Document) -> Vec<u8> {
    RawDocumentBuf::try_from(document).unwrap().into_bytes()
}

fn describe(object: &Document) -> Result<Document, UpdateFault> {
    let mut description = UpdateDescription::default();
    assert!(description.take(&raw(object))?, "{object} replaces");
    let mut out = Vec::new();
    description.write(&mut out);
    oplet_sdk::raw::validate(&out).unwrap();
    Ok(RawDocumentBuf::from_bytes(out).unwrap().try_into().unwrap())
}

fn v2(diff: Document) -> Document {
    doc! {"$v": 2, "diff": diff}
}

#[test]
fn describes_what_changed_in_the_order_of_a_change_stream() {
    let rows = [
        ("nothing", v2(doc! {}), doc! {}, vec![], vec![], doc! {}),
        (
            "one level",
            v2(
                doc! {"d": {"gone": false}, "u": {"n": 6, "same": Bson::Null}, "i": {"new": {"x": 1}}},
            ),
            doc! {"n": 6, "same": Bson::Null, "new": {"x": 1}},
            vec!["gone"],
            vec![],
            doc! {},
        ),
        (
            "levels: a level's own fields come before nested ones",
            v2(
                doc! {"sa": {"d": {"x": false}, "u": {"y": 1}, "sz": {"i": {"q": 1}}}, "d": {"c": false}, "i": {"e": 2}},
            ),
            doc! {"e": 2, "a.y": 1, "a.z.q": 1},
            vec!["c", "a.x"],
            vec![],
            doc! {},
        ),
        (
            "arrays: places of an array are not ambiguous",
            v2(
                doc! {"d": {"c": false}, "sa": {"sb": {"a": true, "l": 2, "u0": 9, "s1": {"u": {"x": 1}}, "u10": 3}}},
            ),
            doc! {"a.b.0": 9, "a.b.1.x": 1, "a.b.10": 3},
            vec!["c"],
            vec![doc! {"field": "a.b", "newSize": 2}],
            doc! {},
        ),
        (
            "arrays in arrays",
            v2(doc! {"sa": {"a": true, "s0": {"a": true, "u1": 5}, "s2": {"a": true, "l": 0}}}),
            doc! {"a.0.1": 5},
            vec![],
            vec![doc! {"field": "a.2", "newSize": 0}],
            doc! {},
        ),
        (
            "numeric names: ambiguous but for the first and those with leading zeros",
            v2(
                doc! {"u": {"0": 1}, "s1": {"u": {"x": 1}, "s2": {"d": {"y": false}, "sz": {"a": true, "l": 1, "u0": 4}}}, "sa": {"u": {"01": 1, "0": 2}}},
            ),
            doc! {"0": 1, "1.x": 1, "1.2.z.0": 4, "a.01": 1, "a.0": 2},
            vec!["1.2.y"],
            vec![doc! {"field": "1.2.z", "newSize": 1}],
            doc! {"1.2.y": ["1", "2", "y"], "1.2.z": ["1", "2", "z"], "1.2.z.0": ["1", "2", "z", 0], "a.0": ["a", "0"]},
        ),
        (
            "names with dots: ambiguous, and all below them",
            v2(
                doc! {"u": {"a.b": 1}, "sx": {"a": true, "s3": {"d": {"p.q": false}, "sr.": {"u": {"s": 1}}}}},
            ),
            doc! {"a.b": 1, "x.3.r..s": 1},
            vec!["x.3.p.q"],
            vec![],
            doc! {"a.b": ["a.b"], "x.3.p.q": ["x", 3, "p.q"], "x.3.r..s": ["x", 3, "r.", "s"]},
        ),
        (
            "names that look like sections, and empty ones",
            v2(
                doc! {"u": {"u": 1, "": 2}, "ss": {"u": {"d": 1}}, "s": {"i": {"": 3}, "s": {"d": {"a": false}}}},
            ),
            doc! {"u": 1, "": 2, "s.d": 1, ".": 3},
            vec!["..a"],
            vec![],
            doc! {},
        ),
        (
            "$v: 1",
            doc! {"$v": 1, "$unset": {"old": true, "a.0": true}, "$set": {"addr.city": "X", "list.3": 1}},
            doc! {"addr.city": "X", "list.3": 1},
            vec!["old", "a.0"],
            vec![],
            doc! {},
        ),
        (
            "$v: 1 without $v, and a version that is a double",
            doc! {"$set": {"a": 1}},
            doc! {"a": 1},
            vec![],
            vec![],
            doc! {},
        ),
        (
            "a version that is a double",
            doc! {"$v": 2.0, "diff": {"u": {"a": 1}}},
            doc! {"a": 1},
            vec![],
            vec![],
            doc! {},
        ),
    ];
    for (name, object, updated, removed, truncated, disambiguated) in rows {
        let expected = doc! {
            "updatedFields": updated, "removedFields": removed,
            "truncatedArrays": truncated, "disambiguatedPaths": disambiguated,
        };
        // As bytes, so that the order of fields counts.
        assert_eq!(raw(&describe(&object).unwrap()), raw(&expected), "{name}");
    }
}

#[test]
fn a_document_replaces() {
    let mut description = UpdateDescription::default();
    for object in [
        doc! {},
        doc! {"_id": 7, "total": 9},
        doc! {"_id": 7, "$v": 2, "diff": {}},
    ] {
        assert_eq!(description.take(&raw(&object)), Ok(false), "{object}");
    }
}

#[test]
fn refuses_what_is_not_of_the_grammar() {
    let unknown = |name: &str| UpdateFault::UnknownSection(name.into());
    let wrong = |name: &str| UpdateFault::WrongSection(name.into());
    for (object, expected) in [
        (doc! {"$v": 3, "diff": {}}, UpdateFault::UnknownVersion),
        (doc! {"$v": "2", "diff": {}}, UpdateFault::UnknownVersion),
        (doc! {"$v": 2}, UpdateFault::NoDiff),
        (doc! {"$v": 2, "diff": 1}, UpdateFault::NoDiff),
        (
            doc! {"$v": 1, "$inc": {"a": 1}},
            UpdateFault::UnknownModifier("$inc".into()),
        ),
        (doc! {"$v": 1, "$set": 1}, wrong("$set")),
        (v2(doc! {"u": 1}), wrong("u")),
        (v2(doc! {"u": [1]}), wrong("u")),
        (v2(doc! {"sa": 1}), wrong("sa")),
        (v2(doc! {"a": true}), unknown("a")),
        (v2(doc! {"b": {"x": {}}}), unknown("b")),
        (v2(doc! {"ux": {}}), unknown("ux")),
        (v2(doc! {"": {}}), unknown("")),
        (v2(doc! {"sa": {"a": false}}), wrong("a")),
        (v2(doc! {"sa": {"a": true, "l": -1}}), wrong("l")),
        (v2(doc! {"sa": {"a": true, "l": "2"}}), wrong("l")),
        (v2(doc! {"sa": {"a": true, "l": 1_i64 << 40}}), wrong("l")),
        (v2(doc! {"sa": {"a": true, "u": 2}}), unknown("u")),
        (v2(doc! {"sa": {"a": true, "u-1": 2}}), unknown("u-1")),
        (v2(doc! {"sa": {"a": true, "u+1": 2}}), unknown("u+1")),
        (
            v2(doc! {"sa": {"a": true, "u99999999999": 2}}),
            unknown("u99999999999"),
        ),
        (v2(doc! {"sa": {"a": true, "s0": 2}}), wrong("s0")),
        (v2(doc! {"sa": {"a": true, "d": {}}}), unknown("d")),
    ] {
        assert_eq!(describe(&object), Err(expected), "{object}");
    }
}

#[test]
fn refuses_a_section_that_is_there_twice_and_names_that_are_not_text() {
    let mut twice = Vec::new();
    let mut writer = Writer::new(&mut twice);
    writer.int32(b"$v", 2);
    writer.begin(b"diff", kind::DOCUMENT);
    writer.document(b"u", &oplet_sdk::raw::EMPTY_DOCUMENT);
    writer.document(b"u", &oplet_sdk::raw::EMPTY_DOCUMENT);
    writer.end();
    writer.finish();
    let mut description = UpdateDescription::default();
    let wrong = UpdateFault::WrongSection("u".into());
    assert_eq!(description.take(&twice), Err(wrong));

    let mut name = Vec::new();
    let mut writer = Writer::new(&mut name);
    writer.int32(b"$v", 2);
    writer.begin(b"diff", kind::DOCUMENT);
    writer.begin(b"d", kind::DOCUMENT);
    writer.bool(&[0xFF], false);
    writer.end();
    writer.end();
    writer.finish();
    assert_eq!(description.take(&name), Err(UpdateFault::NotText));
}

#[test]
fn depth_is_bounded_and_what_failed_leaves_nothing_behind() {
    let deep = |levels: usize| {
        (0..levels).fold(doc! {"u": {"x": 1}}, |inner, level| match level % 2 {
            0 => doc! {"a": true, "s0": inner},
            _ => doc! {"sn": inner},
        })
    };
    // An even number of levels, so that the outermost is a document's.
    assert!(describe(&v2(deep(DEPTH_MAX))).is_ok());
    assert_eq!(
        describe(&v2(deep(DEPTH_MAX + 2))),
        Err(UpdateFault::TooDeep)
    );
    let mut description = UpdateDescription::default();
    description
        .take(&raw(&v2(deep(DEPTH_MAX + 2))))
        .unwrap_err();
    description.take(&raw(&v2(doc! {"u": {"a": 1}}))).unwrap();
    let mut out = Vec::new();
    description.write(&mut out);
    let expected = describe(&v2(doc! {"u": {"a": 1}})).unwrap();
    assert_eq!(out, raw(&expected));
}
