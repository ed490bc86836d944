//! What a folder with a handler is written in.

use std::path::{Path, PathBuf};

/// What a handler can be written in, with a template and an SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Built by cargo for `wasm32-wasip1`.
    Rust,
    /// Built by asc.
    AssemblyScript,
}

impl Language {
    /// Each language with its word on the command line.
    pub const WORDS: [(&'static str, Self); 2] = [
        ("rust", Self::Rust),
        ("assemblyscript", Self::AssemblyScript),
    ];
}

/// A folder with a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Where it lies; its manifest is in there.
    pub folder: PathBuf,
    /// As its manifest has it.
    pub name: String,
    /// What it is written in.
    pub language: Language,
}

/// A folder holds no handler that could be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// There is no manifest.
    #[error("there is no handler in {}: neither `Cargo.toml` nor `asconfig.json` is there", folder.display())]
    NoManifest {
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// It is no folder, or not there.
    #[error("{} is not a folder", path.display())]
    NoFolder {
        /// What was given.
        path: PathBuf,
    },
    /// A manifest cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The manifest.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A manifest is there, but says nothing usable.
    #[error("{} {problem}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it, as a clause without its subject.
        problem: String,
    },
}

impl Project {
    /// Looks at the manifests of a folder. `Cargo.toml` makes it Rust, else `asconfig.json` AssemblyScript.
    ///
    /// # Errors
    /// See [`FindError`].
    pub fn find(folder: &Path) -> Result<Self, FindError> {
        if !folder.is_dir() {
            return Err(FindError::NoFolder {
                path: folder.to_owned(),
            });
        }
        let cargo = folder.join("Cargo.toml");
        if cargo.is_file() {
            return Ok(Self {
                folder: folder.to_owned(),
                name: crate_name(&cargo)?,
                language: Language::Rust,
            });
        }
        if !folder.join("asconfig.json").is_file() {
            return Err(FindError::NoManifest {
                folder: folder.to_owned(),
            });
        }
        Ok(Self {
            folder: folder.to_owned(),
            name: package_name(&folder.join("package.json"))?,
            language: Language::AssemblyScript,
        })
    }

    /// What the module's file is called: the name, without what cannot stand in a module's name.
    #[must_use]
    pub fn module_file(&self) -> String {
        // A package may have a scope: `@shop/orders`.
        let name = self.name.rsplit('/').next().unwrap_or_default();
        format!("{}.wasm", name.replace(['-', '.'], "_"))
    }
}

fn read(path: &Path) -> Result<String, FindError> {
    std::fs::read_to_string(path).map_err(|source| FindError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn crate_name(path: &Path) -> Result<String, FindError> {
    let problem = |problem: String| FindError::Manifest {
        path: path.to_owned(),
        problem,
    };
    let manifest: toml::Table = read(path)?
        .parse()
        .map_err(|error: toml::de::Error| problem(format!("is not TOML: {}", error.message())))?;
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"));
    match name.and_then(toml::Value::as_str) {
        Some(name) => Ok(name.to_owned()),
        None if manifest.contains_key("workspace") => Err(problem(
            "is that of a workspace: name the folder of the handler itself".into(),
        )),
        None => Err(problem("has no `package.name`".into())),
    }
}

fn package_name(path: &Path) -> Result<String, FindError> {
    let problem = |problem: String| FindError::Manifest {
        path: path.to_owned(),
        problem,
    };
    let manifest: serde_json::Value = serde_json::from_str(&read(path)?)
        .map_err(|error| problem(format!("is not JSON: {error}")))?;
    match manifest["name"].as_str() {
        Some(name) => Ok(name.to_owned()),
        None => Err(problem("has no `name`".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Result<(String, Language), String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        match Project::find(folder.path()) {
            Ok(project) => Ok((project.module_file(), project.language)),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn manifests_tell_the_language_and_the_name() {
        let cargo = ("Cargo.toml", "[package]\nname = 'new-users'\n");
        let package = ("package.json", r#"{"name": "@shop/paid-orders"}"#);
        let asconfig = ("asconfig.json", "{}");
        let rust = Ok(("new_users.wasm".into(), Language::Rust));
        assert_eq!(found(&[cargo]), rust);
        assert_eq!(found(&[cargo, package, asconfig]), rust);
        assert_eq!(
            found(&[package, asconfig]),
            Ok(("paid_orders.wasm".into(), Language::AssemblyScript))
        );
    }

    #[test]
    fn what_is_no_handler_is_told_with_its_reason() {
        let check = |files: &[(&str, &str)], expected: &str| {
            let error = found(files).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(&[], "neither `Cargo.toml` nor `asconfig.json`");
        check(
            &[("package.json", "{}")],
            "neither `Cargo.toml` nor `asconfig.json`",
        );
        check(&[("Cargo.toml", "[workspace]\n")], "that of a workspace");
        check(&[("Cargo.toml", "[package]\n")], "no `package.name`");
        check(&[("Cargo.toml", "package")], "is not TOML");
        check(&[("asconfig.json", "{}")], "cannot read");
        check(
            &[("asconfig.json", "{}"), ("package.json", "{}")],
            "has no `name`",
        );
        let error = Project::find(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.to_string(), "/nowhere/at/all is not a folder");
    }
}
