//! What an update changed: the `o` of an update entry as an `updateDescription`.
//!
//! From 5.0 on (`$v: 2`) an entry holds a tree of differences:
//!
//! ```json
//! {"$v": 2, "diff": {"d": {"c": false}, "u": {"n": 6}, "i": {"new": 1},
//!                    "sa": {"sb": {"a": true, "l": 2, "u0": 9, "s1": {"u": {"x": 1}}}}}}
//! ```
//!
//! Each level of a document has the sections `d`, `u` and `i` (removed, updated and inserted fields),
//! and `s` + name for a nested difference. A level with `a: true` is an array's: `l` is its new
//! length, `u` + index sets an element, `s` + index is a nested difference. A field whose name is
//! empty is just `s`. The above becomes
//!
//! ```json
//! {"updatedFields": {"n": 6, "new": 1, "a.b.0": 9, "a.b.1.x": 1}, "removedFields": ["c"],
//!  "truncatedArrays": [{"field": "a.b", "newSize": 2}], "disambiguatedPaths": {}}
//! ```
//!
//! Up to 4.4 (`$v: 1`) it holds `$set` and `$unset` with dotted paths, which are taken as they are.
//!
//! The order is that of the server's own change stream: of each level first `u`, then `i`, then `d`,
//! then the nested ones. `disambiguatedPaths` tells the components of a path that the dots do not:
//! where one of them is a field name with a dot in it, or one after the first looks like an index.

mod apply;
mod modifiers;
mod path;
#[cfg(test)]
mod tests;

use oplet_sdk::raw::{Element, Malformed, Walk, Writer, kind};

pub use apply::apply_update;
use path::Path;

/// How deep differences may nest; a server stores documents of at most 180 levels.
const DEPTH_MAX: usize = 200;

/// Why it cannot be told what an update changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateFault {
    /// The bytes are not BSON.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// `$v` is neither 1 nor 2.
    #[error("`$v` is of an unknown version")]
    UnknownVersion,
    /// `$v` is 2 and there is no `diff`, or it is not a document.
    #[error("the entry has no `diff`")]
    NoDiff,
    /// A modifier that is neither `$set` nor `$unset`.
    #[error("modifier `{0}` is not known")]
    UnknownModifier(String),
    /// A part of a difference that is not of the grammar.
    #[error("`{0}` is not a part of a difference here")]
    UnknownSection(String),
    /// A part of a difference whose value has the wrong type, or that is there twice.
    #[error("`{0}` of a difference does not fit")]
    WrongSection(String),
    /// A field name is not UTF-8.
    #[error("a field name is not UTF-8")]
    NotText,
    /// Differences nest deeper than documents can.
    #[error("differences nest too deep")]
    TooDeep,
    /// The document before is not the one that the update changed.
    #[error("the update is of another document")]
    OtherDocument,
}

/// Derives update descriptions, one after another, in buffers that it keeps.
#[derive(Debug, Default)]
pub struct UpdateDescription {
    updated: Vec<u8>,
    removed: Vec<u8>,
    truncated: Vec<u8>,
    disambiguated: Vec<u8>,
    path: Path,
}

impl UpdateDescription {
    /// Takes the `o` of an update entry; `false` when it is a whole document that replaced another.
    ///
    /// Only the first field is asked: a description begins with `$v` (the oldest with a modifier), a
    /// stored document with `_id`, and from 5.0 on documents may hold fields called `$v`.
    ///
    /// # Errors
    /// [`UpdateFault`]; what was taken before is gone then.
    pub fn take(&mut self, object: &[u8]) -> Result<bool, UpdateFault> {
        let Some(first) = Walk::new(object)?.next().transpose()? else {
            return Ok(false);
        };
        if first.key.first() != Some(&b'$') {
            return Ok(false);
        }
        let mut lists = Lists::begin(self);
        match (first.key, first.double()) {
            (b"$v", Some(2.0)) => {
                let diff = Walk::find(object, "diff")?.and_then(|diff| diff.document());
                let diff = diff.ok_or(UpdateFault::NoDiff)?;
                lists.document(diff, 0)?;
            }
            (b"$v", Some(1.0)) => lists.modifiers(object)?,
            (b"$v", _) => return Err(UpdateFault::UnknownVersion),
            _ => lists.modifiers(object)?,
        }
        lists.finish();
        Ok(true)
    }

    /// Appends the description that was taken last.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.raw(b"updatedFields", kind::DOCUMENT, &self.updated);
        writer.raw(b"removedFields", kind::ARRAY, &self.removed);
        writer.raw(b"truncatedArrays", kind::ARRAY, &self.truncated);
        writer.raw(b"disambiguatedPaths", kind::DOCUMENT, &self.disambiguated);
        writer.finish();
    }
}

/// The four parts of a description while they grow side by side.
struct Lists<'a> {
    updated: Writer<'a>,
    removed: Writer<'a>,
    removed_count: u32,
    truncated: Writer<'a>,
    truncated_count: u32,
    disambiguated: Writer<'a>,
    path: &'a mut Path,
}

impl<'a> Lists<'a> {
    fn begin(description: &'a mut UpdateDescription) -> Self {
        let UpdateDescription {
            updated,
            removed,
            truncated,
            disambiguated,
            path,
        } = description;
        path.clear();
        let open = |buffer: &'a mut Vec<u8>| {
            buffer.clear();
            Writer::new(buffer)
        };
        Self {
            updated: open(updated),
            removed: open(removed),
            removed_count: 0,
            truncated: open(truncated),
            truncated_count: 0,
            disambiguated: open(disambiguated),
            path,
        }
    }

    fn finish(self) {
        self.updated.finish();
        self.removed.finish();
        self.truncated.finish();
        self.disambiguated.finish();
    }

    /// `$set` and `$unset` with dotted paths.
    fn modifiers(&mut self, object: &[u8]) -> Result<(), UpdateFault> {
        for modifier in Walk::new(object)? {
            let modifier = modifier?;
            match modifier.key {
                b"$v" => {}
                b"$set" => {
                    for field in section(&modifier)? {
                        let field = field?;
                        self.updated.raw(field.key, field.kind, field.value);
                    }
                }
                b"$unset" => {
                    for field in section(&modifier)? {
                        let field = field?.key_text().ok_or(UpdateFault::NotText)?;
                        self.removed_count =
                            push_text(&mut self.removed, self.removed_count, field);
                    }
                }
                _ => return Err(UpdateFault::UnknownModifier(name(&modifier))),
            }
        }
        Ok(())
    }

    /// One level of a document.
    fn document(&mut self, diff: &[u8], depth: usize) -> Result<(), UpdateFault> {
        if depth > DEPTH_MAX {
            return Err(UpdateFault::TooDeep);
        }
        let (mut updated, mut inserted, mut removed, mut nested) = (None, None, None, false);
        for part in Walk::new(diff)? {
            let part = part?;
            let place = match part.key {
                b"u" => &mut updated,
                b"i" => &mut inserted,
                b"d" => &mut removed,
                [b's', ..] => {
                    nested = true;
                    continue;
                }
                // `b` patches binary values of time-series buckets (from 7.1), which nobody can watch.
                _ => return Err(UpdateFault::UnknownSection(name(&part))),
            };
            if place.replace(section(&part)?).is_some() {
                return Err(UpdateFault::WrongSection(name(&part)));
            }
        }
        for field in updated.into_iter().chain(inserted).flatten() {
            let field = field?;
            let mark = self.path.push_name(field.key);
            self.update(&field)?;
            self.path.pop(mark);
        }
        for field in removed.into_iter().flatten() {
            let mark = self.path.push_name(field?.key);
            self.remove_here()?;
            self.path.pop(mark);
        }
        if nested {
            for part in Walk::new(diff)? {
                let part = part?;
                if let [b's', field @ ..] = part.key {
                    let mark = self.path.push_name(field);
                    self.nested(&part, depth)?;
                    self.path.pop(mark);
                }
            }
        }
        Ok(())
    }

    /// A difference below the path: of an array when it begins with `a`, else of a document.
    fn nested(&mut self, part: &Element<'_>, depth: usize) -> Result<(), UpdateFault> {
        let wrong = || UpdateFault::WrongSection(name(part));
        let diff = part.document().ok_or_else(wrong)?;
        match Walk::new(diff)?.next().transpose()? {
            Some(first) if first.key == b"a" => {
                if first.bool() != Some(true) {
                    return Err(UpdateFault::WrongSection(name(&first)));
                }
                self.array(diff, depth + 1)
            }
            _ => self.document(diff, depth + 1),
        }
    }

    /// One level of an array.
    fn array(&mut self, diff: &[u8], depth: usize) -> Result<(), UpdateFault> {
        if depth > DEPTH_MAX {
            return Err(UpdateFault::TooDeep);
        }
        // The length comes first in the description, wherever it stands.
        if let Some(len) = Walk::find(diff, "l")? {
            let len = len
                .int64()
                .and_then(|len| i32::try_from(len).ok())
                .filter(|&len| len >= 0)
                .ok_or_else(|| UpdateFault::WrongSection(name(&len)))?;
            self.truncate(len)?;
        }
        for part in Walk::new(diff)?.skip(1) {
            let part = part?;
            let (set, digits) = match part.key {
                b"l" => continue,
                [b'u', digits @ ..] => (true, digits),
                [b's', digits @ ..] => (false, digits),
                _ => return Err(UpdateFault::UnknownSection(name(&part))),
            };
            let index = path::parse_index(digits)
                .ok_or_else(|| UpdateFault::UnknownSection(name(&part)))?;
            let mark = self.path.push_index(index);
            if set {
                self.update(&part)?;
            } else {
                self.nested(&part, depth)?;
            }
            self.path.pop(mark);
        }
        Ok(())
    }

    fn update(&mut self, value: &Element<'_>) -> Result<(), UpdateFault> {
        self.updated
            .raw(self.path.dotted(), value.kind, value.value);
        self.disambiguate()
    }

    fn remove_here(&mut self) -> Result<(), UpdateFault> {
        let dotted = self.path.text().ok_or(UpdateFault::NotText)?;
        self.removed_count = push_text(&mut self.removed, self.removed_count, dotted);
        self.disambiguate()
    }

    fn truncate(&mut self, new_size: i32) -> Result<(), UpdateFault> {
        let dotted = self.path.text().ok_or(UpdateFault::NotText)?;
        let key = path::Decimal::new(self.truncated_count);
        self.truncated_count += 1;
        self.truncated.begin(key.as_bytes(), kind::DOCUMENT);
        self.truncated.text(b"field", dotted);
        self.truncated.int32(b"newSize", new_size);
        self.truncated.end();
        self.disambiguate()
    }

    fn disambiguate(&mut self) -> Result<(), UpdateFault> {
        if self.path.is_ambiguous() {
            self.path
                .write_components(&mut self.disambiguated)
                .ok_or(UpdateFault::NotText)?;
        }
        Ok(())
    }
}

/// Adds a string to an array of `count`, and returns how many it has then.
fn push_text(array: &mut Writer<'_>, count: u32, text: &str) -> u32 {
    array.text(path::Decimal::new(count).as_bytes(), text);
    count + 1
}

/// The fields of a section, which is a document.
fn section<'a>(part: &Element<'a>) -> Result<Walk<'a>, UpdateFault> {
    let fields = part
        .document()
        .ok_or_else(|| UpdateFault::WrongSection(name(part)))?;
    Ok(Walk::new(fields)?)
}

fn name(element: &Element<'_>) -> String {
    String::from_utf8_lossy(element.key).into_owned()
}
