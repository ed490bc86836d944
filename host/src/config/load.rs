//! From what was written to what holds.

use std::path::PathBuf;

use bson::{Bson, Document};

use super::{
    deferred::Deferred,
    definitions::{GuestLayer, Layer, PolicyLayer},
    document::{Environment, Section, Sections, Source, secret_file},
    origin::{Origin, Sourced},
    parts::{FileModule, ModuleSettings, SinkSettings, module_name, read_module, read_sink},
    problem::{Problem, unknown},
    secret::Secret,
    settings::{File, Settings},
    values::Setting,
};

/// What the command line says, with the environment variables that stand for flags.
#[derive(Default)]
pub(crate) struct CommandLine {
    pub(crate) file: Option<PathBuf>,
    pub(crate) layer: Layer,
    /// For all modules, whatever the file says of each.
    pub(crate) policy: PolicyLayer,
    pub(crate) checkpoint: Option<Sourced<Secret>>,
    pub(crate) dead_letters: Option<Sourced<Secret>>,
    pub(crate) admin_token_file: Option<PathBuf>,
    /// Instead of those of the file.
    pub(crate) modules: Vec<PathBuf>,
    /// Only the module of that name, with what the file says of it, whatever file it is in.
    pub(crate) module: Option<String>,
    /// Instead of those of the file.
    pub(crate) sinks: Vec<Secret>,
    /// For all modules, on top of what the file gives them.
    pub(crate) set: Vec<Setting>,
}

/// What a file says.
#[derive(Default)]
struct Said {
    layer: Layer,
    modules: Vec<FileModule>,
    sinks: Vec<SinkSettings>,
}

/// How another room's text is read.
type Parse = fn(&str) -> Result<Deferred, String>;

/// The process's own environment.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Finds what holds.
///
/// # Errors
/// Everything that is wrong, in the order of the file; at least one.
pub(crate) fn load(
    mut command_line: CommandLine,
    environment: Environment<'_>,
) -> Result<Settings, Vec<Problem>> {
    let mut problems = Vec::new();
    if let Some(path) = command_line.admin_token_file.take() {
        match secret_file(&path) {
            Ok(token) => {
                command_line.layer.admin_token = Some(Sourced::new(Some(token), Origin::Flag));
            }
            Err(reason) => problems.push(Problem::new(format!("--admin-token-file: {reason}"))),
        }
    }
    let mut of_flag = |flag: &str, given: Option<Sourced<Secret>>, parse: Parse| {
        let Sourced { value, origin } = given?;
        match parse(value.expose()) {
            Ok(text) => Some(Sourced::new(text, origin)),
            Err(reason) => {
                problems.push(Problem::new(format!("{flag}: {reason}")));
                None
            }
        }
    };
    let layer = &mut command_line.layer;
    layer.checkpoint = of_flag(
        "--checkpoint",
        command_line.checkpoint.take(),
        super::checkpoint,
    );
    layer.dead_letters = of_flag(
        "--dead-letters",
        command_line.dead_letters.take(),
        super::dead_letters,
    );
    let mut file = File::default();
    let mut said = Said::default();
    if let Some(path) = command_line.file.take() {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                file = File { path, text };
                said = read(&file, environment, &mut problems);
            }
            Err(error) => problems.push(Problem::new(format!(
                "cannot read the configuration {}: {error}",
                path.display()
            ))),
        }
    }
    let modules = modules(&command_line, said.modules, &mut problems);
    let is_readable = problems.is_empty();
    let sinks = match command_line.sinks.is_empty() {
        true => said.sinks,
        false => {
            let sink = |flag: Secret| match SinkSettings::from_flag(flag.expose()) {
                Ok(sink) => Some(sink),
                Err(reason) => {
                    problems.push(Problem::new(format!("--sink: {reason}")));
                    None
                }
            };
            command_line.sinks.into_iter().filter_map(sink).collect()
        }
    };
    let values = command_line.layer.or(said.layer).or_default();
    let settings = Settings::new(values, modules, sinks, file);
    problems.extend(settings.contradictions(is_readable));
    match problems.is_empty() {
        true => Ok(settings),
        false => Err(problems),
    }
}

fn read(file: &File, environment: Environment<'_>, problems: &mut Vec<Problem>) -> Said {
    let source = Source {
        file: &file.path,
        text: &file.text,
        environment,
    };
    let table = match source.parse() {
        Ok(table) => table.into_inner(),
        Err(found) => {
            problems.extend(found);
            return Said::default();
        }
    };
    let mut root = Section::new(source, Some(&table));
    let mut sections = Sections::new();
    for name in [
        "source",
        "flow",
        "workers",
        "checkpoint",
        "dead-letters",
        "admin",
    ] {
        sections.insert(name, root.take_section(name));
    }
    let (modules, sinks) = (root.take_tables("module"), root.take_tables("sink"));
    sections.insert("", root);
    let layer = Layer::read(&mut sections);
    let mut found: Vec<Problem> = sections.into_values().flat_map(Section::finish).collect();
    let modules = modules
        .into_iter()
        .filter_map(|(span, section)| read_module(&span, section, &mut found))
        .collect();
    let sinks = sinks
        .into_iter()
        .filter_map(|(span, section)| read_sink(&span, section, &mut found))
        .collect();
    found.sort_by_key(Problem::order);
    problems.extend(found);
    Said {
        layer,
        modules,
        sinks,
    }
}

/// Settings of the command line as one document.
fn read_settings(settings: &[Setting]) -> Result<Document, String> {
    let mut document = Document::new();
    for Setting { key, value } in settings {
        let value = Bson::try_from(value.clone())
            .map_err(|error| format!("the setting `{key}` cannot be used: {error}"))?;
        if document.insert(key, value).is_some() {
            return Err(format!("the setting `{key}` is given twice"));
        }
    }
    Ok(document)
}

/// The module of that name: its path is that of the flag where there is one, the rest is the file's.
fn one(name: &str, of_flag: Option<FileModule>, of_file: &[FileModule]) -> Option<FileModule> {
    let of_file = of_file.iter().find(|module| module.name.value == name);
    match (of_flag, of_file) {
        (Some(of_flag), Some(of_file)) => Some(FileModule {
            path: of_flag.path,
            ..of_file.clone()
        }),
        (Some(of_flag), None) => Some(FileModule {
            name: Sourced::new(name.to_owned(), Origin::Flag),
            ..of_flag
        }),
        (None, of_file) => of_file.cloned(),
    }
}

fn modules(
    command_line: &CommandLine,
    of_file: Vec<FileModule>,
    problems: &mut Vec<Problem>,
) -> Vec<ModuleSettings> {
    let mut of_flags = command_line.modules.iter().map(|path| FileModule {
        path: Sourced::new(path.clone(), Origin::Flag),
        name: Sourced::new(module_name(path), Origin::Flag),
        config: Document::new(),
        policy: PolicyLayer::default(),
        guest: GuestLayer::default(),
    });
    let modules: Vec<FileModule> = match (&command_line.module, command_line.modules.is_empty()) {
        (Some(name), _) => match one(name, of_flags.next(), &of_file) {
            Some(module) => vec![module],
            None => {
                let known: Vec<&str> = of_file.iter().map(|m| m.name.value.as_str()).collect();
                let message = "the configuration has no such module";
                problems.push(Problem::new(unknown(message, name, &known)));
                Vec::new()
            }
        },
        (None, true) => of_file,
        (None, false) => of_flags.collect(),
    };
    let set = match read_settings(&command_line.set) {
        Ok(set) => set,
        Err(reason) => {
            problems.push(Problem::new(reason));
            Document::new()
        }
    };
    let complete = |module: FileModule| {
        let mut config = module.config;
        config.extend(set.clone());
        ModuleSettings {
            path: module.path,
            name: module.name,
            config,
            policy: command_line.policy.clone().or(module.policy).or_default(),
            guest: module.guest.or_default(),
        }
    };
    modules.into_iter().map(complete).collect()
}
