//! Each demand that gtm's behaviour makes of its successor, as one test: the rows of the table in
//! `docs/gtm.md`, whose numbers the names begin with.

mod direct_reads;
mod library;
mod oplog;
mod segments;
mod shards;
mod streams;
mod worker_lists;
mod workers;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use oplet_testkit::workspace;

/// How many demands there are.
const DEMANDS: u32 = 48;

/// The number that a test's name begins with, as in `a07_filters_on_type`.
fn number(name: &str) -> Option<u32> {
    let (number, _) = name.strip_prefix('a')?.split_once('_')?;
    number.parse().ok()
}

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

/// The tests of this folder by the numbers of their demands.
fn tests() -> BTreeMap<u32, Vec<String>> {
    let mut files = Vec::new();
    rust_files(&workspace::root().join("tests/gtm"), &mut files);
    let mut tests = BTreeMap::<u32, Vec<String>>::new();
    for file in files {
        let text = fs::read_to_string(file).expect("a source file can be read");
        let names = text.split("fn ").skip(1);
        let names = names.filter_map(|rest| rest.split(['(', '<']).next());
        for name in names {
            if let Some(number) = number(name) {
                tests.entry(number).or_default().push(name.to_owned());
            }
        }
    }
    tests
}

#[test]
fn each_demand_has_its_test_and_the_page_names_it() {
    let tests = tests();
    let page =
        fs::read_to_string(workspace::root().join("docs/gtm.md")).expect("the page is there");
    for demand in 1..=DEMANDS {
        let row = format!("| A{demand} |");
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with(&row)).collect();
        let [row] = rows[..] else {
            panic!("rows of A{demand}: {rows:?}");
        };
        let mut named: Vec<_> = row
            .split('`')
            .filter(|name| number(name) == Some(demand))
            .collect();
        named.sort_unstable();
        let mut there = tests.get(&demand).cloned().unwrap_or_default();
        there.sort_unstable();
        assert!(!there.is_empty(), "A{demand} has no test");
        assert_eq!(
            named, there,
            "tests that the page names of A{demand}, and those that there are"
        );
    }
    assert_eq!(tests.len(), DEMANDS as usize, "{:?}", tests.keys());
}
