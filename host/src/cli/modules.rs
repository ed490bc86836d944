//! Modules from files.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use oplet::{
    control::ModuleSpec,
    guest::{self, Engine, Limits, Module},
};

use super::{error::UserError, settings::placed};
use crate::config::{ModuleSettings, Settings};

/// Versions of a module that have instances at the same time.
const VERSIONS_MAX: usize = 4;

/// How many modules may be added to a run. Room for an instance costs address space, and no memory.
const ADDED_MAX: usize = 4;

/// Reads, checks and compiles modules, or loads what was compiled before; each for itself. `lanes` is
/// how many instances of each will be there.
///
/// # Errors
/// When there is nothing to run modules with. What is wrong with a module stands in its place.
pub(super) fn load(
    settings: &Settings,
    cache_directory: Option<PathBuf>,
    limits: &Limits,
    lanes: usize,
) -> Result<Vec<Result<ModuleSpec, UserError>>, UserError> {
    let modules = &settings.modules;
    // For each lane, and while a module is asked for its pipeline: the version that works, the one before
    // it, one on trial, and an instance that is made while the one that failed is still there; the same for
    // modules that are added. What is reserved is addresses, not memory.
    let instances_max = (lanes + 1) * VERSIONS_MAX * (modules.len() + ADDED_MAX);
    let instances_max = u32::try_from(instances_max).unwrap_or(u32::MAX);
    let memory_bytes = modules.iter().map(|module| module.guest.memory.value.0);
    let limits = Limits {
        memory_bytes: memory_bytes.max().unwrap_or(limits.memory_bytes),
        ..limits.clone()
    };
    let engine = Engine::new(&guest::Options {
        cache_directory,
        limits,
        instances_max,
    })?;
    let specs = modules
        .iter()
        .map(|module| {
            load_one(&engine, module).map_err(|error| placed(settings, &module.path.origin, error))
        })
        .collect();
    let (hits, misses) = (engine.cache_hits(), engine.cache_misses());
    tracing::debug!(from_cache = hits, compiled = misses, "modules are ready");
    Ok(specs)
}

fn load_one(engine: &Engine, settings: &ModuleSettings) -> Result<ModuleSpec, UserError> {
    let name = &settings.name.value;
    let wasm = read(&settings.path.value)?;
    let module = Module::load(engine, name, &wasm, settings.guest.settings())?;
    for warning in module.warnings() {
        tracing::debug!(module = name, %warning, "the module could be better");
    }
    say_tick(&module);
    Ok(ModuleSpec {
        module,
        config: config_of(settings)?,
        policy: settings.policy.policy(),
    })
}

/// What a module is configured with, if it is.
pub(super) fn config_of(settings: &ModuleSettings) -> Result<Option<Vec<u8>>, UserError> {
    let config = bson::RawDocumentBuf::try_from(&settings.config).map_err(|error| {
        let name = &settings.name.value;
        let message = format!("the configuration of the module `{name}` cannot be used");
        UserError::refused(message).because(&error)
    })?;
    Ok((!settings.config.is_empty()).then(|| config.into_bytes()))
}

/// Half of what a tick takes is there: somebody would wait for it in vain. The other half alone says
/// nothing: handlers of the SDKs export `oplet_tick` whether they want it or not.
fn say_tick(module: &Module) {
    if module.settings().tick.is_some() && !module.has_tick() {
        let name = module.name();
        tracing::warn!(
            module = name,
            "`tick` is set, and the module exports no `oplet_tick`"
        );
    }
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
