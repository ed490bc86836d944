//! Answers of `pipeline` that cannot be pushed to the server.

use bson::{Document, doc};

use super::{Ended, Handwritten, NOWHERE, Scene};
use crate::oplet;

/// That a module with these stages is refused, with these words, before anything is opened.
async fn assert_refused(stages: &[Document], words: &[&str]) {
    let scene = Scene::new("bad_pipeline").await;
    let module = scene.module("bad", &Handwritten::new("bad").pipeline(stages).text());
    let run = oplet()
        .args(["run", "--uri", NOWHERE, "--watch", "shop.orders"])
        .arg(module);
    let ended = Ended::of(run).await;
    ended.is_refused(&["the pipeline of the module `bad` for shop.orders is refused"]);
    ended.says(words);
}

#[tokio::test]
async fn a_stage_that_a_change_stream_cannot_run_is_named() {
    let harmless = doc! {"$match": {"operationType": "insert"}};
    let group = doc! {"$group": {"_id": "$ns"}};
    assert_refused(
        &[harmless, group],
        &[
            "stage 1 (`$group`) is no stage for a change stream",
            "$match, $project",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_stage_that_loses_the_resume_token_is_named() {
    let words = ["stage 0 (`$project`) drops the event's `_id`"];
    assert_refused(&[doc! {"$project": {"_id": 0}}], &words).await;
}

#[tokio::test]
async fn a_stage_that_is_none_is_named() {
    assert_refused(
        &[doc! {"match": {}}],
        &["stage 0 (`match`) does not begin with `$`"],
    )
    .await;
    assert_refused(&[doc! {}], &["stage 0 has not exactly one field"]).await;
}
