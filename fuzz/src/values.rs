//! One document, read by both.

use bson::{RawBsonRef, RawDocument};
use oplet_sdk::raw::{Element, Walk, kind};

/// That the elements of a valid document are those that the `bson` crate sees.
pub(crate) fn are_same(bytes: &[u8], elements: &[Element<'_>]) {
    let theirs = RawDocument::from_bytes(bytes).expect("it is framed");
    let mut theirs = theirs.into_iter();
    let mut met: Vec<&[u8]> = Vec::new();
    for element in elements {
        let (key, value) = theirs.next().expect("as many").expect("valid");
        assert_eq!(Some(key.as_str()), element.key_text());
        is_same(element, &value);
        // The first of its name is the one that is found.
        if !met.contains(&element.key) {
            met.push(element.key);
            assert_eq!(Walk::find(bytes, key.as_str()), Ok(Some(*element)));
        }
    }
    assert!(theirs.next().is_none(), "as many");
}

/// That both read the same value. Inner documents are compared by their bytes, and are checked when
/// the fuzzer makes them the outer one.
pub(crate) fn is_same(element: &Element<'_>, theirs: &RawBsonRef<'_>) {
    assert_eq!(theirs.element_type() as u8, element.kind);
    match theirs {
        RawBsonRef::Double(number) => {
            let ours = element.double().expect("a double");
            assert_eq!(ours.to_bits(), number.to_bits());
        }
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) | RawBsonRef::JavaScriptCode(text) => {
            assert_eq!(element.text(), Some(*text));
        }
        RawBsonRef::Document(document) => {
            assert_eq!(element.document(), Some(document.as_bytes()));
        }
        RawBsonRef::Array(array) => assert_eq!(element.array(), Some(array.as_bytes())),
        RawBsonRef::Boolean(value) => assert_eq!(element.bool(), Some(*value)),
        RawBsonRef::Int32(number) => {
            assert_eq!(element.int32(), Some(*number));
            assert_eq!(element.int64(), Some(i64::from(*number)));
        }
        RawBsonRef::Int64(number) => assert_eq!(element.int64(), Some(*number)),
        RawBsonRef::ObjectId(id) => assert_eq!(element.object_id(), Some(id.bytes())),
        RawBsonRef::DateTime(date) => {
            assert_eq!(element.date_ms(), Some(date.timestamp_millis()));
        }
        RawBsonRef::Timestamp(time) => {
            assert_eq!(element.timestamp(), Some((time.time, time.increment)));
        }
        RawBsonRef::Binary(binary) => {
            // The old subtype has its length twice, and the other library takes the inner one off.
            assert!(element.value.ends_with(binary.bytes));
        }
        _ => {}
    }
    if element.kind != kind::STRING && element.kind != kind::SYMBOL && element.kind != kind::JAVASCRIPT {
        assert_eq!(element.text(), None);
    }
}
