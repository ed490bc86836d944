//! A file that holds one document, whole or not at all.
//!
//! ```text
//! "OPLETCP\n"  sequence (8 bytes)  length (4 bytes)  XXH3-64 of sequence, length and body (8 bytes)  body
//! ```
//! Numbers are little-endian; the body is BSON.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use bson::Document;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"OPLETCP\n";
const HEAD_BYTES: usize = 28;

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Slot {
    /// There is no such file.
    Absent,
    /// A document, and its number in the order of writing.
    Whole(u64, Document),
    /// Anything else, and what is wrong with it.
    Corrupt(String),
}

impl Slot {
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(bytes) => Ok(match decode(&bytes) {
                Ok((sequence, document)) => Self::Whole(sequence, document),
                Err(reason) => Self::Corrupt(reason.to_owned()),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Absent),
            Err(error) => Err(error),
        }
    }

    pub(super) fn sequence(&self) -> Option<u64> {
        match self {
            Self::Whole(sequence, _) => Some(*sequence),
            Self::Absent | Self::Corrupt(_) => None,
        }
    }
}

/// The path with an ending.
pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// How long what was written must last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// Over a crash of the machine.
    Disk,
    /// Over a crash of the process.
    System,
}

/// Puts the document in the stead of whatever the file held, in one step.
pub(super) fn write(
    path: &Path,
    sequence: u64,
    document: &Document,
    durability: Durability,
) -> io::Result<()> {
    let body = document.to_vec().map_err(io::Error::other)?;
    write_bytes(path, &encode(sequence, &body), durability)
}

/// As [`write`], for bytes of any kind.
pub(super) fn write_bytes(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let temporary = with_ending(path, ".tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    if durability == Durability::Disk {
        file.sync_all()?;
    }
    fs::rename(&temporary, path)?;
    if durability == Durability::Disk {
        sync_directory(path)?;
    }
    Ok(())
}

/// Removes the file, if there is one.
pub(super) fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the names in the file's directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn encode(sequence: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a checkpoint is smaller than 4 GiB");
    let mut checked = Vec::with_capacity(HEAD_BYTES + body.len());
    checked.extend_from_slice(&sequence.to_le_bytes());
    checked.extend_from_slice(&length.to_le_bytes());
    checked.extend_from_slice(body);
    let checksum = xxh3_64(&checked).to_le_bytes();
    [MAGIC, &checked[..12], &checksum[..], body].concat()
}

fn decode(bytes: &[u8]) -> Result<(u64, Document), &'static str> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or("it is no checkpoint file")?;
    let (numbers, rest) = rest.split_first_chunk::<12>().ok_or("it is cut off")?;
    let (checksum, body) = rest.split_first_chunk::<8>().ok_or("it is cut off")?;
    let (sequence, length) = numbers.split_first_chunk::<8>().expect("12 is more than 8");
    if length != (body.len() as u32).to_le_bytes() {
        return Err("it is cut off, or longer than it says");
    }
    if *checksum != xxh3_64(&[numbers, body].concat()).to_le_bytes() {
        return Err("its checksum is wrong");
    }
    let document = Document::from_reader(body).map_err(|_| "it holds no document")?;
    Ok((u64::from_le_bytes(*sequence), document))
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn whatever_is_cut_off_or_changed_shows() {
        let whole = encode(7, &doc! {"n": 1}.to_vec().unwrap());
        assert_eq!(decode(&whole), Ok((7, doc! {"n": 1})));
        for len in 0..whole.len() {
            assert!(decode(&whole[..len]).is_err(), "{len}");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                assert!(decode(&changed).is_err(), "{at} {bit}");
            }
        }
        assert!(decode(&[&whole[..], b"x"].concat()).is_err());
    }
}
