//! gtm's ring, for who moves over from it: `gtm/consistent`, on `serialx/hashring`.
//!
//! Each worker has one point, the MD5 of `NAME-0`; a document belongs to the first point behind the
//! MD5 of its `_id` as Go prints it, round the circle. A digest is compared as two signed 64-bit
//! numbers in little-endian order. One point each leaves the shares uneven: of ten workers one may
//! have 1 % and another 25 %.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use oplet_sdk::raw::kind;

use crate::op::canonical_id;

/// A place on the circle.
type Point = (i64, i64);

fn point_of(bytes: &[u8]) -> Point {
    let digest: [u8; 16] = Md5::digest(bytes).into();
    let (high, low) = digest.split_at(8);
    let number = |half: &[u8]| i64::from_le_bytes(half.try_into().expect("half of a digest"));
    (number(high), number(low))
}

/// The workers' points, in order, each with its worker's place in the list.
#[derive(Debug, Clone)]
pub(super) struct Points(Vec<(Point, usize)>);

impl Points {
    pub(super) fn of(names: &[String]) -> Self {
        let point = |name: &String| point_of(format!("{name}-0").as_bytes());
        let points = names.iter().map(point).enumerate();
        let mut points: Vec<_> = points.map(|(place, point)| (point, place)).collect();
        points.sort_unstable();
        Self(points)
    }

    /// The place of the worker that a printed `_id` belongs to.
    pub(super) fn owner(&self, printed: &[u8]) -> usize {
        let key = point_of(printed);
        let behind = self.0.partition_point(|(point, _)| *point <= key);
        let (_, place) = self.0.get(behind).unwrap_or(&self.0[0]);
        *place
    }
}

/// Appends an `_id` as gtm prints it: text as it is, numbers as Go does, `true` and `false`, object ids
/// in hexadecimal.
///
/// What Go makes of other types (`map[a:1 b:2]`, `{0 [1 2]}`) is no contract to keep: they are spread
/// over the same points by their bytes. Also `null`, which gtm gives to every worker.
pub(super) fn print_id(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    let mut text = String::new();
    match (kind, value.len()) {
        (kind::STRING | kind::SYMBOL, 5..) => {
            return out.extend_from_slice(&value[4..value.len() - 1]);
        }
        (kind::OBJECT_ID, 12) => {
            for byte in value {
                write!(text, "{byte:02x}").expect("writing to a string does not fail");
            }
        }
        (kind::BOOL, 1) => text += if value[0] == 0 { "false" } else { "true" },
        (kind::INT32, 4) => {
            let bytes = value.try_into().expect("it has that length");
            text = i32::from_le_bytes(bytes).to_string();
        }
        (kind::INT64, 8) => {
            let bytes = value.try_into().expect("it has that length");
            text = i64::from_le_bytes(bytes).to_string();
        }
        (kind::DOUBLE, 8) => {
            let bytes = value.try_into().expect("it has that length");
            text = print_double(f64::from_le_bytes(bytes));
        }
        _ => return canonical_id(kind, value, out),
    }
    out.extend_from_slice(text.as_bytes());
}

/// A number as Go's `%v` has it: the fewest digits that tell it, with an exponent of two digits or more
/// below 1e-4 and from 1e21 on.
fn print_double(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match exponent {
        -4..21 => number.to_string(),
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, RawDocumentBuf, doc, oid::ObjectId};
    use oplet_sdk::raw::Walk;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn owner(names: &[String], id: impl Into<Bson>) -> String {
        let document = RawDocumentBuf::try_from(&doc! {"_id": id.into()}).unwrap();
        let element = Walk::find(document.as_bytes(), "_id").unwrap().unwrap();
        let mut printed = Vec::new();
        print_id(element.kind, element.value, &mut printed);
        names[Points::of(names).owner(&printed)].clone()
    }

    /// What gtm itself answers.
    #[test]
    fn owners_are_gtms() {
        let names = names(&["Tom", "Dick", "Harry"]);
        let of_numbers = [
            "Tom", "Tom", "Harry", "Harry", "Harry", "Dick", "Tom", "Tom", "Dick", "Harry",
        ];
        for (id, expected) in (1..).zip(of_numbers) {
            assert_eq!(owner(&names, id), expected, "{id}");
            assert_eq!(owner(&names, i64::from(id)), expected, "{id}");
            assert_eq!(owner(&names, f64::from(id)), expected, "{id}");
            assert_eq!(owner(&names, id.to_string()), expected, "{id}");
        }
        for (id, expected) in [
            (Bson::from("alice"), "Harry"),
            ("bob".into(), "Dick"),
            ("".into(), "Harry"),
            (true.into(), "Tom"),
            (
                ObjectId::parse_str("507f1f77bcf86cd799439011")
                    .unwrap()
                    .into(),
                "Harry",
            ),
            (
                ObjectId::parse_str("5f0000000000000000000001")
                    .unwrap()
                    .into(),
                "Dick",
            ),
            (
                ObjectId::parse_str("5f0000000000000000000002")
                    .unwrap()
                    .into(),
                "Tom",
            ),
        ] {
            assert_eq!(owner(&names, id.clone()), expected, "{id}");
        }
    }

    /// The shares that were computed from gtm's ring, and matched by its own answers.
    #[test]
    fn shares_are_gtms() {
        let check = |list: &[&str], expected: &[f64]| {
            let names = names(list);
            let points = Points::of(&names);
            let mut counts = vec![0; names.len()];
            for n in 0..200_000 {
                counts[points.owner(n.to_string().as_bytes())] += 1;
            }
            for (count, expected) in counts.iter().zip(expected) {
                let share = f64::from(*count) / 2_000.0;
                assert!((share - expected).abs() < 0.6, "{list:?} {counts:?}");
            }
        };
        check(&["Tom", "Dick", "Harry"], &[29.9, 16.5, 53.6]);
        check(
            &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"],
            &[4.2, 0.9, 9.2, 12.4, 2.6, 18.3, 5.3, 25.0, 8.5, 13.7],
        );
    }

    #[test]
    fn numbers_are_printed_as_go_does() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (1.5, "1.5"),
            (-2.25, "-2.25"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(print_double(number), expected);
        }
    }
}
