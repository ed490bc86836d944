//! The example, on its sample ops and in a whole run.

use bson::doc;
use oplet::guest::Outcome;
use oplet_sdk::testing::TestOp;
use oplet_testkit::guest;
use serde_json::json;

use super::{Stage, stage::lines};
use crate::modules::Scene;

#[test]
fn sample_ops_become_the_expected_entries() {
    let mut stage = Stage::new("assemblyscript_audit");
    let mut entries = Vec::new();
    for op in lines(include_str!(
        "../../examples/assemblyscript-audit/ops.jsonl"
    )) {
        let answer = stage
            .op(&TestOp::from_document(op).to_bytes(), false)
            .unwrap();
        assert!(matches!(answer.outcome, None | Some(Outcome::Done)));
        entries.extend(answer.documents());
    }
    let expected = lines(include_str!(
        "../../examples/assemblyscript-audit/expected.jsonl"
    ));
    assert_eq!(entries, expected);
}

#[tokio::test]
async fn changes_leave_a_trail_and_inserts_stay_on_the_server() {
    let scene = Scene::new("audit").await;
    scene
        .insert((0..10).map(|id| doc! {"_id": id, "address": {"city": "Ulm"}}))
        .await;
    scene
        .update(
            0..3,
            |id| doc! {"$set": {"address.city": "Köln 🏙️", "updatedBy": format!("user {id}")}},
        )
        .await;
    scene.update(3..6, |_| doc! {"$set": {"lastSeen": 1}}).await;
    let things = scene.collection("things");
    things.delete_one(doc! {"_id": 9}).await.unwrap();

    let audit = [guest("assemblyscript_audit").unwrap()];
    let ended = scene
        .run_over(&audit, ["--workers", "1"])
        .await
        .with_code(0);
    let entries = ended.documents();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (&entry["what"], &entry["by"], &entry["document"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!("updated"), &json!("user 0"), &json!(0)),
            (&json!("updated"), &json!("user 1"), &json!(1)),
            (&json!("updated"), &json!("user 2"), &json!(2)),
            (&json!("deleted"), &json!(null), &json!(9)),
        ]
    );
    assert_eq!(
        entries[0]["changes"],
        json!([
            {"path": "updatedBy", "value": "user 0"},
            {"path": "address.city", "value": "Köln 🏙️"},
        ])
    );
    assert_eq!(["read", "kept"].map(|word| ended.counted(word)), [7, 4]);
    ended.says(&["count: assemblyscript_audit.entries = 4"]);
}
