//! Rust, by cargo.
//!
//! The profiles are given on the command line, so that any crate can be built, whatever its manifest
//! says; each inherits from the manifest's `release` or `dev`, and has folders of its own, so that a build
//! for a try and one for good never throw away each other's work.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    BuildError, BuildOptions, Profile, RustToolchain,
    build::Made,
    child::{self, Stream},
    toolchain::{self, DEBIAN_CARGO, DEBIAN_RUSTC, TARGET, WASI_LIBC},
};

/// What each profile is called, and its settings.
fn profile(profile: Profile) -> (&'static str, &'static [&'static str]) {
    match profile {
        Profile::Speed => (
            "oplet-speed",
            &[
                "inherits='release'",
                "opt-level=3",
                "lto=true",
                "codegen-units=1",
                "panic='abort'",
                // Leaves the names, which backtraces show.
                "strip='debuginfo'",
            ],
        ),
        Profile::Size => (
            "oplet-size",
            &[
                "inherits='release'",
                "opt-level='s'",
                "lto=true",
                "codegen-units=1",
                "panic='abort'",
                "strip='debuginfo'",
            ],
        ),
        // Fast to build again: what is unchanged is kept. Backtraces name lines of the crate itself.
        Profile::Development => (
            "oplet-dev",
            &[
                "inherits='dev'",
                "opt-level=1",
                "incremental=true",
                "panic='abort'",
                "debug='line-tables-only'",
                "package.'*'.debug=false",
            ],
        ),
    }
}

/// Compiles the crate in a folder.
pub(super) fn compile(
    folder: &Path,
    options: &BuildOptions,
    on_line: &mut dyn FnMut(&str),
) -> Result<Made, BuildError> {
    let toolchain = RustToolchain::find(folder, options.toolchain)?;
    let mut artifacts = Artifacts::new(folder);
    let mut command = command(folder, toolchain, options);
    let status = child::run(&mut command, &mut |stream, line| match stream {
        Stream::Stdout => artifacts.read(line, on_line),
        Stream::Stderr => on_line(line),
    });
    let status = status.map_err(|source| BuildError::Start {
        program: "cargo".into(),
        source,
    })?;
    if !status.success() {
        return Err(BuildError::Failed { program: "cargo" });
    }
    match artifacts.module {
        Some(path) => Ok(Made {
            path,
            toolchain: toolchain.word(),
            // Cargo would have to link it again.
            is_passing: false,
        }),
        None => Err(BuildError::NoModule {
            manifest: folder.join("Cargo.toml"),
        }),
    }
}

fn command(folder: &Path, toolchain: RustToolchain, options: &BuildOptions) -> Command {
    let mut command = match toolchain {
        RustToolchain::Rustup => Command::new("cargo"),
        RustToolchain::Debian => Command::new(DEBIAN_CARGO),
    };
    command
        .current_dir(folder)
        .args(["build", "--lib", "--target", TARGET]);
    command.args(["--message-format", "json-render-diagnostics"]);
    command.args([
        "--color",
        if options.is_colored {
            "always"
        } else {
            "never"
        },
    ]);
    let (name, settings) = profile(options.profile);
    command.args(["--profile", name]);
    for setting in settings {
        command.args(["--config", &format!("profile.{name}.{setting}")]);
    }
    if toolchain == RustToolchain::Debian {
        // Debian ships the standard library as source. RUSTC_BOOTSTRAP lets its stable cargo build it;
        // wasi-libc is a package of its own. RUSTFLAGS would win over the flags in the configuration, both
        // ours and the project's.
        command
            .env("RUSTC", DEBIAN_RUSTC)
            .env("RUSTC_BOOTSTRAP", "1")
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .arg("-Zbuild-std=std,panic_abort");
        let linker = toolchain::debian_linker().unwrap_or_else(|| "wasm-ld".into());
        command.args([
            "--config",
            &format!("target.{TARGET}.linker='{}'", linker.display()),
        ]);
        command.args([
            "--config",
            &format!(
                "target.{TARGET}.rustflags=['-Lnative={WASI_LIBC}', '-Clink-self-contained=no']"
            ),
        ]);
        // One for all projects: the standard library takes minutes, and is built into it once.
        if let Some(cache) = &options.cache_directory {
            command.arg("--target-dir").arg(cache.join("debian"));
        }
    }
    command
}

/// What cargo tells of what it has made, as JSON lines.
struct Artifacts {
    manifest: PathBuf,
    module: Option<PathBuf>,
}

impl Artifacts {
    fn new(folder: &Path) -> Self {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        Self {
            manifest: folder.join("Cargo.toml"),
            module: None,
        }
    }

    /// Takes one line; what is none of cargo's is passed on.
    fn read(&mut self, line: &str, on_line: &mut dyn FnMut(&str)) {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else {
            return on_line(line);
        };
        let is_artifact = message["reason"] == "compiler-artifact";
        if !is_artifact || message["manifest_path"].as_str().map(Path::new) != Some(&self.manifest)
        {
            return;
        }
        let files = message["filenames"].as_array().into_iter().flatten();
        let mut files = files.filter_map(serde_json::Value::as_str);
        if let Some(module) = files.find(|file| file.ends_with(".wasm")) {
            self.module = Some(module.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_of_the_crate_itself_is_found() {
        let mut artifacts = Artifacts {
            manifest: "/shop/Cargo.toml".into(),
            module: None,
        };
        let mut passed = Vec::new();
        for line in [
            r#"{"reason":"compiler-artifact","manifest_path":"/other/Cargo.toml","filenames":["/t/other.wasm"]}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/shop/Cargo.toml","filenames":["/t/build-script"]}"#,
            r#"{"reason":"compiler-artifact","manifest_path":"/shop/Cargo.toml","filenames":["/t/libshop.rlib","/t/shop.wasm"]}"#,
            r#"{"reason":"build-finished","success":true}"#,
            "a line of a build script",
        ] {
            artifacts.read(line, &mut |line| passed.push(line.to_owned()));
        }
        assert_eq!(artifacts.module, Some("/t/shop.wasm".into()));
        assert_eq!(passed, ["a line of a build script"]);
    }
}
