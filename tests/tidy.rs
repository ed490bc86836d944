//! The arrows between the rooms of the host, read from their `use` lines.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Which rooms each room may use. The stages meet in `control` alone; leaves know no one but the
/// nouns.
const ARROWS: &[(&str, &[&str])] = &[
    ("backoff", &[]),
    ("op", &[]),
    ("guest", &["op"]),
    // Source code to modules; knows nothing of what runs them.
    ("project", &[]),
    ("replay", &["guest", "op"]),
    ("telemetry", &["op"]),
    ("mongo", &["backoff", "op"]),
    ("source", &["backoff", "mongo", "op"]),
    ("flow", &["backoff", "mongo", "op"]),
    ("sink", &["backoff", "mongo", "op"]),
    ("dead_letters", &["backoff", "mongo", "op"]),
    ("checkpoint", &["backoff", "mongo", "op"]),
    // Of the binary, as the command line is: only that uses it.
    ("config", &[]),
    (
        "control",
        &[
            "backoff",
            "checkpoint",
            "dead_letters",
            "flow",
            "guest",
            "mongo",
            "op",
            "replay",
            "sink",
            "source",
            "telemetry",
        ],
    ),
    ("admin", &["control", "op", "telemetry"]),
    ("reload", &["control"]),
];

/// How long a file may be before it has to be two.
const LINES_MAX: usize = 500;

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("its entries, too").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The host's source files, each with the room that it belongs to.
fn host_files() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    assert!(files.len() > 30, "these are all files of the host");
    let room = |path: &Path| {
        let inside = path.strip_prefix(&root).expect("it lies there");
        let first = inside
            .components()
            .next()
            .expect("it has a name")
            .as_os_str();
        first.to_string_lossy().trim_end_matches(".rs").to_owned()
    };
    files.into_iter().map(|path| (room(&path), path)).collect()
}

/// The rooms that a file names after `crate::`, also inside `use crate::{...}`.
fn used_rooms(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let is_other_crate =
            text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        if is_other_crate {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => rooms.push(rest),
            Some(list) => {
                // The names at the first level of the braces.
                let mut depth = 1;
                let mut start = 0;
                for (index, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 || (depth == 1 && c == ',') {
                        rooms.push(&list[start..index]);
                        start = index + 1;
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
    }
    let name = |rest: &str| {
        rest.trim()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    rooms
        .into_iter()
        .map(name)
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn rooms_keep_to_their_arrows() {
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (room, path) in host_files() {
        if matches!(room.as_str(), "lib" | "main" | "cli") {
            continue;
        }
        let allowed = arrows
            .get(room.as_str())
            .unwrap_or_else(|| panic!("{room} has no arrows yet"));
        let text = fs::read_to_string(&path).expect("a source file can be read");
        for used in used_rooms(&text) {
            if used != room && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{} uses {used}", path.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn arrows_are_read_from_any_form_of_use() {
    let text = "use crate::op::Op;\nuse crate::{\n  flow::{Cut, Lanes},\n  mongo,\n};\n$crate::x; my_crate::y; pub(crate) fn f() { crate::sink::NAMES }";
    assert_eq!(used_rooms(text), ["op", "flow", "mongo", "sink"]);
}

#[test]
fn only_mongo_builds_clients() {
    for (room, path) in host_files() {
        let text = fs::read_to_string(&path).expect("a source file can be read");
        let builds = text.contains("Client::with_options") || text.contains("Client::with_uri");
        assert!(!builds || room == "mongo", "{}", path.display());
    }
}

#[test]
fn only_config_reads_the_environment() {
    for (room, path) in host_files() {
        let text = fs::read_to_string(&path).expect("a source file can be read");
        let reads = text.contains("env::var(") || text.contains("env::var_os(");
        assert!(!reads || room == "config", "{}", path.display());
    }
}

#[test]
fn no_file_has_two_nouns() {
    for (_, path) in host_files() {
        let text = fs::read_to_string(&path).expect("a source file can be read");
        let code = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        assert!(
            code.lines().count() <= LINES_MAX,
            "{} is longer than {LINES_MAX} lines",
            path.display()
        );
    }
}
