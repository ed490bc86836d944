//! What is installed on this machine, and what would have to be.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What Rust handlers are compiled for.
pub(super) const TARGET: &str = "wasm32-wasip1";
/// Debian's packages that make up its toolchain; `scripts/setup-wasm` installs the same.
const DEBIAN_PACKAGES: &str = "rustc-web cargo-web rust-web-src wasi-libc lld";
/// The first version of Debian's that its own library sources are known to build with.
const DEBIAN_MINOR_MIN: u32 = 90;
/// Where Debian's wasi-libc puts its archives.
pub(super) const WASI_LIBC: &str = "/usr/lib/wasm32-wasi";
/// Debian's compiler and cargo, by their full paths: a rustup proxy before them on the path would run
/// another compiler.
pub(super) const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
pub(super) const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// Something is not installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Missing {
    /// What is missing, and for what.
    pub what: String,
    /// The commands that mend it, each enough.
    pub remedies: Vec<String>,
}

/// The ways to compile Rust for WebAssembly, the preferred one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RustToolchain {
    /// The toolchain in use, which has the target's standard library.
    Rustup,
    /// Debian's, which has it as source: the first build compiles it.
    Debian,
}

impl RustToolchain {
    /// Each with its word.
    pub const WORDS: [(&'static str, Self); 2] =
        [("rustup", Self::Rustup), ("debian", Self::Debian)];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rustup => "rustup",
            Self::Debian => "debian",
        }
    }

    /// The first that is installed, as seen from a folder, which may name a toolchain of its own;
    /// `wanted` alone if it is given.
    ///
    /// # Errors
    /// When there is none, with what would mend that.
    pub(super) fn find(folder: &Path, wanted: Option<Self>) -> Result<Self, Missing> {
        let ways = match wanted {
            Some(way) => vec![way],
            None => Self::WORDS.map(|(_, way)| way).to_vec(),
        };
        let found = ways.iter().find(|way| match way {
            Self::Rustup => has_target(folder),
            Self::Debian => has_debian(),
        });
        found.copied().ok_or_else(|| missing(folder, &ways))
    }
}

/// Whether the compiler in use has the target's standard library. Its own word counts, so that this
/// holds for any way in which it was installed.
fn has_target(folder: &Path) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    said(rustc.current_dir(folder)).is_some_and(|libdir| Path::new(&libdir).is_dir())
}

fn has_debian() -> bool {
    let is_file = |path: &str| Path::new(path).is_file();
    if !is_file(DEBIAN_RUSTC) || !is_file(DEBIAN_CARGO) || !Path::new(WASI_LIBC).is_dir() {
        return false;
    }
    let version = said(Command::new(DEBIAN_RUSTC).arg("--version"));
    let minor = version.as_deref().and_then(minor_version);
    let sysroot = said(Command::new(DEBIAN_RUSTC).args(["--print", "sysroot"]));
    let has_sources = sysroot.is_some_and(|sysroot| {
        Path::new(&sysroot)
            .join("lib/rustlib/src/rust/library/std/Cargo.toml")
            .is_file()
    });
    minor.is_some_and(|minor| minor >= DEBIAN_MINOR_MIN) && has_sources && debian_linker().is_some()
}

/// Debian's linker, which carries LLVM's version in its name unless a package links the plain one.
pub(super) fn debian_linker() -> Option<PathBuf> {
    let entries = std::fs::read_dir("/usr/bin").ok()?;
    let linkers = entries.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        let version = match name.strip_prefix("wasm-ld")? {
            "" => u32::MAX,
            suffix => suffix.strip_prefix('-')?.parse().ok()?,
        };
        Some((version, name))
    });
    let (_, name) = linkers.max()?;
    Some(Path::new("/usr/bin").join(name))
}

fn missing(folder: &Path, ways: &[RustToolchain]) -> Missing {
    let runs =
        |program: &str| said(Command::new(program).arg("--version").current_dir(folder)).is_some();
    let mut remedies = Vec::new();
    for way in ways {
        match way {
            RustToolchain::Rustup if runs("rustup") => {
                remedies.push(format!("rustup target add {TARGET}"));
            }
            RustToolchain::Debian if Path::new("/usr/bin/apt-get").is_file() => remedies.push(
                format!("apt-get install --no-install-recommends {DEBIAN_PACKAGES}"),
            ),
            _ => {}
        }
    }
    let what = match runs("cargo") {
        true => format!("Rust's standard library for {TARGET} is missing"),
        false => {
            remedies.insert(0, "install Rust from https://rustup.rs".into());
            "there is no cargo to build it with".into()
        }
    };
    if remedies.is_empty() {
        remedies.push("install Rust from https://rustup.rs, which brings it".into());
    }
    Missing { what, remedies }
}

/// The first line that a command says, if it succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| text.lines().next().unwrap_or_default().to_owned())
}

/// `96` of `rustc 1.96.0 (ac68faa20 2026-05-25)`.
fn minor_version(text: &str) -> Option<u32> {
    text.strip_prefix("rustc 1.")?
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// The compiler of AssemblyScript that a folder's dependencies brought, or those of one above it.
///
/// # Errors
/// When it is not installed, with what would mend that.
pub(super) fn asc(folder: &Path) -> Result<PathBuf, Missing> {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    if said(Command::new("node").arg("--version")).is_none() {
        let remedy = match Path::new("/usr/bin/apt-get").is_file() {
            true => "apt-get install --no-install-recommends nodejs npm",
            false => "install Node.js 20 or later from https://nodejs.org",
        };
        return Err(Missing {
            what: "there is no node to run AssemblyScript's compiler with".into(),
            remedies: vec![remedy.into()],
        });
    }
    let places = folder
        .ancestors()
        .map(|above| above.join("node_modules/.bin/asc"));
    places
        .into_iter()
        .find(|asc| asc.is_file())
        .ok_or_else(|| Missing {
            what: "AssemblyScript's compiler is not installed in the project".into(),
            remedies: vec![format!("npm --prefix {} install", folder.display())],
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(
            minor_version("rustc 1.96.0 (ac68faa20 2026-05-25)"),
            Some(96)
        );
        assert_eq!(minor_version("rustc 1.63.0"), Some(63));
        assert_eq!(minor_version("clang 14"), None);
    }

    #[test]
    fn what_is_missing_is_named_with_a_command() {
        let folder = tempfile::tempdir().unwrap();
        let missing = missing(folder.path(), &[RustToolchain::Rustup]);
        assert!(missing.what.contains(TARGET), "{missing}");
        assert!(!missing.remedies.is_empty());
        let missing = asc(folder.path()).unwrap_err();
        assert!(missing.remedies[0].contains(" install"), "{missing:?}");
    }
}
