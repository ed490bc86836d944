//! What is refused, in which words; and what wins over what.

mod refusals;

use std::{collections::BTreeMap, fs, time::Duration};

use bson::doc;
use oplet::control::OnError;
use serde_json::json;
use tempfile::TempDir;

use super::{
    CommandLine, Layer, Origin, PolicyLayer, Problem, Secret, Setting, Settings, Sourced, load,
};

/// A folder with `oplet.toml`, and an environment.
struct Scene {
    folder: TempDir,
    variables: BTreeMap<&'static str, &'static str>,
}

impl Scene {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("oplet.toml"), text).unwrap();
        Self {
            folder,
            variables: BTreeMap::from([("HOME", "/home/ann"), ("URI", "mongodb://ann:s3cret@h")]),
        }
    }

    fn file(&self, name: &str, text: &str) -> &Self {
        fs::write(self.folder.path().join(name), text).unwrap();
        self
    }

    fn load(&self, command_line: CommandLine) -> Result<Settings, Vec<Problem>> {
        let command_line = CommandLine {
            file: Some(self.folder.path().join("oplet.toml")),
            ..command_line
        };
        let variable = |name: &str| self.variables.get(name).map(|value| (*value).to_owned());
        load(command_line, &variable)
    }

    /// What is wrong, as it is told, with the folder's name left out.
    fn refused(&self, command_line: CommandLine) -> String {
        let Err(problems) = self.load(command_line) else {
            panic!("nothing is wrong");
        };
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let folder = format!("{}/", self.folder.path().display());
        problems.join("\n").replace(&folder, "")
    }
}

fn flag<T>(value: T) -> Option<Sourced<T>> {
    Some(Sourced::new(value, Origin::Flag))
}

#[test]
fn flags_win_over_the_file_and_that_over_defaults() {
    let scene = Scene::new(
        "name = 'of file'\n[flow]\nworkers = 2\n[[module]]\npath = 'a.wasm'\non-error = 'skip'\nattempts = 3",
    );
    let command_line = CommandLine {
        layer: Layer {
            name: flag("of flag".into()),
            ..Layer::default()
        },
        policy: PolicyLayer {
            attempts: flag(9),
            ..PolicyLayer::default()
        },
        ..CommandLine::default()
    };
    let settings = scene.load(command_line).ok().unwrap();
    let values = &settings.values;
    assert_eq!(values.name, Sourced::new("of flag".into(), Origin::Flag));
    assert_eq!(values.workers, Sourced::new(2, Origin::File { line: 3 }));
    assert_eq!(values.lease, Sourced::by_default(Duration::from_secs(7)));
    let policy = &settings.modules[0].policy;
    assert_eq!(policy.attempts, Sourced::new(9, Origin::Flag));
    let of_file = Sourced::new(OnError::Skip, Origin::File { line: 6 });
    assert_eq!(policy.on_error, of_file);
}

#[test]
fn lists_of_the_command_line_replace_those_of_the_file() {
    let scene = Scene::new(
        "[[module]]\npath = 'a.wasm'\nconfig = { z = 1, a = 2 }\n[[sink]]\nurl = 'null'",
    );
    let set = || {
        vec![Setting {
            key: "a".into(),
            value: json!("b"),
        }]
    };
    let settings = scene.load(CommandLine {
        set: set(),
        ..CommandLine::default()
    });
    let settings = settings.ok().unwrap();
    assert_eq!(settings.values.name.value, "a");
    assert_eq!(settings.modules[0].config, doc! {"z": 1, "a": "b"});
    assert_eq!(settings.sinks[0].url.value.text, "null");

    let settings = scene.load(CommandLine {
        modules: vec!["x/b.wasm".into(), "c.wasm".into()],
        sinks: vec![Secret::new("https://h"), Secret::new("https://i")],
        set: set(),
        ..CommandLine::default()
    });
    let settings = settings.ok().unwrap();
    assert_eq!(settings.values.name.value, "b+c");
    assert_eq!(settings.modules[1].config, doc! {"a": "b"});
    let names: Vec<_> = settings.sinks.iter().map(|sink| &sink.name.value).collect();
    assert_eq!(names, ["https", "https-2"]);
}

#[test]
fn sinks_are_set_up_by_flag_or_table() {
    let scene = Scene::new(
        "[[module]]\npath = 'a.wasm'\n[[sink]]\nurl = 'https://h'\nworkers = 2\nheader = { a = 'b', c = 'd' }\nbody = 'lines'",
    );
    let settings = scene.load(CommandLine::default()).ok().unwrap();
    let pairs = settings.sinks[0].pairs();
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(key, value)| (&key[..], &value[..]))
        .collect();
    let expected = [
        ("workers", "2"),
        ("header.a", "b"),
        ("header.c", "d"),
        ("body", "lines"),
    ];
    assert_eq!(pairs, expected);

    let flag = "copies=mongodb://ann:a=b@h/?x=1#mode=replace&namespace=a.b";
    let settings = scene.load(CommandLine {
        sinks: vec![Secret::new(flag), Secret::new("https://h/?x=1")],
        ..CommandLine::default()
    });
    let settings = settings.ok().unwrap();
    let [copies, hook] = &settings.sinks[..] else {
        panic!("two sinks");
    };
    assert_eq!(copies.name.value, "copies");
    assert_eq!(copies.url.value.text, "mongodb://ann:a=b@h/?x=1");
    let expected = [("mode", "replace"), ("namespace", "a.b")];
    assert_eq!(
        copies.pairs(),
        expected.map(|(key, value)| (key.into(), value.into()))
    );
    assert_eq!(copies.flag.as_ref().map(Secret::expose), Some(flag));
    assert_eq!(
        (&hook.name.value[..], &hook.url.value.text[..]),
        ("https", "https://h/?x=1")
    );
}

#[test]
fn paths_are_relative_to_the_file() {
    let scene = Scene::new(
        "[checkpoint]\nstore = 'file:here'\n[dead-letters]\nstore = 'file:~/there'
        [[module]]\npath = 'a.wasm'\n[[module]]\npath = '/b.wasm'
        [[sink]]\nurl = 'file:out'\ntoken-file = 't'",
    );
    let settings = scene.load(CommandLine::default()).ok().unwrap();
    let inside = |name: &str| scene.folder.path().join(name).display().to_string();
    let values = &settings.values;
    assert_eq!(
        values.checkpoint.value.text,
        format!("file:{}", inside("here"))
    );
    assert_eq!(values.dead_letters.value.text, "file:/home/ann/there");
    assert_eq!(
        settings.modules[0].path.value.display().to_string(),
        inside("a.wasm")
    );
    assert_eq!(
        settings.modules[1].path.value.display().to_string(),
        "/b.wasm"
    );
    let sink = &settings.sinks[0];
    assert_eq!(sink.url.value.text, format!("file:{}", inside("out")));
    assert_eq!(sink.options[0].value.as_str(), Some(inside("t").as_str()));
}

#[test]
fn secrets_come_from_elsewhere_and_are_not_shown() {
    let scene = Scene::new(
        "[source]\nuri-env = 'URI'\n[admin]\naddress = '0.0.0.0:1'\ntoken-file = 'token'\n[[module]]\npath = 'a.wasm'",
    );
    scene.file("token", "s3cret\n");
    let settings = scene.load(CommandLine::default()).ok().unwrap();
    let values = &settings.values;
    assert_eq!(values.uri.value.expose(), "mongodb://ann:s3cret@h");
    let token = values.admin_token.value.as_ref().map(Secret::expose);
    assert_eq!(token, Some("s3cret"));
    let rows: Vec<_> = values.rows().into_iter().map(|row| row.value).collect();
    let shown = format!("{values:?} {rows:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(shown.contains("ann"), "{shown}");
}
