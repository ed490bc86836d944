//! Stepping over the elements of a document.

use super::{
    Element, Malformed, document_len,
    scan::{Needle, element_at, element_with_key, end_of_key, value_end},
};

/// Steps over the elements of one document.
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// Starts at the first element of the document that `bytes` begin with.
    ///
    /// # Errors
    /// As [`document_len`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let len = document_len(bytes)?;
        Ok(Self {
            bytes: &bytes[..len],
            at: 4,
        })
    }

    /// Finds the first element of that key.
    ///
    /// # Errors
    /// [`Malformed`] when the document ends wrongly before the key is met.
    pub fn find(bytes: &'a [u8], key: &str) -> Result<Option<Element<'a>>, Malformed> {
        Self::find_key(bytes, key.as_bytes())
    }

    /// The same, for a key given as bytes.
    pub(crate) fn find_key(bytes: &'a [u8], key: &[u8]) -> Result<Option<Element<'a>>, Malformed> {
        let needle = Needle::new(key);
        let Self { bytes, mut at } = Self::new(bytes)?;
        while at + 1 < bytes.len() {
            let malformed = Malformed { at };
            let is_met = needle.begins(&bytes[at + 1..]);
            let key_len = if is_met {
                needle.key.len()
            } else {
                end_of_key(&bytes[at + 1..]).ok_or(malformed)?
            };
            if is_met {
                return match element_with_key(bytes, at, key_len) {
                    Some(element) => Ok(Some(element)),
                    None => Err(malformed),
                };
            }
            at = value_end(bytes, at, key_len).ok_or(malformed)?;
        }
        if bytes.get(at) == Some(&0) {
            Ok(None)
        } else {
            Err(Malformed { at })
        }
    }

    fn step(&mut self) -> Result<Option<Element<'a>>, Malformed> {
        if self.bytes[self.at] == 0 {
            // The end byte must be the last one.
            return if self.at + 1 == self.bytes.len() {
                Ok(None)
            } else {
                Err(Malformed { at: self.at })
            };
        }
        let element = element_at(self.bytes, self.at).ok_or(Malformed { at: self.at })?;
        self.at = element.at + element.value.len();
        Ok(Some(element))
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<Element<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let step = self.step();
        if !matches!(step, Ok(Some(_))) {
            self.at = self.bytes.len();
        }
        step.transpose()
    }
}
