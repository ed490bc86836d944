//! What the pages show is taken by the program.

use std::fs;

use oplet_testkit::{guest, workspace};
use tempfile::TempDir;

use crate::{modules::Ended, oplet};

/// A page of the documentation.
fn page(name: &str) -> String {
    fs::read_to_string(workspace::root().join("docs").join(name)).unwrap()
}

/// The blocks of a page in that language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    let after = page.split(&begin).skip(1);
    after
        .filter_map(|rest| rest.split_once("```"))
        .map(|(block, _)| block.to_owned())
        .collect()
}

/// A folder with what the examples name.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let module = guest("new_users").unwrap();
    fs::copy(module, folder.path().join("new_users.wasm")).unwrap();
    for secret in ["token", "events-password", "billing-token"] {
        fs::write(folder.path().join(secret), "s3cret\n").unwrap();
    }
    folder
}

#[tokio::test]
async fn sinks_in_a_file_are_as_the_page_says() {
    let examples = blocks(&page("sinks.md"), "toml");
    assert!(examples.len() >= 4, "{examples:?}");
    for example in examples {
        let folder = folder();
        let file = format!("[[module]]\npath = 'new_users.wasm'\n{example}");
        fs::write(folder.path().join("oplet.toml"), file).unwrap();
        let check = oplet()
            .in_folder(folder.path())
            .args(["check", "--config", "oplet.toml"]);
        let ended = Ended::of(check).await;
        assert_eq!(ended.code, 0, "{example}\n{}", ended.stderr);
        let is_sink = |line: &&String| line.starts_with("sink ");
        let sinks = ended.stdout.iter().filter(is_sink).count();
        assert_eq!(sinks, example.matches("[[sink]]").count(), "{example}");
    }
}

#[tokio::test]
async fn the_file_of_the_readme_is_right() {
    let readme = fs::read_to_string(workspace::root().join("README.md")).unwrap();
    let example = blocks(&readme, "toml").pop().expect("there is one");
    let folder = folder();
    let module = folder.path().join("new_users.wasm");
    fs::copy(module, folder.path().join("invoices.wasm")).unwrap();
    fs::write(folder.path().join("oplet.toml"), example).unwrap();
    let check = oplet()
        .in_folder(folder.path())
        .env("ORDERS_URI", "mongodb://localhost")
        .args(["check", "--config", "oplet.toml"]);
    Ended::of(check).await.with_code(0);
}

#[tokio::test]
async fn sinks_of_a_flag_are_as_the_page_says() {
    let page = page("sinks.md");
    let examples = blocks(&page, "sh");
    let lines: Vec<&str> = examples.iter().flat_map(|block| block.lines()).collect();
    assert!(lines.len() >= 5, "{lines:?}");
    for line in lines {
        let folder = folder();
        // Quotes are whole words, or the end of one.
        let mut words = line.split_whitespace().map(|word| word.replace('\'', ""));
        assert_eq!(words.next().as_deref(), Some("oplet"), "{line}");
        assert_eq!(words.next().as_deref(), Some("run"), "{line}");
        let module = words.next().unwrap_or_default();
        assert!(module.ends_with(".wasm"), "{line}");
        let check = oplet()
            // As a user has it, who says nothing of it.
            .env("OPLET_CHECKPOINT", "mongodb:oplet.checkpoints")
            .in_folder(folder.path())
            .args(["check", "new_users.wasm"])
            .args(words);
        let ended = Ended::of(check).await;
        assert_eq!(ended.code, 0, "{line}\n{}", ended.stderr);
    }
}
