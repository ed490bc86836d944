//! One file, and whether it holds something new.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use sha2::{Digest as _, Sha256};

/// A file that a module was loaded from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFile {
    /// The module's name.
    pub module: String,
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of what it held when the module was loaded, in hex.
    pub digest: String,
}

/// How much longer a file is waited for that ends in the middle of a section: somebody still writes it,
/// and pauses.
const CUT_OFF_FACTOR: u32 = 10;

/// A file, and what is known of it.
#[derive(Debug)]
pub(super) struct Tracked {
    path: PathBuf,
    settle: Duration,
    bytes_max: usize,
    seen: Option<Seen>,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// The file is not there.
    Absent,
    /// Nothing has changed since a look that found it settled.
    Quiet,
    /// It changes, or did a moment ago: look again soon.
    Unsettled,
    /// It is at rest for the first time since it changed.
    Settled {
        wasm: Arc<[u8]>,
        /// SHA-256 of the bytes, in hex.
        digest: String,
    },
}

/// What tells a change without reading: size, time, and which file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Signature {
    bytes: u64,
    changed: Option<SystemTime>,
    inode: u64,
}

#[derive(Debug)]
struct Seen {
    signature: Signature,
    digest: String,
    since: Instant,
    is_cut_off: bool,
    /// Whether it was told as settled.
    is_told: bool,
}

impl Tracked {
    pub(super) fn new(path: PathBuf, settle: Duration, bytes_max: usize) -> Self {
        Self {
            path,
            settle,
            bytes_max,
            seen: None,
        }
    }

    /// Forgets what was seen: the next looks find it settled again.
    pub(super) fn forget(&mut self) {
        self.seen = None;
    }

    /// Looks at the file. It is read when it has changed, and once more when it is at rest: two readings
    /// that agree are one file.
    ///
    /// # Errors
    /// When it is there, and cannot be read.
    pub(super) fn look(&mut self, now: Instant) -> io::Result<Look> {
        let signature = match Signature::of(&self.path) {
            Ok(signature) => signature,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.seen = None;
                return Ok(Look::Absent);
            }
            Err(error) => return Err(error),
        };
        if let Some(seen) = &self.seen
            && seen.signature == signature
        {
            let settle = match seen.is_cut_off {
                true => self.settle * CUT_OFF_FACTOR,
                false => self.settle,
            };
            if seen.is_told {
                return Ok(Look::Quiet);
            }
            if now.saturating_duration_since(seen.since) < settle {
                return Ok(Look::Unsettled);
            }
        }
        let Some((signature, wasm)) = read(&self.path, self.bytes_max)? else {
            // It changed under the reader.
            self.seen = None;
            return Ok(Look::Unsettled);
        };
        let digest = digest_of(&wasm);
        if let Some(seen) = &mut self.seen
            && seen.signature == signature
            && seen.digest == digest
        {
            seen.is_told = true;
            return Ok(Look::Settled {
                wasm: wasm.into(),
                digest,
            });
        }
        self.seen = Some(Seen {
            signature,
            digest,
            since: now,
            is_cut_off: is_cut_off(&wasm),
            is_told: false,
        });
        Ok(Look::Unsettled)
    }
}

impl Signature {
    fn of(path: &Path) -> io::Result<Self> {
        Self::from_metadata(&fs::metadata(path)?)
    }

    fn from_metadata(metadata: &Metadata) -> io::Result<Self> {
        // A pipe or a device could be waited for without end.
        if !metadata.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Ok(Self {
            bytes: metadata.len(),
            changed: metadata.modified().ok(),
            inode,
        })
    }
}

/// Reads a file, up to one byte more than a module may have; `None` when it changed meanwhile.
fn read(path: &Path, bytes_max: usize) -> io::Result<Option<(Signature, Vec<u8>)>> {
    let file = File::open(path)?;
    let before = Signature::from_metadata(&file.metadata()?)?;
    let mut wasm = Vec::new();
    (&file).take(bytes_max as u64 + 1).read_to_end(&mut wasm)?;
    let after = Signature::from_metadata(&file.metadata()?)?;
    Ok((before == after).then_some((before, wasm)))
}

/// SHA-256 in hex.
pub(super) fn digest_of(wasm: &[u8]) -> String {
    Sha256::digest(wasm)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether these are the first bytes of a module, or none, and the rest is missing. What is no module
/// at all is not cut off.
fn is_cut_off(wasm: &[u8]) -> bool {
    const HEAD: &[u8; 8] = b"\0asm\x01\0\0\0";
    let Some(mut rest) = wasm.strip_prefix(HEAD) else {
        return HEAD.starts_with(wasm);
    };
    // Each section has a number, the length of its body, and the body.
    while let Some((_, after)) = rest.split_first() {
        let Some((length, body)) = leb128(after) else {
            return true;
        };
        let Some(next) = usize::try_from(length)
            .ok()
            .and_then(|length| body.get(length..))
        else {
            return true;
        };
        rest = next;
    }
    // A module of no sections does nothing: more is to come.
    wasm.len() == HEAD.len()
}

/// A number as WebAssembly writes it, and what follows.
fn leb128(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const SETTLE: Duration = Duration::from_millis(200);

    struct Scene {
        folder: TempDir,
        tracked: Tracked,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("audit.wasm");
            Self {
                tracked: Tracked::new(path, SETTLE, 1_000),
                folder,
                now: Instant::now(),
            }
        }

        fn write(&self, bytes: &[u8]) {
            fs::write(&self.tracked.path, bytes).unwrap();
        }

        /// Looks so much later.
        fn after(&mut self, later: Duration) -> Look {
            self.now += later;
            self.tracked.look(self.now).unwrap()
        }

        fn soon(&mut self) -> Look {
            self.after(SETTLE / 4)
        }

        fn later(&mut self) -> Look {
            self.after(SETTLE)
        }
    }

    fn module() -> Vec<u8> {
        wat::parse_str("(module (memory (export \"memory\") 1) (func (export \"f\") nop))").unwrap()
    }

    fn settled(bytes: &[u8]) -> Look {
        Look::Settled {
            wasm: bytes.into(),
            digest: digest_of(bytes),
        }
    }

    #[test]
    fn a_file_is_taken_once_when_it_is_at_rest() {
        let mut scene = Scene::new();
        assert_eq!(scene.later(), Look::Absent);
        let module = module();
        scene.write(&module);
        assert_eq!(scene.soon(), Look::Unsettled);
        assert_eq!(scene.soon(), Look::Unsettled);
        assert_eq!(scene.later(), settled(&module));
        assert_eq!(scene.later(), Look::Quiet);
        // Renamed over it: another file of the same size.
        let mut other = module.clone();
        let last = other.len() - 1;
        other[last] ^= 1;
        let temporary = scene.folder.path().join("next");
        fs::write(&temporary, &other).unwrap();
        fs::rename(&temporary, &scene.tracked.path).unwrap();
        assert_eq!(scene.soon(), Look::Unsettled);
        assert_eq!(scene.later(), settled(&other));
        fs::remove_file(&scene.tracked.path).unwrap();
        assert_eq!(scene.soon(), Look::Absent);
        scene.write(&other);
        assert_eq!(scene.soon(), Look::Unsettled);
        assert_eq!(scene.later(), settled(&other));
        scene.tracked.forget();
        assert_eq!(scene.soon(), Look::Unsettled);
        assert_eq!(scene.later(), settled(&other));
    }

    #[test]
    fn a_file_that_changes_all_the_time_is_not_taken_before_it_stops() {
        let mut scene = Scene::new();
        for n in 1..20_u8 {
            scene.write(&vec![n; usize::from(n)]);
            assert_eq!(scene.after(SETTLE * 2), Look::Unsettled, "{n}");
        }
        assert_eq!(scene.later(), settled(&[19; 19]));
    }

    #[test]
    fn a_change_that_size_and_time_do_not_show_is_found_by_reading_twice() {
        let mut scene = Scene::new();
        scene.write(b"one");
        let path = scene.tracked.path.clone();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(scene.soon(), Look::Unsettled);
        scene.write(b"two");
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
        assert_eq!(scene.later(), Look::Unsettled);
        assert_eq!(scene.later(), settled(b"two"));
    }

    #[test]
    fn a_file_that_is_half_written_is_waited_for_longer() {
        let mut scene = Scene::new();
        let module = module();
        for len in 0..module.len() {
            // Between two sections nothing tells that more is to come.
            if !is_cut_off(&module[..len]) {
                continue;
            }
            scene.write(&module[..len]);
            assert_eq!(scene.soon(), Look::Unsettled, "{len}");
            assert_eq!(scene.later(), Look::Unsettled, "{len}");
            assert_eq!(scene.later(), Look::Unsettled, "{len}");
        }
        // For ever it is not waited for.
        assert_eq!(
            scene.after(SETTLE * CUT_OFF_FACTOR),
            settled(&module[..module.len() - 1])
        );
        scene.write(&module);
        assert_eq!(scene.soon(), Look::Unsettled);
        assert_eq!(scene.later(), settled(&module));
    }

    #[test]
    fn only_what_begins_as_a_module_is_cut_off() {
        let module = module();
        let cut = (0..module.len()).filter(|len| is_cut_off(&module[..*len]));
        // All but the four borders between sections.
        assert!(cut.count() >= module.len() - 5);
        assert!(!is_cut_off(&module));
        for other in [&b"text"[..], b"(module)", b"\0asm\x0d\0\x01\0"] {
            assert!(!is_cut_off(other), "{other:?}");
        }
        let endless = [&b"\0asm\x01\0\0\0\x01"[..], &[0xff; 20]].concat();
        assert!(is_cut_off(&endless));
    }

    #[test]
    fn no_more_is_read_than_is_needed_to_refuse_it() {
        let mut scene = Scene::new();
        scene.write(&[7; 5_000]);
        assert_eq!(scene.soon(), Look::Unsettled);
        assert_eq!(scene.later(), settled(&[7; 1_001]));
    }

    #[test]
    fn what_is_no_file_is_an_error_and_not_waited_for() {
        let mut scene = Scene::new();
        fs::create_dir(&scene.tracked.path).unwrap();
        assert!(scene.tracked.look(scene.now).is_err());
    }
}
