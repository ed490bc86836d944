//! The handler, run natively.

use new_users::NewUsers;
use oplet_sdk::{
    Error,
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
fn sample_ops_become_the_expected_mails() {
    let mut mails = Vec::new();
    for op in lines(include_str!("../ops.jsonl")) {
        let run = testing::run(&mut NewUsers, &TestOp::from_document(op));
        assert_eq!(run.outcome, Ok(()));
        mails.extend(run.documents().into_iter().cloned());
    }
    assert_eq!(
        mails,
        lines(include_str!("../expected.jsonl")).collect::<Vec<_>>()
    );
}

#[test]
fn only_inserts_into_users_are_kept() {
    let user = doc! {"_id": 1, "username": "Ann", "email": "ann@example.com"};
    let kept = |op| testing::run(&mut NewUsers, &op).kept;
    assert!(kept(testing::insert("users.users", user.clone())));
    assert!(!kept(testing::insert("users.users.old", user.clone())));
    assert!(!kept(testing::insert(
        "users.users",
        doc! {"username": "Ann"}
    )));
    assert!(!kept(testing::replace("users.users", user.clone())));
    assert!(!kept(testing::update("users.users", user).pending()));
    assert!(!kept(testing::delete("users.users", 1)));
}

#[test]
fn a_user_without_name_is_rejected() {
    let run = testing::run(
        &mut NewUsers,
        &testing::insert("users.users", doc! {"_id": 1, "email": "ann@example.com"}),
    );
    let Err(Error::Reject(reason)) = run.outcome else {
        panic!("not rejected: {:?}", run.outcome);
    };
    assert!(reason.contains("username"), "{reason}");
    assert!(run.outputs.is_empty());
}
