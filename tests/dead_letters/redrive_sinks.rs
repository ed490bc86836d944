//! `oplet dead-letters redrive` into sinks that may refuse what they are given.

use std::fs;

use bson::{Document, RawDocumentBuf, doc};
use mongodb::{Collection, Database};
use oplet::dead_letters::{Filter, Store};
use oplet_testkit::{ReplicaSet, database_name, guest};

use super::{all, collection, commands::dead_letters, file, letter, op_ids};
use crate::{
    modules::{Ended, Handwritten, NOWHERE, Scene},
    oplet,
    sinks::http_server::{Server, status},
};

const ECHO: &str = "guest_echo";

async fn redrive(spec: &str, flags: &[&str]) -> Ended {
    let module = guest(ECHO).unwrap();
    let arguments = [&["redrive", module.to_str().unwrap()], flags].concat();
    dead_letters(spec, &arguments).await
}

/// A database for copies, whose collection `things` refuses documents of the op `2:1:0`.
async fn picky() -> (Database, Collection<Document>) {
    let client = ReplicaSet::shared().await.unwrap().client().await.unwrap();
    let database = client.database(&database_name("copies"));
    let things = database.create_collection("things");
    let things = things.validator(doc! { "opId": { "$ne": "2:1:0" } });
    things.await.unwrap();
    let things = database.collection("things");
    (database, things)
}

async fn mend(database: &Database) {
    let mend = doc! { "collMod": "things", "validator": {} };
    database.run_command(mend).await.unwrap();
}

/// Letters of two documents: the ops 1, 2 and 3 of one, and 4 of the other.
async fn two_documents(store: &Store) {
    let letters = [(1, 1), (2, 1), (3, 1), (4, 2)];
    let letters = letters.map(|(seconds, id)| letter(ECHO, seconds, id, doc! {}));
    store.insert(&letters).await.unwrap();
}

async fn op_of(things: &Collection<Document>, id: i32) -> Option<String> {
    let found = things.find_one(doc! { "_id": id }).await.unwrap();
    found.map(|found| found.get_str("opId").unwrap().to_owned())
}

#[tokio::test]
async fn what_a_collection_refuses_stays_until_it_is_taken() {
    let (store, spec) = collection("picky").await;
    two_documents(&store).await;
    let (database, things) = picky().await;
    let sink = format!("mongodb:{}.things", database.name());
    let ended = redrive(&spec, &["--sink", &sink]).await.with_code(1);
    ended.says(&["letters: 2 succeeded", "1 failed, 1 held back"]);
    assert!(ended.stdout.is_empty(), "{:?}", ended.stdout);
    assert_eq!(op_of(&things, 1).await.as_deref(), Some("1:1:0"));
    assert_eq!(op_of(&things, 2).await.as_deref(), Some("4:1:0"));
    let left = all(&store, Filter::default()).await;
    let of = |at: usize| {
        (
            left[at].op_id.as_str(),
            left[at].attempts,
            left[at].kind.as_str(),
        )
    };
    assert_eq!((of(0), of(1)), (("2:1:0", 2, "sink"), ("3:1:0", 1, "trap")));
    let message = &left[0].message;
    assert!(
        message.starts_with("the sink `mongodb` refuses the output 0: "),
        "{message}"
    );

    mend(&database).await;
    redrive(&spec, &["--sink", &sink]).await.with_code(0);
    assert_eq!(op_of(&things, 1).await.as_deref(), Some("3:1:0"));
    assert_eq!(store.count(&Filter::default()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_transactional_sink_is_written_to_like_any_other() {
    let (store, spec) = collection("transactional").await;
    two_documents(&store).await;
    let (database, things) = picky().await;
    mend(&database).await;
    let sink = format!("mongodb:{}.things#transactional=true", database.name());
    redrive(&spec, &["--sink", &sink]).await.with_code(0);
    assert_eq!(op_of(&things, 1).await.as_deref(), Some("3:1:0"));
    assert_eq!(store.count(&Filter::default()).await.unwrap(), 0);
}

#[tokio::test]
async fn requests_have_the_keys_that_they_had_at_first() {
    let (store, spec) = collection("http").await;
    two_documents(&store).await;
    let gathered = RawDocumentBuf::try_from(&doc! { "sum": 5 }).unwrap();
    let flushed = letter(ECHO, 5, 3, doc! {});
    let flushed = flushed.rejected("hook", "full", 1, true, Some(gathered.as_bytes()));
    store.insert(&[flushed]).await.unwrap();
    // The first request is met by a fault that passes, and op 2 is never taken.
    let server = Server::start(|request, before| {
        status(match request.header("idempotency-key") {
            _ if before == 0 => 503,
            "2:1:0#guest_echo#0" => 422,
            _ => 200,
        })
    })
    .await;
    let sink = format!("hook={}", server.url());
    let ended = redrive(&spec, &["--sink", &sink]).await.with_code(1);
    ended.says(&["letters: 3 succeeded", "1 failed, 1 held back"]);
    let requests = server.requests();
    let keys: Vec<_> = requests
        .iter()
        .map(|r| r.header("idempotency-key"))
        .collect();
    assert_eq!(
        keys,
        [
            "1:1:0#guest_echo#0",
            "1:1:0#guest_echo#0",
            "2:1:0#guest_echo#0",
            "4:1:0#guest_echo#0",
            "5:1:0#guest_echo#flush#1",
        ]
    );
    assert_eq!(requests[4].body, r#"{"sum":5}"#);
    let left = all(&store, Filter::default()).await;
    assert!(left[0].message.contains("422"), "{}", left[0].message);
    let ids: Vec<_> = left.iter().map(|letter| letter.op_id.as_str()).collect();
    assert_eq!(ids, ["2:1:0", "3:1:0"]);
}

#[tokio::test]
async fn a_letter_stays_when_one_of_its_sinks_refuses() {
    let (store, spec) = collection("both").await;
    store
        .insert(&[letter("both", 2, 1, doc! {})])
        .await
        .unwrap();
    let (database, things) = picky().await;
    let scene = Scene::new("both").await;
    // Emits its document to both sinks.
    let both = Handwritten::new("both").handle(
        "(call $emit_one (local.get $op))
        (drop (call $emit (i32.const 1) (i32.const 256) (i32.load (i32.const 256))))
        (i32.const 0)",
    );
    let module = scene.module("both", &both.text());
    let none = database.create_collection("none");
    none.validator(doc! { "never": true }).await.unwrap();
    let sinks = [
        format!("taken=mongodb:{}.things", database.name()),
        format!("none=mongodb:{}.none", database.name()),
    ];
    let arguments = [
        "redrive",
        module.to_str().unwrap(),
        "--sink",
        &sinks[0],
        "--sink",
        &sinks[1],
    ];
    dead_letters(&spec, &arguments)
        .await
        .with_code(1)
        .says(&["0 succeeded", "1 failed"]);
    assert_eq!(things.count_documents(doc! {}).await.unwrap(), 1);
    let left = all(&store, Filter::default()).await;
    assert_eq!((left.len(), left[0].attempts), (1, 2));
    let message = &left[0].message;
    assert!(
        message.starts_with("the sink `none` refuses the output 1: "),
        "{message}"
    );
}

#[tokio::test]
async fn nothing_is_removed_while_a_sink_is_away() {
    let (store, spec) = collection("away").await;
    two_documents(&store).await;
    let sink = "http://127.0.0.1:1/#give-up-after-s=1";
    let ended = redrive(&spec, &["--sink", sink]).await.with_code(1);
    ended.says(&[
        "letters: 0 succeeded",
        "0 failed, 0 held back",
        "the sink `http` takes no more",
    ]);
    let left = all(&store, Filter::default()).await;
    assert!(left.iter().all(|letter| letter.attempts == 1), "{left:?}");
    assert_eq!(left.len(), 4);
}

#[tokio::test]
async fn sinks_that_cannot_be_are_refused_as_for_run() {
    let scene = Scene::new("named").await;
    let asking = Handwritten::new("asking")
        .import("sink", "(param i32 i32) (result i32)")
        .with(
            r#"(data (i32.const 4096) "copies")
            (func (export "_initialize")
                (if (i32.lt_s (call $sink (i32.const 4096) (i32.const 6)) (i32.const 0))
                    (then (unreachable))))"#,
        );
    let module = scene.module("asking", &asking.text());
    let module = module.to_str().unwrap();
    let refused = async |verb: &[&str], flags: &[&str], words: &[&str]| {
        let oplet = oplet().args(verb).arg(module).args(flags);
        Ended::of(oplet.args(["--uri", NOWHERE]))
            .await
            .is_refused(words);
    };
    let redrive = ["dead-letters", "redrive"];
    for verb in [&["run"][..], &redrive] {
        let words = ["the module `asking` cannot be started"];
        refused(verb, &[], &words).await;
        refused(verb, &["--sink", "copie=null"], &words).await;
        refused(
            verb,
            &["--sink", "nul"],
            &["--sink: ", "did you mean `null`?"],
        )
        .await;
        let twice = ["--sink", "copies=null", "--sink", "copies=stdout"];
        refused(verb, &twice, &["two sinks are named `copies`"]).await;
    }
    // With the sink it starts, and gets as far as to look for the server.
    let named = [
        "--sink",
        "copies=null",
        "--connect-timeout",
        "1s",
        "--uri",
        NOWHERE,
    ];
    let oplet = oplet().args(redrive).arg(module).args(named);
    Ended::of(oplet)
        .await
        .with_code(1)
        .says(&["no server answered"]);
}

#[tokio::test]
async fn a_configuration_says_what_the_run_had() {
    let (folder, path, store) = file();
    let mine = letter(ECHO, 1, 1, doc! {});
    let mut other = letter(ECHO, 2, 2, doc! {});
    other.name = "elsewhere".into();
    other.id = format!("elsewhere/{}", other.id);
    store.insert(&[mine, other]).await.unwrap();
    let (database, things) = picky().await;
    let uri = ReplicaSet::shared().await.unwrap().uri();
    let text = format!(
        "name = 'run'
        [source]
        uri = '{uri}'
        [dead-letters]
        store = 'file:{}'
        [[module]]
        path = 'not-built.wasm'
        name = 'not_built'
        [[module]]
        path = '{}'
        name = '{ECHO}'
        [[sink]]
        url = 'mongodb:{}.things'",
        path.display(),
        guest(ECHO).unwrap().display(),
        database.name(),
    );
    let configuration = folder.path().join("oplet.toml");
    fs::write(&configuration, text).unwrap();
    let redrive = async |flags: &[&str]| {
        let oplet = oplet().args(["dead-letters", "redrive", "--config"]);
        Ended::of(oplet.arg(&configuration).args(flags)).await
    };
    redrive(&[]).await.is_refused(&[
        "the run has several modules: `not_built`, `guest_echo`",
        "--module",
    ]);
    redrive(&["--module", "guest_ech"])
        .await
        .is_refused(&["no such module `guest_ech`; did you mean `guest_echo`?"]);
    redrive(&["--module", ECHO])
        .await
        .with_code(0)
        .says(&["letters: 1 succeeded"]);
    assert_eq!(op_of(&things, 1).await.as_deref(), Some("1:1:0"));
    assert_eq!(op_ids(&store, Filter::default()).await, ["2:1:0"]);

    // Flags win.
    let flags = ["--module", ECHO, "--name", "elsewhere", "--sink", "stdout"];
    let ended = redrive(&flags).await.with_code(0);
    assert_eq!(ended.documents().len(), 1);
    assert_eq!(op_of(&things, 2).await, None);
}
