//! State on its way from one version of a module to the next.
//!
//! ```json
//! {"v": 2, "state": {"seen": 17, "open": ["a", "b"]}}
//! ```
//!
//! `v` is the guest's own number of the form that its `state` has; a new version that does not know
//! the number refuses it. What the two mean is for the guests alone.

use oplet_sdk::abi::{export, unpack};
use oplet_sdk::raw::{Malformed, Walk};

use super::error::{Class, GuestError};
use super::instance::Instance;
use super::state::Phase;

/// Bytes that a state may have: as many as a document of MongoDB's.
pub(super) const STATE_BYTES_MAX: usize = 16 << 20;

impl Instance {
    /// Whether it has a state to hand over, as far as its exports tell.
    #[must_use]
    pub fn saves(&self) -> bool {
        self.exports.save.is_some()
    }

    /// Whether it takes the state of another one.
    #[must_use]
    pub fn restores(&self) -> bool {
        self.exports.restore.is_some()
    }

    /// Asks the guest for the state that the next version is to go on with, a document
    /// `{v: int32, state: any}` of at most 16 MiB. `None` when it has none to give, or cannot be
    /// asked. The guest goes on as before: its state is still its own.
    ///
    /// # Errors
    /// [`Class::BadReturn`] for an answer that is no such document or too large; the instance stays
    /// usable unless [`is_dead`](Self::is_dead) says otherwise. Else as the guest fails, and the
    /// instance is dead then.
    pub fn save(&mut self) -> Result<Option<Vec<u8>>, GuestError> {
        let Some(save) = &self.exports.save else {
            return Ok(None);
        };
        let answer = self.caller.call(Phase::Save, save, ())?;
        let Some((ptr, len)) = unpack(answer) else {
            return Ok(None);
        };
        if len as usize > STATE_BYTES_MAX {
            return Err(self.caller.failed(
                Class::BadReturn,
                format!("a state of {len} bytes is larger than the limit of {STATE_BYTES_MAX}"),
            ));
        }
        let state = match self.returned_document(ptr, len) {
            Ok(document) => document.to_vec(),
            Err(message) => return Err(self.caller.bad_return(message)),
        };
        match check(&state) {
            Ok(()) => Ok(Some(state)),
            Err(reason) => {
                let message = format!("`{}` answered a document {reason}", export::SAVE);
                Err(self.caller.failed(Class::BadReturn, message))
            }
        }
    }

    /// Hands the state of the version before to the guest, as [`save`](Self::save) gave it. Does
    /// nothing for a module without `oplet_restore`.
    ///
    /// # Errors
    /// [`Class::Refused`] when the guest does not take it, with its reason; the instance stays
    /// usable. [`Class::MemoryLimit`] when it does not fit into the module's memory, likewise. Else
    /// as the guest fails, and the instance is dead then.
    pub fn restore(&mut self, state: &[u8]) -> Result<(), GuestError> {
        let Some(restore) = &self.exports.restore else {
            return Ok(());
        };
        // It takes the place of the op that was written last.
        self.op = None;
        let input = self
            .region
            .write(&mut self.caller, &self.exports.alloc, state)?;
        match self.caller.call(Phase::Restore, restore, input)? {
            0 => Ok(()),
            code => {
                let message = match self.reason() {
                    reason if reason.is_empty() => {
                        format!(
                            "the module refused the state of the version before with code {code}"
                        )
                    }
                    reason => reason,
                };
                Err(self.caller.failed(Class::Refused, message))
            }
        }
    }
}

/// What is wrong with a state, which is a valid document.
fn check(state: &[u8]) -> Result<(), String> {
    let malformed = |error: Malformed| format!("that is {error}");
    let version = Walk::find(state, "v").map_err(malformed)?;
    if version.and_then(|version| version.int32()).is_none() {
        return Err("without `v`, the number of its form as an int32".to_owned());
    }
    match Walk::find(state, "state").map_err(malformed)? {
        Some(_) => Ok(()),
        None => Err("without `state`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, RawDocumentBuf, doc};

    use super::*;

    #[test]
    fn a_state_has_a_version_and_a_state() {
        for (state, expected) in [
            (doc! {"v": 1, "state": {"n": 1}}, None),
            (doc! {"state": null, "v": -1}, None),
            (doc! {"v": 1}, Some("without `state`")),
            (doc! {"state": 1}, Some("without `v`")),
            (doc! {"v": 1_i64, "state": 1}, Some("without `v`")),
            (doc! {"v": 1.0, "state": 1}, Some("without `v`")),
            (Document::new(), Some("without `v`")),
        ] {
            let bytes = RawDocumentBuf::try_from(&state).unwrap().into_bytes();
            let found = check(&bytes).err();
            match expected {
                Some(expected) => assert!(found.unwrap().starts_with(expected), "{state}"),
                None => assert_eq!(found, None, "{state}"),
            }
        }
    }
}
