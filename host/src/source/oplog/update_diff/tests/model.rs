//! Differences and their descriptions, applied to the same documents.

use bson::{Bson, Document, doc};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{UpdateDescription, apply::applied, describe, raw, v2};

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
        let by_bytes = applied(&target, &v2(diff.clone())).unwrap();
        let (mut by_diff, mut by_description) = (target.clone(), target);
        apply_diff(&mut by_diff, &diff);
        prop_assert_eq!(&by_bytes, &by_diff);
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
        let before = raw(&doc! {"c": 1, "n": 5, "a": {"b": [1, {"0": 2}, 3, 4]}});
        let mut out = Vec::new();
        if super::apply_update(&before, &bytes, &mut out).is_ok() {
            prop_assert!(oplet_sdk::raw::document_len(&out) == Ok(out.len()));
        }
        let len = cut.index(bytes.len());
        bytes.truncate(len);
        let _ = description.take(&bytes);
        let _ = super::apply_update(&before, &bytes, &mut Vec::new());
    }
}
