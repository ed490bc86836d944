//! The handler, run natively: neither WebAssembly nor MongoDB is needed.

use {{module}}::Invoices;

use oplet_sdk::{
    bson::{Bson, Document, doc},
    testing::{self, TestOp},
};

/// The documents in a text of JSON lines.
fn lines(text: &str) -> impl Iterator<Item = Document> {
    text.lines().map(|line| {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        Bson::try_from(json).unwrap().as_document().unwrap().clone()
    })
}

#[test]
fn sample_ops_become_the_expected_invoices() {
    let mut invoices = Vec::new();
    for op in lines(include_str!("../ops.jsonl")) {
        let run = testing::run(&mut Invoices, &TestOp::from_document(op));
        assert_eq!(run.outcome, Ok(()));
        invoices.extend(run.documents().into_iter().cloned());
    }
    let expected: Vec<Document> = lines(include_str!("../expected.jsonl")).collect();
    assert_eq!(invoices, expected);
}

#[test]
fn an_order_without_a_customer_is_rejected() {
    let order = doc! {"_id": 1, "total": 9.5, "status": "paid"};
    let run = testing::run(&mut Invoices, &testing::insert("shop.orders", order));
    assert!(run.outcome.is_err());
    assert!(run.outputs.is_empty());
}
