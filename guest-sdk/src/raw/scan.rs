//! Finding keys and the ends of values by numbers alone, without making elements of them.

use super::{EMPTY_DOCUMENT, Element, kind};

/// The element that begins at `start` of the document `bytes`; `None` at the document's end and for anything malformed.
pub(crate) fn element_at(bytes: &[u8], start: usize) -> Option<Element<'_>> {
    let key_len = end_of_key(bytes.get(start + 1..)?)?;
    element_with_key(bytes, start, key_len)
}

/// The same, where the length of the key is known.
#[inline(always)]
pub(crate) fn element_with_key(bytes: &[u8], start: usize, key_len: usize) -> Option<Element<'_>> {
    let end = value_end(bytes, start, key_len)?;
    let at = start + 1 + key_len + 1;
    Some(Element {
        kind: bytes[start],
        key: &bytes[start + 1..at - 1],
        value: &bytes[at..end],
        at,
    })
}

/// Where the value ends of the element at `start`, whose key has that length; `None` for anything malformed.
///
/// A number, for those that pass over elements: an [`Element`] that is returned in an `Option` is stored by halves of
/// words and loaded again by words, for which the processor has to wait, in a guest more than the rest of a step takes.
#[inline]
pub(crate) fn value_end(bytes: &[u8], start: usize, key_len: usize) -> Option<usize> {
    let at = start + 1 + key_len + 1;
    let rest = bytes.get(at..)?;
    let len = value_len(bytes[start], rest)?;
    // The document's end byte is not the value's: at least that must be left.
    (len < rest.len()).then(|| at + len)
}

/// A key that is looked for: up to fifteen bytes are compared in two steps, which is nearly every key.
pub(crate) struct Needle<'k> {
    pub(crate) key: &'k [u8],
    /// The first eight bytes of the key and its end byte,
    head: u64,
    /// which of them count,
    head_mask: u64,
    /// and the last eight, of a key that has so many.
    tail: u64,
}

impl<'k> Needle<'k> {
    pub(crate) const fn new(key: &'k [u8]) -> Self {
        let (mut head, mut mask, mut tail) = ([0; 8], [0; 8], [0; 8]);
        let mut i = 0;
        while i < key.len() {
            if key[i] == 0 {
                // No key contains a zero byte, and nothing has this head.
                return Self {
                    key,
                    head: u64::MAX,
                    head_mask: 0,
                    tail: 0,
                };
            }
            if i < 8 {
                (head[i], mask[i]) = (key[i], 0xFF);
            }
            if i + 7 >= key.len() {
                tail[i + 7 - key.len()] = key[i];
            }
            i += 1;
        }
        if i < 8 {
            mask[i] = 0xFF;
        }
        Self {
            key,
            head: u64::from_le_bytes(head),
            head_mask: u64::from_le_bytes(mask),
            tail: u64::from_le_bytes(tail),
        }
    }

    /// Whether `rest` begins with this key and its end byte.
    #[inline]
    pub(crate) fn begins(&self, rest: &[u8]) -> bool {
        let len = self.key.len();
        if let Some(chunk) = rest.first_chunk::<8>() {
            if u64::from_le_bytes(*chunk) & self.head_mask != self.head {
                return false;
            }
            if len < 8 {
                return true;
            }
            if len < 16 {
                let chunk = rest.get(len - 7..).and_then(|rest| rest.first_chunk::<8>());
                return chunk.is_some_and(|chunk| u64::from_le_bytes(*chunk) == self.tail);
            }
        }
        self.head_mask != 0 && rest.get(len) == Some(&0) && rest.starts_with(self.key)
    }
}

/// Length of the key that `rest` begins with, eight bytes at a time: most keys are short, and a guest pays for every
/// turn of a loop.
#[inline]
pub(crate) fn end_of_key(rest: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    let mut at = 0;
    while let Some(chunk) = rest.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        // The lowest bit that is set marks the first zero byte; higher ones may be false.
        let zeros = word.wrapping_sub(ONES) & !word & HIGHS;
        if zeros != 0 {
            return Some(at + zeros.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    rest[at..]
        .iter()
        .position(|&byte| byte == 0)
        .map(|tail| at + tail)
}

/// Length of the value of that kind that `rest` begins with; `None` for an unknown kind or a length
/// that cannot be. The length may exceed `rest`; what lies inside a nested value is not looked at.
#[inline(always)]
fn value_len(kind: u8, rest: &[u8]) -> Option<usize> {
    let prefix = || {
        rest.first_chunk::<4>()
            .map(|bytes| u32::from_le_bytes(*bytes) as usize)
    };
    // Sizes of the kinds that have one, plus one: most values need no more than this table.
    const FIXED: [u8; 20] = {
        let mut sizes = [0; 20];
        sizes[kind::UNDEFINED as usize] = 1;
        sizes[kind::NULL as usize] = 1;
        sizes[kind::BOOL as usize] = 2;
        sizes[kind::INT32 as usize] = 5;
        sizes[kind::DOUBLE as usize] = 9;
        sizes[kind::DATE as usize] = 9;
        sizes[kind::TIMESTAMP as usize] = 9;
        sizes[kind::INT64 as usize] = 9;
        sizes[kind::OBJECT_ID as usize] = 13;
        sizes[kind::DECIMAL128 as usize] = 17;
        sizes
    };
    if kind == kind::STRING {
        let end = prefix()?.checked_add(4)?;
        return (end > 4 && *rest.get(end - 1)? == 0).then_some(end);
    }
    match FIXED.get(kind as usize) {
        Some(&size) if size > 0 => Some(size as usize - 1),
        _ => other_value_len(kind, rest),
    }
}

/// The same, for what is met less often.
#[inline(never)]
fn other_value_len(kind: u8, rest: &[u8]) -> Option<usize> {
    let prefix = || {
        rest.first_chunk::<4>()
            .map(|bytes| u32::from_le_bytes(*bytes) as usize)
    };
    Some(match kind {
        kind::MIN_KEY | kind::MAX_KEY => 0,
        kind::JAVASCRIPT | kind::SYMBOL => {
            let len = prefix()?;
            let end = len.checked_add(4)?;
            if len < 1 || *rest.get(end - 1)? != 0 {
                return None;
            }
            end
        }
        kind::DB_POINTER => {
            let len = prefix()?;
            if len < 1 || *rest.get(len.checked_add(3)?)? != 0 {
                return None;
            }
            len.checked_add(16)?
        }
        kind::DOCUMENT | kind::ARRAY => {
            let len = prefix()?;
            if len < EMPTY_DOCUMENT.len() || *rest.get(len - 1)? != 0 {
                return None;
            }
            len
        }
        kind::JAVASCRIPT_WITH_SCOPE => prefix().filter(|&len| len >= 14)?,
        kind::BINARY => prefix()?.checked_add(5)?,
        kind::REGEX => {
            let pattern = rest.iter().position(|&byte| byte == 0)? + 1;
            pattern + rest[pattern..].iter().position(|&byte| byte == 0)? + 1
        }
        _ => return None,
    })
}
