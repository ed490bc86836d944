//! Modules from files.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use oplet::{
    control::ModuleSpec,
    guest::{self, Engine, Limits, Module},
};

use super::{args::RunArgs, error::UserError, values::Setting};

/// Reads, checks and compiles the modules of a run, or loads what was compiled before.
pub(super) fn load(
    args: &RunArgs,
    limits: &Limits,
    lanes: usize,
) -> Result<Vec<ModuleSpec>, UserError> {
    let cache_directory = match args.no_module_cache {
        true => None,
        false => cache_directory(args.module_cache.clone()),
    };
    // One instance per lane and module, one more while a module is asked for its pipeline.
    let instances_max = u32::try_from((lanes + 1) * args.modules.len()).unwrap_or(u32::MAX);
    let engine = Engine::new(&guest::Options {
        cache_directory,
        limits: limits.clone(),
        instances_max,
    })?;
    let config = configuration(&args.set)?;
    let mut specs: Vec<ModuleSpec> = Vec::new();
    for path in &args.modules {
        let name = module_name(path);
        if let Some(other) = specs.iter().position(|spec| spec.module.name() == name) {
            let other = &args.modules[other];
            if other == path {
                let message = format!("the module {} is given twice", path.display());
                return Err(UserError::refused(message));
            }
            let (other, path) = (other.display(), path.display());
            let message = format!("two modules are named `{name}`: {other} and {path}");
            return Err(UserError::refused(message)
                .hint("a module is named by its file; rename one of them"));
        }
        let wasm = read(path)?;
        let module = Module::load(&engine, &name, &wasm)?;
        for warning in module.warnings() {
            tracing::debug!(module = name, warning, "the module could be better");
        }
        specs.push(ModuleSpec {
            module,
            config: config.clone(),
        });
    }
    let (hits, misses) = (engine.cache_hits(), engine.cache_misses());
    tracing::debug!(from_cache = hits, compiled = misses, "modules are ready");
    Ok(specs)
}

/// Reads a module's file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, UserError> {
    std::fs::read(path).map_err(|error| {
        let user_error = UserError::refused(format!("cannot read the module {}", path.display()))
            .because(&error);
        match error.kind() {
            std::io::ErrorKind::NotFound => match nearest_file(path) {
                Some(nearest) => user_error.hint(format!("did you mean `{}`?", nearest.display())),
                None => user_error.hint(
                    "a Rust handler is at target/wasm32-wasip1/release/NAME.wasm when it is built",
                ),
            },
            std::io::ErrorKind::IsADirectory => user_error.hint("name the .wasm file itself"),
            _ => user_error,
        }
    })
}

/// A module is called as its file.
pub(super) fn module_name(path: &Path) -> String {
    path.file_stem().map_or_else(
        || "module".into(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

/// A wasm file beside the one that is not there, with nearly its name.
fn nearest_file(path: &Path) -> Option<PathBuf> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = path.file_name()?.to_string_lossy().into_owned();
    std::fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|candidate| {
            candidate
                .extension()
                .is_some_and(|extension| extension == "wasm")
        })
        .filter_map(|candidate| {
            let other = candidate.file_name()?.to_string_lossy().into_owned();
            Some((strsim::damerau_levenshtein(&name, &other), candidate))
        })
        .filter(|(distance, _)| *distance <= 3)
        .min()
        // As the user would write it: without the dot for the current directory.
        .map(|(_, candidate)| match candidate.strip_prefix(".") {
            Ok(name) if !path.starts_with(".") => name.to_owned(),
            _ => candidate,
        })
}

/// Where compiled modules are kept: where it was said, or in the user's cache directory.
pub(super) fn cache_directory(given: Option<PathBuf>) -> Option<PathBuf> {
    given.or_else(|| {
        let base = etcetera::choose_base_strategy().ok()?;
        Some(base.cache_dir().join("oplet").join("modules"))
    })
}

/// The modules' configuration as one document.
pub(super) fn configuration(settings: &[Setting]) -> Result<Option<Vec<u8>>, UserError> {
    if settings.is_empty() {
        return Ok(None);
    }
    let mut document = bson::Document::new();
    for Setting { key, value } in settings {
        let invalid = |error: bson::error::Error| {
            UserError::refused(format!("the setting `{key}` cannot be used")).because(&error)
        };
        let value = bson::Bson::try_from(value.clone()).map_err(invalid)?;
        if document.insert(key.clone(), value).is_some() {
            return Err(UserError::refused(format!(
                "the setting `{key}` is given twice"
            )));
        }
    }
    let document = bson::RawDocumentBuf::try_from(&document)
        .map_err(|error| UserError::refused("the settings cannot be used").because(&error))?;
    Ok(Some(document.into_bytes()))
}
