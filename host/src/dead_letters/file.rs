//! Dead letters in a file.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File as StdFile, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use bson::{Bson, RawDocumentBuf};
use oplet_sdk::raw::Writer;

use super::{
    DeadLetter, Error, Filter, Place,
    encoding::{Keep, Part},
};
use crate::op::{Format, write_json};

/// Dead letters in a file: lines of canonical Extended JSON, the same letter maybe several times.
///
/// New ones are appended and synced. To take some out, the file is written anew beside the old one
/// and renamed over it. Both happen under the lock of a file beside it, `PATH.lock`, so that a run and
/// the command line do not lose each other's letters. Readers take no lock: they see the old file or
/// the new one.
#[derive(Debug, Clone)]
pub(super) struct File {
    path: PathBuf,
}

impl File {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn error(&self, source: io::Error) -> Error {
        Error::File {
            path: self.path.clone(),
            source,
        }
    }

    /// A name beside the file.
    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(ending);
        path.into()
    }

    /// Does something while nobody else writes.
    fn locked<T>(&self, work: impl FnOnce() -> io::Result<T>) -> Result<T, Error> {
        let lock = || {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(self.beside(".lock"))?;
            file.lock()?;
            Ok(file)
        };
        let held = lock().map_err(|error| self.error(error))?;
        let done = work().map_err(|error| self.error(error));
        drop(held);
        done
    }

    pub(super) fn insert(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        let mut text = String::new();
        for letter in letters {
            write_line(letter, &mut text);
        }
        self.locked(|| {
            let is_new = !self.path.exists();
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&self.path)?;
            // What a process wrote half before it was killed, nobody was told of.
            let end = whole_lines_end(&mut file)?;
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end))?;
            file.write_all(text.as_bytes())?;
            file.sync_data()?;
            match is_new {
                true => sync_directory(&self.path),
                false => Ok(()),
            }
        })
    }

    /// Takes letters out, and tells the latest failure of others, as far as they are still there.
    /// Returns how many were taken out.
    pub(super) fn settle(&self, removed: &[String], updated: &[DeadLetter]) -> Result<u64, Error> {
        let removed: HashSet<&str> = removed.iter().map(String::as_str).collect();
        let updated: HashMap<&str, &DeadLetter> = updated
            .iter()
            .map(|letter| (letter.id.as_str(), letter))
            .collect();
        let mut invalid = None;
        let settled = self.locked(|| {
            let index = match Index::read(&self.path) {
                Ok(index) => index,
                Err(Error::File { source, .. }) => return Err(source),
                Err(error) => {
                    invalid = Some(error);
                    return Ok(0);
                }
            };
            let temporary = self.beside(".new");
            let mut file = io::BufWriter::new(StdFile::create(&temporary)?);
            let mut count = 0;
            let mut line = String::new();
            for entry in index.entries.values() {
                if removed.contains(entry.id.as_str()) {
                    count += 1;
                    continue;
                }
                let stored = match index.letter(entry) {
                    Ok(letter) => letter,
                    Err(error) => {
                        invalid = Some(error);
                        return Ok(0);
                    }
                };
                let letter = match updated.get(entry.id.as_str()) {
                    Some(latest) => latest_of(&stored, latest),
                    None => stored,
                };
                line.clear();
                write_line(&letter, &mut line);
                file.write_all(line.as_bytes())?;
            }
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            sync_directory(&self.path)?;
            Ok(count)
        })?;
        invalid.map_or(Ok(settled), Err)
    }

    /// What the file holds now.
    pub(super) fn index(&self) -> Result<Index, Error> {
        Index::read(&self.path)
    }
}

/// A letter that failed again, as it is told from then on.
fn latest_of(stored: &DeadLetter, latest: &DeadLetter) -> DeadLetter {
    DeadLetter {
        op: stored.op.clone(),
        truncated: stored.truncated,
        attempts: stored.attempts.max(latest.attempts),
        first_failed_ms: stored.first_failed_ms.min(latest.first_failed_ms),
        last_failed_ms: stored.last_failed_ms.max(latest.last_failed_ms),
        ..latest.clone()
    }
}

/// The letters of a file as it was when it was opened, without their ops: those are read from it one
/// by one.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    /// None when there is no file.
    file: Option<StdFile>,
    pub(super) entries: BTreeMap<Place, Entry>,
}

/// Where a letter lies in the file, and what later lines say of it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    id: String,
    start: u64,
    len: usize,
    attempts: u32,
    first_failed_ms: i64,
    last_failed_ms: i64,
}

impl Index {
    fn read(path: &Path) -> Result<Self, Error> {
        let error = |source| Error::File {
            path: path.to_owned(),
            source,
        };
        let mut index = Self {
            path: path.to_owned(),
            file: None,
            entries: BTreeMap::new(),
        };
        let file = match StdFile::open(path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(index),
            Err(cause) => return Err(error(cause)),
        };
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        let mut start = 0;
        for number in 1_u64.. {
            line.clear();
            let len = reader.read_until(b'\n', &mut line).map_err(error)?;
            // The last line has no end yet: it is being written, or its writer was killed.
            if line.last() != Some(&b'\n') {
                break;
            }
            let letter = parse_line(&line).map_err(|reason| Error::Invalid {
                place: format!("line {number} of {}", path.display()),
                reason,
            })?;
            index.add(&letter, start, len);
            start += len as u64;
        }
        index.file = Some(reader.into_inner());
        Ok(index)
    }

    fn add(&mut self, letter: &DeadLetter, start: u64, len: usize) {
        let entry = self.entries.entry(letter.place()).or_insert_with(|| Entry {
            id: letter.id.clone(),
            start,
            len,
            attempts: letter.attempts,
            first_failed_ms: letter.first_failed_ms,
            last_failed_ms: letter.last_failed_ms,
        });
        entry.attempts = entry.attempts.max(letter.attempts);
        entry.first_failed_ms = entry.first_failed_ms.min(letter.first_failed_ms);
        entry.last_failed_ms = entry.last_failed_ms.max(letter.last_failed_ms);
    }

    /// Reads one letter.
    pub(super) fn letter(&self, entry: &Entry) -> Result<DeadLetter, Error> {
        let Some(mut file) = self.file.as_ref() else {
            return Err(self.invalid(entry, "the file is gone".to_owned()));
        };
        let mut line = vec![0; entry.len];
        let read = file
            .seek(SeekFrom::Start(entry.start))
            .and_then(|_| file.read_exact(&mut line));
        read.map_err(|source| Error::File {
            path: self.path.clone(),
            source,
        })?;
        let mut letter = parse_line(&line).map_err(|reason| self.invalid(entry, reason))?;
        letter.attempts = entry.attempts;
        letter.first_failed_ms = entry.first_failed_ms;
        letter.last_failed_ms = entry.last_failed_ms;
        Ok(letter)
    }

    fn invalid(&self, entry: &Entry, reason: String) -> Error {
        Error::Invalid {
            place: format!("`{}` in {}", entry.id, self.path.display()),
            reason,
        }
    }

    /// The next letter behind a place that is meant.
    pub(super) fn next(
        &self,
        filter: &Filter,
        after: Option<&Place>,
    ) -> Result<Option<DeadLetter>, Error> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        for entry in self
            .entries
            .range((from, Unbounded))
            .map(|(_, entry)| entry)
        {
            let letter = self.letter(entry)?;
            if filter.matches(&letter) {
                return Ok(Some(letter));
            }
        }
        Ok(None)
    }

    /// The letter of an id.
    pub(super) fn get(&self, id: &str) -> Result<Option<DeadLetter>, Error> {
        let entry = self.entries.values().find(|entry| entry.id == id);
        entry.map(|entry| self.letter(entry)).transpose()
    }
}

/// Where the last whole line ends.
fn whole_lines_end(file: &mut StdFile) -> io::Result<u64> {
    /// A line ends most likely right at the end; else it is looked for by pieces of this size.
    const PIECE: u64 = 64 << 10;
    let mut end = file.metadata()?.len();
    let mut piece = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(PIECE);
        file.seek(SeekFrom::Start(start))?;
        piece.clear();
        (&*file).take(end - start).read_to_end(&mut piece)?;
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// A file's name is safe only when its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    StdFile::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Appends a letter as a line. What JSON has no form for is kept as binary.
fn write_line(letter: &DeadLetter, out: &mut String) {
    let document = letter.to_document();
    let start = out.len();
    let written = write_json(document.as_bytes(), Format::Canonical, out).is_ok();
    // A field that is there twice, a name that looks like a type's, bytes that are no UTF-8, nesting
    // beyond the parser's depth: only reading it back shows them all.
    let is_same = written && parse_line(&out.as_bytes()[start..]).is_ok_and(|read| read == *letter);
    if !is_same {
        out.truncate(start);
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.text(b"_id", &letter.id);
        letter.write_parts(&mut writer, Part::ALL, Keep::Binary);
        writer.finish();
        write_json(&bytes, Format::Canonical, out).expect("a letter's own fields are BSON");
    }
    out.push('\n');
}

fn parse_line(line: &[u8]) -> Result<DeadLetter, String> {
    let json: serde_json::Value =
        serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let Bson::Document(document) = Bson::try_from(json).map_err(|error| error.to_string())? else {
        return Err("no document".to_owned());
    };
    let document = RawDocumentBuf::try_from(&document).map_err(|error| error.to_string())?;
    DeadLetter::from_document(document.as_bytes())
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn what_json_cannot_say_survives() {
        let nested = (0..90).fold(rawdoc! {}, |inner, _| rawdoc! { "a": inner });
        let mut twice = rawdoc! { "opId": "1:1:0", "a": 1 };
        twice.append(bson::cstr!("a"), 2);
        for op in [
            rawdoc! { "opId": "1:1:0", "data": { "$oid": "64b7c0c8f0f0f0f0f0f0f0f0" } },
            rawdoc! { "opId": "1:1:0", "data": { "$date": 5 } },
            rawdoc! { "opId": "1:1:0", "data": f64::NAN, "n": 5_i64, "d": -0.0 },
            rawdoc! { "opId": "1:1:0", "data": nested },
            twice,
        ] {
            let letter = DeadLetter::new("run", "audit", "9f", op.as_bytes());
            let mut line = String::new();
            write_line(&letter, &mut line);
            assert_eq!(
                parse_line(line.as_bytes()).unwrap().op.as_bytes(),
                op.as_bytes()
            );
        }
    }
}
