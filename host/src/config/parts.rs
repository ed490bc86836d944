//! What a file may have several of: modules and sinks.

use std::{ops::Range, path::PathBuf};

use bson::{Bson, Document};
use oplet::{
    op::Format,
    sink::{Spec, SpecError},
};

use super::{
    deferred::{Deferred, sink_fault},
    definitions::{GuestLayer, GuestValues, PolicyLayer, PolicyValues},
    document::{Section, Sections, text_of},
    origin::{Origin, Sourced},
    problem::Problem,
    readers::{bson, document, text},
    secret::is_marked,
    values,
};

/// A module of a run, before it is loaded. It has no `Debug`: its configuration may hold secrets.
pub(crate) struct ModuleSettings {
    pub(crate) path: Sourced<PathBuf>,
    pub(crate) name: Sourced<String>,
    /// What it is configured with.
    pub(crate) config: Document,
    pub(crate) policy: PolicyValues,
    /// What it is held to and granted.
    pub(crate) guest: GuestValues,
}

/// A module as a file has it.
#[derive(Clone)]
pub(super) struct FileModule {
    pub(super) path: Sourced<PathBuf>,
    pub(super) name: Sourced<String>,
    pub(super) config: Document,
    pub(super) policy: PolicyLayer,
    pub(super) guest: GuestLayer,
}

/// A sink of a run. It has no `Debug`: its options may hold secrets.
pub(crate) struct SinkSettings {
    pub(crate) name: Sourced<String>,
    pub(crate) url: Sourced<Deferred>,
    /// Every other key.
    pub(crate) options: Vec<SinkOption>,
    /// Whether somebody gave it its name.
    has_own_name: bool,
    /// What the sink makes of it.
    pub(crate) spec: Spec,
}

/// An option of a sink, which the sink itself reads.
pub(crate) struct SinkOption {
    pub(crate) key: String,
    pub(crate) value: Bson,
}

impl SinkSettings {
    /// A sink as the command line writes it: `[NAME=]URL[#KEY=VALUE&...]`.
    pub(super) fn from_flag(text: &str) -> Result<Self, String> {
        let fault = |error| sink_fault(&error);
        let (name, url, pairs) = Spec::parts(text).map_err(fault)?;
        let option = |(key, value): &(String, String)| SinkOption {
            key: key.clone(),
            value: Bson::String(value.clone()),
        };
        let options = pairs.iter().map(option).collect();
        let spec = Spec::from_table(name, url, pairs).map_err(fault)?;
        let text = url.to_owned();
        Ok(Self {
            name: Sourced::new(spec.name.clone(), Origin::Flag),
            url: Sourced::new(Deferred { text }, Origin::Flag),
            options,
            has_own_name: name.is_some(),
            spec,
        })
    }

    /// The standard output.
    pub(super) fn by_default() -> Self {
        let spec = Spec::stdout(Format::default());
        let text = spec.target.clone();
        Self {
            name: Sourced::by_default(spec.name.clone()),
            url: Sourced::by_default(Deferred { text }),
            options: Vec::new(),
            has_own_name: false,
            spec,
        }
    }

    /// Whether it is called by its kind, since nobody has given it a name.
    pub(super) fn has_name_of_kind(&self) -> bool {
        !self.has_own_name
    }

    pub(super) fn rename(&mut self, name: String) {
        self.spec.name.clone_from(&name);
        self.name.value = name;
    }
}

impl SinkOption {
    /// Its value as it may be shown.
    pub(crate) fn shown(&self) -> String {
        let is_reference = self.key.ends_with("-file") || self.key.ends_with("-env");
        // The fields that a document is found by, of a sink that writes to a collection.
        let is_public = is_reference || self.key == "key";
        let is_secret = is_marked(&self.key) && !is_public;
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
    let guest = GuestLayer::read(&mut sections);
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
        guest,
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
        text(value, |text| {
            let text = source.address(text);
            Ok(Deferred { text })
        })
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
    let mut pairs = Vec::new();
    for option in &options {
        flatten(&option.key, &option.value, &mut pairs);
    }
    let given_name = name.as_ref().map(|name| name.value.as_str());
    let spec = url.as_ref().and_then(|url| {
        let spec = Spec::from_table(given_name, &url.value.text, pairs);
        let refuse = |error: SpecError| match &error.key {
            // Its message names the key.
            Some(key) if section.refuse_key(key, sink_fault(&error)) => {}
            _ => section.refuse_value("url", sink_fault(&error)),
        };
        spec.map_err(refuse).ok()
    });
    problems.append(&mut section.problems);
    let (url, spec) = (url?, spec?);
    let has_own_name = name.is_some();
    let name = name.unwrap_or_else(|| Sourced::new(spec.name.clone(), url.origin.clone()));
    Some(SinkSettings {
        name,
        url,
        options,
        has_own_name,
        spec,
    })
}

/// A value as the command line would write it; the keys of a table are joined by dots.
fn flatten(key: &str, value: &Bson, pairs: &mut Vec<(String, String)>) {
    match value {
        Bson::Document(document) => {
            for (name, value) in document {
                flatten(&format!("{key}.{name}"), value, pairs);
            }
        }
        Bson::Array(values) => {
            let texts: Vec<String> = values.iter().map(plain).collect();
            pairs.push((key.to_owned(), texts.join(",")));
        }
        value => pairs.push((key.to_owned(), plain(value))),
    }
}

fn plain(value: &Bson) -> String {
    match value {
        Bson::String(text) => text.clone(),
        value => value.clone().into_relaxed_extjson().to_string(),
    }
}
