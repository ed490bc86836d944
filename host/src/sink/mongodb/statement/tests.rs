//! Statements of documents, one by one and beside each other.

use bson::{Document, RawDocument, doc, rawdoc};

use super::*;

fn options(pairs: &[(&str, &str)]) -> Options {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Options::from_pairs("mongodb:a.b", &mut pairs.iter().map(owned).collect()).unwrap()
}

fn build(pairs: &[(&str, &str)], document: &Document) -> Result<(Verb, Document), String> {
    let document = document.to_vec().unwrap();
    let statement = Statement::build(0, &document, "K", &options(pairs), Within::Command)?;
    let bytes = RawDocument::from_bytes(&statement.bytes).unwrap();
    Ok((statement.verb, bytes.try_into().unwrap()))
}

#[test]
fn each_mode_has_its_statement() {
    let given = doc! { "a": 1, "_id": 7 };
    let own = doc! { "a": 1 };
    for (pairs, document, expected) in [
        (
            &[("mode", "insert")][..],
            &given,
            (Verb::Insert, doc! { "_id": 7, "a": 1 }),
        ),
        (
            &[("mode", "insert")],
            &own,
            (Verb::Insert, doc! { "_id": "K", "a": 1 }),
        ),
        (
            &[],
            &own,
            (
                Verb::Update,
                doc! { "q": { "_id": "K" }, "u": { "_id": "K", "a": 1 }, "upsert": true },
            ),
        ),
        (
            &[("mode", "update")],
            &given,
            (
                Verb::Update,
                doc! { "q": { "_id": 7 }, "u": { "$set": { "a": 1 }, "$setOnInsert": { "_id": 7 } }, "upsert": true },
            ),
        ),
        (
            &[("mode", "update"), ("key", "a")],
            &own,
            (
                Verb::Update,
                doc! { "q": { "a": 1 }, "u": { "$setOnInsert": { "_id": "K" } }, "upsert": true },
            ),
        ),
        (
            &[("mode", "update")],
            &doc! { "_id": 7, "$inc": { "n": 1 } },
            (
                Verb::Update,
                doc! { "q": { "_id": 7 }, "u": { "$inc": { "n": 1 }, "$setOnInsert": { "_id": 7 } }, "upsert": true },
            ),
        ),
        (
            &[("mode-field", "how")],
            &doc! { "_id": { "$gt": 1 }, "how": "delete" },
            (
                Verb::Delete,
                doc! { "q": { "_id": { "$eq": { "$gt": 1 } } }, "limit": 1 },
            ),
        ),
    ] {
        assert_eq!(build(pairs, document).unwrap(), expected, "{document}");
    }
}

#[test]
fn few_may_stand_in_a_command_with_others_about_the_same_document() {
    let each = doc! { "$each": [1] };
    let fields = |names: &[u8]| Among::Last(Extent::Fields(names.to_vec()));
    for (mode, document, expected) in [
        ("insert", doc! { "a": 1 }, Among::Share),
        ("delete", doc! { "_id": 1 }, Among::Share),
        ("replace", doc! { "a": 1 }, Among::Last(Extent::Whole)),
        (
            "update",
            doc! { "b": 1, "a": 1 },
            fields(b"$set\0a\0$set\0b\0"),
        ),
        ("update", doc! { "_id": 1 }, fields(b"")),
        (
            "update",
            doc! { "$unset": { "c": "" }, "$set": { "a.b": 1 } },
            fields(b"$set\0a.b\0$unset\0c\0"),
        ),
        (
            "update",
            doc! { "$set": { "a": 1 }, "$setOnInsert": { "b": 1 } },
            Among::Apart,
        ),
        ("update", doc! { "$set": 1 }, Among::Apart),
        ("update", doc! { "$inc": { "a": 1 } }, Among::Share),
        (
            "update",
            doc! { "$inc": { "a": 1, "b": -1.5 }, "$push": { "c": [1] }, "$setOnInsert": { "d": 1 } },
            Among::Share,
        ),
        (
            "update",
            doc! { "$push": { "a": { "b": 1 } } },
            Among::Share,
        ),
        (
            "update",
            doc! { "$push": { "a": 1, "b": each } },
            Among::Apart,
        ),
        (
            "update",
            doc! { "$inc": { "a": 1 }, "$set": { "b": 1 } },
            Among::Apart,
        ),
        ("update", doc! { "$max": { "a": 1 } }, Among::Apart),
        ("update", doc! { "$setOnInsert": { "a": 1 } }, Among::Share),
    ] {
        let options = options(&[("mode", mode)]);
        let document = document.to_vec().unwrap();
        let build = |within| Statement::build(0, &document, "K", &options, within).unwrap();
        assert_eq!(
            build(Within::Command).among,
            expected,
            "{mode} {document:?}"
        );
        assert_eq!(build(Within::Transaction).among, Among::Share);
    }
}

#[test]
fn one_is_enough_for_another_that_wrote_nothing_else() {
    let build = |(mode, document): &(&str, Document), key| {
        let document = document.to_vec().unwrap();
        let options = options(&[("mode", mode), ("key", key)]);
        Statement::build(0, &document, "K", &options, Within::Command).unwrap()
    };
    let whole = ("replace", doc! { "_id": 1, "a": 1 });
    let a = ("update", doc! { "_id": 1, "a": 1 });
    let again = ("update", doc! { "_id": 1, "$set": { "a": 2 } });
    let b = ("update", doc! { "_id": 1, "b": 1 });
    let both = ("update", doc! { "_id": 1, "b": 1, "a": 1 });
    for (now, then, expected) in [
        (&whole, &whole, true),
        (&whole, &a, true),
        (&a, &whole, false),
        (&again, &a, true),
        (&a, &b, false),
        (&a, &both, false),
        // A new document would have its fields in another order.
        (&both, &a, false),
    ] {
        let (now_by_id, then_by_id) = (build(now, "_id"), build(then, "_id"));
        assert_eq!(
            now_by_id.is_enough_for(&then_by_id),
            expected,
            "{now:?} {then:?}"
        );
    }
    let by_field = ("replace", doc! { "_id": 1, "a": 1 });
    assert!(!build(&by_field, "a").is_enough_for(&build(&by_field, "a")));
}

#[test]
fn what_no_statement_can_be_made_of_is_told() {
    for (pairs, document) in [
        (&[("mode", "delete")][..], doc! { "a": 1 }),
        (&[("key", "b")], doc! { "a": 1 }),
        (
            &[("mode", "update")],
            doc! { "_id": 1, "$inc": { "n": 1 }, "b": 1 },
        ),
        (&[("mode-field", "how")], doc! { "how": "upsert" }),
        (&[("mode-field", "how")], doc! { "how": 1 }),
        (&[("namespace-field", "to")], doc! { "to": "shop" }),
    ] {
        build(pairs, &document).unwrap_err();
    }
    let truncated = &rawdoc! { "a": 1 }.into_bytes()[..7];
    Statement::build(0, truncated, "K", &options(&[]), Within::Command).unwrap_err();
}
