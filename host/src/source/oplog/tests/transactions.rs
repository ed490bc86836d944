//! Entries that hold many ops.

use bson::{Document, doc};
use bytes::Bytes;

use super::*;
use crate::{
    op::{BatchBuilder, OpTime, Timestamp},
    source::oplog::{Chain, Decoded, Decoder, Fault, Link, apply_ops::NESTING_MAX},
};

/// Namespace, op id and index in the transaction of each op.
fn places(ops: &[Document]) -> Vec<(&str, &str, Option<i64>)> {
    let place = |op| -> (&str, &str, Option<i64>) {
        let op: &Document = op;
        let txn = op.get_document("txn").ok();
        if let Some(txn) = txn {
            assert_eq!(txn.get_document("lsid").unwrap(), &doc! {"id": "s"});
            assert_eq!(txn.get_i64("txnNumber").unwrap(), 4);
        }
        let index = txn.map(|txn| txn.get_i64("index").unwrap());
        (
            op.get_str("namespace").unwrap(),
            op.get_str("opId").unwrap(),
            index,
        )
    };
    ops.iter().map(place).collect()
}

#[test]
fn a_transaction_in_one_entry_is_unwound() {
    let inner = [
        insert("crm.x", 1),
        doc! {"op": "u", "ns": "shop.a", "o2": {"_id": 1}, "o": {"$v": 2, "diff": {"u": {"n": 1}}}},
        doc! {"op": "n", "ns": "shop.a", "o": {}},
        doc! {"op": "c", "ns": "shop.$cmd", "o": {"create": "b"}},
        doc! {"op": "d", "ns": "shop.a", "o": {"_id": 1}},
    ];
    let whole = command(
        doc! {"applyOps": inner.to_vec(), "count": 5_i64},
        session(None),
    );
    let (decoded, ops) = decode("shop", &whole);
    assert_eq!(decoded.unwrap(), "Ops(2)");
    assert_eq!(
        places(&ops),
        [("shop.a", "9:3:1", Some(1)), ("shop.a", "9:3:4", Some(4))]
    );
    assert!(ops[0].get_bool("pending").unwrap());
}

#[test]
fn grouped_writes_are_no_transaction() {
    let group = doc! {"applyOps": [insert("shop.a", 1), insert("crm.x", 2), insert("shop.a", 3)]};
    let mut retryable = session(Some(1));
    retryable.insert("multiOpType", 1);
    for (name, more) in [
        (
            "no session: a batched delete, or a user's applyOps",
            doc! {},
        ),
        ("vectored inserts of 8.0", doc! {"multiOpType": 1}),
        (
            "the same, retryable, after another write of the session",
            retryable,
        ),
    ] {
        let (decoded, ops) = decode("shop", &command(group.clone(), more));
        assert_eq!(decoded.unwrap(), "Ops(2)", "{name}");
        assert_eq!(
            places(&ops),
            [("shop.a", "9:3:0", None), ("shop.a", "9:3:2", None)],
            "{name}"
        );
    }
}

#[test]
fn apply_ops_nest() {
    let nest =
        |inner: Vec<Document>| doc! {"op": "c", "ns": "admin.$cmd", "o": {"applyOps": inner}};
    let nested = nest(vec![
        insert("shop.b", 2),
        nest(vec![]),
        nest(vec![insert("shop.c", 3)]),
    ]);
    let drop = doc! {"op": "c", "ns": "shop.$cmd", "o": {"drop": "e"}};
    let whole = command(
        doc! {"applyOps": [insert("shop.a", 1), nested, drop, insert("shop.d", 4)]},
        doc! {},
    );
    let (decoded, ops) = decode("shop", &whole);
    assert_eq!(decoded.unwrap(), "Ops(5)");
    let expected = [
        ("shop.a", "9:3:0", None),
        ("shop.b", "9:3:1", None),
        ("shop.c", "9:3:2", None),
        ("shop.e", "9:3:3", None),
        ("shop.d", "9:3:4", None),
    ];
    assert_eq!(places(&ops), expected);

    let deep = (0..NESTING_MAX).fold(insert("shop.a", 1), |inner, _| nest(vec![inner]));
    let whole = command(deep.get_document("o").unwrap().clone(), doc! {});
    assert_eq!(decode("shop", &whole).0.unwrap(), "Ops(1)");
    let whole = command(nest(vec![deep]).get_document("o").unwrap().clone(), doc! {});
    assert_eq!(decode("shop", &whole).0.unwrap_err().fault, Fault::TooDeep);
}

/// Adds parts, each from a reply of its own.
fn add_parts(chain: &Chain, parts: &[Document]) -> Vec<Document> {
    let mut decoder = Decoder::new(scope("shop"));
    let mut index = 0;
    let mut all = Vec::new();
    for part in parts {
        let mut builder = BatchBuilder::new(Bytes::from(raw(part)));
        let body = builder.body();
        index = decoder.part(&body, chain, index, &mut builder).unwrap();
        all.extend(ops(builder));
    }
    all
}

fn chain_of(entry: &Document) -> Chain {
    let mut builder = BatchBuilder::new(raw(entry).into());
    let body = builder.body();
    match Decoder::new(scope("shop")).entry(&body, &mut builder) {
        Ok(Decoded::Chain(chain)) => chain,
        other => panic!("{other:?}"),
    }
}

/// As an earlier entry than the others.
fn earlier(mut part: Document, increment: u32) -> Document {
    part.insert("ts", timestamp(increment));
    part.insert("wall", bson::DateTime::from_millis(1));
    part
}

#[test]
fn a_chain_is_delivered_at_its_end() {
    let first = earlier(
        command(
            doc! {"applyOps": [insert("shop.a", 1), insert("crm.x", 2)], "partialTxn": true},
            session(None),
        ),
        1,
    );
    let second = earlier(
        command(doc! {"applyOps": [], "partialTxn": true}, session(Some(1))),
        2,
    );
    let last = command(
        doc! {"applyOps": [insert("shop.b", 3)], "count": 3_i64},
        session(Some(2)),
    );
    let chain = chain_of(&last);
    assert_eq!(
        chain.prev_op_time,
        OpTime {
            timestamp: Timestamp::new(9, 2),
            term: 1
        }
    );
    assert!(!chain.commit);
    let links: Vec<_> = [&second, &first]
        .map(|part| Link::read(&raw(part)).unwrap())
        .to_vec();
    assert_eq!(links[0].op_time, chain.prev_op_time);
    assert_eq!(links[0].prev_op_time, Some(links[1].op_time));
    assert_eq!(links[1].prev_op_time, None);
    let ops = add_parts(&chain, &[first, second, last]);
    assert_eq!(
        places(&ops),
        [("shop.a", "9:3:0", Some(0)), ("shop.b", "9:3:2", Some(2))]
    );
}

#[test]
fn a_prepared_transaction_is_delivered_at_its_commit() {
    let prepared = earlier(
        command(
            doc! {"applyOps": [insert("crm.x", 1), insert("shop.a", 2)], "prepare": true},
            session(None),
        ),
        2,
    );
    let commit = command(
        doc! {"commitTransaction": 1, "commitTimestamp": timestamp(2)},
        session(Some(2)),
    );
    let chain = chain_of(&commit);
    assert!(chain.commit);
    assert_eq!(chain.wall_time_ms, Some(5));
    let ops = add_parts(&chain, &[prepared]);
    assert_eq!(places(&ops), [("shop.a", "9:3:1", Some(1))]);
}

#[test]
fn a_part_must_be_of_the_same_transaction() {
    let chain = chain_of(&command(doc! {"applyOps": []}, session(Some(2))));
    let mut other = session(None);
    other.insert("txnNumber", 5_i64);
    for part in [
        entry(insert("shop.a", 1)),
        command(doc! {"applyOps": []}, other),
        command(doc! {"applyOps": []}, doc! {}),
        command(doc! {"abortTransaction": 1}, session(None)),
    ] {
        let mut builder = BatchBuilder::new(raw(&part).into());
        let body = builder.body();
        let error = Decoder::new(scope("shop"))
            .part(&body, &chain, 0, &mut builder)
            .unwrap_err();
        assert_eq!(error.fault, Fault::NotAPart, "{part}");
    }
}
