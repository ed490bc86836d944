//! A new project from a template.

use std::{
    fs,
    io::{self, Write as _},
    path::{Component, Path, PathBuf},
};

use super::{Language, NameError, name, template};

/// What is asked of the SDK in a registry, in either language.
const SDK_VERSION: &str = "0.1";

/// What a new project is to be.
#[derive(Debug, Clone)]
pub struct NewOptions {
    /// What it is written in.
    pub language: Language,
    /// What it is called; as its folder if none is given.
    pub name: Option<String>,
    /// The folder of a copy of the SDK, instead of the published one.
    pub sdk: Option<PathBuf>,
}

/// A project that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its name.
    pub name: String,
    /// Its files, as paths in its folder.
    pub files: Vec<&'static str>,
}

/// A project could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// It cannot be called so.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Nothing is overwritten.
    #[error("{} has files already that would be overwritten", folder.display())]
    InTheWay {
        /// Where the project was to be.
        folder: PathBuf,
        /// What is in the way, as paths in there.
        files: Vec<&'static str>,
    },
    /// There is no SDK for that language where it was said to be.
    #[error("there is no SDK for this language in {}", folder.display())]
    NoSdk {
        /// Where it was said to be.
        folder: PathBuf,
        /// The file by which it would be known, from there.
        expected: &'static str,
    },
    /// A file or folder cannot be made.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl CreateError {
    /// Whether something else should have been asked for.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Write { .. })
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Name(error) => {
                let instead = error.instead.as_deref().unwrap_or("NAME");
                Some(format!("give another with `--name {instead}`"))
            }
            Self::InTheWay { .. } => {
                Some("name another folder, or move what is there out of the way".into())
            }
            Self::NoSdk { expected, .. } => Some(format!(
                "name the folder `guest-sdk` of a copy of Oplet's sources, where `{expected}` is"
            )),
            Self::Write { .. } => None,
        }
    }
}

/// Makes a project in a folder, which may exist already. What a failure leaves behind is removed again.
///
/// # Errors
/// See [`CreateError`].
pub fn create(folder: &Path, options: &NewOptions) -> Result<Created, CreateError> {
    let name = match &options.name {
        Some(name) => name.clone(),
        None => folder_name(folder),
    };
    name::check(&name)?;
    let sdk = match &options.sdk {
        Some(sdk) => local_sdk(options.language, folder, sdk)?,
        None => match options.language {
            Language::Rust => format!("\"{SDK_VERSION}\""),
            Language::AssemblyScript => format!("\"^{SDK_VERSION}.0\""),
        },
    };
    let files = template::files(options.language);
    // Dangling links are in the way, too.
    let is_there = |path: &&str| fs::symlink_metadata(folder.join(path)).is_ok();
    let paths: Vec<&'static str> = files.iter().map(|file| file.path).collect();
    let in_the_way: Vec<_> = paths
        .iter()
        .copied()
        .filter(|path| is_there(path))
        .collect();
    if !in_the_way.is_empty() {
        return Err(CreateError::InTheWay {
            folder: folder.to_owned(),
            files: in_the_way,
        });
    }
    let values = template::Values {
        name: &name,
        sdk: &sdk,
    };
    let mut written = Vec::new();
    for file in files {
        let path = folder.join(file.path);
        if let Err(source) = write_new(&path, &file.filled(&values), &mut written) {
            for path in written {
                // The first error is the one that counts.
                let _ = fs::remove_file(path);
            }
            return Err(CreateError::Write { path, source });
        }
    }
    Ok(Created { name, files: paths })
}

/// The name of a folder, also of one that is written as `.`.
fn folder_name(folder: &Path) -> String {
    let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
    let found = name(folder).or_else(|| name(&folder.canonicalize().ok()?));
    found.unwrap_or_default()
}

fn write_new(path: &Path, text: &str, written: &mut Vec<PathBuf>) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = fs::File::create_new(path)?;
    written.push(path.to_owned());
    file.write_all(text.as_bytes())
}

/// A copy of the SDK as a dependency; `sdk` is the folder `guest-sdk`, or that of the language's package in it.
fn local_sdk(language: Language, folder: &Path, sdk: &Path) -> Result<String, CreateError> {
    let (places, manifest, expected): (&[&str], _, _) = match language {
        Language::Rust => (&["."], "Cargo.toml", "Cargo.toml"),
        Language::AssemblyScript => (
            &["assemblyscript", "."],
            "package.json",
            "assemblyscript/package.json",
        ),
    };
    let is_sdk = |place: &&PathBuf| {
        let manifest = fs::read_to_string(place.join(manifest));
        manifest.is_ok_and(|text| text.contains("\"oplet-sdk\""))
    };
    let places: Vec<PathBuf> = places.iter().map(|place| sdk.join(place)).collect();
    let Some(package) = places.iter().find(is_sdk) else {
        return Err(CreateError::NoSdk {
            folder: sdk.to_owned(),
            expected,
        });
    };
    let path = from(folder, package, sdk.is_absolute());
    // As a string of TOML and of JSON, which write these the same.
    let path = path
        .to_string_lossy()
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    Ok(match language {
        Language::Rust => format!("{{ path = \"{path}\" }}"),
        Language::AssemblyScript => format!("\"file:{path}\""),
    })
}

/// The way from a folder to another: as short as can be, or from the root if that is how it was given.
fn from(folder: &Path, to: &Path, is_absolute: bool) -> PathBuf {
    // The folder may not be there yet.
    let resolved = |path: &Path| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let there = path
            .ancestors()
            .find_map(|above| Some((above, above.canonicalize().ok()?)));
        match there {
            Some((above, canonical)) => match path.strip_prefix(above) {
                Ok(rest) if !rest.as_os_str().is_empty() => canonical.join(rest),
                _ => canonical,
            },
            None => path,
        }
    };
    let (folder, to) = (resolved(folder), resolved(to));
    if is_absolute {
        return to;
    }
    let shared = folder
        .components()
        .zip(to.components())
        .take_while(|(a, b)| a == b)
        .count();
    let up = folder
        .components()
        .skip(shared)
        .map(|_| Component::ParentDir);
    let down = to.components().skip(shared);
    let way: PathBuf = up.chain(down).collect();
    match way.as_os_str().is_empty() {
        true => ".".into(),
        false => way,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(language: Language) -> NewOptions {
        NewOptions {
            language,
            name: None,
            sdk: None,
        }
    }

    fn files_in(folder: &Path) -> usize {
        let entries = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        entries
            .map(|path| if path.is_dir() { files_in(&path) } else { 1 })
            .sum()
    }

    #[test]
    fn every_file_is_there_and_nothing_is_overwritten() {
        for (_, language) in Language::WORDS {
            let folder = tempfile::tempdir().unwrap();
            let project = folder.path().join("deep/paid-orders");
            let created = create(&project, &options(language)).unwrap();
            assert_eq!(created.name, "paid-orders");
            assert_eq!(files_in(&project), created.files.len());

            let error = create(&project, &options(language)).unwrap_err();
            let CreateError::InTheWay { files, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!(files, &created.files);
            assert!(error.is_usage());
        }
    }

    #[test]
    fn one_file_in_the_way_keeps_all_from_being_written() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("README.md"), "mine").unwrap();
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        let asked = NewOptions {
            name: Some("a".into()),
            ..options(Language::Rust)
        };
        let error = create(folder.path(), &asked).unwrap_err();
        assert!(
            matches!(&error, CreateError::InTheWay { files, .. } if files == &["README.md"]),
            "{error}"
        );
        assert_eq!(files_in(folder.path()), 2);
        fs::remove_file(folder.path().join("README.md")).unwrap();
        create(folder.path(), &asked).unwrap();
    }

    #[test]
    fn what_a_failure_leaves_behind_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        // No folder can be made of a file.
        fs::write(folder.path().join("src"), "mine").unwrap();
        let asked = NewOptions {
            name: Some("a".into()),
            ..options(Language::Rust)
        };
        let error = create(folder.path(), &asked).unwrap_err();
        assert!(matches!(error, CreateError::Write { .. }), "{error}");
        assert_eq!(files_in(folder.path()), 1);
    }

    #[test]
    fn a_copy_of_the_sdk_is_named_from_the_project() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("sdk/assemblyscript")).unwrap();
        fs::write(root.join("sdk/Cargo.toml"), "name = \"oplet-sdk\"").unwrap();
        let project = root.join("handlers/a");
        let dependency = |language| local_sdk(language, &project, &root.join("sdk"));
        let absolute = format!("{{ path = \"{}/sdk\" }}", root.display());
        assert_eq!(dependency(Language::Rust).unwrap(), absolute);
        assert!(matches!(
            dependency(Language::AssemblyScript).unwrap_err(),
            CreateError::NoSdk {
                expected: "assemblyscript/package.json",
                ..
            }
        ));
        fs::write(
            root.join("sdk/assemblyscript/package.json"),
            "{\"name\": \"oplet-sdk\"}",
        )
        .unwrap();
        let absolute = format!("\"file:{}/sdk/assemblyscript\"", root.display());
        assert_eq!(dependency(Language::AssemblyScript).unwrap(), absolute);

        let way = |to: &str| from(&project, &root.join(to), false);
        assert_eq!(way("sdk/."), Path::new("../../sdk"));
        assert_eq!(way("handlers/a"), Path::new("."));
        assert_eq!(way("handlers/a/sdk"), Path::new("sdk"));
    }
}
