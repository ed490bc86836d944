//! From `oplet new` to output on a live insert, as a new user goes; and what is said on the way when
//! something is wrong.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bson::doc;
use oplet_testkit::workspace;

use super::Transcript;
use crate::modules::Scene;

/// Where the projects of these tests build: kept, so that only the first run compiles dependencies.
pub(super) const TARGET: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/projects");

/// Runs a command to its end, however long it takes; gives its exit code, and all it said.
#[track_caller]
fn run(program: &str, arguments: &[&str], folder: &Path) -> (i32, String) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", TARGET)
        .env_remove("OPLET_WASM_TOOLCHAIN")
        // Scripts of packages call oplet by its name.
        .env("PATH", path())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

/// The search path, with the oplet that was built with these tests before all else.
fn path() -> OsString {
    let built = Path::new(env!("CARGO_BIN_EXE_oplet")).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(built.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap()
}

#[track_caller]
pub(super) fn succeeds(program: &str, arguments: &[&str], folder: &Path) -> String {
    let (code, said) = run(program, arguments, folder);
    assert_eq!(code, 0, "{program} {arguments:?}: {said}");
    said
}

fn oplet(arguments: &[&str], folder: &Path) -> (i32, String) {
    run(env!("CARGO_BIN_EXE_oplet"), arguments, folder)
}

/// A new handler, with the SDK of this checkout.
pub(super) fn new(name: &str, language: &str, folder: &Path) -> PathBuf {
    let sdk = workspace::root().join("guest-sdk");
    let arguments = [
        "new",
        name,
        "--lang",
        language,
        "--sdk",
        sdk.to_str().unwrap(),
    ];
    let (code, said) = oplet(&arguments, folder);
    assert_eq!(code, 0, "{said}");
    folder.join(name)
}

/// Builds the handler, which leaves nothing to be desired, and runs it over orders that are placed and
/// paid.
async fn builds_and_runs(project: &Path, module: &str) {
    let (code, said) = oplet(&["build"], project);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains(&format!("built build/{module}.wasm with ")),
        "{said}"
    );
    assert!(said.contains("ok       the module can be run"), "{said}");
    assert!(!said.contains("warning  "), "{said}");
    let entries = fs::read_dir(project.join("build")).unwrap();
    assert_eq!(entries.count(), 1, "the module alone is there");

    // The template names its namespace, so each language has a server's worth of its own ops by time.
    let scene = Scene::in_database("shop".into()).await;
    let orders = scene.collection("orders");
    orders.delete_many(doc! {}).await.unwrap();
    let order = doc! {"_id": module, "customer": "Zoë", "total": 120.25, "status": "open"};
    orders.insert_one(&order).await.unwrap();
    let pay = doc! {"$set": {"status": "paid"}};
    orders.update_one(doc! {"_id": module}, pay).await.unwrap();
    let wasm = project.join(format!("build/{module}.wasm"));
    for source in ["change-stream", "oplog"] {
        let ended = scene
            .run_over(&[&wasm], ["--source", source])
            .await
            .with_code(0);
        let documents = ended.documents();
        let [invoice] = &documents[..] else {
            panic!("one invoice: {documents:?}");
        };
        assert_eq!(
            (&invoice["customer"], &invoice["amount"]),
            (&"Zoë".into(), &120.25.into())
        );
    }
}

/// One after the other: both watch the database of the samples.
#[tokio::test]
async fn a_new_handler_passes_its_test_and_runs_at_once() {
    a_new_handler_in_rust().await;
    a_new_handler_in_assemblyscript().await;
}

async fn a_new_handler_in_rust() {
    let folder = tempfile::tempdir().unwrap();
    let project = new("paid-orders", "rust", folder.path());
    // The versions that this checkout is tested with.
    fs::copy(
        workspace::root().join("Cargo.lock"),
        project.join("Cargo.lock"),
    )
    .unwrap();
    succeeds("cargo", &["fmt", "--check"], &project);
    let said = succeeds("cargo", &["test"], &project);
    assert!(said.contains("test result: ok. 2 passed"), "{said}");
    builds_and_runs(&project, "paid_orders").await;

    // A mistake is told as the compiler has it, and the module from before stays.
    let module = project.join("build/paid_orders.wasm");
    let before = fs::read(&module).unwrap();
    let source = fs::read_to_string(project.join("src/lib.rs")).unwrap();
    let wrong = source.replace("amount: f64", "amount: u8");
    fs::write(project.join("src/lib.rs"), wrong).unwrap();
    let (code, said) = oplet(&["build"], &project);
    assert_eq!(code, 1, "{said}");
    let place = format!("{}:", Path::new("src/lib.rs").display());
    for words in ["error[E0308]: mismatched types", &place, "amount: total"] {
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(fs::read(&module).unwrap(), before);

    fs::write(project.join("src/lib.rs"), source).unwrap();
    let (code, said) = oplet(&["build"], &project);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("which is as it was"), "{said}");
}

async fn a_new_handler_in_assemblyscript() {
    let folder = tempfile::tempdir().unwrap();
    let project = new("audit", "assemblyscript", folder.path());
    // What the set-up of this checkout has fetched is in npm's cache.
    let install = ["install", "--prefer-offline", "--no-audit", "--no-fund"];
    succeeds("npm", &install, &project);
    let said = succeeds("npm", &["test"], &project);
    assert!(said.contains("built build/audit.wasm with asc"), "{said}");
    builds_and_runs(&project, "audit").await;

    let source = fs::read_to_string(project.join("assembly/index.ts")).unwrap();
    let wrong = source.replace("const customer", "const customer: i32");
    fs::write(project.join("assembly/index.ts"), wrong).unwrap();
    let (code, said) = oplet(&["build"], &project);
    assert_eq!(code, 1, "{said}");
    for words in [
        "ERROR",
        "assembly/index.ts(",
        "asc could not build the handler",
    ] {
        assert!(said.contains(words), "{said}");
    }
}

/// A crate without dependencies.
fn bare_crate(folder: &Path, library: &str, source: &str) {
    let manifest =
        format!("[workspace]\n[package]\nname = \"bare\"\nedition = \"2024\"\n[lib]\n{library}\n");
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/lib.rs"), source).unwrap();
}

#[test]
fn what_is_built_is_inspected_and_refused_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let check = |library: &str, source: &str, code: i32, words: &[&str]| {
        bare_crate(folder.path(), library, source);
        let (ended, said) = oplet(&["build", "."], folder.path());
        assert_eq!(ended, code, "{said}");
        for word in words {
            assert!(said.contains(word), "`{word}` in: {said}");
        }
    };
    let cdylib = "crate-type = ['cdylib']";
    let no_handler = [
        "refused  exports no `oplet_abi_v1`",
        "error: the module would be refused",
    ];
    check(cdylib, "", 2, &no_handler);
    let no_module = [
        "Cargo.toml makes no module",
        "hint: put `crate-type = [\"cdylib\", \"rlib\"]`",
    ];
    check("", "", 2, &no_module);
    let wrong = [
        "error: expected one of",
        "src/lib.rs:1:",
        "cargo could not build the handler",
    ];
    check(cdylib, "fn fn", 1, &["src/lib.rs:1:", wrong[2]]);
}

#[tokio::test]
async fn new_and_build_say_what_is_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Transcript::new(folder.path());
    assert_eq!(seen.run(&["new", "hello"]).await.code, 0);
    assert_eq!(
        seen.run(&["new", "audit", "--lang", "assemblyscript"])
            .await
            .code,
        0
    );
    fs::create_dir(folder.path().join("mine")).unwrap();
    fs::write(folder.path().join("mine/README.md"), "mine").unwrap();
    fs::create_dir(folder.path().join("members")).unwrap();
    fs::write(folder.path().join("members/Cargo.toml"), "[workspace]\n").unwrap();
    for arguments in [
        &["new", "hello"][..],
        &["new", "mine"],
        &["new", "My Handler"],
        &["new", "test"],
        &["new", "a", "--name", "2"],
        &["new", "a", "--lang", "rusty"],
        &["new", "a", "--sdk", "nowhere"],
        &["new", "a", "--lang", "assemblyscript", "--sdk", "hello"],
        &["build", "nowhere"],
        &["build", "mine"],
        &["build", "members"],
        &["build", "--optimize", "fast"],
        &["build", "--dev", "--optimize", "size"],
        &["completions", "cmd"],
        &["man", "rum"],
    ] {
        seen.refused(arguments).await;
    }
    assert!(
        !folder.path().join("a").exists(),
        "what is refused leaves nothing behind"
    );
    insta::assert_snapshot!("refused_projects", seen.text());
}

#[test]
fn completions_and_manual_pages_know_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    let ask = |arguments: &[&str]| {
        let (code, said) = oplet(arguments, folder.path());
        assert_eq!(code, 0, "{said}");
        said
    };
    let help = ask(&["--help"]);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    // Descriptions go on in lines that are indented further.
    let verbs: Vec<&str> = commands
        .lines()
        .filter(|line| !line.starts_with("    "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(
        verbs.contains(&"new") && verbs.contains(&"dead-letters"),
        "{verbs:?}"
    );
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = ask(&["completions", shell]);
        for verb in &verbs {
            assert!(script.contains(verb), "{verb} in {shell}");
        }
    }
    fs::write(
        folder.path().join("oplet.bash"),
        ask(&["completions", "bash"]),
    )
    .unwrap();
    let script = "source ./oplet.bash; COMP_WORDS=(oplet inspect --js); COMP_CWORD=2; _oplet oplet --js inspect; echo \"${COMPREPLY[@]}\"";
    assert_eq!(
        succeeds("bash", &["-c", script], folder.path()).trim(),
        "--json"
    );

    assert!(ask(&["man"]).contains(".TH oplet 1"));
    let page = ask(&["man", "dead-letters", "redrive"]);
    assert!(page.contains("oplet\\-dead\\-letters\\-redrive"), "{page}");
    ask(&["man", "--out", "man1"]);
    for verb in verbs.iter().filter(|verb| **verb != "help") {
        let page = fs::read_to_string(folder.path().join(format!("man1/oplet-{verb}.1"))).unwrap();
        assert!(page.contains("SYNOPSIS"), "{verb}: {page}");
    }
    assert!(folder.path().join("man1/oplet-checkpoint-set.1").is_file());
}
