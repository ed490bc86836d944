//! `oplet check`: all that is wrong at once, or what would run, and where each value comes from.

use std::{fs, path::Path};

use oplet_testkit::{Oplet, guest, wat, workspace};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Transcript;
use crate::{
    modules::{Ended, NOWHERE},
    oplet,
};

/// A folder with `new_users.wasm` and a configuration.
fn folder(configuration: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let module = fs::read(guest("new_users").unwrap()).unwrap();
    fs::write(folder.path().join("new_users.wasm"), module).unwrap();
    fs::write(folder.path().join("oplet.toml"), configuration).unwrap();
    folder
}

fn check(folder: &Path) -> Oplet {
    oplet()
        .in_folder(folder)
        .args(["check", "--config", "oplet.toml"])
}

/// What `check` tells programs.
async fn told(check: Oplet, code: i32) -> Value {
    let ended = Ended::of(check.args(["--format", "json"]))
        .await
        .with_code(code);
    let [document] = &ended.documents()[..] else {
        panic!("one document: {:?}", ended.stdout);
    };
    document.clone()
}

const PLAN: &str = "name = 'orders'
[source]
uri = 'mongodb://ann:s3cret@localhost/?replicaSet=rs0'
watch = ['users.users', 'shop']
since = '90m'
[admin]
address = '127.0.0.1:9090'
[[module]]
path = 'new_users.wasm'
name = 'welcome'
on-error = 'skip'
[[sink]]
name = 'copies'
url = 'mongodb:shop.copies'
mode = 'replace'
[[sink]]
url = 'https://example.net/hook?sig=s3cret'
bearer-token-env = 'HOOK_TOKEN'
header = { x-team = 's3cret' }
";

#[tokio::test]
async fn the_plan_is_printed_without_secrets() {
    let folder = folder(PLAN);
    let mut seen = Transcript::without_uri(folder.path());
    for more in [&[][..], &["-v"]] {
        let arguments = [&["check", "--config", "oplet.toml", "--workers", "2"], more].concat();
        seen.run(&arguments).await.with_code(0);
    }
    let json = told(check(folder.path()), 0).await;
    assert_eq!(json["ok"], true);
    let text = seen.text().to_owned() + &json.to_string();
    assert!(!text.contains("s3cret"), "{text}");
    // The digest and the log's times are others each time.
    let digest = json["modules"][0]["digest"].as_str().unwrap();
    let text = seen.text().replace(&digest[..12], "DIGEST");
    let is_log = |line: &&str| line.contains(" DEBUG ");
    let lines: Vec<&str> = text.lines().filter(|line| !is_log(line)).collect();
    insta::assert_snapshot!("check_plan", lines.join("\n"));
}

#[tokio::test]
async fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder = folder(PLAN);
    let name = async |check: Oplet| told(check, 0).await["settings"]["name"].clone();
    let with_variable = || check(folder.path()).env("OPLET_NAME", "of_variable");
    assert_eq!(
        name(with_variable().args(["--name", "of_flag"])).await,
        json!({"value": "of_flag", "origin": {"from": "flag"}})
    );
    assert_eq!(
        name(with_variable()).await,
        json!({"value": "of_variable", "origin": {"from": "environment", "variable": "OPLET_NAME"}})
    );
    assert_eq!(
        name(check(folder.path())).await,
        json!({"value": "orders", "origin": {"from": "file", "line": 1}})
    );
    fs::write(
        folder.path().join("oplet.toml"),
        "[[module]]\npath = 'new_users.wasm'",
    )
    .unwrap();
    assert_eq!(
        name(check(folder.path())).await,
        json!({"value": "new_users", "origin": {"from": "default"}})
    );
    // A flag with a default of its own does not win unless it is given.
    fs::write(
        folder.path().join("oplet.toml"),
        "[source]\nkind = 'oplog'\n[[module]]\npath = 'new_users.wasm'",
    )
    .unwrap();
    let kind = async |check: Oplet| told(check, 0).await["settings"]["source.kind"].clone();
    assert_eq!(kind(check(folder.path())).await["value"], "oplog");
    let given = check(folder.path()).args(["--source", "change-stream"]);
    assert_eq!(kind(given).await["value"], "change-stream");
}

#[tokio::test]
async fn the_file_may_be_named_by_the_environment() {
    let folder = folder(PLAN);
    let check = oplet()
        .in_folder(folder.path())
        .arg("check")
        .env("OPLET_CONFIG", "oplet.toml");
    assert_eq!(told(check, 0).await["settings"]["name"]["value"], "orders");
}

const WRONG: &str = "nme = 'orders'
[source]
uri = 'mongodb://ann:s3cret@/'
kind = 'oplgo'
[[module]]
path = 'new_users.wasm'
";

const WRONG_MODULES: &str = "[source]
uri = 'mongodb://ann:s3cret@/'
[[module]]
path = 'new_user.wasm'
[[module]]
path = 'new_users.wasm'
config = { greeting = 'hello' }
[[module]]
path = 'text.wasm'
";

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let folder = folder(WRONG);
    fs::write(folder.path().join("text.wasm"), "not a module").unwrap();
    fs::write(folder.path().join("modules.toml"), WRONG_MODULES).unwrap();
    fs::write(folder.path().join("syntax.toml"), "name = 'orders").unwrap();
    let mut seen = Transcript::without_uri(folder.path());
    for file in ["oplet.toml", "modules.toml", "syntax.toml"] {
        seen.run(&["check", "--config", file]).await.with_code(4);
        seen.refused(&["run", "--config", file]).await;
    }
    assert!(!seen.text().contains("s3cret"), "{}", seen.text());
    insta::assert_snapshot!("check_wrong", seen.text());
    let json = told(check(folder.path()), 4).await;
    assert_eq!(json["ok"], false);
    let places: Vec<_> = json["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| &problem["place"]["line"])
        .collect();
    assert_eq!(places, [1, 4]);
}

#[tokio::test]
async fn a_module_is_configured_by_the_file_and_the_flag_on_top() {
    let folder = folder("[[module]]\npath = 'configured.wasm'\nconfig = { limit = 1, b = 2 }");
    // It takes a document of 23 bytes only, which the two numbers make, the first of which is 7.
    let module = wat(r#"(module (memory (export "memory") 1)
        (func (export "oplet_abi_v1"))
        (func (export "oplet_alloc") (param i32) (result i32) (i32.const 8))
        (func (export "oplet_configure") (param $at i32) (param $len i32) (result i32)
            (i32.or
                (i32.ne (local.get $len) (i32.const 23))
                (i32.ne (i32.load offset=11 (local.get $at)) (i32.const 7))))
        (func (export "handle") (param i32 i32) (result i32) (i32.const 0)))"#);
    fs::write(folder.path().join("configured.wasm"), module.unwrap()).unwrap();
    let with_flags = |flags: &'static [&'static str]| Ended::of(check(folder.path()).args(flags));
    let place = "it is named in oplet.toml:2";
    with_flags(&[]).await.with_code(4).says(&[place]);
    let run = oplet().in_folder(folder.path());
    let run = run.args(["run", "--config", "oplet.toml", "--uri", NOWHERE]);
    Ended::of(run).await.is_refused(&[place]);
    with_flags(&["--set", "limit=7"]).await.with_code(0);
    with_flags(&["--set", "limit=7", "--set", "more=7"])
        .await
        .with_code(4);
}

#[tokio::test]
async fn the_documented_example_is_right() {
    let page = fs::read_to_string(workspace::root().join("docs/configuration.md")).unwrap();
    let (_, rest) = page.split_once("```toml\n").expect("there is an example");
    let (example, _) = rest.split_once("```").expect("it has an end");
    let folder = folder(example);
    fs::write(folder.path().join("admin-token"), "t0ken\n").unwrap();
    for name in ["welcome.wasm", "audit.wasm"] {
        fs::copy(
            folder.path().join("new_users.wasm"),
            folder.path().join(name),
        )
        .unwrap();
    }
    let check = check(folder.path()).env("ORDERS_URI", "mongodb://localhost");
    let ended = Ended::of(check).await.with_code(0);
    assert!(ended.stdout.len() > 10, "{:?}", ended.stdout);
}
