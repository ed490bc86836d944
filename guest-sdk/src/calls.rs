//! What the exported functions do, over slices: the same for a module and for a native test.

use std::{fmt, time::Duration};

use bson::{Document, doc};
use serde::de::DeserializeOwned;

use crate::{
    Error, Handler, Namespace, Op, Operation, Outcome, Source,
    abi::{outcome, verdict},
    host,
    kinds::operation_of,
    raw,
};

/// Answers `filter`: keep, drop, or ask again with the document.
pub(crate) fn filter<H: Handler>(handler: &H, input: &[u8]) -> i32 {
    let (document, operation) = checked(input);
    let op = Op::new(document, operation);
    let keep = handler.filter(&op);
    if op.wants_document() {
        // What the filter answered, it answered without the document that it wanted to see.
        return verdict::ASK_AGAIN;
    }
    if keep { verdict::KEEP } else { verdict::DROP }
}

/// Answers `handle`.
pub(crate) fn handle<H: Handler>(handler: &mut H, input: &[u8]) -> i32 {
    let (document, operation) = checked(input);
    report(handler.handle(&Op::new(document, operation)))
}

/// Answers `oplet_flush`.
pub(crate) fn flush<H: Handler>(handler: &mut H) -> i32 {
    report(handler.flush())
}

/// Answers `pipeline`: the bytes of `{pipeline: [stage, ...]}`, or none.
pub(crate) fn pipeline<H: Handler>(handler: &H, input: &[u8]) -> Option<Vec<u8>> {
    let text = |key| {
        raw::Walk::find(input, key)
            .ok()
            .flatten()
            .and_then(|element| element.text())
    };
    let (Some(namespace), Some(source)) = (text("namespace"), text("source")) else {
        panic!("the host asked for a pipeline without namespace or source");
    };
    let source =
        Source::of_text(source.as_bytes()).unwrap_or_else(|| panic!("unknown source `{source}`"));
    let stages: Vec<Document> = handler.pipeline(&Namespace::new(namespace), source)?;
    let answer = bson::serialize_to_vec(&doc! { "pipeline": stages });
    Some(answer.unwrap_or_else(|error| panic!("the pipeline for {namespace} is no BSON: {error}")))
}

/// Makes a handler from its configuration; the error is what the host is told.
///
/// # Errors
/// When the document does not fit the configuration's type, or the handler refuses it.
pub fn from_config<H, C>(input: &[u8]) -> Result<H, String>
where
    H: TryFrom<C, Error: fmt::Display>,
    C: DeserializeOwned,
{
    let config: C = bson::deserialize_from_slice(input).map_err(|error| error.to_string())?;
    H::try_from(config).map_err(|error| error.to_string())
}

/// Makes a handler for a host that gives no configuration.
///
/// # Panics
/// When the handler needs some.
#[must_use]
pub fn from_no_config<H, C>() -> H
where
    H: TryFrom<C, Error: fmt::Display>,
    C: DeserializeOwned,
{
    from_config(&raw::EMPTY_DOCUMENT)
        .unwrap_or_else(|error| panic!("the handler was not configured: {error}"))
}

/// What an op is made of, checked: the op itself is then built where it stays.
#[inline]
fn checked(input: &[u8]) -> (&[u8], Operation) {
    let document = raw::document_len(input).map(|len| &input[..len]);
    match document
        .ok()
        .and_then(|document| Some((document, operation_of(document)?)))
    {
        Some(parts) => parts,
        None => panic!("the host handed over no op"),
    }
}

fn report(outcome: Outcome) -> i32 {
    match outcome {
        Ok(()) => outcome::DONE,
        Err(Error::Retry(reason)) => {
            host::fail(&reason);
            outcome::RETRY
        }
        Err(Error::RetryAfter(delay)) => {
            host::retry_after(whole_ms(delay));
            outcome::RETRY_AFTER
        }
        Err(Error::Reject(reason)) => {
            host::fail(&reason);
            outcome::REJECT
        }
    }
}

fn whole_ms(delay: Duration) -> i64 {
    i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)
}
