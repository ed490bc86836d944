//! Files that are wrong, and what is said of them.

use super::{CommandLine, Layer, Scene, flag};

/// Each with what is wrong with it.
const FILES: &[(&str, &str)] = &[
    ("unknown keys", "nme = 'x'\n[sorce]\n[flow]\nworker = 2\npasword = 's3cret'"),
    (
        "wrong types",
        "name = 1\nmodule = 'a.wasm'\nflow = 2\n[source]\nkind = true\nwatch = ['shop', 7]\nbatch-size = '2'
[checkpoint]\nstandby = 1\nlease-s = 0.5",
    ),
    (
        "wrong words",
        "[source]\nkind = 'oplgo'\nwatch = ['shop.', 'local.x', '']\nsince = 'chekpoint'\non-position-lost = 'ignore'
[flow]\nordering = 'documents'\n[[module]]\npath = 'a.wasm'\non-error = 'retyr'\nbreaker = 'stop'",
    ),
    (
        "out of bounds",
        "[source]\nbatch-size = 0\nconnect-timeout-s = -1\n[flow]\nworkers = 257\nwindow-ops = 0
[[module]]\npath = 'a.wasm'\nattempts = 0\nbackoff-min-ms = 99999999999999999999",
    ),
    (
        "not there yet",
        "[source]\non-position-lost = 'resnapshots'\n[[module]]\npath = 'a.wasm'",
    ),
    (
        "stores, sinks and addresses",
        "[checkpoint]\nstore = 'non'\n[dead-letters]\nstore = 'none'\n[admin]\naddress = '9090'
[[module]]\npath = 'a.wasm'\n[[sink]]\nurl = 'mongdb:a.b'\n[[sink]]\nurl = 'ftp://ann:s3cret@h'\n[[sink]]\nurl = 'file:'",
    ),
    (
        "options of sinks",
        "[[module]]\npath = 'a.wasm'\n[[sink]]\nurl = 'mongodb:a.b'\nmode = 'replce'\n[[sink]]\nurl = 'https://h'\nbearer-token = 's3cret'
[[sink]]\nurl = 'https://h'\nworkers = 0\n[[sink]]\nurl = 'https://h'\n[sink.header]\nhost = 's3cret'
[[sink]]\nurl = 'null'\nname = 'a b'\n[[sink]]\nurl = 'https://ann:s3cret@'\n[[sink]]\nurl = 'stdout'\ntime-limit-ms = 5",
    ),
    (
        "secrets",
        "[source]\nuri = 'mongodb://ann:s3cret@h'\nuri-env = 'URI'\n[admin]\ntoken = 's3cret'\ntoken-file = 'nowhere'
[[module]]\npath = 'a.wasm'\n[[module]]\npath = 'b.wasm'\nconfig = 's3cret'",
    ),
    ("a variable that is not set", "[source]\nuri-env = 'NOTHING'\n[[module]]\npath = 'a.wasm'"),
    (
        "secrets in the wrong place",
        "[source]\nuri-env = 'mongodb://ann:s3cret@h'\n[admin]\ntoken-env = 's3cret='\n[[module]]\npath = 'a.wasm'",
    ),
    (
        "more secrets in the wrong place",
        "[source]\nuri-file = 'mongodb://ann:s3cret@h'\n[[module]]\npath = 'a.wasm'",
    ),
    (
        "limits and grants of modules",
        "[[module]]\npath = 'a.wasm'\nmemory = '64M'\ncall-time = 1\nfuel = 0\nisolation = 'ops'\ntick = '1ms'
variables = ['NOTHING', 'A=s3cret']\nlookup = ['shop', '*', 'shop.customers']\noutputs-size = '2GiB'",
    ),
    (
        "a tick for instances of one op",
        "[[module]]\npath = 'a.wasm'\nisolation = 'op'\ntick = '1s'",
    ),
    ("nothing to run", "name = 'x'"),
    ("missing keys", "[[module]]\nname = 'x'\n[[sink]]\nmode = 'insert'"),
    (
        "two of a name",
        "[[module]]\npath = 'a.wasm'\n[[module]]\npath = 'x/a.wasm'\n[[module]]\npath = 'b.wasm'\nname = 'a'
[[sink]]\nurl = 'null'\nname = 'x'\n[[sink]]\nurl = 'stdout'\nname = 'x'",
    ),
    (
        "contradictions",
        "[admin]\naddress = '0.0.0.0:9090'\n[[module]]\npath = 'a.wasm'\nbackoff-min-ms = 500\nbackoff-max-ms = 200",
    ),
    (
        "not TOML",
        "name = \"x\nname = 'y'\n[source]\nuri = mongodb://ann:s3cret@h\n[flow\nworkers = 2x",
    ),
    ("twice", "name = 'x'\nname = 'y'\n[flow]\n[flow]"),
];

#[test]
fn files_are_refused_with_place_and_nearest_spelling() {
    let mut told = String::new();
    for (what, text) in FILES {
        let refused = Scene::new(text).refused(CommandLine::default());
        assert!(!refused.contains("s3cret"), "{refused}");
        told.push_str(&format!("# {what}\n{refused}\n\n"));
    }
    insta::assert_snapshot!("refused_files", told.trim_end());
}

#[test]
fn flags_are_refused_without_a_place() {
    let scene = Scene::new("[[module]]\npath = 'a.wasm'");
    let refused = scene.refused(CommandLine {
        layer: Layer {
            admin: flag(Some("0.0.0.0:9090".parse().unwrap())),
            ..Layer::default()
        },
        sinks: vec!["ftp://ann:s3cret@h".to_owned().into()],
        admin_token_file: Some("nowhere".into()),
        ..CommandLine::default()
    });
    insta::assert_snapshot!("refused_flags", refused);
}
