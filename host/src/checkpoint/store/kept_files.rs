//! Versions of modules in a directory for its owner alone: `PATH.modules/MODULE.DIGEST.wasm`, each
//! written in one step. How new a version is, its file's time of change tells.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    file::FileStore,
    slot::{Durability, remove, sync_directory, write_bytes},
};
use crate::checkpoint::{
    Error, KeptVersion, VersionKey,
    version::{VERSIONS_MAX, check},
};

const DIRECTORY: &str = ".modules";
const ENDING: &str = ".wasm";

/// How much newer a version is than the one before, at least; file systems know so little a difference.
const NEWER: Duration = Duration::from_micros(1);

/// For the owner alone: a module may hold secrets, and who could change it would run code.
const DIRECTORY_MODE: u32 = 0o700;

impl FileStore {
    pub(super) fn keep_version(&self, key: &VersionKey, wasm: &[u8]) -> Result<(), Error> {
        let _lock = self.lock()?;
        let failed = self.failed("keep a module's version");
        let directory = self.file(DIRECTORY);
        make_directory(&directory).map_err(&failed)?;
        let path = directory.join(file_name(&key.module, &key.digest));
        write_bytes(&path, wasm, Durability::Disk).map_err(&failed)?;
        let kept = self.found(&key.module)?;
        let others = kept.iter().filter(|(_, digest)| *digest != key.digest);
        // The clock of files stands still between two ticks of the kernel, and any may go back.
        let newest = others.clone().map(|(changed, _)| *changed + NEWER).next();
        let time = SystemTime::now().max(newest.unwrap_or(SystemTime::UNIX_EPOCH));
        let file = File::options().append(true).open(&path);
        file.and_then(|file| file.set_modified(time))
            .map_err(&failed)?;
        for (_, old) in others.skip(VERSIONS_MAX - 1) {
            let path = directory.join(file_name(&key.module, old));
            remove(&path).map_err(&failed)?;
        }
        Ok(())
    }

    pub(super) fn version(&self, key: &VersionKey) -> Result<Option<Vec<u8>>, Error> {
        let name = file_name(&key.module, &key.digest);
        let path = self.file(DIRECTORY).join(name);
        match fs::read(&path) {
            Ok(wasm) => check(key, || format!("file:{}", path.display()), wasm).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read a module's version")(error)),
        }
    }

    pub(super) fn versions(&self, module: &str) -> Result<Vec<KeptVersion>, Error> {
        let found = self.found(module)?.into_iter();
        let kept = found.map(|(changed, digest)| KeptVersion {
            digest,
            kept_ms: milliseconds(changed),
        });
        Ok(kept.collect())
    }

    /// The digests of a module's versions with their times, the newest first.
    fn found(&self, module: &str) -> Result<Vec<(SystemTime, String)>, Error> {
        let mut found = Vec::new();
        for path in self.version_files()? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some(digest) = digest_in(&name, module) else {
                continue;
            };
            // One that is gone by now was the oldest.
            let Ok(changed) = fs::metadata(&path).and_then(|metadata| metadata.modified()) else {
                continue;
            };
            found.push((changed, digest.to_owned()));
        }
        found.sort_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// All files in the directory; none when there is no directory.
    fn version_files(&self) -> Result<Vec<PathBuf>, Error> {
        let failed = self.failed("list the modules' versions");
        match fs::read_dir(self.file(DIRECTORY)) {
            Ok(entries) => entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<_, _>>()
                .map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Lets go of the versions of all modules; under the lock. What is not ours stays.
    pub(super) fn clear_versions(&self) -> Result<(), Error> {
        let failed = self.failed("clear the modules' versions");
        for path in self.version_files()? {
            let name = path.to_string_lossy();
            if name.ends_with(ENDING) || name.ends_with(".wasm.tmp") {
                remove(&path).map_err(&failed)?;
            }
        }
        match fs::remove_dir(self.file(DIRECTORY)) {
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Err(failed(error))
            }
            _ => Ok(()),
        }
    }
}

/// Makes the directory, or makes an old one its owner's alone.
fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Ok(()) => sync_directory(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::set_permissions(path, fs::Permissions::from_mode(DIRECTORY_MODE))
        }
        Err(error) => Err(error),
    }
}

/// The name of a version's file.
fn file_name(module: &str, digest: &str) -> String {
    format!("{}.{}{ENDING}", escaped(module), escaped(digest))
}

/// What could mean something in the name of a file is written `%XX`.
fn escaped(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => escaped.push(byte.into()),
            _ => escaped.push_str(&format!("%{byte:02x}")),
        }
    }
    escaped
}

/// The digest in the name of a file that holds a version of that module.
fn digest_in<'a>(file: &'a str, module: &str) -> Option<&'a str> {
    let (_, digest) = file.strip_suffix(ENDING)?.rsplit_once('.')?;
    (file == file_name(module, digest)).then_some(digest)
}

fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or(Duration::ZERO).as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_tells_the_module_and_the_digest_whatever_the_name() {
        let names = [
            "audit",
            "audit.v2",
            "../../etc",
            "a%2e",
            "a",
            "A",
            "ü b",
            "",
        ];
        for name in names {
            let file = file_name(name, "9f86");
            assert!(!file.contains('/'), "{file}");
            for other in names {
                let found = digest_in(&file, other);
                assert_eq!(found, (name == other).then_some("9f86"), "{file} {other}");
            }
        }
        assert_eq!(digest_in("audit.9f86.wasm.tmp", "audit"), None);
    }
}
