//! From a folder to a module.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    FindError, Language, Missing, Project, ResidentCompiler, RustToolchain, assemblyscript, cargo,
};

/// Where a project's module goes, beside its manifest.
const BUILD_FOLDER: &str = "build";

/// What a module is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// To run for long.
    #[default]
    Speed,
    /// To be small.
    Size,
    /// To be built again soon, and to be looked into: with line numbers.
    Development,
}

/// How to build.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// What it is built for.
    pub profile: Profile,
    /// Where the module goes; `build/NAME.wasm` in the project's folder if none is given.
    pub out: Option<PathBuf>,
    /// The way to compile Rust; the first that is installed if none is given.
    pub toolchain: Option<RustToolchain>,
    /// A folder for what all projects share: the standard library, where the toolchain has it as source.
    /// In the project if none is given.
    pub cache_directory: Option<PathBuf>,
    /// Whether compilers colour what they say.
    pub is_colored: bool,
}

/// A module that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Where it lies.
    pub wasm: PathBuf,
    /// How long that took.
    pub took: Duration,
    /// With what: `rustup`, `debian` or `asc`.
    pub toolchain: &'static str,
    /// Whether there was another module, or none, at that place.
    pub is_changed: bool,
}

/// A module could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The folder holds nothing that could be built.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The toolchain is not installed, or not all of it.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The compiler cannot be started.
    #[error("cannot start {program}")]
    Start {
        /// The compiler.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// The compiler refused the source code; it has said why.
    #[error("{program} could not build the handler")]
    Failed {
        /// The compiler.
        program: &'static str,
    },
    /// All went well, but no module came of it.
    #[error("{} makes no module", manifest.display())]
    NoModule {
        /// The manifest.
        manifest: PathBuf,
    },
    /// The module cannot be put where it belongs.
    #[error("cannot write {}", path.display())]
    Write {
        /// Where it belongs.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl BuildError {
    /// What to do about it.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Find(FindError::NoManifest { .. }) => {
                vec!["`oplet new DIR --lang rust` makes one to begin with".into()]
            }
            Self::Missing(missing) => missing
                .remedies
                .iter()
                .map(|remedy| format!("run `{remedy}`"))
                .collect(),
            Self::NoModule { .. } => {
                vec!["put `crate-type = [\"cdylib\", \"rlib\"]` below `[lib]`".into()]
            }
            Self::Find(_) | Self::Start { .. } | Self::Failed { .. } | Self::Write { .. } => {
                Vec::new()
            }
        }
    }

    /// Whether the folder is the wrong one, or its manifest wrong, rather than the code in it.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Find(_) | Self::NoModule { .. })
    }
}

/// Builds the handler in a folder. What the compiler says goes to `on_line`, unchanged.
///
/// # Errors
/// See [`BuildError`]. A module from before then stays where it is.
pub fn build(
    folder: &Path,
    options: &BuildOptions,
    on_line: &mut dyn FnMut(&str),
) -> Result<Built, BuildError> {
    build_with(folder, options, None, on_line)
}

/// The same for who builds again and again: a compiler that can stay does, in `resident`, which is empty
/// at first.
///
/// # Errors
/// As [`build`].
pub fn build_again(
    folder: &Path,
    options: &BuildOptions,
    resident: &mut Option<ResidentCompiler>,
    on_line: &mut dyn FnMut(&str),
) -> Result<Built, BuildError> {
    build_with(folder, options, Some(resident), on_line)
}

fn build_with(
    folder: &Path,
    options: &BuildOptions,
    resident: Option<&mut Option<ResidentCompiler>>,
    on_line: &mut dyn FnMut(&str),
) -> Result<Built, BuildError> {
    let started = Instant::now();
    let project = Project::find(folder)?;
    let made = match project.language {
        Language::Rust => cargo::compile(folder, options, on_line)?,
        Language::AssemblyScript => assemblyscript::compile(&project, options, resident, on_line)?,
    };
    let wasm = match &options.out {
        Some(out) => out.clone(),
        // As people write it: without the dot for the current folder.
        None => folder
            .strip_prefix(".")
            .unwrap_or(folder)
            .join(BUILD_FOLDER)
            .join(project.module_file()),
    };
    let placed = place(&made.path, &wasm);
    if made.is_passing {
        // It is hidden, and the next build of this process writes over it.
        let _ = std::fs::remove_file(&made.path);
    }
    let is_changed = placed.map_err(|source| BuildError::Write {
        path: wasm.clone(),
        source,
    })?;
    Ok(Built {
        wasm,
        took: started.elapsed(),
        toolchain: made.toolchain,
        is_changed,
    })
}

/// What a compiler has made.
pub(super) struct Made {
    /// Where it lies.
    pub(super) path: PathBuf,
    /// With what.
    pub(super) toolchain: &'static str,
    /// Whether nobody needs it there any more when it has been copied.
    pub(super) is_passing: bool,
}

/// Copies a module to its place by a rename; an equal one there is left alone. Gives whether it was
/// another.
fn place(made: &Path, wasm: &Path) -> std::io::Result<bool> {
    let bytes = std::fs::read(made)?;
    if std::fs::read(wasm).is_ok_and(|there| there == bytes) {
        return Ok(false);
    }
    let folder = match wasm.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    let mut name = wasm.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new.{}", std::process::id()));
    let passing = folder.join(name);
    let written = std::fs::File::create(&passing)
        .and_then(|mut file| file.write_all(&bytes))
        .and_then(|()| std::fs::rename(&passing, wasm));
    if written.is_err() {
        // What is left of it is of no use, and the first error is the one that counts.
        let _ = std::fs::remove_file(&passing);
    }
    written.map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_appears_whole_and_an_equal_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("made.wasm");
        let wasm = folder.path().join("build/a.wasm");
        std::fs::write(&made, "1").unwrap();
        assert!(place(&made, &wasm).unwrap());
        let time = || std::fs::metadata(&wasm).unwrap().modified().unwrap();
        let first = time();
        assert!(!place(&made, &wasm).unwrap());
        assert_eq!(time(), first);
        std::fs::write(&made, "2").unwrap();
        assert!(place(&made, &wasm).unwrap());
        assert_eq!(std::fs::read_to_string(&wasm).unwrap(), "2");
        let files = std::fs::read_dir(folder.path().join("build")).unwrap();
        assert_eq!(files.count(), 1, "nothing is left over");
        // A folder in its place is an error, and what was begun is gone.
        let taken = folder.path().join("taken");
        std::fs::create_dir_all(taken.join("full")).unwrap();
        assert!(place(&made, &taken).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
