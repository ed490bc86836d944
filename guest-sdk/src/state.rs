//! State on its way from one version of a module to the next.

use std::{borrow::Cow, fmt};

use bson::{RawBson, RawBsonRef, rawdoc};
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

#[cfg(feature = "serde")]
use crate::decode::{DecodeError, decode};
use crate::{
    abi::state,
    raw::{self, Walk},
    value::Value,
};

/// What a handler knows and the next version of its module is to go on with: any value, and a number that says which
/// form it has.
///
/// [`Handler::save`](crate::Handler::save) makes one, [`Handler::restore`](crate::Handler::restore) takes it:
///
/// ```
/// use oplet_sdk::{Error, Handler, Outcome, State};
/// use std::collections::BTreeMap;
///
/// #[derive(Default)]
/// struct Totals {
///     by_customer: BTreeMap<String, f64>,
/// }
///
/// impl Handler for Totals {
///     fn save(&self) -> Result<Option<State<'_>>, Error> {
///         Ok(Some(State::new(2, &self.by_customer)?))
///     }
///
///     fn restore(&mut self, state: &State<'_>) -> Outcome {
///         self.by_customer = match state.version() {
///             2 => state.read()?,
///             // Version 1 counted in cents.
///             1 => {
///                 let cents: BTreeMap<String, i64> = state.read()?;
///                 cents.into_iter().map(|(name, cents)| (name, cents as f64 / 100.0)).collect()
///             }
///             _ => return Err(state.unknown()),
///         };
///         Ok(())
///     }
/// }
///
/// oplet_sdk::export!(Totals);
/// ```
///
/// The whole may have [`state::BYTES_MAX`] bytes.
#[derive(Clone)]
pub struct State<'a> {
    version: i32,
    /// `{v, state}`.
    document: Cow<'a, [u8]>,
}

impl<'a> State<'a> {
    /// A state of that form, from any value that serde writes.
    ///
    /// # Errors
    /// What `bson` says when it cannot hold the value: a map whose keys are no text, an integer beyond 64 bits.
    #[cfg(feature = "serde")]
    pub fn new<T: Serialize + ?Sized>(version: i32, value: &T) -> Result<Self, bson::error::Error> {
        #[derive(Serialize)]
        struct Form<'v, T: ?Sized> {
            v: i32,
            state: &'v T,
        }
        let document = bson::serialize_to_vec(&Form {
            v: version,
            state: value,
        })?;
        Ok(Self {
            version,
            document: Cow::Owned(document),
        })
    }

    /// A state of that form, from a value that is BSON already.
    #[must_use]
    pub fn from_bson(version: i32, value: impl Into<RawBson>) -> Self {
        let value: RawBson = value.into();
        let document = rawdoc! { "v": version, "state": value };
        Self {
            version,
            document: Cow::Owned(document.into_bytes()),
        }
    }

    /// The state in a document `{v: int32, state: any}`; `None` when it is no such document.
    #[must_use]
    pub fn from_document(bytes: &'a [u8]) -> Option<Self> {
        let bytes = &bytes[..raw::document_len(bytes).ok()?];
        let version = Walk::find(bytes, state::VERSION).ok()??.int32()?;
        Walk::find(bytes, state::STATE).ok()??;
        Some(Self {
            version,
            document: Cow::Borrowed(bytes),
        })
    }

    /// Which form the value has: the number that it was made with.
    #[must_use]
    pub fn version(&self) -> i32 {
        self.version
    }

    /// The value as serde reads it.
    ///
    /// # Errors
    /// [`DecodeError`] when it does not fit; `?` in [`restore`](crate::Handler::restore) refuses the state.
    #[cfg(feature = "serde")]
    pub fn read<'s, T: Deserialize<'s>>(&'s self) -> Result<T, DecodeError> {
        #[derive(Deserialize)]
        struct Form<T> {
            state: T,
        }
        Ok(decode::<Form<T>>(&self.document, "")?.state)
    }

    /// The value as it is.
    #[must_use]
    pub fn value(&self) -> RawBsonRef<'_> {
        let element = Walk::find(&self.document, state::STATE).ok().flatten();
        element
            .and_then(|element| {
                let parent = &self.document;
                Value { parent, element }.to_raw_bson()
            })
            .unwrap_or(RawBsonRef::Null)
    }

    /// The answer to a state whose form this handler does not know: the swap fails with that reason, and the version
    /// before goes on.
    #[must_use]
    pub fn unknown(&self) -> crate::Error {
        crate::Error::reject(format_args!(
            "the state has the unknown form {}",
            self.version
        ))
    }

    /// The document `{v, state}`.
    #[must_use]
    pub fn into_document(self) -> Vec<u8> {
        self.document.into_owned()
    }
}

impl fmt::Debug for State<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("version", &self.version)
            .field("value", &self.value())
            .finish()
    }
}
