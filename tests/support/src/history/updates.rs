//! Random updates, one for each way in which an oplog entry can come out.

use bson::{Bson, Document, doc};
use fastrand::Rng;

use super::documents::{array, element, nested, value};

/// How many kinds of updates [`update_of_kind`] knows.
const KINDS: usize = 30;

/// An update as the command `update` takes it: a document of operators, or a
/// pipeline.
pub(super) fn update(rng: &mut Rng) -> Bson {
    let kind = rng.usize(..KINDS);
    update_of_kind(rng, kind)
}

fn update_of_kind(rng: &mut Rng, kind: usize) -> Bson {
    let index = rng.usize(..8);
    let field = format!("f{}", rng.usize(..6));
    let update = match kind {
        // Fields, at the top and below.
        0 => doc! { "$set": { field: value(rng, 3) } },
        1 => doc! { "$set": { "d.x": value(rng, 2) } },
        2 => doc! { "$set": { "d.e.y": value(rng, 1), "d.new.deep.path": value(rng, 1) } },
        3 => doc! { "$set": { "d": nested(rng) } },
        4 => doc! { "$unset": { field: "" } },
        5 => doc! { "$unset": { "d.x": "", "d.e.y": "" } },
        6 => doc! { "$inc": { "n": rng.i32(-5..5), "d.c": 1 } },
        7 => {
            doc! { "$mul": { "n": 2 }, "$min": { "d.c": rng.i32(..100) }, "$max": { "highest": rng.i32(..100) } }
        }
        8 => doc! { "$rename": { field: format!("f{}", rng.usize(6..9)) } },
        9 => {
            let several = (0..rng.usize(2..6)).map(|number| (format!("f{number}"), value(rng, 1)));
            doc! { "$set": several.collect::<Document>(), "$unset": { "s": "" }, "$inc": { "n": 1 } }
        }
        // The same value again: no oplog entry at all.
        10 => doc! { "$set": { "constant": 1 } },
        // Names that are numbers: fields here, positions elsewhere.
        11 => doc! { "$set": { "0": value(rng, 1) } },
        12 => doc! { "$set": { "d.1": value(rng, 1) }, "$unset": { "d.2": "" } },
        13 => doc! { "$unset": { "0": "" }, "$set": { "d.2": { "3": value(rng, 1) } } },
        // Arrays: grown, shrunk, cut, and changed in place.
        14 => doc! { "$push": { "a": element(rng) } },
        15 => doc! { "$push": { "a": { "$each": array(rng), "$position": index as i32 } } },
        16 => doc! { "$push": { "a": { "$each": [], "$slice": rng.i32(..5) } } },
        17 => doc! { "$push": { "d.e.z": { "$each": array(rng), "$slice": -4 } } },
        18 => doc! { "$pop": { "a": if rng.bool() { 1 } else { -1 } } },
        19 => doc! { "$pull": { "a": { "$lt": rng.i32(..5) } } },
        20 => {
            doc! { "$pull": { "a": { "k": { "$lt": 5 } } }, "$addToSet": { "d.e.z": rng.i32(..9) } }
        }
        21 => doc! { "$set": { format!("a.{index}"): element(rng) } },
        22 => {
            doc! { "$set": { format!("a.{index}.k"): rng.i32(..9), format!("d.e.z.{index}"): element(rng) } }
        }
        23 => doc! { "$set": { "m.0.1": rng.i32(..9), format!("m.1.{index}"): value(rng, 1) } },
        24 => doc! { "$unset": { format!("a.{index}"): "" } },
        25 => doc! { "$inc": { "a.$[].k": 1 } },
        // Pipelines: the server finds the difference itself.
        _ => return pipeline(rng, kind, &field).into(),
    };
    update.into()
}

fn pipeline(rng: &mut Rng, kind: usize, field: &str) -> Vec<Document> {
    let literal = doc! { "$literal": value(rng, 2) };
    let a = doc! { "$cond": [{ "$isArray": "$a" }, "$a", []] };
    match kind {
        26 => vec![
            doc! { "$set": { "n": { "$strLenBytes": { "$ifNull": [{ "$toString": "$s" }, ""] } }, field: literal } },
            doc! { "$unset": ["d.x", "highest"] },
        ],
        27 => vec![doc! { "$set": { "a": { "$slice": [a, rng.i32(1..4)] } } }],
        28 => {
            let changes =
                doc! { field: literal, "d": { "$mergeObjects": ["$d", { "c": rng.i32(..100) }] } };
            vec![doc! { "$replaceWith": { "$mergeObjects": ["$$ROOT", changes] } }]
        }
        // Only a pipeline can reach a field with a dot in its name.
        _ => vec![
            doc! { "$replaceWith": { "$setField": { "field": "p.q", "input": "$$ROOT", "value": literal } } },
            doc! { "$set": { "a": { "$concatArrays": [a, [rng.i32(..9)]] } } },
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_operators_or_a_pipeline() {
        let mut rng = Rng::with_seed(1);
        for kind in 0..KINDS {
            match update_of_kind(&mut rng, kind) {
                Bson::Document(operators) => assert!(
                    operators.keys().all(|key| key.starts_with('$')),
                    "{operators}"
                ),
                Bson::Array(stages) => assert!(!stages.is_empty()),
                other => panic!("kind {kind} is {other}"),
            }
        }
    }
}
