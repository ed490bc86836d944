//! Whether somebody has changed a project's sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

/// What was built, fetched or worked out, and nobody writes by hand.
const MADE: [&str; 4] = ["target", "node_modules", "build", "Cargo.lock"];

/// For how long nothing may change before it is built: editors write in several steps.
const SETTLE: Duration = Duration::from_millis(50);

/// How often it is looked where the system does not tell.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How many files and folders are looked at.
const ENTRIES_MAX: usize = 20_000;

/// Every source file, with what tells it from another state of it.
type Files = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// Watches the sources in a project's folder.
///
/// What was built or fetched does not count, nor does what is hidden. Size and time of the files are what
/// counts: the system's word that something has changed only makes it look sooner.
#[derive(Debug)]
pub struct SourceWatcher {
    folder: PathBuf,
    /// None where the system has no room for another.
    watcher: Option<RecommendedWatcher>,
    told: Arc<Notify>,
    watched: BTreeSet<PathBuf>,
    seen: Files,
}

impl SourceWatcher {
    /// Watches from now on.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let told = Arc::new(Notify::new());
        let tell = told.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // That somebody reads is no change; errors are worth a look.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                tell.notify_one();
            }
        });
        let mut watcher = Self {
            folder: folder.to_owned(),
            watcher: watcher.ok(),
            told,
            watched: BTreeSet::new(),
            seen: Files::new(),
        };
        watcher.seen = watcher.look();
        watcher
    }

    /// Waits until the sources differ from when this was called last, and stand still. Cancellation safe.
    pub async fn changed(&mut self) {
        loop {
            let now = self.look();
            if now != self.seen {
                let settled = self.settled(now).await;
                if settled != self.seen {
                    self.seen = settled;
                    return;
                }
            }
            // Either way it is looked again.
            let _ = timeout(LOOK_EVERY, self.told.notified()).await;
        }
    }

    async fn settled(&mut self, mut files: Files) -> Files {
        loop {
            sleep(SETTLE).await;
            let now = self.look();
            if now == files {
                return files;
            }
            files = now;
        }
    }

    /// The files as they are now; folders that are new are watched from here on.
    fn look(&mut self) -> Files {
        let mut files = Files::new();
        let mut folders = vec![self.folder.clone()];
        let mut there = BTreeSet::new();
        while let Some(folder) = folders.pop() {
            if let Some(watcher) = &mut self.watcher
                && !self.watched.contains(&folder)
            {
                // What cannot be watched is looked at.
                let _ = watcher.watch(&folder, RecursiveMode::NonRecursive);
            }
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            for entry in entries {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if name.starts_with('.') || name.ends_with('~') || MADE.contains(&&*name) {
                    continue;
                }
                if files.len() + folders.len() + there.len() > ENTRIES_MAX {
                    break;
                }
                // A link to a folder is not followed: it may lead back here.
                match (entry.file_type(), std::fs::metadata(entry.path())) {
                    (Ok(kind), _) if kind.is_dir() => folders.push(entry.path()),
                    (_, Ok(file)) if file.is_file() => {
                        files.insert(entry.path(), (file.modified().ok(), file.len()));
                    }
                    _ => {}
                }
            }
            there.insert(folder);
        }
        // A folder that went away and comes back is another one.
        self.watched = there;
        files
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn sources_count_and_what_is_made_of_them_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("src")).unwrap();
        fs::write(path("src/lib.rs"), "1").unwrap();
        let mut watcher = SourceWatcher::new(folder.path());

        for made in ["target/a", "build/a", ".git/a", "node_modules/a"] {
            fs::create_dir(path(made).parent().unwrap()).unwrap();
            fs::write(path(made), "1").unwrap();
        }
        fs::write(path("src/.lib.rs.swp"), "1").unwrap();
        fs::write(path("Cargo.lock"), "1").unwrap();
        assert_eq!(watcher.look(), watcher.seen);

        for (name, text) in [
            ("src/lib.rs", "12"),
            ("Cargo.toml", "[package]"),
            ("src/deep/a.rs", "new folders are looked into"),
            ("src/deep/a.rs", "and watched"),
        ] {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), text).unwrap();
            timeout(SOON, watcher.changed()).await.expect(name);
        }
        fs::remove_file(path("src/deep/a.rs")).unwrap();
        timeout(SOON, watcher.changed()).await.unwrap();
        assert_eq!(watcher.seen.len(), 2);
    }
}
