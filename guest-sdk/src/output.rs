//! Documents that a handler emits, and the sinks they go to.

use std::fmt;

use bson::RawDocument;
#[cfg(feature = "serde")]
use serde::Serialize;

use crate::{abi::emitted, host};

/// A place for documents, by its name in the host's configuration. Ask with [`sink`] once, when the handler is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sink(i32);

impl Sink {
    /// Where [`emit`] sends to.
    pub const DEFAULT: Self = Self(0);
}

/// The sink of that name, or `None` if the host has none.
#[must_use]
pub fn sink(name: &str) -> Option<Sink> {
    let number = host::sink(name);
    (number >= 0).then_some(Sink(number))
}

/// Hands a document to the default sink: anything that serde makes a document of.
///
/// It is delivered when [`handle`](crate::Handler::handle) answers `Ok`. [`filter`](crate::Handler::filter) and
/// [`pipeline`](crate::Handler::pipeline) may not emit.
///
/// # Errors
/// [`EmitError`]; in `handle`, `?` rejects the op.
#[cfg(feature = "serde")]
pub fn emit<T: Serialize + ?Sized>(document: &T) -> Result<(), EmitError> {
    emit_to(Sink::DEFAULT, document)
}

/// Hands a document to a sink, otherwise as [`emit`].
///
/// # Errors
/// As for [`emit`].
#[cfg(feature = "serde")]
pub fn emit_to<T: Serialize + ?Sized>(sink: Sink, document: &T) -> Result<(), EmitError> {
    thread_local! {
        // Kept, so that an op costs no allocation for its outputs.
        static BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    BUFFER.with(|buffer| {
        // A `Serialize` that emits on its own finds the buffer taken: then one of its own will do.
        let mut own = Vec::new();
        let mut kept = buffer.try_borrow_mut();
        let bytes = kept.as_deref_mut().unwrap_or(&mut own);
        bytes.clear();
        bson::serialize_to_buffer(&document, bytes).map_err(EmitError::Serialize)?;
        hand_over(sink, bytes)
    })
}

/// Hands a document to the default sink as it is, without decoding it.
///
/// # Errors
/// As for [`emit`], but [`EmitError::Serialize`].
pub fn emit_raw(document: &RawDocument) -> Result<(), EmitError> {
    emit_raw_to(Sink::DEFAULT, document)
}

/// Hands a document to a sink as it is, without decoding it.
///
/// # Errors
/// As for [`emit_raw`].
pub fn emit_raw_to(sink: Sink, document: &RawDocument) -> Result<(), EmitError> {
    hand_over(sink, document.as_bytes())
}

fn hand_over(sink: Sink, bytes: &[u8]) -> Result<(), EmitError> {
    match host::emit(sink.0, bytes) {
        emitted::TAKEN => Ok(()),
        emitted::NO_SUCH_SINK => Err(EmitError::NoSuchSink),
        emitted::OVER_LIMIT => Err(EmitError::OverLimit),
        _ => Err(EmitError::NotBson),
    }
}

/// Why the host did not take a document.
#[derive(Debug)]
#[non_exhaustive]
pub enum EmitError {
    /// The sink does not exist (any more).
    NoSuchSink,
    /// The outputs of this op are over the limit of the module, in number or in bytes.
    OverLimit,
    /// The bytes are not a BSON document.
    NotBson,
    /// The value does not serialise to a document.
    #[cfg(feature = "serde")]
    Serialize(bson::error::Error),
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchSink => "cannot emit: there is no such sink",
            Self::OverLimit => "cannot emit: the op's outputs are over the limit",
            Self::NotBson => "cannot emit: not a BSON document",
            #[cfg(feature = "serde")]
            Self::Serialize(_) => "cannot emit: the value does not serialise to a document",
        })
    }
}

impl std::error::Error for EmitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            #[cfg(feature = "serde")]
            Self::Serialize(error) => Some(error),
            Self::NoSuchSink | Self::OverLimit | Self::NotBson => None,
        }
    }
}
