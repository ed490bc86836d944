//! What both stores promise, and what a file does.

use std::{collections::BTreeSet, io::Write as _};

use bson::{RawDocumentBuf, doc, rawdoc};
use oplet::dead_letters::{DeadLetter, Error, Filter, Store};

use super::{all, collection, file, letter, op_ids};

/// Runs a test on a collection, and on a file.
macro_rules! on_both {
    ($name:ident, $hint:literal, $test:ident) => {
        #[tokio::test]
        async fn $name() {
            $test(collection($hint).await.0).await;
            let (_folder, _, store) = file();
            $test(store).await;
        }
    };
}

on_both!(storing_twice_is_storing_once, "twice", stores_once);
on_both!(letters_come_in_the_order_of_their_ops, "order", keeps_order);
on_both!(filters_say_which_letters, "filters", filters);
on_both!(letters_can_be_removed_and_told_anew, "settle", settles);
on_both!(an_op_keeps_its_bytes, "bytes", keeps_bytes);
on_both!(a_long_list_is_whole, "long", lists_all);

async fn stores_once(store: Store) {
    assert_eq!(all(&store, Filter::default()).await, []);
    let mut first = letter("m", 10, 1, doc! {});
    (first.first_failed_ms, first.last_failed_ms) = (1_000, 2_000);
    store.insert(&[first.clone()]).await.unwrap();
    let mut again = first.clone().failed("deadline", "filter", "slow");
    (again.first_failed_ms, again.last_failed_ms) = (5_000, 6_000);
    again.attempts = 5;
    store.insert(&[again.clone()]).await.unwrap();
    store.insert(&[first.clone(), again.clone()]).await.unwrap();

    let expected = DeadLetter {
        attempts: 5,
        last_failed_ms: 6_000,
        ..first.clone()
    };
    assert_eq!(store.get(&first.id).await.unwrap(), Some(expected.clone()));
    assert_eq!(all(&store, Filter::default()).await, [expected]);
    assert_eq!(store.count(&Filter::default()).await.unwrap(), 1);
    assert_eq!(store.get("run/m/10:1").await.unwrap(), None);
}

async fn keeps_order(store: Store) {
    let mut letters = Vec::new();
    for (seconds, index) in [(10, 10), (9, 2), (10, 9), (100, 0), (9, 1)] {
        let op = rawdoc! {
            "namespace": "shop.orders", "opId": format!("{seconds}:1:{index}"),
            "timestamp": bson::Timestamp { time: seconds, increment: 1 },
        };
        letters.push(DeadLetter::new("run", "m", "9f", op.as_bytes()));
    }
    store.insert(&letters).await.unwrap();
    let ordered = ["9:1:1", "9:1:2", "10:1:9", "10:1:10", "100:1:0"];
    assert_eq!(op_ids(&store, Filter::default()).await, ordered);
    let first = Filter {
        limit: Some(2),
        ..Filter::default()
    };
    assert_eq!(op_ids(&store, first.clone()).await, ordered[..2]);
    assert_eq!(store.count(&first).await.unwrap(), 2);
}

/// What is asked for, how, and the ops of the letters that are meant.
type Case<'a> = (&'a str, &'a dyn Fn(&mut Filter), &'a [&'a str]);

async fn filters(store: Store) {
    let mut one = letter("m", 1, 1, doc! {});
    one.last_failed_ms = 1_000;
    let mut two = letter("other", 2, 1, doc! {}).failed("reject", "handle", "no");
    two.last_failed_ms = 2_000;
    two.namespace = "shop.orders.old".into();
    let mut three = letter("m", 3, 1, doc! {});
    three.last_failed_ms = 3_000;
    three.namespace = "shopping.lists".into();
    store.insert(&[three, two, one]).await.unwrap();
    let text = |text: &str| Some(text.to_owned());
    let cases: [Case<'_>; 9] = [
        ("none", &|_| {}, &["1:1:0", "2:1:0", "3:1:0"]),
        (
            "module",
            &|filter| filter.module = text("m"),
            &["1:1:0", "3:1:0"],
        ),
        ("kind", &|filter| filter.kind = text("reject"), &["2:1:0"]),
        (
            "database",
            &|filter| filter.namespace = text("shop"),
            &["1:1:0", "2:1:0"],
        ),
        (
            "collection",
            &|filter| filter.namespace = text("shop.orders"),
            &["1:1:0"],
        ),
        (
            "since",
            &|filter| filter.since_ms = Some(2_000),
            &["2:1:0", "3:1:0"],
        ),
        ("until", &|filter| filter.until_ms = Some(2_000), &["1:1:0"]),
        (
            "id",
            &|filter| filter.id_prefix = text("run/m/"),
            &["1:1:0", "3:1:0"],
        ),
        ("name", &|filter| filter.name = text("nobody"), &[]),
    ];
    for (what, set, expected) in cases {
        let mut filter = Filter::default();
        set(&mut filter);
        assert_eq!(op_ids(&store, filter.clone()).await, expected, "{what}");
        assert_eq!(
            store.count(&filter).await.unwrap(),
            expected.len() as u64,
            "{what}"
        );
    }
}

async fn settles(store: Store) {
    let letters = [1, 2, 3].map(|seconds| letter("m", seconds, 1, doc! {}));
    store.insert(&letters).await.unwrap();
    let mut latest = letters[1].clone().failed("reject", "handle", "still no");
    latest.attempts = 2;
    latest.digest = "aa".into();
    let mut gone = letters[0].clone();
    gone.id = "run/m/0:1:0".into();
    let removed = [letters[0].id.clone(), "unknown".to_owned()];
    let settled = store
        .settle(&removed, &[latest.clone(), gone])
        .await
        .unwrap();
    assert_eq!(settled, 1);
    assert_eq!(
        all(&store, Filter::default()).await,
        [latest, letters[2].clone()]
    );
    let ids = letters.map(|letter| letter.id);
    assert_eq!(store.remove(&ids).await.unwrap(), 2);
    assert_eq!(store.count(&Filter::default()).await.unwrap(), 0);
}

/// Names that some servers refuse, a name that is there twice, types that JSON has no form for.
async fn keeps_bytes(store: Store) {
    let mut op = rawdoc! {
        "opId": "1:1:0", "updateDescription": { "updatedFields": { "a.b": 1, "$c": 2 } },
        "data": { "$oid": "64b7c0c8f0f0f0f0f0f0f0f0", "$ref": 1, "nan": f64::NAN, "": 5_i64 },
    };
    op.append(bson::cstr!("twice"), 1);
    op.append(bson::cstr!("twice"), 2);
    // As deep as the server lets a document of its own be.
    let deep = (0..178).fold(rawdoc! {}, |inner, _| rawdoc! { "a": inner });
    let deep = rawdoc! { "opId": "2:1:0", "timestamp": bson::Timestamp { time: 2, increment: 1 }, "data": deep };
    let ops: [RawDocumentBuf; 2] = [op, deep];
    let letters = ops
        .each_ref()
        .map(|op| DeadLetter::new("run", "m", "9f", op.as_bytes()));
    store.insert(&letters).await.unwrap();
    let stored = all(&store, Filter::default()).await;
    for (letter, op) in stored.iter().zip(&ops) {
        assert_eq!(letter.op.as_bytes(), op.as_bytes());
    }
    assert_eq!(stored.len(), 2);
}

/// More letters than a page, and than a command, has.
async fn lists_all(store: Store) {
    let letters: Vec<_> = (1..=1_234)
        .map(|seconds| letter("m", seconds, 1, doc! {}))
        .collect();
    store.insert(&letters).await.unwrap();
    let expected: Vec<_> = letters.iter().map(|letter| letter.op_id.clone()).collect();
    assert_eq!(op_ids(&store, Filter::default()).await, expected);
}

#[tokio::test]
async fn a_letter_of_any_size_is_stored() {
    let (store, _) = collection("large").await;
    let filler = |mebibytes: usize| "x".repeat((mebibytes << 20) - (8 << 10));
    let large = letter("m", 1, 1, doc! { "filler": filler(15) });
    assert!(!large.truncated);
    let larger = letter("m", 2, 1, doc! { "filler": filler(16) });
    assert!(larger.truncated);
    store
        .insert(&[large.clone(), larger.clone()])
        .await
        .unwrap();
    assert_eq!(all(&store, Filter::default()).await, [large, larger]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_loses_nothing_to_others_that_write_it() {
    let (_folder, path, store) = file();
    let writers = (0..4_u32).map(|writer| {
        // Each as a process of its own would: nothing is shared but the file.
        let store = Store::file(path.clone());
        tokio::spawn(async move {
            for number in 0..40 {
                let letter = letter("m", 1 + writer * 1_000 + number, 1, doc! {});
                store.insert(&[letter]).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut removed = BTreeSet::new();
    while removed.len() < 60 {
        let filter = Filter {
            limit: Some(7),
            ..Filter::default()
        };
        let ids: Vec<_> = all(&store, filter)
            .await
            .into_iter()
            .map(|letter| letter.id)
            .collect();
        assert_eq!(store.remove(&ids).await.unwrap(), ids.len() as u64);
        for id in ids {
            assert!(removed.insert(id), "what is removed does not come back");
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let left = all(&store, Filter::default()).await;
    assert_eq!(left.len() + removed.len(), 160);
    assert!(left.iter().all(|letter| !removed.contains(&letter.id)));
}

#[tokio::test]
async fn a_torn_tail_is_no_letter() {
    let (_folder, path, store) = file();
    let letters = [1, 2, 3].map(|seconds| letter("m", seconds, 1, doc! {}));
    store.insert(&letters[..2]).await.unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap();
    file.write_all(&whole[..whole.len() / 3]).unwrap();
    assert_eq!(all(&store, Filter::default()).await, letters[..2]);
    store.insert(&letters[2..]).await.unwrap();
    assert_eq!(all(&store, Filter::default()).await, letters);

    // A whole line that is no letter was not written by us: nothing is passed over.
    file.write_all(b"{}\n").unwrap();
    store.insert(&letters[..1]).await.unwrap();
    let error = store.list(Filter::default()).next().await.unwrap_err();
    assert!(
        matches!(&error, Error::Invalid { .. }) && !error.is_passing(),
        "{error}"
    );
    assert!(error.to_string().starts_with("line 4 of "), "{error}");
    let before = std::fs::read(&path).unwrap();
    assert!(store.remove(&[letters[0].id.clone()]).await.is_err());
    assert_eq!(
        std::fs::read(&path).unwrap(),
        before,
        "what cannot be read is not written anew"
    );
}
