//! Where the handler is built, again and again.

use std::{io::IsTerminal as _, path::Path};

use anstream::{adapter::strip_str, eprintln};
use oplet::project::{
    self, BuildError, BuildOptions, Built, Profile, Project, ResidentCompiler, RustToolchain,
    SourceWatcher,
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
    /// A compiler that stays between builds, where the language has one.
    resident: Option<ResidentCompiler>,
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
            resident: None,
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
        let mut resident = self.resident.take();
        let build = move || {
            let built = project::build_again(&folder, &options, &mut resident, &mut |line| {
                let plain = strip_str(line).to_string();
                let is_progress = PROGRESS
                    .iter()
                    .any(|word| plain.trim_start().starts_with(word));
                if shows_progress || !(is_progress || plain.trim().is_empty()) {
                    eprintln!("{line}");
                }
            });
            (built, resident)
        };
        let built = tokio::task::spawn_blocking(build).await;
        let (built, resident) = built.expect("building does not panic");
        self.resident = resident;
        match built {
            Ok(built) => Ok(Some(built)),
            Err(error @ (BuildError::Missing(_) | BuildError::Start { .. })) => Err(error.into()),
            Err(error) => {
                UserError::from(error).print();
                Ok(None)
            }
        }
    }
}
