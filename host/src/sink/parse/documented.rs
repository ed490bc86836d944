//! What `docs/sinks.md` says of the settings is what the code knows.

use std::collections::BTreeSet;

use super::{COMMON_KEYS, CONCURRENT_KEYS, HTTP_KEYS, MONGODB_KEYS, Spec};

const PAGE: &str = include_str!("../../../../docs/sinks.md");

/// The title of each kind's section, a URL of it, and its column in the table that all share.
const KINDS: [(&str, &str, usize); 5] = [
    ("stdout", "stdout", 1),
    ("file", "file:x", 1),
    ("null", "null", 2),
    ("mongodb", "mongodb:a.b", 3),
    ("http and https", "https://h/", 4),
];

/// Settings that cannot be given alone, with what they need.
const COMPANIONS: [(&str, &str); 3] = [
    ("basic-user", "&basic-password-env=P"),
    ("basic-password-file", "&basic-user=me"),
    ("basic-password-env", "&basic-user=me"),
];

/// The rows of the tables of a section whose first cell is a setting.
fn rows(title: &str) -> Vec<Vec<String>> {
    let heading = format!("\n## {title}\n");
    let (_, section) = PAGE
        .split_once(&heading)
        .unwrap_or_else(|| panic!("there is no section {title}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut is_of_keys = false;
    let mut rows = Vec::new();
    for line in section.lines() {
        let cells: Vec<String> = line
            .trim_matches('|')
            .split(" | ")
            .map(|cell| cell.trim().to_owned())
            .collect();
        if !line.starts_with('|') {
            is_of_keys = false;
        } else if cells[0] == "key" {
            is_of_keys = true;
        } else if is_of_keys && !line.starts_with("|---") {
            rows.push(cells);
        }
    }
    rows
}

fn bare(cell: &str) -> String {
    cell.replace('`', "")
}

/// The settings of a kind, each with its default.
fn documented(title: &str, column: usize) -> Vec<(String, String)> {
    let common = rows("What all have in common");
    let common = common.iter().filter(|cells| cells[column] != "-");
    let of = |cells: &Vec<String>, column: usize| (bare(&cells[0]), bare(&cells[column]));
    let mut all: Vec<_> = common.map(|cells| of(cells, column)).collect();
    all.extend(rows(title).iter().map(|cells| of(cells, 1)));
    all
}

/// A value that a setting can have, where it has no default that could be written.
fn sample(key: &str) -> &'static str {
    match key {
        "give-up-after-s" | "time-limit-ms" | "rotate-age-s" => "7",
        "rotate-bytes" => "4096",
        "namespace-field" | "mode-field" => "to",
        _ => "x",
    }
}

fn accepts(url: &str, key: &str, value: &str) -> Result<Spec, String> {
    let needed = COMPANIONS.iter().find(|(of, _)| *of == key);
    let needed = needed.map_or("", |(_, needed)| needed);
    // The collection is named in the URL, or by this setting.
    let (url, value) = match key {
        "namespace" => ("mongodb:", "a.b"),
        _ => (url, value),
    };
    let text = format!("{url}#{key}={value}{needed}");
    text.parse()
        .map_err(|error| format!("{text} is refused: {error}"))
}

#[test]
fn every_default_is_the_documented_one() {
    for (title, url, column) in KINDS {
        let plain: Spec = url.parse().unwrap();
        for (key, default) in documented(title, column) {
            let word = default.split([',', ' ']).next().unwrap_or_default();
            let has_default = !matches!(word, "none" | "never" | "the");
            let value = if has_default { word } else { sample(&key) };
            let spec = accepts(url, &key, value).unwrap();
            // What names the collection is in the other URL.
            let is_same = spec == plain && key != "namespace";
            assert_eq!(is_same, has_default, "{title}: {key}");
        }
    }
    let lines: Spec = "https://h/#body=lines".parse().unwrap();
    let cell = &rows("What all have in common")[0][4];
    let documents = format!("or {} with", lines.batching.documents_max);
    assert!(cell.contains(&documents), "{cell}");
}

#[test]
fn every_setting_is_documented_where_it_is_taken() {
    let mut known: BTreeSet<&str> = ["format", "rotate-bytes", "rotate-age-s"].into();
    known.extend(COMMON_KEYS.iter().chain(&CONCURRENT_KEYS));
    known.extend(MONGODB_KEYS.iter().chain(&HTTP_KEYS));
    for (title, url, column) in KINDS {
        let documented = documented(title, column);
        let plain = kind(&url.parse().unwrap());
        for key in &known {
            let is_documented = documented.iter().any(|(of, _)| of == key);
            // One of these fits each setting; `namespace` makes a sink of another kind of any.
            let is_taken = ["x", "7", "4096", "true", "json", "insert", "lines"]
                .iter()
                .any(|value| accepts(url, key, value).is_ok_and(|spec| kind(&spec) == plain));
            assert_eq!(is_taken, is_documented, "{title}: {key}");
        }
        for (key, _) in documented {
            assert!(known.contains(key.as_str()), "{title}: {key}");
        }
    }
}

fn kind(spec: &Spec) -> &'static str {
    spec.kind.as_str()
}
