use bson::{Bson, Document, RawDocumentBuf, doc};
use proptest::{collection::vec, prelude::*, sample::Index};

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

// === A model: differences and descriptions applied to documents ===

/// Applies a difference as the server's secondaries do.
fn apply_diff(target: &mut Document, diff: &Document) {
    for key in diff.get_document("d").into_iter().flat_map(Document::keys) {
        target.remove(key);
    }
    for section in ["u", "i"] {
        for (key, value) in diff.get_document(section).into_iter().flatten() {
            target.insert(key, value.clone());
        }
    }
    for (key, value) in diff {
        let Some(field) = key.strip_prefix('s') else {
            continue;
        };
        apply_nested(target.get_mut(field).unwrap(), value.as_document().unwrap());
    }
}

fn apply_nested(target: &mut Bson, diff: &Document) {
    let Bson::Array(array) = target else {
        return apply_diff(target.as_document_mut().unwrap(), diff);
    };
    if let Ok(len) = diff.get_i32("l") {
        array.resize(len as usize, Bson::Null);
    }
    for (key, value) in diff {
        match (key.as_bytes()[0], key[1..].parse::<usize>()) {
            (b'u', Ok(index)) => set_place(array, index, value.clone()),
            (b's', Ok(index)) => apply_nested(&mut array[index], value.as_document().unwrap()),
            _ => {}
        }
    }
}

/// Places beyond the end are filled with null.
fn set_place(array: &mut Vec<Bson>, index: usize, value: Bson) {
    if array.len() <= index {
        array.resize(index + 1, Bson::Null);
    }
    array[index] = value;
}

/// Applies a description as a reader of change streams would.
fn apply_description(target: &mut Document, description: &Document) {
    for removed in description.get_array("removedFields").unwrap() {
        let (parent, last) = parent_of(target, removed.as_str().unwrap());
        parent.document().unwrap().remove(last);
    }
    for truncated in description.get_array("truncatedArrays").unwrap() {
        let truncated = truncated.as_document().unwrap();
        let (parent, last) = parent_of(target, truncated.get_str("field").unwrap());
        let array = child(parent, last).as_array_mut().unwrap();
        array.truncate(truncated.get_i32("newSize").unwrap() as usize);
    }
    for (path, value) in description.get_document("updatedFields").unwrap() {
        match parent_of(target, path) {
            (Parent::Bson(Bson::Array(array)), last) => {
                set_place(array, last.parse().unwrap(), value.clone());
            }
            (parent, last) => {
                parent.document().unwrap().insert(last, value.clone());
            }
        }
    }
}

enum Parent<'a> {
    Top(&'a mut Document),
    Bson(&'a mut Bson),
}

impl<'a> Parent<'a> {
    fn document(self) -> Option<&'a mut Document> {
        match self {
            Self::Top(document) => Some(document),
            Self::Bson(value) => value.as_document_mut(),
        }
    }
}

fn child<'a>(parent: Parent<'a>, name: &str) -> &'a mut Bson {
    match parent {
        Parent::Bson(Bson::Array(array)) => &mut array[name.parse::<usize>().unwrap()],
        parent => parent.document().unwrap().get_mut(name).unwrap(),
    }
}

fn parent_of<'a, 'p>(target: &'a mut Document, path: &'p str) -> (Parent<'a>, &'p str) {
    let mut names = path.split('.');
    let last = names.next_back().unwrap();
    let parent = names.fold(Parent::Top(target), |parent, name| {
        Parent::Bson(child(parent, name))
    });
    (parent, last)
}

/// Names that are unambiguous, but meet the letters of the grammar.
const NAMES: [&str; 8] = ["a", "b", "d", "i", "l", "s", "u", "s0"];

fn value() -> impl Strategy<Value = Bson> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(Bson::Int32),
        "[a-z]{0,4}".prop_map(Bson::String),
        Just(Bson::Null),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            document(inner.clone()).prop_map(Bson::Document),
            vec(inner, 0..5).prop_map(Bson::Array),
        ]
    })
}

fn document(value: impl Strategy<Value = Bson>) -> impl Strategy<Value = Document> {
    vec((prop::sample::select(&NAMES[..]), value), 0..6).prop_map(|fields| {
        let fields = fields.into_iter();
        fields
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    })
}

/// Draws a difference of `target`: `choices` decides each step, and `values` are what it sets.
fn draw(target: &Document, choices: &mut impl FnMut(usize) -> usize, values: &[Bson]) -> Document {
    let mut sections = [doc! {}, doc! {}, doc! {}];
    let mut nested = doc! {};
    for (key, old) in target {
        match (choices(5), old) {
            (0, _) => drop(sections[0].insert(key, false)),
            (1, _) => drop(sections[1].insert(key, values[choices(values.len())].clone())),
            (2, Bson::Document(inner)) => {
                drop(nested.insert(format!("s{key}"), draw(inner, choices, values)));
            }
            (2, Bson::Array(inner)) => {
                drop(nested.insert(format!("s{key}"), draw_array(inner, choices, values)));
            }
            _ => {}
        }
    }
    for name in NAMES {
        if !target.contains_key(name) && choices(4) == 0 {
            sections[2].insert(name, values[choices(values.len())].clone());
        }
    }
    let mut diff = doc! {};
    for (name, section) in ["d", "u", "i"].into_iter().zip(sections) {
        if !section.is_empty() {
            diff.insert(name, section);
        }
    }
    diff.extend(nested);
    diff
}

fn draw_array(
    target: &[Bson],
    choices: &mut impl FnMut(usize) -> usize,
    values: &[Bson],
) -> Document {
    let mut diff = doc! {"a": true};
    let mut len = target.len();
    if len > 0 && choices(2) == 0 {
        len = choices(len);
        diff.insert("l", len as i32);
    }
    for (index, old) in target[..len].iter().enumerate() {
        match (choices(4), old) {
            (0, _) => drop(diff.insert(format!("u{index}"), values[choices(values.len())].clone())),
            (1, Bson::Document(inner)) => {
                drop(diff.insert(format!("s{index}"), draw(inner, choices, values)));
            }
            (1, Bson::Array(inner)) => {
                drop(diff.insert(format!("s{index}"), draw_array(inner, choices, values)));
            }
            _ => {}
        }
    }
    if !diff.contains_key("l") && choices(3) == 0 {
        let beyond = len + choices(3);
        diff.insert(format!("u{beyond}"), values[choices(values.len())].clone());
    }
    diff
}

proptest! {
    #[test]
    fn a_description_does_what_its_difference_does(
        target in document(value()), values in vec(value(), 1..6), choices in vec(any::<Index>(), 60),
    ) {
        let mut drawn = choices.iter().cycle();
        let diff = draw(&target, &mut |n| drawn.next().unwrap().index(n), &values);
        let description = describe(&v2(diff.clone())).unwrap();
        prop_assert_eq!(description.get_document("disambiguatedPaths").unwrap(), &doc! {});
        let (mut by_diff, mut by_description) = (target.clone(), target);
        apply_diff(&mut by_diff, &diff);
        apply_description(&mut by_description, &description);
        prop_assert_eq!(by_description, by_diff);
    }

    /// Damaged bytes are refused or described; nothing panics.
    #[test]
    fn damage_is_no_panic(at: Index, byte: u8, cut: Index) {
        let mut bytes = raw(&v2(doc! {
            "d": {"c": false}, "u": {"n": 6, "a.b": 1}, "sa": {"sb": {"a": true, "l": 2, "u0": 9, "s1": {"u": {"0": 1}}}},
        }));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut description = UpdateDescription::default();
        if description.take(&bytes) == Ok(true) {
            let mut out = Vec::new();
            description.write(&mut out);
            prop_assert!(oplet_sdk::raw::document_len(&out) == Ok(out.len()));
        }
        let len = cut.index(bytes.len());
        bytes.truncate(len);
        let _ = description.take(&bytes);
    }
}
