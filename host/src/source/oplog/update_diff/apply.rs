//! The document after an update, from the one before it.
//!
//! Follows the server's own way (`update/document_diff_applier.cpp`), so that the result is the
//! server's document byte for byte: fields keep their places, those that are updated where there are
//! none and those that are inserted come last, in the order of the difference, and an inserted field
//! that was there moves to the end.

use std::collections::{HashMap, HashSet};

use oplet_sdk::raw::{Element, Walk, Writer, kind};

use super::{
    DEPTH_MAX, UpdateFault, modifiers, name,
    path::{Decimal, parse_index},
    section,
};

/// How far beyond its end an array may be filled with nulls; as far as the server does.
pub(super) const PADDING_MAX: u32 = 1_500_000;

/// Appends the document as it is after the update whose entry has that `o`, if it was `before`
/// before it. A document that replaced it is just that.
///
/// # Errors
/// [`UpdateFault`] when `object` is no update, or none of this document; what was appended is no
/// document then.
pub fn apply_update(before: &[u8], object: &[u8], out: &mut Vec<u8>) -> Result<(), UpdateFault> {
    let first = Walk::new(object)?.next().transpose()?;
    let first = match first {
        Some(first) if first.key.first() == Some(&b'$') => first,
        _ => {
            out.extend_from_slice(object);
            return Ok(());
        }
    };
    let mut writer = Writer::new(out);
    match (first.key, first.double()) {
        (b"$v", Some(2.0)) => {
            let diff = Walk::find(object, "diff")?.and_then(|diff| diff.document());
            document(before, diff.ok_or(UpdateFault::NoDiff)?, &mut writer, 0)?;
        }
        (b"$v", version) if version != Some(1.0) => return Err(UpdateFault::UnknownVersion),
        _ => modifiers::apply(before, object, &mut writer)?,
    }
    writer.finish();
    Ok(())
}

/// What becomes of a field.
enum Part<'a> {
    Removed,
    /// In its place, if it has one.
    Updated(Element<'a>),
    /// At the end.
    Inserted,
    Nested(Element<'a>),
}

/// One level of a document's difference.
#[derive(Default)]
struct Parts<'a> {
    by_name: HashMap<&'a [u8], Part<'a>>,
    /// What comes to the end, unless it has a place.
    last: Vec<Element<'a>>,
}

impl<'a> Parts<'a> {
    fn read(diff: &'a [u8]) -> Result<Self, UpdateFault> {
        let mut parts = Self::default();
        let mut sections = [None, None, None];
        for part in Walk::new(diff)? {
            let part = part?;
            let place = match part.key {
                b"d" => 0,
                b"u" => 1,
                b"i" => 2,
                [b's', field @ ..] => {
                    parts.put(field, Part::Nested(part))?;
                    continue;
                }
                _ => return Err(UpdateFault::UnknownSection(name(&part))),
            };
            if sections[place].replace(section(&part)?).is_some() {
                return Err(UpdateFault::WrongSection(name(&part)));
            }
        }
        let [removed, updated, inserted] = sections;
        for field in removed.into_iter().flatten() {
            parts.put(field?.key, Part::Removed)?;
        }
        for field in updated.into_iter().flatten() {
            let field = field?;
            parts.put(field.key, Part::Updated(field))?;
            parts.last.push(field);
        }
        for field in inserted.into_iter().flatten() {
            let field = field?;
            parts.put(field.key, Part::Inserted)?;
            parts.last.push(field);
        }
        Ok(parts)
    }

    /// A field is in one section alone.
    fn put(&mut self, field: &'a [u8], part: Part<'a>) -> Result<(), UpdateFault> {
        match self.by_name.insert(field, part) {
            None => Ok(()),
            Some(_) => {
                let field = String::from_utf8_lossy(field).into_owned();
                Err(UpdateFault::WrongSection(field))
            }
        }
    }
}

/// One level of a document.
fn document(
    before: &[u8],
    diff: &[u8],
    writer: &mut Writer<'_>,
    depth: usize,
) -> Result<(), UpdateFault> {
    if depth > DEPTH_MAX {
        return Err(UpdateFault::TooDeep);
    }
    let parts = Parts::read(diff)?;
    let mut placed = HashSet::new();
    for field in Walk::new(before)? {
        let field = field?;
        match parts.by_name.get(field.key) {
            None => writer.raw(field.key, field.kind, field.value),
            Some(Part::Removed | Part::Inserted) => {}
            Some(Part::Updated(new)) => {
                writer.raw(new.key, new.kind, new.value);
                placed.insert(new.key);
            }
            Some(Part::Nested(diff)) => nested(Some(&field), field.key, diff, writer, depth)?,
        }
    }
    for new in parts.last {
        if !placed.contains(new.key) {
            writer.raw(new.key, new.kind, new.value);
        }
    }
    Ok(())
}

/// One level of an array.
fn array(
    before: &[u8],
    diff: &[u8],
    writer: &mut Writer<'_>,
    depth: usize,
) -> Result<(), UpdateFault> {
    if depth > DEPTH_MAX {
        return Err(UpdateFault::TooDeep);
    }
    let mut len = None;
    let mut changes = Vec::new();
    for part in Walk::new(diff)?.skip(1) {
        let part = part?;
        let wrong = || UpdateFault::WrongSection(name(&part));
        match part.key {
            b"l" => {
                let new = part.int64().and_then(|len| u32::try_from(len).ok());
                len = Some(new.ok_or_else(wrong)?);
            }
            [b'u' | b's', digits @ ..] => {
                let index = parse_index(digits).and_then(|index| u32::try_from(index).ok());
                let index = index.ok_or_else(|| UpdateFault::UnknownSection(name(&part)))?;
                if changes.last().is_some_and(|(last, _)| *last >= index) {
                    return Err(wrong());
                }
                changes.push((index, part));
            }
            _ => return Err(UpdateFault::UnknownSection(name(&part))),
        }
    }
    let mut olds = Walk::new(before)?;
    let mut changes = changes.into_iter().peekable();
    let mut padding = 0;
    for index in 0_u32.. {
        let is_within = len.is_none_or(|len| index < len);
        let old = if is_within {
            olds.next().transpose()?
        } else {
            None
        };
        let is_over = match len {
            Some(_) => !is_within,
            None => old.is_none(),
        };
        if is_over && changes.peek().is_none() {
            break;
        }
        let digits = Decimal::new(index);
        let key = digits.as_bytes();
        match (changes.next_if(|(at, _)| *at == index), old) {
            (Some((_, new)), _) if new.key[0] == b'u' => writer.raw(key, new.kind, new.value),
            (Some((_, diff)), old) => nested(old.as_ref(), key, &diff, writer, depth)?,
            (None, Some(old)) => writer.raw(key, old.kind, old.value),
            (None, None) => {
                padding += 1;
                if padding > PADDING_MAX {
                    return Err(UpdateFault::WrongSection("u".into()));
                }
                writer.raw(key, kind::NULL, &[]);
            }
        }
    }
    Ok(())
}

/// A difference of what has that name. Where that is not there, or is of the wrong type, the server
/// writes null: the difference belongs to another document.
fn nested(
    old: Option<&Element<'_>>,
    key: &[u8],
    diff: &Element<'_>,
    writer: &mut Writer<'_>,
    depth: usize,
) -> Result<(), UpdateFault> {
    let inner = diff
        .document()
        .ok_or_else(|| UpdateFault::WrongSection(name(diff)))?;
    let is_array = match Walk::new(inner)?.next().transpose()? {
        Some(first) if first.key == b"a" => {
            if first.bool() != Some(true) {
                return Err(UpdateFault::WrongSection(name(&first)));
            }
            true
        }
        _ => false,
    };
    let Some(old) = old.filter(|old| {
        old.kind
            == if is_array {
                kind::ARRAY
            } else {
                kind::DOCUMENT
            }
    }) else {
        return Err(UpdateFault::OtherDocument);
    };
    writer.begin(key, old.kind);
    match is_array {
        true => array(old.value, inner, writer, depth + 1)?,
        false => document(old.value, inner, writer, depth + 1)?,
    }
    writer.end();
    Ok(())
}
