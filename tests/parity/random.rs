//! Thousands of random writes; the seed is printed, and `OPLET_SEED` repeats it.

use anyhow::Result;
use oplet_testkit::{History, history};

use super::*;

/// How many updates of nested documents and arrays there have to be.
const UPDATES: usize = 10_000;
/// How many statements are written between two looks at how many of them were updates.
const STATEMENTS: usize = 2_000;

#[tokio::test]
async fn ten_thousand_random_updates_are_told_the_same() -> Result<()> {
    let scene = Scene::shared("random").await?;
    // Documents of a renamed collection are looked up differently.
    let mut history = History::new(history::seed(), scene.name()).without_ddl();
    let mut written = history.run(&scene.client, STATEMENTS).await?;
    while written.updates < UPDATES {
        written = history.run(&scene.client, STATEMENTS).await?;
    }
    let ops = same(&scene, &[scene.name()]).await?;
    let count = |is_wanted: fn(&Value) -> bool| ops.0.iter().filter(|op| is_wanted(op)).count();
    assert_eq!(count(|op| op["operation"] == "i"), written.inserts);
    assert_eq!(count(|op| op["operation"] == "d"), written.deletes);
    // The others changed nothing.
    let updates = count(|op| op.get("updateDescription").is_some());
    assert!(updates > written.updates / 2, "{updates} of {written:?}");
    let arrays = |op: &Value| op["updateDescription"]["truncatedArrays"][0].is_object();
    assert!(count(arrays) > 0 && count(|op| op.get("txn").is_some()) > 0);
    let found = count(|op| op["operation"] == "u" && op["data"].is_object());
    assert!(found > 0, "{written:?}");
    Ok(())
}
