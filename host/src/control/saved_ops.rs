//! Ops that a module failed on, saved as recordings.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use super::failure::{Failure, Next};
use crate::replay::{Encoding, Writer};

/// How many there are in a folder at most: a broken module fails on every op.
const FILES_MAX: u32 = 100;

/// Saves ops that modules fail on, each as a file that `oplet replay` takes.
#[derive(Debug)]
pub(super) struct SavedOps {
    folder: PathBuf,
    /// How many more may come.
    left: AtomicU32,
}

impl SavedOps {
    /// Saves into that folder, which is made when it is missing. What lies there already counts.
    pub(super) fn new(folder: &Path) -> Self {
        let made = std::fs::create_dir_all(folder).and_then(|()| std::fs::read_dir(folder));
        // That it cannot be written to is told with the first op.
        let entries = made.into_iter().flatten().flatten();
        let is_op = |path: &PathBuf| path.extension().is_some_and(|end| end == "bson");
        let there = entries.map(|entry| entry.path()).filter(is_op).count();
        let there = u32::try_from(there).unwrap_or(FILES_MAX);
        Self {
            folder: folder.to_owned(),
            left: AtomicU32::new(FILES_MAX.saturating_sub(there)),
        }
    }

    /// Saves the op of a failure, once for a module: when the call failed, or when the op is given up.
    pub(super) fn save(&self, failure: &Failure, next: Next, module: &str, op_id: &str, op: &[u8]) {
        let is_wanted = match failure {
            Failure::Guest(_) => true,
            // It was not called.
            Failure::Breaker(_) => false,
            _ => matches!(next, Next::DeadLetter | Next::Skip | Next::Stop),
        };
        if !is_wanted || self.left.load(Relaxed) == 0 {
            return;
        }
        let path = self.folder.join(file_name(op_id, module));
        let file = path.display();
        match write(&path, op) {
            Ok(()) => {
                tracing::info!(%file, "the op is saved; `oplet replay` takes it");
                let left = |left: u32| left.checked_sub(1);
                if self.left.fetch_update(Relaxed, Relaxed, left) == Ok(1) {
                    tracing::warn!(folder = %self.folder.display(), files = FILES_MAX, "no more failed ops are saved here");
                }
            }
            // It was tried before.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => tracing::warn!(%file, %error, "a failed op cannot be saved"),
        }
    }
}

fn write(path: &Path, op: &[u8]) -> io::Result<()> {
    let mut writer = Writer::create(path, Encoding::Bson, false)?;
    writer.write(op)?;
    writer.finish()?;
    Ok(())
}

/// `OPID-MODULE.bson`, without what has a meaning in paths.
fn file_name(op_id: &str, module: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let plain = |text: &str| text.replace(|c| !is_plain(c), "-");
    format!("{}-{}.bson", plain(op_id), plain(module))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let name = |entry: io::Result<std::fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn an_op_is_saved_once_and_not_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("failed");
        let reject = Failure::Reject("never".into());
        let retry = Failure::Retry("soon".into());
        let saved = SavedOps::new(&folder);
        saved.save(&reject, Next::DeadLetter, "m/../x", "9:2:3", b"first");
        saved.save(&reject, Next::DeadLetter, "m/../x", "9:2:3", b"second");
        saved.save(&retry, Next::Retry, "m", "9:3:0", b"is tried again");
        saved.save(
            &Failure::Breaker("b".into()),
            Next::DeadLetter,
            "m",
            "9:4:0",
            b"was not tried",
        );
        assert_eq!(files(&folder), ["9-2-3-m-..-x.bson"]);
        assert_eq!(
            std::fs::read(folder.join("9-2-3-m-..-x.bson")).unwrap(),
            b"first"
        );
        for n in 0..2 * FILES_MAX {
            // Also not by starting again.
            let saved = SavedOps::new(&folder);
            saved.save(&retry, Next::Skip, "m", &format!("10:{n}:0"), b"");
        }
        assert_eq!(files(&folder).len(), FILES_MAX as usize);
    }
}
