//! The system's word that something has changed near a file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// Watches the folders of files, not the files: an editor puts another file in their place.
#[derive(Debug)]
pub(super) struct Watcher {
    /// None where the system has no room for another.
    watcher: Option<RecommendedWatcher>,
    changed: Arc<Notify>,
    /// Which folder is watched under a path; none when it could not be.
    folders: BTreeMap<PathBuf, Option<u64>>,
}

impl Watcher {
    pub(super) fn new<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        let changed = Arc::new(Notify::new());
        let tell = changed.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // That somebody reads is no change. Everything else is worth a look, errors too.
            let is_read = |event: &notify::Event| {
                matches!(event.kind, EventKind::Access(access)
                if !matches!(access, notify::event::AccessKind::Close(notify::event::AccessMode::Write)))
            };
            if !event.as_ref().is_ok_and(is_read) {
                tell.notify_one();
            }
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(%error, "the system does not watch files; they are looked at every second");
            })
            .ok();
        let mut watcher = Self {
            watcher,
            changed,
            folders: files
                .flat_map(folders_of)
                .map(|path| (path, None))
                .collect(),
        };
        watcher.renew();
        watcher
    }

    /// Watches folders that were not there, or were made anew.
    pub(super) fn renew(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for (path, watched) in &mut self.folders {
            let present = identity(path);
            if present == *watched {
                continue;
            }
            // The one that is gone may still be known under the path.
            let _ = watcher.unwatch(path);
            *watched = present.filter(|_| {
                let watching = watcher.watch(path, RecursiveMode::NonRecursive);
                watching
                    .inspect_err(|error| tracing::debug!(path = %path.display(), %error, "the folder is not watched"))
                    .is_ok()
            });
            if watched.is_some() {
                // What happened before it was watched, nobody tells.
                self.changed.notify_one();
            }
        }
    }

    /// Something has changed since the last time, or may have.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// The folder of a file, and that of the file that it links to.
fn folders_of(file: &Path) -> Vec<PathBuf> {
    let folder = |file: &Path| match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let target = std::fs::canonicalize(file).ok();
    let mut folders = vec![folder(file)];
    folders.extend(target.as_deref().map(folder));
    folders
}

/// What tells a folder from another of the same path.
fn identity(path: &Path) -> Option<u64> {
    let metadata = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    return Some(std::os::unix::fs::MetadataExt::ino(&metadata));
    #[cfg(not(unix))]
    return Some(u64::from(metadata.is_dir()));
}
