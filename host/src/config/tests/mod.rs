//! What is refused, in which words; and what wins over what.

mod refusals;

use std::{collections::BTreeMap, fs, time::Duration};

use bson::doc;
use oplet::{
    control::OnError,
    guest::{self, Isolation, Limits},
    sink::Spec,
};
use serde_json::json;
use tempfile::TempDir;

use super::{
    CommandLine, Layer, Origin, PolicyLayer, Problem, Secret, Setting, Settings, SinkSettings,
    Sourced, load,
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
fn a_module_has_limits_and_grants_of_its_own() {
    let scene = Scene::new(
        "[[module]]\npath = 'a.wasm'\nmemory = '128MiB'\ncall-time = '250ms'\nfuel = 1_000\noutputs = 5
        outputs-size = '1KiB'\nlog-lines = 7\nisolation = 'op'\ndeterministic = true\nvariables = ['URI']
        lookup = ['shop.customers', 'users.*']\n[[module]]\npath = 'b.wasm'\ntick = '2s'\nvariables = 'HOME'",
    );
    let settings = scene.load(CommandLine::default()).ok().unwrap();
    let of_a = settings.modules[0].guest.settings();
    let expected = guest::Settings {
        limits: Limits {
            memory_bytes: 128 << 20,
            call_time: Duration::from_millis(250),
            outputs_documents: 5,
            outputs_bytes: 1 << 10,
            log_lines_per_second: 7,
            ..Limits::default()
        },
        isolation: Isolation::Op,
        deterministic: true,
        fuel: Some(1_000),
        tick: None,
        variables: vec![("URI".into(), "mongodb://ann:s3cret@h".into())],
        lookup: vec!["shop.customers".into(), "users.*".into()],
    };
    assert_eq!(of_a, expected);
    let of_b = settings.modules[1].guest.settings();
    let expected = guest::Settings {
        tick: Some(Duration::from_secs(2)),
        variables: vec![("HOME".into(), "/home/ann".into())],
        ..guest::Settings::default()
    };
    assert_eq!(of_b, expected);
    let shown = format!("{:?}", settings.modules[0].guest.rows());
    assert!(
        shown.contains("URI") && !shown.contains("s3cret"),
        "{shown}"
    );

    let nothing_said = Scene::new("[[module]]\npath = 'a.wasm'");
    let settings = nothing_said.load(CommandLine::default()).ok().unwrap();
    let settings = settings.modules[0].guest.settings();
    assert_eq!(settings, guest::Settings::default());
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
    assert_eq!(names, ["http", "http-2"]);
    let specs = settings.sinks.iter().map(|sink| &sink.spec.name);
    assert_eq!(
        specs.collect::<Vec<_>>(),
        names,
        "the run knows them so, too"
    );
}

#[test]
fn sinks_are_set_up_by_flag_or_table() {
    let scene = Scene::new(
        "[[module]]\npath = 'a.wasm'\n[[sink]]\nurl = 'https://h'\nworkers = 2\nheader = { a = 'b', c = 'd' }\nbody = 'lines'
        [[sink]]\nname = 'copies'\nurl = 'mongodb://ann:a=b@h/?replicaSet=x'\nmode = 'replace'\nnamespace = 'a.b'",
    );
    let of_file = scene.load(CommandLine::default()).ok().unwrap();
    let flags = [
        "https://h#workers=2&header.a=b&header.c=d&body=lines",
        "copies=mongodb://ann:a=b@h/?replicaSet=x#mode=replace&namespace=a.b",
    ];
    let of_flags = scene.load(CommandLine {
        sinks: flags.map(Secret::new).into(),
        ..CommandLine::default()
    });
    let of_flags = of_flags.ok().unwrap();
    let specs = |settings: &Settings| -> Vec<Spec> {
        let specs = settings.sinks.iter().map(|sink| sink.spec.clone());
        specs.collect()
    };
    assert_eq!(specs(&of_file), specs(&of_flags));
    assert_eq!(specs(&of_file), flags.map(|flag| flag.parse().unwrap()));

    let [hook, copies] = &of_flags.sinks[..] else {
        panic!("two sinks");
    };
    assert_eq!(hook.name, Sourced::new("http".into(), Origin::Flag));
    assert_eq!(copies.name, Sourced::new("copies".into(), Origin::Flag));
    assert_eq!(copies.url.value.to_string(), "mongodb://ann:***@h/?***");
    let shown = |sink: &SinkSettings| -> Vec<String> {
        let options = sink.options.iter();
        let shown = options.map(|option| format!("{} = {}", option.key, option.shown()));
        shown.collect()
    };
    assert_eq!(shown(copies), ["mode = replace", "namespace = a.b"]);
    let expected = [
        "workers = 2",
        "header.a = ***",
        "header.c = ***",
        "body = lines",
    ];
    assert_eq!(shown(hook), expected);
}

#[test]
fn paths_are_relative_to_the_file() {
    let scene = Scene::new(
        "[checkpoint]\nstore = 'file:here'\n[dead-letters]\nstore = 'file:~/there'\nsave-failed = 'failed'
        [[module]]\npath = 'a.wasm'\n[[module]]\npath = '/b.wasm'
        [[sink]]\nurl = 'file:out'\n[[sink]]\nurl = 'https://h'\nbearer-token-file = 't'",
    );
    let settings = scene.load(CommandLine::default()).ok().unwrap();
    let inside = |name: &str| scene.folder.path().join(name).display().to_string();
    let values = &settings.values;
    assert_eq!(
        values.checkpoint.value.text,
        format!("file:{}", inside("here"))
    );
    assert_eq!(values.dead_letters.value.text, "file:/home/ann/there");
    let failed = values.save_failed.value.as_deref();
    assert_eq!(failed, Some(scene.folder.path().join("failed").as_path()));
    assert_eq!(
        settings.modules[0].path.value.display().to_string(),
        inside("a.wasm")
    );
    assert_eq!(
        settings.modules[1].path.value.display().to_string(),
        "/b.wasm"
    );
    let [file, hook] = &settings.sinks[..] else {
        panic!("two sinks");
    };
    assert_eq!(file.url.value.text, format!("file:{}", inside("out")));
    assert_eq!(hook.options[0].value.as_str(), Some(inside("t").as_str()));
}

#[test]
fn secrets_come_from_elsewhere_and_are_not_shown() {
    let scene = Scene::new(
        "[source]\nuri-env = 'URI'\n[admin]\naddress = '0.0.0.0:1'\ntoken-file = 'token'\n[[module]]\npath = 'a.wasm'",
    );
    scene.file("token", "s3cret\n");
    let settings = scene.load(CommandLine::default()).ok().unwrap();
    let values = &settings.values;
    assert_eq!(values.uri.value.first().expose(), "mongodb://ann:s3cret@h");
    let token = values.admin_token.value.as_ref().map(Secret::expose);
    assert_eq!(token, Some("s3cret"));
    let rows: Vec<_> = values.rows().into_iter().map(|row| row.value).collect();
    let shown = format!("{values:?} {rows:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(shown.contains("ann"), "{shown}");
}
