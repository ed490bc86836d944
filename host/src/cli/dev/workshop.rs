//! Where the handler is built, again and again.

use std::{io::IsTerminal as _, path::Path};

use anstream::{adapter::strip_str, eprintln};
use oplet::project::{
    self, BuildError, BuildOptions, Built, Profile, Project, RustToolchain, SourceWatcher,
};

use crate::cli::{build::cache_directory, error::UserError};

/// What cargo says of its progress, which is of no interest the second time.
const PROGRESS: [&str; 6] = [
    "Compiling ",
    "Finished ",
    "Fresh ",
    "Blocking ",
    "Locking ",
    "Updating ",
];

/// A project, and how it is built.
pub(super) struct Workshop {
    project: Project,
    options: BuildOptions,
    sources: SourceWatcher,
    /// The first build may take long: it is shown what it does.
    is_first: bool,
}

impl Workshop {
    pub(super) fn new(project: Project, toolchain: Option<RustToolchain>) -> Self {
        let stderr = std::io::stderr();
        // Apart from what `oplet build` makes: that is built for good.
        let out = project.folder.join("build/dev").join(project.module_file());
        Self {
            options: BuildOptions {
                profile: Profile::Development,
                out: Some(out),
                toolchain,
                cache_directory: cache_directory(),
                is_colored: stderr.is_terminal()
                    && anstream::AutoStream::choice(&stderr) != anstream::ColorChoice::Never,
            },
            sources: SourceWatcher::new(&project.folder),
            project,
            is_first: true,
        }
    }

    /// Where the module lies when it is built.
    pub(super) fn wasm(&self) -> &Path {
        self.options
            .out
            .as_deref()
            .expect("it was set when this was made")
    }

    /// Waits until the sources differ from those that were built last. Cancellation safe.
    pub(super) async fn changed(&mut self) {
        self.sources.changed().await;
    }

    /// Builds the sources as they are. What the compiler says is shown as it comes.
    ///
    /// # Errors
    /// When there is nothing to build with. What is wrong with the sources is shown, and gives `None`.
    pub(super) async fn build(&mut self) -> Result<Option<Built>, UserError> {
        let (folder, options) = (self.project.folder.clone(), self.options.clone());
        let shows_progress = std::mem::replace(&mut self.is_first, false);
        let build = move || {
            project::build(&folder, &options, &mut |line| {
                let plain = strip_str(line).to_string();
                let is_progress = PROGRESS
                    .iter()
                    .any(|word| plain.trim_start().starts_with(word));
                if shows_progress || !(is_progress || plain.trim().is_empty()) {
                    eprintln!("{line}");
                }
            })
        };
        let built = tokio::task::spawn_blocking(build).await;
        match built.expect("building does not panic") {
            Ok(built) => Ok(Some(built)),
            Err(error @ (BuildError::Missing(_) | BuildError::Start { .. })) => Err(error.into()),
            Err(error) => {
                UserError::from(error).print();
                Ok(None)
            }
        }
    }
}
