//! Help texts, and what `inspect` tells.

use std::path::Path;

use oplet_testkit::guest;

use super::Transcript;

#[tokio::test]
async fn help_teaches() {
    for (name, arguments) in [
        ("help", vec!["--help"]),
        ("help_new", vec!["new", "--help"]),
        ("help_build", vec!["build", "--help"]),
        ("help_completions", vec!["completions", "--help"]),
        ("help_man", vec!["man", "--help"]),
        ("help_dev", vec!["dev", "--help"]),
        ("help_run", vec!["run", "--help"]),
        ("help_run_short", vec!["run", "-h"]),
        ("help_check", vec!["check", "--help"]),
        ("help_tail", vec!["tail", "--help"]),
        ("help_inspect", vec!["inspect", "--help"]),
        ("help_status", vec!["status", "--help"]),
        ("help_seek", vec!["seek", "--help"]),
        ("help_swap", vec!["swap", "--help"]),
        ("help_profile", vec!["profile", "--help"]),
        ("help_checkpoint", vec!["checkpoint", "--help"]),
        ("help_checkpoint_show", vec!["checkpoint", "show", "--help"]),
        ("help_checkpoint_set", vec!["checkpoint", "set", "--help"]),
        (
            "help_checkpoint_clear",
            vec!["checkpoint", "clear", "--help"],
        ),
    ] {
        let mut seen = Transcript::new(Path::new("."));
        assert_eq!(seen.run(&arguments).await.code, 0);
        insta::assert_snapshot!(name, seen.text());
    }
}

#[tokio::test]
async fn inspect_tells_what_a_module_is() {
    let module = guest("new_users").unwrap();
    let mut seen = Transcript::new(module.parent().unwrap());
    assert_eq!(seen.run(&["inspect", "new_users.wasm"]).await.code, 0);
    insta::assert_snapshot!("inspect", seen.without_compiler());
}

#[tokio::test]
async fn inspect_tells_programs_the_same_in_json() {
    let module = guest("new_users").unwrap();
    let mut seen = Transcript::new(module.parent().unwrap());
    let ended = seen
        .run(&["inspect", "new_users.wasm", "--json"])
        .await
        .with_code(0);
    let [inspection] = &ended.documents()[..] else {
        panic!("one document: {:?}", ended.stdout);
    };
    assert_eq!(inspection["abi_version"], 1);
    assert_eq!(inspection["findings"], serde_json::json!([]));
    // Programs branch by the kind, people read the rest.
    let warnings = inspection["warnings"].as_array().unwrap();
    let [warning] = &warnings[..] else {
        panic!("one warning: {warnings:?}");
    };
    assert_eq!(warning["kind"], "unbounded-memory");
    assert!(warning["message"].is_string() && warning["hint"].is_string());
    let exports = inspection["exports"].as_array().unwrap();
    assert!(exports.iter().any(|export| export["name"] == "handle"));
}
