//! What a file may have several of: modules and sinks.

use std::{ops::Range, path::PathBuf};

use bson::{Bson, Document};

use super::{
    deferred::{self, Deferred},
    definitions::{PolicyLayer, PolicyValues},
    document::{Section, Sections, text_of},
    origin::Sourced,
    problem::Problem,
    readers::{bson, document, text},
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
    pub(crate) url: Sourced<Deferred>,
    /// Every other key.
    pub(crate) options: Vec<SinkOption>,
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
            url,
            options: Vec::new(),
        }
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
    sink.name = name.unwrap_or(sink.name);
    sink.options = options;
    Some(sink)
}
