//! The directory of compiled modules: whoever can write to it can have code run as us.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::Error;

/// Makes the directory when it is missing, and checks that it belongs to whom we run as and that
/// nobody else can write to it. The answer is its absolute path.
pub(super) fn prepare(path: &Path) -> Result<PathBuf, Error> {
    let attempt = || -> io::Result<PathBuf> {
        create(path)?;
        fs::canonicalize(path)
    };
    let path = attempt().map_err(|source| Error::CacheDirectory {
        path: path.to_owned(),
        source,
    })?;
    check(&path)?;
    Ok(path)
}

#[cfg(unix)]
fn create(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

#[cfg(not(unix))]
fn create(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(unix)]
fn check(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::MetadataExt;
    let failed = |source| Error::CacheDirectory {
        path: path.to_owned(),
        source,
    };
    let metadata = fs::metadata(path).map_err(failed)?;
    let open = |reason| Error::CacheDirectoryOpen {
        path: path.to_owned(),
        reason,
    };
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(open(format!("its mode is {mode:04o}")));
    }
    let own = own_user(path).map_err(failed)?;
    if metadata.uid() != own {
        return Err(open(format!(
            "it belongs to user {}, not to user {own} that runs this",
            metadata.uid()
        )));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check(_path: &Path) -> Result<(), Error> {
    Ok(())
}

/// Who owns a file that we make. Asking the system for our user id would take unsafe code; this also
/// proves that the directory can be written to.
#[cfg(unix)]
fn own_user(directory: &Path) -> io::Result<u32> {
    use std::os::unix::fs::MetadataExt;
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let probe = directory.join(format!(".probe-{}-{number}", std::process::id()));
    let file = fs::File::create(&probe)?;
    let uid = file.metadata().map(|metadata| metadata.uid());
    fs::remove_file(&probe)?;
    uid
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_directory_is_the_owners_alone() {
        let parent = tempfile::tempdir().unwrap();
        let path = prepare(&parent.path().join("a/b")).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        for mode in [0o777, 0o770, 0o702] {
            let directory = tempfile::tempdir().unwrap();
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
            let error = prepare(directory.path()).unwrap_err();
            assert!(
                matches!(&error, Error::CacheDirectoryOpen { .. }),
                "{error}"
            );
            assert!(error.hint().unwrap().contains("chmod 700"), "{error}");
        }
    }

    #[test]
    fn a_file_is_no_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = prepare(file.path()).unwrap_err();
        assert!(matches!(error, Error::CacheDirectory { .. }), "{error}");
    }
}
