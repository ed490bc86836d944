//! Random values and documents, of a shape that random updates can aim at.
//!
//! ```text
//! { s: "..", n: 7, f0..f5: any, "0": any, d: { c: 3, x: any, "1": any, e: { z: [..] } },
//!   a: [1, 5, { k: 2 }, ..], m: [[1, 2], [3]], "p.q": any }
//! ```
//! and, in documents of histories: `"": odd, odd: odd, odds: [odd, ..], "$price": rare`.
//!
//! The fields with a number for a name and the one with a dot in its name are
//! there because paths through them are ambiguous.

use bson::oid::ObjectId;
use bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp, cstr,
    doc, spec::BinarySubtype,
};
use fastrand::Rng;

/// An `_id` that no other number gives, of one of the types that people use.
pub(super) fn id(rng: &mut Rng, number: i64) -> Bson {
    match rng.usize(..6) {
        0 => Bson::String(format!("id-{number}")),
        1 => {
            let mut bytes = [0; 12];
            bytes[4..].copy_from_slice(&number.to_be_bytes());
            Bson::ObjectId(ObjectId::from_bytes(bytes))
        }
        2 => Bson::Document(doc! { "region": "eu", "number": number }),
        _ => Bson::Int64(number),
    }
}

/// A document without `_id`.
pub(super) fn document(rng: &mut Rng) -> Document {
    let mut document = doc! { "s": text(rng), "n": rng.i32(..1000) };
    for field in 0..rng.usize(1..6) {
        document.insert(format!("f{field}"), value(rng, 3));
    }
    if rng.bool() {
        document.insert("0", value(rng, 1));
    }
    document.insert("d", nested(rng));
    document.insert("a", array(rng));
    if rng.bool() {
        document.insert("m", vec![vec![1, rng.i32(..9)], vec![rng.i32(..9)]]);
    }
    if rng.usize(..8) == 0 {
        document.insert("p.q", value(rng, 1));
    }
    document
}

/// Any value, with up to `depth` levels below it.
pub(super) fn value(rng: &mut Rng, depth: usize) -> Bson {
    let kinds = if depth == 0 { 12 } else { 16 };
    match rng.usize(..kinds) {
        0 => Bson::Null,
        1 => Bson::Boolean(rng.bool()),
        2 | 3 => Bson::Int32(rng.i32(-100..100)),
        4 => Bson::Int64(rng.i64(..)),
        5 => Bson::Double(f64::from(rng.i32(..1000)) / 8.0),
        6 => Bson::DateTime(DateTime::from_millis(rng.i64(..2_000_000_000_000))),
        7 => Bson::Binary(Binary {
            subtype: BinarySubtype::Generic,
            bytes: vec![rng.u8(..); rng.usize(..9)],
        }),
        8 => Bson::Timestamp(Timestamp {
            time: rng.u32(1..),
            increment: rng.u32(..),
        }),
        9 => Bson::Decimal128(Decimal128::from_bytes(rng.u128(..).to_le_bytes())),
        12 | 13 => (0..rng.usize(..4))
            .map(|_| value(rng, depth - 1))
            .collect::<Vec<_>>()
            .into(),
        14 | 15 => {
            let fields =
                (0..rng.usize(..4)).map(|field| (format!("v{field}"), value(rng, depth - 1)));
            Bson::Document(fields.collect())
        }
        _ => Bson::String(text(rng)),
    }
}

/// An array of numbers and small documents, as `a` holds it.
pub(super) fn array(rng: &mut Rng) -> Vec<Bson> {
    (0..rng.usize(..8)).map(|_| element(rng)).collect()
}

/// One element of such an array.
pub(super) fn element(rng: &mut Rng) -> Bson {
    if rng.usize(..3) == 0 {
        Bson::Document(doc! { "k": rng.i32(..9) })
    } else {
        Bson::Int32(rng.i32(..9))
    }
}

/// A nested document, as `d` holds it.
pub(super) fn nested(rng: &mut Rng) -> Document {
    let mut nested = doc! { "c": rng.i32(..100), "x": value(rng, 1), "e": { "z": array(rng) } };
    if rng.bool() {
        nested.insert("1", value(rng, 1));
    }
    nested
}

/// A document whose names are what names seldom are: empty, numbers, or with dots and dollars.
pub(super) fn odd(rng: &mut Rng) -> Document {
    const NAMES: [&str; 10] = ["", "a.b", "$x", "$", ".", "0", "01", "10", "k", "u"];
    let mut odd = Document::new();
    for name in NAMES {
        match rng.usize(..6) {
            0 | 1 => drop(odd.insert(name, rare(rng))),
            2 => drop(odd.insert(name, doc! { name: rare(rng), "n": rng.i32(..3) })),
            3 => drop(odd.insert(name, vec![rare(rng), doc! { name: rng.i32(..3) }.into()])),
            _ => {}
        }
    }
    odd
}

/// A value of a type that [`value`] does not have, or at the edge of one that it has.
pub(super) fn rare(rng: &mut Rng) -> Bson {
    match rng.usize(..17) {
        0 => Bson::MinKey,
        1 => Bson::MaxKey,
        2 => Bson::Undefined,
        3 => Bson::Symbol(text(rng)),
        4 => Bson::JavaScriptCode("return 1".into()),
        5 => Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope {
            code: "return x".into(),
            scope: doc! { "x": rng.i32(..9) },
        }),
        6 => Bson::RegularExpression(Regex {
            pattern: cstr!("^a.b$").into(),
            options: cstr!("im").into(),
        }),
        7 => Bson::ObjectId(ObjectId::from_bytes([rng.u8(..); 12])),
        8 => Bson::Binary(Binary {
            subtype: BinarySubtype::Uuid,
            bytes: vec![rng.u8(..); 16],
        }),
        9 => Bson::Binary(Binary {
            subtype: BinarySubtype::UserDefined(0x80),
            bytes: Vec::new(),
        }),
        10 => Bson::Double(f64::NAN),
        11 => Bson::Double(f64::NEG_INFINITY),
        12 => Bson::Double(-0.0),
        13 => Bson::DateTime(DateTime::MIN),
        14 => Bson::Array(Vec::new()),
        15 => Bson::Document(Document::new()),
        _ => Bson::Int64(rng.i64(..)),
    }
}

fn text(rng: &mut Rng) -> String {
    const WORDS: [&str; 8] = [
        "",
        "a",
        "tail",
        "naïve",
        "日本",
        "with space",
        "$dollar",
        "dot.dot",
    ];
    // Now and then long enough that a changed neighbour pays off as a diff.
    let word = WORDS[rng.usize(..WORDS.len())];
    if rng.usize(..4) == 0 {
        word.repeat(rng.usize(..60))
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything() {
        let documents = |seed| {
            let mut rng = Rng::with_seed(seed);
            (0..50)
                .map(|number| (id(&mut rng, number), document(&mut rng)))
                .collect::<Vec<_>>()
        };
        assert_eq!(documents(1), documents(1));
        assert_ne!(documents(1), documents(2));
    }
}
