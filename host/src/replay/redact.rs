//! Values that are not to be in a recording.

use std::{fmt, str::FromStr};

use bson::spec::BinarySubtype;
use oplet_sdk::{
    abi::field,
    raw::{EMPTY_DOCUMENT, Element, Malformed, Walk, Writer, kind},
};

/// What stands in the place of a text.
const TEXT: &str = "***";

/// How a field that is to be left out cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a field is written as its names joined by dots, as in `customer.email`")]
pub struct FieldError;

/// A field, as its names from the outer to the inner one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field(Vec<String>);

impl FromStr for Field {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let names: Vec<String> = names(text.as_bytes())
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        let is_whole = !text.split('.').any(str::is_empty) && !names.is_empty();
        is_whole.then_some(Self(names)).ok_or(FieldError)
    }
}

/// The fields whose values are left out of op documents.
///
/// A field is met wherever its names follow each other, at any depth, in `data`, `before`,
/// `updateDescription`, `documentKey` and `_id`: rather too much is left out than too little. Places
/// in arrays do not count, neither in the field nor in what it is compared with; a name that holds
/// dots is read as several. In the place of a value stands one of the same type that tells nothing:
/// `***`, 0, false, 1970, an empty document. Names and types stay.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    fields: Vec<Field>,
}

impl Redaction {
    /// Of these fields.
    ///
    /// # Errors
    /// [`FieldError`] for what is no field.
    pub fn new<T: AsRef<str>>(fields: impl IntoIterator<Item = T>) -> Result<Self, FieldError> {
        let fields = fields.into_iter().map(|field| field.as_ref().parse());
        Ok(Self {
            fields: fields.collect::<Result<_, _>>()?,
        })
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Appends an op document without the values.
    ///
    /// # Errors
    /// When the op is not BSON; what was appended is then to be thrown away.
    pub fn write(&self, op: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let mut writer = Writer::new(out);
        for element in Walk::new(op)? {
            let element = element?;
            match (element.key_text(), element.document()) {
                (Some(field::UPDATE_DESCRIPTION), Some(description)) => {
                    writer.begin(element.key, element.kind);
                    self.write_description(description, &mut writer)?;
                    writer.end();
                }
                (Some(field::DATA | field::BEFORE | field::DOCUMENT_KEY), Some(document)) => {
                    writer.begin(element.key, element.kind);
                    self.write_fields(document, &mut Vec::new(), &mut writer)?;
                    writer.end();
                }
                (Some(field::ID), _) => self.write_field(&element, &mut Vec::new(), &mut writer)?,
                _ => writer.raw(element.key, element.kind, element.value),
            }
        }
        writer.finish();
        Ok(())
    }

    /// Of an update only the new values tell anything; the rest is names and lengths.
    fn write_description<'a>(
        &self,
        description: &'a [u8],
        writer: &mut Writer<'_>,
    ) -> Result<(), Malformed> {
        for element in Walk::new(description)? {
            let element: Element<'a> = element?;
            match element.document() {
                Some(updated) if element.key == b"updatedFields" => {
                    writer.begin(element.key, element.kind);
                    self.write_fields(updated, &mut Vec::new(), writer)?;
                    writer.end();
                }
                _ => writer.raw(element.key, element.kind, element.value),
            }
        }
        Ok(())
    }

    fn write_fields<'a>(
        &self,
        document: &'a [u8],
        path: &mut Vec<&'a [u8]>,
        writer: &mut Writer<'_>,
    ) -> Result<(), Malformed> {
        Walk::new(document)?.try_for_each(|element| self.write_field(&element?, path, writer))
    }

    /// Writes a field, or what stands in its place.
    fn write_field<'a>(
        &self,
        element: &Element<'a>,
        path: &mut Vec<&'a [u8]>,
        writer: &mut Writer<'_>,
    ) -> Result<(), Malformed> {
        let depth = path.len();
        let mut is_met = false;
        for name in names(element.key) {
            path.push(name);
            is_met |= self.fields.iter().any(|field| field.ends(path));
        }
        let (key, kind, value) = (element.key, element.kind, element.value);
        if is_met {
            write_placeholder(key, kind, value, writer);
        } else {
            match kind {
                kind::DOCUMENT | kind::ARRAY => {
                    writer.begin(key, kind);
                    self.write_fields(value, path, writer)?;
                    writer.end();
                }
                _ => writer.raw(key, kind, value),
            }
        }
        path.truncate(depth);
        Ok(())
    }
}

impl Field {
    /// Whether the last names of a path are those of this field.
    fn ends(&self, path: &[&[u8]]) -> bool {
        let Some(skipped) = path.len().checked_sub(self.0.len()) else {
            return false;
        };
        let tail = path[skipped..].iter();
        tail.zip(&self.0).all(|(a, b)| *a == b.as_bytes())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// The names in a key or a path, without places in arrays.
fn names(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_place = |name: &[u8]| name.iter().all(u8::is_ascii_digit);
    key.split(|&byte| byte == b'.')
        .filter(move |name| !is_place(name))
}

/// Writes a value of that type that tells nothing of what was there.
fn write_placeholder(key: &[u8], kind: u8, value: &[u8], writer: &mut Writer<'_>) {
    match kind {
        kind::STRING | kind::SYMBOL | kind::JAVASCRIPT => {
            let mut text = Vec::new();
            write_text(TEXT, &mut text);
            writer.raw(key, kind, &text);
        }
        kind::DOCUMENT | kind::ARRAY => writer.raw(key, kind, &EMPTY_DOCUMENT),
        kind::BINARY => {
            let subtype = value.get(4).copied().unwrap_or_default();
            writer.raw(key, kind, &binary(subtype));
        }
        kind::REGEX => writer.raw(key, kind, b"***\0\0"),
        kind::DB_POINTER => {
            let mut pointer = Vec::new();
            write_text(TEXT, &mut pointer);
            pointer.extend_from_slice(&[0; 12]);
            writer.raw(key, kind, &pointer);
        }
        kind::JAVASCRIPT_WITH_SCOPE => {
            let mut code = vec![0; 4];
            write_text(TEXT, &mut code);
            code.extend_from_slice(&EMPTY_DOCUMENT);
            let len = code.len() as u32;
            code[..4].copy_from_slice(&len.to_le_bytes());
            writer.raw(key, kind, &code);
        }
        // A decimal of zero bytes would have an exponent that nobody writes.
        kind::DECIMAL128 => {
            let zero: bson::Decimal128 = "0".parse().expect("zero is a decimal");
            writer.raw(key, kind, &zero.bytes());
        }
        // The others have a length that is theirs, and zeros mean zero, false, 1970.
        _ => writer.raw(key, kind, &vec![0; value.len()]),
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u32 + 1).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// A binary value with nothing in it, but for the subtypes that prescribe a length.
fn binary(subtype: u8) -> Vec<u8> {
    let len: usize = match BinarySubtype::from(subtype) {
        BinarySubtype::Uuid | BinarySubtype::UuidOld | BinarySubtype::Md5 => 16,
        // The old subtype has its length once more inside.
        BinarySubtype::BinaryOld => 4,
        // A vector says of what it is.
        BinarySubtype::Vector => 2,
        _ => 0,
    };
    let mut value = (len as u32).to_le_bytes().to_vec();
    value.push(subtype);
    value.resize(value.len() + len, 0);
    value
}

#[cfg(test)]
mod tests;
