//! A file that is appended to, and put aside when it is large or old.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use tracing::{info, warn};

use super::{
    FileError,
    repair::{Contents, contents},
};
use crate::sink::{Encoding, FileOptions};

/// Documents in a file. It is opened when it is needed, and anew after every fault: what the system
/// kept of a write that failed is not known.
#[derive(Debug)]
pub(super) struct Log {
    options: FileOptions,
    file: Option<Open>,
}

/// A file that holds whole documents, all of them on the disk.
#[derive(Debug)]
struct Open {
    file: File,
    len: u64,
    /// When its first document was written.
    begun: SystemTime,
}

impl Log {
    pub(super) fn new(options: FileOptions) -> Self {
        Self {
            options,
            file: None,
        }
    }

    /// Opens the file, locks it, and cuts off what is torn.
    pub(super) fn open(&mut self) -> Result<(), FileError> {
        // The old one holds the lock.
        self.file = None;
        let path = &self.options.path;
        // Before it is opened: that would wait for the other side of a pipe.
        let there = match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => {
                return Err(FileError::NotRegular(path.clone()));
            }
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(self.failed("open", error)),
        };
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path);
        let mut file = file.map_err(|error| self.failed("open", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FileError::Locked(path.clone())),
            // Not every file system has locks.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(self.failed("lock", error)),
        }
        if !there {
            self.sync_folder()?;
        }
        let metadata = file
            .metadata()
            .map_err(|error| self.failed("read", error))?;
        let found = contents(&mut file, self.options.format, metadata.len());
        let len = match found.map_err(|error| self.failed("read", error))? {
            Contents::Documents(len) => len,
            Contents::Foreign(at) => {
                return Err(FileError::Foreign {
                    path: path.clone(),
                    what: match self.options.format {
                        Encoding::Bson => "BSON documents",
                        Encoding::JsonLines(_) => "lines of JSON",
                    },
                    at,
                });
            }
        };
        if len < metadata.len() {
            warn!(
                path = %path.display(),
                bytes = metadata.len() - len,
                "the file ended in half a document, which was never acknowledged and is cut off"
            );
            let cut = file.set_len(len).and_then(|()| file.sync_all());
            cut.map_err(|error| self.failed("cut", error))?;
        }
        let begun = match len {
            0 => SystemTime::now(),
            // Not every file system knows when a file was made.
            _ => metadata
                .created()
                .or_else(|_| metadata.modified())
                .unwrap_or_else(|_| SystemTime::now()),
        };
        self.file = Some(Open { file, len, begun });
        Ok(())
    }

    /// Appends documents, and waits until they are on the disk.
    pub(super) fn append(&mut self, documents: &[u8]) -> Result<(), FileError> {
        if !self.is_in_place() {
            self.open()?;
        }
        if self.is_to_be_put_aside(documents.len() as u64) {
            self.put_aside()?;
            self.open()?;
        }
        let written = match &mut self.file {
            None => return Ok(()),
            Some(open) => {
                if open.len == 0 {
                    open.begun = SystemTime::now();
                }
                write_and_sync(open, documents)
            }
        };
        written.map_err(|error| {
            if let Some(open) = self.file.take() {
                // Else half of it would stay there until it is opened again, for readers to see.
                let _ = open.file.set_len(open.len);
            }
            self.failed("write", error)
        })
    }

    /// Whether the file is open, and is what lies at the path, and as long as it was left.
    fn is_in_place(&self) -> bool {
        let Some(open) = &self.file else {
            return false;
        };
        let (Ok(ours), Ok(there)) = (open.file.metadata(), fs::metadata(&self.options.path)) else {
            return false;
        };
        (ours.dev(), ours.ino(), ours.len()) == (there.dev(), there.ino(), open.len)
    }

    fn is_to_be_put_aside(&self, more: u64) -> bool {
        let Some(open) = self.file.as_ref().filter(|open| open.len > 0) else {
            return false;
        };
        let is_large = |max: u64| open.len.saturating_add(more) > max;
        let age = open.begun.elapsed().unwrap_or_default();
        self.options.rotate_bytes.is_some_and(is_large)
            || self.options.rotate_age.is_some_and(|max| age > max)
    }

    fn put_aside(&mut self) -> Result<(), FileError> {
        let aside = self.name_aside();
        fs::rename(&self.options.path, &aside).map_err(|error| self.failed("put aside", error))?;
        self.file = None;
        self.sync_folder()?;
        info!(path = %aside.display(), "the file was put aside");
        Ok(())
    }

    /// A name that nothing has yet.
    fn name_aside(&self) -> PathBuf {
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let time = time.replace(['-', ':'], "");
        let mut number = 1;
        let mut extension = time.clone();
        loop {
            let mut name = self.options.path.clone().into_os_string();
            name.push(format!(".{extension}"));
            let name = PathBuf::from(name);
            if !name.exists() {
                return name;
            }
            number += 1;
            extension = format!("{time}-{number}");
        }
    }

    /// Makes the names in the file's folder safe.
    fn sync_folder(&self) -> Result<(), FileError> {
        let folder = match self.options.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| self.failed("sync the folder of", error))
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> FileError {
        FileError::Io {
            doing,
            path: self.options.path.clone(),
            source,
        }
    }
}

fn write_and_sync(open: &mut Open, documents: &[u8]) -> io::Result<()> {
    open.file.write_all(documents)?;
    open.file.sync_data()?;
    open.len += documents.len() as u64;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::op::Format;

    fn options(path: &Path) -> FileOptions {
        FileOptions {
            path: path.to_owned(),
            format: Encoding::JsonLines(Format::Relaxed),
            rotate_bytes: None,
            rotate_age: None,
        }
    }

    /// The contents of all files in a folder, in the order of their names.
    fn all(folder: &Path) -> Vec<String> {
        let mut paths: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths
            .iter()
            .map(|path| fs::read_to_string(path).unwrap())
            .collect()
    }

    #[test]
    fn a_torn_line_is_cut_off_and_the_rest_appended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "{\"a\":1}\n{\"a\":").unwrap();
        let mut log = Log::new(options(&path));
        log.append(b"{\"a\":2}\n").unwrap();
        assert_eq!(all(folder.path()), ["{\"a\":1}\n{\"a\":2}\n"]);
    }

    #[test]
    fn a_file_that_would_become_too_large_is_put_aside_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = options(&folder.path().join("out"));
        options.rotate_bytes = Some(12);
        let mut log = Log::new(options);
        for line in [
            "{\"a\":1}\n",
            "{}\n",
            "{\"a\":2}\n",
            "{\"a\":\"larger than the bound\"}\n",
            "{}\n",
        ] {
            log.append(line.as_bytes()).unwrap();
        }
        let mut all = all(folder.path());
        // The newest has the shortest name.
        all.rotate_left(1);
        assert_eq!(
            all,
            [
                "{\"a\":1}\n{}\n",
                "{\"a\":2}\n",
                "{\"a\":\"larger than the bound\"}\n",
                "{}\n"
            ]
        );
    }

    #[test]
    fn a_file_that_is_old_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = options(&folder.path().join("out"));
        options.rotate_age = Some(Duration::from_millis(20));
        let mut log = Log::new(options);
        log.append(b"{}\n").unwrap();
        std::thread::sleep(Duration::from_millis(30));
        log.append(b"{\"a\":1}\n").unwrap();
        assert_eq!(all(folder.path()), ["{\"a\":1}\n", "{}\n"]);
    }

    #[test]
    fn one_process_writes_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(&folder.path().join("out"));
        let mut first = Log::new(options.clone());
        first.append(b"{}\n").unwrap();
        let mut second = Log::new(options);
        assert!(matches!(second.append(b"{}\n"), Err(FileError::Locked(_))));
        drop(first);
        second.append(b"{}\n").unwrap();
        assert_eq!(all(folder.path()), ["{}\n{}\n"]);
    }

    #[test]
    fn a_file_that_was_moved_or_cut_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut log = Log::new(options(&path));
        log.append(b"{\"a\":1}\n").unwrap();
        fs::rename(&path, folder.path().join("out.old")).unwrap();
        log.append(b"{\"a\":2}\n").unwrap();
        assert_eq!(all(folder.path()), ["{\"a\":2}\n", "{\"a\":1}\n"]);
        fs::write(&path, "").unwrap();
        log.append(b"{\"a\":3}\n").unwrap();
        let mut other = OpenOptions::new().append(true).open(&path).unwrap();
        other.write_all(b"{\"half").unwrap();
        log.append(b"{\"a\":4}\n").unwrap();
        let expected = "{\"a\":3}\n{\"a\":4}\n";
        assert_eq!(all(folder.path()), [expected, "{\"a\":1}\n"]);
    }

    #[test]
    fn what_cannot_be_meant_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        fs::write(&path, "buy milk").unwrap();
        for path in [
            &path,
            folder.path(),
            Path::new("/dev/null"),
            &folder.path().join("a/b"),
        ] {
            let error = Log::new(options(path)).open().unwrap_err();
            assert!(error.is_a_mistake(), "{error}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "buy milk");
    }

    #[test]
    fn a_disk_that_is_full_is_no_mistake_and_leaves_no_half() {
        // A device that is always full.
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut open = Open {
            file: full,
            len: 0,
            begun: SystemTime::now(),
        };
        let error = write_and_sync(&mut open, b"{}\n").unwrap_err();
        assert_eq!((error.kind(), open.len), (io::ErrorKind::StorageFull, 0));
        let log = Log::new(options(Path::new("out")));
        assert!(!log.failed("write", error).is_a_mistake());
    }
}
