//! The handler, run natively; that the server decides is tested through the host.

use field_watch::FieldWatch;
use oplet_sdk::{
    Source,
    bson::{Bson, Document, doc},
    testing::{self, TestOp},
};

fn lines(text: &str) -> impl Iterator<Item = Document> {
    text.lines().map(|line| {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        Bson::try_from(json).unwrap().as_document().unwrap().clone()
    })
}

#[test]
fn sample_ops_become_the_expected_documents() {
    let mut seen = Vec::new();
    for op in lines(include_str!("../ops.jsonl")) {
        let run = testing::run(&mut FieldWatch, &TestOp::from_document(op));
        assert_eq!(run.outcome, Ok(()));
        seen.extend(run.documents().into_iter().cloned());
    }
    assert_eq!(
        seen,
        lines(include_str!("../expected.jsonl")).collect::<Vec<_>>()
    );
}

#[test]
fn asks_the_server_for_updates_of_the_field() {
    let stages = testing::pipeline(&FieldWatch, "users.users", Source::ChangeStream).unwrap();
    let cases = stages[0]
        .get_document("$match")
        .unwrap()
        .get_array("$or")
        .unwrap();
    assert_eq!(
        cases[1],
        doc! {"updateDescription.updatedFields.field1": {"$exists": true}}.into()
    );
    let stages = testing::pipeline(&FieldWatch, "users.users", Source::DirectRead).unwrap();
    assert_eq!(stages, [doc! {"$match": {"field1": {"$exists": true}}}]);
}
