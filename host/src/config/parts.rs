//! What a file may have several of: modules and sinks.

use std::{ops::Range, path::PathBuf};

use bson::{Bson, Document};

use super::{
    deferred::{self, Deferred},
    definitions::{PolicyLayer, PolicyValues},
    document::{Section, Sections, text_of},
    origin::{Origin, Sourced},
    problem::Problem,
    readers::{bson, document, text},
    secret::Secret,
    values,
};

/// A module of a run, before it is loaded. It has no `Debug`: its configuration may hold secrets.
pub(crate) struct ModuleSettings {
    pub(crate) path: Sourced<PathBuf>,
    pub(crate) name: Sourced<String>,
    /// What it is configured with.
    pub(crate) config: Document,
    pub(crate) policy: PolicyValues,
}

/// A module as a file has it.
pub(super) struct FileModule {
    pub(super) path: Sourced<PathBuf>,
    pub(super) name: Sourced<String>,
    pub(super) config: Document,
    pub(super) policy: PolicyLayer,
}

/// A sink of a run. It has no `Debug`: its options may hold secrets.
pub(crate) struct SinkSettings {
    pub(crate) name: Sourced<String>,
    /// Whether somebody gave that name; it is that of its kind otherwise.
    pub(super) has_own_name: bool,
    pub(crate) url: Sourced<Deferred>,
    /// Every other key.
    pub(crate) options: Vec<SinkOption>,
    /// A flag's text, `[NAME=]URL[#KEY=VALUE&..]`, for the sink's own parser: `options` have its values
    /// as they were written there.
    pub(crate) flag: Option<Secret>,
}

/// An option of a sink, which the sink itself reads.
pub(crate) struct SinkOption {
    pub(crate) key: String,
    pub(crate) value: Bson,
}

impl SinkSettings {
    /// A sink that is named by its kind.
    pub(super) fn new(url: Sourced<Deferred>) -> Self {
        let kind = url.value.text.split(':').next().unwrap_or_default();
        Self {
            name: Sourced::new(kind.to_owned(), url.origin.clone()),
            has_own_name: false,
            url,
            options: Vec::new(),
            flag: None,
        }
    }

    /// Reads a flag: `[NAME=]URL[#KEY=VALUE&KEY=VALUE]`.
    pub(super) fn of_flag(flag: Secret) -> Result<Self, String> {
        let text = flag.expose();
        let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) if name.chars().all(is_of_a_name) => (Some(name), rest),
            _ => (None, text),
        };
        let (url, options) = rest.split_once('#').unwrap_or((rest, ""));
        let url = Sourced::new(deferred::sink(url)?, Origin::Flag);
        let option = |text: &str| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            SinkOption {
                key: key.to_owned(),
                value: value.into(),
            }
        };
        let mut sink = Self::new(url);
        let options = options.split('&').filter(|text| !text.is_empty());
        sink.options = options.map(option).collect();
        if let Some(name) = name {
            sink.name.value = values::name(name)?;
            sink.has_own_name = true;
        }
        sink.flag = Some(flag);
        Ok(sink)
    }

    /// The options of a file's table as text; a table in it as keys with a dot.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for the parser of the sinks' room")
    )]
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for SinkOption { key, value } in &self.options {
            match value {
                Bson::Document(table) => {
                    pairs.extend(
                        table
                            .iter()
                            .map(|(inner, value)| (format!("{key}.{inner}"), plain(value))),
                    );
                }
                value => pairs.push((key.clone(), plain(value))),
            }
        }
        pairs
    }
}

/// A value as it would be written on the command line.
fn plain(value: &Bson) -> String {
    match value {
        Bson::String(text) => text.clone(),
        value => value.clone().into_relaxed_extjson().to_string(),
    }
}

impl SinkOption {
    /// Its value as it may be shown.
    pub(crate) fn shown(&self) -> String {
        let is_reference = self.key.ends_with("-file") || self.key.ends_with("-env");
        let marks = [
            "token",
            "pass",
            "secret",
            "auth",
            "key",
            "credential",
            "header",
        ];
        let is_secret = marks.iter().any(|mark| self.key.contains(mark)) && !is_reference;
        match &self.value {
            _ if is_secret => "***".into(),
            Bson::String(text) => super::without_secrets(text),
            Bson::Document(_) | Bson::Array(_) => "***".into(),
            value => value.clone().into_relaxed_extjson().to_string(),
        }
    }
}

/// A module is called as its file.
pub(crate) fn module_name(path: &std::path::Path) -> String {
    path.file_stem().map_or_else(
        || "module".into(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

/// Takes a `[[module]]`.
pub(super) fn read_module(
    span: &Range<usize>,
    section: Section<'_>,
    problems: &mut Vec<Problem>,
) -> Option<FileModule> {
    let mut sections = Sections::from([("module", section)]);
    let policy = PolicyLayer::read(&mut sections);
    let mut section = sections.remove("module").expect("it was put there");
    section.require(span, "path");
    let path = section.take("path", |value, source| Ok(source.path(text_of(value)?)));
    let name = section.take("name", |value, _| text(value, values::name));
    let config = section.take("config", |value, _| document(value));
    problems.extend(section.finish());
    let path = path?;
    let name = name.unwrap_or_else(|| Sourced::new(module_name(&path.value), path.origin.clone()));
    Some(FileModule {
        config: config.map(|config| config.value).unwrap_or_default(),
        path,
        name,
        policy,
    })
}

/// Takes a `[[sink]]`.
pub(super) fn read_sink(
    span: &Range<usize>,
    mut section: Section<'_>,
    problems: &mut Vec<Problem>,
) -> Option<SinkSettings> {
    section.require(span, "url");
    let url = section.take("url", |value, source| {
        text(value, |text| deferred::sink(&source.address(text)))
    });
    let name = section.take("name", |value, _| text(value, values::name));
    let mut options = Vec::new();
    let source = section.source();
    for (key, value) in section.rest() {
        let read = match value.get_ref().as_str() {
            Some(text) if key.ends_with("-file") => {
                Ok(source.path(text).display().to_string().into())
            }
            _ => bson(value.get_ref()),
        };
        match read {
            Ok(value) => options.push(SinkOption {
                key: key.to_owned(),
                value,
            }),
            Err(reason) => section.refuse(&value.span(), format!("`{key}`: {reason}")),
        }
    }
    problems.append(&mut section.problems);
    let mut sink = SinkSettings::new(url?);
    sink.has_own_name = name.is_some();
    sink.name = name.unwrap_or(sink.name);
    sink.options = options;
    Some(sink)
}
