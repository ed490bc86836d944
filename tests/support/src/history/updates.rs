//! Random updates, one for each way in which an oplog entry can come out.

use bson::{Bson, Document, doc};
use fastrand::Rng;

use super::documents::{array, document, element, nested, odd, rare, value};

/// How many kinds of updates [`update_of_kind`] knows.
const KINDS: usize = 40;

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
        // Names that are seldom.
        30 => doc! { "$set": { "odd": odd(rng), "n": rng.i32(..9) } },
        31 => doc! { "$set": { "odds": [odd(rng), odd(rng)] }, "$unset": { "odd": "" } },
        32 => doc! { "$set": { "odd.k": rare(rng), "odds.1.u": rare(rng), "odd.10": rare(rng) } },
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
        33 => {
            let odd = odd(rng);
            let empty = doc! { "$getField": { "field": "", "input": "$$ROOT" } };
            let merged = doc! { "$mergeObjects": [empty, { "$literal": odd }] };
            vec![
                doc! { "$replaceWith": { "$setField": { "field": "", "input": "$$ROOT", "value": merged } } },
            ]
        }
        34 => vec![
            doc! { "$set": { "odd": { "$mergeObjects": ["$odd", { "$literal": odd(rng) }] } } },
        ],
        35 => {
            let dollar = doc! { "$literal": "$x" };
            let without = doc! { "$unsetField": { "field": dollar, "input": "$odd" } };
            let price = doc! { "$literal": { "$price": rare(rng) } };
            vec![
                doc! { "$set": { "odd": without } },
                doc! { "$replaceWith": { "$mergeObjects": ["$$ROOT", price] } },
            ]
        }
        36 => {
            let odds = doc! { "$cond": [{ "$isArray": "$odds" }, "$odds", []] };
            let merged = doc! { "$mergeObjects": ["$$this", { "$literal": odd(rng) }] };
            vec![doc! { "$set": { "odds": { "$map": { "input": odds, "in": merged } } } }]
        }
        37 => {
            let is_document = doc! { "$eq": [{ "$type": "$$this" }, "object"] };
            let merged = doc! { "$mergeObjects": ["$$this", { "k": rng.i32(..9) }] };
            let change = doc! { "$cond": [is_document, merged, "$$this"] };
            vec![doc! { "$set": { "a": { "$map": { "input": a, "in": change } } } }]
        }
        38 => {
            let m = doc! { "$cond": [{ "$isArray": "$m" }, "$m", []] };
            let cut =
                doc! { "$cond": [{ "$isArray": "$$this" }, { "$slice": ["$$this", 1] }, "$$this"] };
            let cut = doc! { "$map": { "input": m, "in": cut } };
            vec![doc! { "$set": { "m": { "$concatArrays": [cut, [[rng.i32(..9)]]] } } }]
        }
        39 => {
            let mut whole = document(rng);
            whole.insert("odd", odd(rng));
            let parts = bson::bson!([{ "_id": "$_id" }, { "$literal": whole }]);
            vec![doc! { "$replaceWith": { "$mergeObjects": parts } }]
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
