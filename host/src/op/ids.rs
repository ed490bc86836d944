//! For tests: `_id`s of every type that the server takes, many of them near one another.

use bson::{Bson, Document, oid::ObjectId};
use proptest::prelude::*;

/// An `_id`.
pub(crate) fn any_id() -> impl Strategy<Value = Bson> {
    let field = prop_oneof![scalar(), Just(Bson::Array(vec![Bson::Int32(1)]))];
    let fields = proptest::collection::vec(("[ab]?", field), 0..3);
    let document =
        fields.prop_map(|fields| Bson::Document(fields.into_iter().collect::<Document>()));
    prop_oneof![8 => scalar(), 1 => document]
}

fn scalar() -> impl Strategy<Value = Bson> {
    let near = prop_oneof![
        -3_i64..3,
        Just(i64::MAX),
        Just(i64::MIN),
        Just(1 << 53),
        Just((1 << 53) + 1),
        any::<i64>(),
    ];
    prop_oneof![
        Just(Bson::MinKey),
        Just(Bson::MaxKey),
        Just(Bson::Null),
        near.clone().prop_map(Bson::Int64),
        (-3_i32..3).prop_map(Bson::Int32),
        near.clone().prop_map(|n| Bson::Double(n as f64)),
        any::<f64>().prop_map(Bson::Double),
        (near, -3_i32..3).prop_map(|(n, exponent)| {
            Bson::Decimal128(format!("{n}E{exponent}").parse().expect("a decimal"))
        }),
        prop_oneof![Just("NaN"), Just("-Infinity"), Just("0.1"), Just("-0E+5")]
            .prop_map(|text| Bson::Decimal128(text.parse().expect("a decimal"))),
        "[aAä\0]{0,3}".prop_map(Bson::String),
        "[aA]{0,2}".prop_map(Bson::Symbol),
        "[ab]{0,2}".prop_map(Bson::JavaScriptCode),
        (
            0_u8..6,
            proptest::collection::vec(prop_oneof![Just(0), Just(255)], 0..3)
        )
            .prop_filter_map("the old subtype repeats its length", |(subtype, bytes)| {
                let subtype = subtype.into();
                (subtype != bson::spec::BinarySubtype::BinaryOld)
                    .then_some(Bson::Binary(bson::Binary { subtype, bytes }))
            }),
        prop_oneof![any::<[u8; 12]>(), Just([255; 12]), Just([0; 12])]
            .prop_map(|bytes| Bson::ObjectId(ObjectId::from_bytes(bytes))),
        any::<bool>().prop_map(Bson::Boolean),
        prop_oneof![-2_i64..2, any::<i64>()]
            .prop_map(|ms| Bson::DateTime(bson::DateTime::from_millis(ms))),
        (0_u32..3, 0_u32..3)
            .prop_map(|(time, increment)| Bson::Timestamp(bson::Timestamp { time, increment })),
    ]
}
