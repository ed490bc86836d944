//! `oplet dead-letters list`, `show` and `drop`.

use bson::{RawDocumentBuf, doc};
use oplet::dead_letters::Filter;
use oplet_testkit::ReplicaSet;
use serde_json::json;

use super::{collection, file, letter, op_ids};
use crate::{
    modules::{Ended, NOWHERE},
    oplet,
};

/// `oplet dead-letters` on that store.
pub(super) async fn dead_letters(spec: &str, arguments: &[&str]) -> Ended {
    let uri = ReplicaSet::shared().await.unwrap().uri();
    let oplet = oplet().arg("dead-letters").args(arguments);
    Ended::of(oplet.args(["--dead-letters", spec, "--uri", &uri])).await
}

#[tokio::test]
async fn letters_are_listed_and_shown() {
    let (store, spec) = collection("list").await;
    let empty = dead_letters(&spec, &["list"]).await.with_code(0);
    assert_eq!((empty.stdout.len(), empty.stderr.as_str()), (0, ""));
    let traced = letter("m", 2, 7, doc! {}).with_traces(&["a line".into()], &["inner".into()]);
    let other = letter("other", 1, 7, doc! {}).failed("reject", "handle", "not\nthis");
    let document = RawDocumentBuf::try_from(&doc! { "_id": 7, "text": "long" }).unwrap();
    let refused = letter("refused", 3, 7, doc! {});
    let refused = refused.rejected("search", "too long", 2, false, Some(document.as_bytes()));
    store.insert(&[traced, other, refused]).await.unwrap();

    let listed = dead_letters(&spec, &["list"])
        .await
        .with_code(0)
        .documents();
    assert_eq!(listed.len(), 3);
    assert_eq!(listed[0]["_id"], "run/other/1:1:0");
    assert_eq!(listed[1]["kind"], "trap");
    assert_eq!(listed[1].get("op"), None);
    assert_eq!(
        listed[2]["rejected"],
        json!({"sink": "search", "number": 2})
    );
    let some = dead_letters(&spec, &["list", "--module", "m", "--since", "1h"]).await;
    assert_eq!(some.with_code(0).documents().len(), 1);
    let none = dead_letters(&spec, &["list", "--until", "1h"]).await;
    assert_eq!(none.with_code(0).documents().len(), 0);
    let table = dead_letters(&spec, &["list", "--format", "table"])
        .await
        .with_code(0);
    assert_eq!(table.stdout.len(), 4);
    assert!(
        table.stdout[0].starts_with("LAST FAILED"),
        "{:?}",
        table.stdout
    );
    assert!(
        table.stdout[1].ends_with("-       run/other/1:1:0      not this"),
        "{:?}",
        table.stdout
    );

    assert!(
        table.stdout[3].ends_with("search  run/refused/3:1:0#2  too long"),
        "{:?}",
        table.stdout
    );

    let refused = dead_letters(&spec, &["show", "run/refused"])
        .await
        .with_code(0);
    let refused: serde_json::Value = serde_json::from_str(&refused.stdout.join("\n")).unwrap();
    assert_eq!(
        refused["rejected"],
        json!({"sink": "search", "number": 2, "document": {"_id": 7, "text": "long"}})
    );
    let shown = dead_letters(&spec, &["show", "run/m/"]).await.with_code(0);
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout.join("\n")).unwrap();
    assert_eq!(shown["op"]["data"], json!({"_id": 7}));
    assert_eq!(
        (&shown["stderr"], &shown["backtrace"]),
        (&json!(["a line"]), &json!(["inner"]))
    );
    let unknown = dead_letters(&spec, &["show", "nothing"]).await.with_code(1);
    unknown.says(&["there is no dead letter `nothing`"]);
    dead_letters(&spec, &["show", "run"])
        .await
        .with_code(1)
        .says(&["several dead letters begin with `run`"]);
}

#[tokio::test]
async fn letters_are_dropped_when_that_is_meant() {
    let (store, spec) = collection("drop").await;
    let letters = [1, 2, 3, 4].map(|seconds| letter("m", seconds, 1, doc! {}));
    store.insert(&letters).await.unwrap();
    let asked = dead_letters(&spec, &["drop", "--module", "m"])
        .await
        .with_code(2);
    asked.says(&["4 dead letters would be dropped", "--yes"]);
    let misspelt = dead_letters(&spec, &["drop", "run/m/1:1:0", "run/m/1"]).await;
    misspelt.with_code(1).says(&["no dead letter `run/m/1`"]);
    assert_eq!(store.count(&Filter::default()).await.unwrap(), 4);

    let one = dead_letters(&spec, &["drop", "run/m/2:1:0"])
        .await
        .with_code(0);
    assert_eq!(one.stderr, "dropped 1 dead letter");
    let two = dead_letters(&spec, &["drop", "--limit", "2", "--yes"])
        .await
        .with_code(0);
    assert_eq!(two.stderr, "dropped 2 dead letters");
    assert_eq!(op_ids(&store, Filter::default()).await, ["4:1:0"]);
}

#[tokio::test]
async fn a_file_needs_no_server() {
    let (_folder, path, store) = file();
    store.insert(&[letter("m", 1, 1, doc! {})]).await.unwrap();
    let spec = format!("file:{}", path.display());
    let list = oplet().args([
        "dead-letters",
        "list",
        "--dead-letters",
        &spec,
        "--uri",
        NOWHERE,
    ]);
    assert_eq!(Ended::of(list).await.with_code(0).documents().len(), 1);
    let list = oplet()
        .args(["dead-letters", "list"])
        .env("OPLET_DEAD_LETTERS", &spec);
    assert_eq!(Ended::of(list).await.with_code(0).documents().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let refused = async |arguments: &[&str], words: &[&str]| {
        let oplet = oplet().arg("dead-letters").args(arguments);
        Ended::of(oplet).await.is_refused(words);
    };
    refused(
        &["list", "--dead-letters", "oplet.dead_letters"],
        &["did you mean `mongodb:oplet.dead_letters`"],
    )
    .await;
    refused(&["list", "--since", "oldest"], &["a time is written"]).await;
    refused(&["drop", "a", "--module", "m"], &["--module"]).await;
    refused(
        &["redrive", "/nowhere.wasm", "--uri", NOWHERE],
        &["cannot read the module"],
    )
    .await;
    let away = oplet().args([
        "dead-letters",
        "list",
        "--uri",
        NOWHERE,
        "--connect-timeout",
        "1s",
    ]);
    Ended::of(away)
        .await
        .with_code(1)
        .says(&["no server answered"]);
}
