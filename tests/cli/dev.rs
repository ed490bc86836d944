//! `oplet dev`: a handler that is written while it runs.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use bson::doc;
use oplet::mongo::connect_client;
use oplet_testkit::{Oplet, RunningOplet, Signal, workspace};

use super::{
    Transcript,
    project::{TARGET, new, succeeds},
};
use crate::oplet;

/// The first build compiles all dependencies, beside other tests.
const FIRST_BUILD: Duration = Duration::from_secs(500);

const SOON: Duration = Duration::from_secs(120);

/// The mongod of this checkout, unless one is on the search path.
fn dev(project: &Path) -> Oplet {
    let dev = oplet()
        .arg("dev")
        .arg(project)
        .env("CARGO_TARGET_DIR", TARGET);
    let given = std::env::var_os("OPLET_MONGOD").map(PathBuf::from);
    let installed = workspace::root().join(".tools/mongod/bin/mongod");
    match given.or_else(|| installed.is_file().then_some(installed)) {
        Some(mongod) => dev.env("OPLET_MONGOD", mongod),
        None => dev,
    }
}

/// The connection string of its server, and that server's address.
async fn server(dev: &RunningOplet) -> (String, String) {
    let is_server = |line: &str| line.starts_with("server ");
    let line = dev.wait_for_stderr(is_server, FIRST_BUILD).await.unwrap();
    let uri = line.split_whitespace().nth(1).unwrap().to_owned();
    let address = uri.trim_start_matches("mongodb://");
    let address = address.split('/').next().unwrap().to_owned();
    (uri, address)
}

async fn waits_for(dev: &RunningOplet, words: &str) {
    let has = |line: &str| line.contains(words);
    dev.wait_for_stderr(has, SOON).await.unwrap();
}

async fn prints(dev: &RunningOplet, words: &str) {
    let has = |line: &str| line.contains(words);
    dev.wait_for_line(has, SOON).await.unwrap();
}

#[tokio::test]
async fn what_is_saved_takes_over_and_what_is_broken_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let project = new("dev-orders", "rust", folder.path());
    let lock = workspace::root().join("Cargo.lock");
    fs::copy(lock, project.join("Cargo.lock")).unwrap();
    let source = project.join("src/lib.rs");
    let first = fs::read_to_string(&source).unwrap();

    // It stays also when there is nothing to run yet.
    fs::write(&source, first.replace("amount: total", "amount: totl")).unwrap();
    let samples = project.join("ops.jsonl");
    let dev = dev(&project).arg("--seed").arg(samples).start().unwrap();
    let waits = |line: &str| line.contains("waiting  for the next save");
    dev.wait_for_stderr(waits, FIRST_BUILD).await.unwrap();
    waits_for(&dev, "cannot find value `totl`").await;
    fs::write(&source, &first).unwrap();
    let (uri, address) = server(&dev).await;
    waits_for(&dev, "ready    generation 1  built in ").await;
    waits_for(&dev, "seeded   5 changes").await;
    prints(&dev, r#""customer":"Zoë","amount":120.25}"#).await;
    prints(&dev, r#""customer":"Ann","amount":9.5}"#).await;

    let client = connect_client(&uri, None).await.unwrap();
    let orders = client.database("shop").collection("orders");
    let order = |customer: &str| doc! {"customer": customer, "total": 7.0, "status": "paid"};
    orders.insert_one(order("Bo")).await.unwrap();
    prints(&dev, r#""customer":"Bo","amount":7.0}"#).await;
    waits_for(&dev, " insert  shop.orders ").await;

    fs::write(
        &source,
        first.replace("amount: total", "amount: total * 2.0"),
    )
    .unwrap();
    waits_for(&dev, "ready    generation 2  built in ").await;
    orders.insert_one(order("Cy")).await.unwrap();
    prints(&dev, r#""customer":"Cy","amount":14.0}"#).await;

    fs::write(&source, first.replace("amount: total", "amount: total *")).unwrap();
    waits_for(&dev, "waiting  generation 2 goes on").await;
    orders.insert_one(order("Di")).await.unwrap();
    prints(&dev, r#""customer":"Di","amount":14.0}"#).await;

    // A panic is told with its place, and ends nothing.
    let strict = "assert!(total < 100.0);\n        emit(&Invoice";
    fs::write(&source, first.replace("emit(&Invoice", strict)).unwrap();
    waits_for(&dev, "ready    generation 3  built in ").await;
    let dear = doc! {"customer": "Ed", "total": 700.0, "status": "paid"};
    orders.insert_one(dear).await.unwrap();
    waits_for(&dev, "src/lib.rs:38:").await;
    waits_for(&dev, "`oplet replay` takes it").await;
    orders.insert_one(order("Flo")).await.unwrap();
    prints(&dev, r#""customer":"Flo","amount":7.0}"#).await;
    client.shutdown().await;

    dev.signal(Signal::Interrupt).unwrap();
    assert_eq!(dev.wait_exit(SOON).await.unwrap(), 0);
    assert!(TcpStream::connect(&address).is_err(), "its server is gone");
}

#[tokio::test]
async fn a_saved_handler_in_assemblyscript_takes_over_too() {
    let folder = tempfile::tempdir().unwrap();
    let project = new("dev-audit", "assemblyscript", folder.path());
    // What the set-up of this checkout has fetched is in npm's cache.
    let install = ["install", "--prefer-offline", "--no-audit", "--no-fund"];
    succeeds("npm", &install, &project);
    let source = project.join("assembly/index.ts");
    let first = fs::read_to_string(&source).unwrap();
    let samples = folder.path().join("samples.jsonl");
    let order =
        r#"{"ns": "shop.orders", "doc": {"customer": "Bo", "total": 7.0, "status": "paid"}}"#;
    fs::write(&samples, order).unwrap();
    let dev = dev(&project).arg("--seed").arg(samples).start().unwrap();
    let (uri, _) = server(&dev).await;
    prints(&dev, r#""customer":"Bo","amount":7.0}"#).await;

    // The compiler stays, also after a mistake.
    fs::write(
        &source,
        first.replace("const customer =", "const customer: i32 ="),
    )
    .unwrap();
    waits_for(&dev, "ERROR TS2322").await;
    waits_for(&dev, "assembly/index.ts(").await;
    waits_for(&dev, "waiting  generation 1 goes on").await;
    let total = r#"order.getF64("total")"#;
    let double = format!("{total} * 2.0");
    fs::write(&source, first.replace(total, &double)).unwrap();
    waits_for(&dev, "ready    generation 2  built in ").await;
    let client = connect_client(&uri, None).await.unwrap();
    let orders = client.database("shop").collection("orders");
    let order = doc! {"customer": "Cy", "total": 7.0, "status": "paid"};
    orders.insert_one(order).await.unwrap();
    prints(&dev, r#""customer":"Cy","amount":14.0}"#).await;
    client.shutdown().await;
    dev.signal(Signal::Terminate).unwrap();
    assert_eq!(dev.wait_exit(SOON).await.unwrap(), 0);
}

#[tokio::test]
async fn a_killed_dev_leaves_no_server_behind() {
    let folder = tempfile::tempdir().unwrap();
    // What cannot be built: the server alone is wanted.
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("src/lib.rs"), "fn fn").unwrap();
    let manifest = "[workspace]\n[package]\nname = 'broken'\n[lib]\ncrate-type = ['cdylib']\n";
    fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    let temporary = folder.path().join("temporary");
    fs::create_dir(&temporary).unwrap();
    let dev = dev(folder.path())
        .env("TMPDIR", &temporary)
        .start()
        .unwrap();
    waits_for(&dev, "waiting  for the next save").await;
    let folders = || fs::read_dir(&temporary).unwrap().count();
    oplet_testkit::eventually(SOON, async || folders() == 1)
        .await
        .unwrap();
    dev.signal(Signal::Kill).unwrap();
    oplet_testkit::eventually(SOON, async || folders() == 0)
        .await
        .unwrap();
}

#[tokio::test]
async fn dev_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    let project = new("here", "rust", folder.path());
    fs::write(project.join("bad.jsonl"), "{\"a\": 1}\n{\n").unwrap();
    let mut seen = Transcript::new(folder.path());
    for arguments in [
        &["dev", "nowhere"][..],
        &["dev", "empty"],
        &["dev", "here", "--seed", "none.jsonl"],
        &["dev", "here", "--seed", "here/bad.jsonl"],
        &["dev", "here", "--uri", "localhost"],
        &["dev", "here", "--sink", "nowhere"],
    ] {
        seen.refused(arguments).await;
    }
    insta::assert_snapshot!("refused_dev", seen.text());
}
