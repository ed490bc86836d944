//! Where the fields of an op lie: found on the way to the first one that is asked for, and kept.

use std::cell::Cell;

use crate::{
    abi::field,
    raw::{self, Element, Needle},
};

/// The fields of the op document, in their order in it, see [`field`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Field {
    Operation,
    Namespace,
    OpId,
    Timestamp,
    Source,
    Pending,
    Replace,
    WallTime,
    Txn,
    Cluster,
    DocumentKey,
    Id,
    UpdateDescription,
    Data,
    Before,
}

const FIELDS: usize = field::ORDER.len();

/// What to look for at each step of the walk.
static NEEDLES: [Needle<'static>; FIELDS] = {
    let mut needles = [const { Needle::new(b"") }; FIELDS];
    let mut i = 0;
    while i < FIELDS {
        needles[i] = Needle::new(field::ORDER[i].as_bytes());
        i += 1;
    }
    needles
};

impl Field {
    #[inline]
    pub(crate) fn of_key(key: &[u8]) -> Option<Self> {
        // One match over literals: the compiler branches on the length first, then compares words.
        Some(match key {
            b"operation" => Self::Operation,
            b"namespace" => Self::Namespace,
            b"opId" => Self::OpId,
            b"timestamp" => Self::Timestamp,
            b"source" => Self::Source,
            b"pending" => Self::Pending,
            b"replace" => Self::Replace,
            b"wallTime" => Self::WallTime,
            b"txn" => Self::Txn,
            b"cluster" => Self::Cluster,
            b"documentKey" => Self::DocumentKey,
            b"_id" => Self::Id,
            b"updateDescription" => Self::UpdateDescription,
            b"data" => Self::Data,
            b"before" => Self::Before,
            _ => return None,
        })
    }

    pub(crate) fn key(self) -> &'static str {
        field::ORDER[self as usize]
    }
}

/// How far the top level of an op document was walked, and what was met on the way.
///
/// Apart from the document, because it outlives a call: a module keeps one, and what `filter` found of an op holds for
/// its `handle`. It is never filled anew either: filling sixty bytes costs a guest as much as reading a field.
pub(crate) struct Offsets {
    /// Where the element of each field that [`found`](Self::found) names begins; stale for all others.
    starts: [Cell<u32>; FIELDS],
    /// One bit for each field that was met.
    found: Cell<u16>,
    /// Fields below this one were either met or are absent.
    passed: Cell<u8>,
    /// Where the walk goes on.
    next: Cell<u32>,
}

impl Offsets {
    /// Those of a document that nobody has looked at.
    pub(crate) const fn new() -> Self {
        Self {
            starts: [const { Cell::new(0) }; FIELDS],
            found: Cell::new(0),
            passed: Cell::new(0),
            next: Cell::new(4),
        }
    }

    /// Forgets the document: another one follows.
    #[inline]
    pub(crate) fn forget(&self) {
        self.found.set(0);
        self.passed.set(0);
        self.next.set(4);
    }
}

/// Whose the offsets are. In a module, always its own: then this is a reference and nothing else.
enum Held<'a> {
    Kept(&'a Offsets),
    #[cfg(not(target_family = "wasm"))]
    Own(Offsets),
}

/// The top level of an op document, walked as far as it was asked for.
///
/// The order of the fields is part of the ABI, so the walk stops at the field that is asked for or at the first that
/// comes after it: what decides by the envelope never touches the body.
pub(crate) struct Fields<'a> {
    /// The document without what may follow it.
    bytes: &'a [u8],
    offsets: Held<'a>,
}

impl<'a> Fields<'a> {
    /// The fields of a document that is framed as one, see [`raw::document_len`]; `offsets` are of this document, or of
    /// none.
    #[inline]
    pub(crate) fn new(document: &'a [u8], offsets: &'a Offsets) -> Self {
        Self {
            bytes: document,
            offsets: Held::Kept(offsets),
        }
    }

    /// The same, with offsets that go when it goes.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn with_own_offsets(document: &'a [u8]) -> Self {
        Self {
            bytes: document,
            offsets: Held::Own(Offsets::new()),
        }
    }

    #[inline(always)]
    fn offsets(&self) -> &Offsets {
        match &self.offsets {
            Held::Kept(offsets) => offsets,
            #[cfg(not(target_family = "wasm"))]
            Held::Own(offsets) => offsets,
        }
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The field's element, or `None` when it is absent (or the document ends wrongly before it).
    pub(crate) fn get(&self, field: Field) -> Option<Element<'a>> {
        let offsets = self.offsets();
        if (field as u8) < offsets.passed.get() {
            return self.known(field);
        }
        loop {
            let start = offsets.next.get() as usize;
            let Some((met, key_len, end)) = self.step(start, offsets.passed.get()) else {
                offsets.passed.set(FIELDS as u8);
                return None;
            };
            offsets.next.set(end as u32);
            // Fields of a later version of the ABI are skipped, and so are repeated ones.
            if met == FIELDS {
                continue;
            }
            offsets.starts[met].set(start as u32);
            offsets.found.set(offsets.found.get() | 1 << met);
            offsets.passed.set(met as u8 + 1);
            if met == field as usize {
                return raw::element_with_key(self.bytes, start, key_len);
            }
            if met > field as usize {
                return None;
            }
        }
    }

    /// Of the element at `start`: the number of its field, or [`FIELDS`] if it is none that was not `passed` yet; the
    /// length of its key; where it ends. See [`raw::value_end`] for why no element is made.
    #[inline(always)]
    fn step(&self, start: usize, passed: u8) -> Option<(usize, usize, usize)> {
        let rest = self.bytes.get(start + 1..)?;
        let mut met = passed as usize;
        // Most of the fields that an op has follow each other: few are tried in vain.
        while met < FIELDS && !NEEDLES[met].begins(rest) {
            met += 1;
        }
        let key_len = match NEEDLES.get(met) {
            Some(needle) => needle.key.len(),
            None => raw::end_of_key(rest)?,
        };
        Some((met, key_len, raw::value_end(self.bytes, start, key_len)?))
    }

    fn known(&self, field: Field) -> Option<Element<'a>> {
        let offsets = self.offsets();
        if offsets.found.get() & 1 << field as u8 == 0 {
            return None;
        }
        let start = offsets.starts[field as usize].get() as usize;
        raw::element_with_key(self.bytes, start, field.key().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::Writer;

    fn all_but(left_out: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        for (i, key) in field::ORDER.iter().enumerate() {
            if !left_out.contains(key) {
                writer.int32(key.as_bytes(), i as i32);
            }
            writer.text(b"of a later version", "skipped");
        }
        writer.finish();
        bytes
    }

    const ALL: [Field; FIELDS] = [
        Field::Operation,
        Field::Namespace,
        Field::OpId,
        Field::Timestamp,
        Field::Source,
        Field::Pending,
        Field::Replace,
        Field::WallTime,
        Field::Txn,
        Field::Cluster,
        Field::DocumentKey,
        Field::Id,
        Field::UpdateDescription,
        Field::Data,
        Field::Before,
    ];

    #[test]
    fn fields_are_those_of_the_abi_in_its_order() {
        for (i, key) in field::ORDER.iter().enumerate() {
            assert!(Field::of_key(key.as_bytes()) == Some(ALL[i]) && ALL[i] as usize == i);
        }
    }

    #[test]
    fn every_order_of_asking_finds_the_same() {
        let left_out = ["pending", "documentKey", "before"];
        let bytes = all_but(&left_out);
        let offsets = Offsets::new();
        for first in ALL {
            for second in ALL {
                offsets.forget();
                for field in [first, second, first] {
                    // As `filter` and `handle` do, one after the other.
                    let fields = Fields::new(&bytes, &offsets);
                    let expected = (!left_out.contains(&field.key())).then_some(field as i32);
                    assert_eq!(
                        fields.get(field).and_then(|e| e.int32()),
                        expected,
                        "{}",
                        field.key()
                    );
                }
            }
        }
    }

    #[test]
    fn the_envelope_is_read_without_the_body() {
        let mut bytes = all_but(&[]);
        // Rubbish where `data` would follow: nobody who asks for the envelope notices.
        let body = bytes.len() - 60;
        let end = bytes.len() - 1;
        bytes[body..end].fill(0xEE);
        let fields = Fields::with_own_offsets(&bytes);
        assert!(fields.get(Field::Cluster).is_some());
        assert!(fields.get(Field::Before).is_none());
        assert!(
            fields.get(Field::Operation).is_some(),
            "what was found stays found"
        );
    }
}
