//! What the exported functions do, over slices: the same for a module and for a native test.

use std::time::Duration;

use bson::{DateTime, Document, RawDocumentBuf, doc};

use crate::{
    Error, Handler, Namespace, Op, Operation, Outcome, Source, State,
    abi::{level, outcome, state::BYTES_MAX, verdict},
    fields::Offsets,
    host,
    kinds::operation_of,
    raw,
};

/// Answers `filter`: keep, drop, or ask again with the document. `offsets` become those of this op.
pub(crate) fn filter<H: Handler>(handler: &H, input: &[u8], offsets: &Offsets) -> i32 {
    let (document, operation) = checked(input);
    offsets.forget();
    let op = Op::new(document, operation, offsets);
    let keep = handler.filter(&op);
    if op.wants_document() {
        // What the filter answered, it answered without the document that it wanted to see.
        return verdict::ASK_AGAIN;
    }
    if keep { verdict::KEEP } else { verdict::DROP }
}

/// `filter` as an export runs it, and nothing else: for measuring.
#[cfg(not(target_family = "wasm"))]
pub fn filter_natively<H: Handler>(handler: &H, input: &[u8]) -> i32 {
    filter(handler, input, &Offsets::new())
}

/// Answers `handle`. `offsets` are those of this op, or forgotten.
pub(crate) fn handle<H: Handler>(handler: &mut H, input: &[u8], offsets: &Offsets) -> i32 {
    let (document, operation) = checked(input);
    report(handler.handle(&Op::new(document, operation, offsets)))
}

/// Answers `oplet_flush`.
pub(crate) fn flush<H: Handler>(handler: &mut H) -> i32 {
    report(handler.flush())
}

/// Answers `oplet_tick`.
pub(crate) fn tick<H: Handler>(handler: &mut H, now_ms: i64) -> i32 {
    report(handler.tick(DateTime::from_millis(now_ms)))
}

/// Answers `oplet_save`: the bytes of `{v, state}`, or none. What cannot be saved is told, and answered with a document
/// that is no state: the host refuses that, where none at all would be lost in silence, and a panic would take the
/// handler with it.
pub(crate) fn save<H: Handler>(handler: &H) -> Option<Vec<u8>> {
    let reason = match handler.save() {
        Ok(None) => return None,
        Ok(Some(state)) => {
            let document = state.into_document();
            if document.len() <= BYTES_MAX {
                return Some(document);
            }
            format!("it has {} bytes, more than {BYTES_MAX}", document.len())
        }
        Err(error) => reason_of(&error),
    };
    let reason = format!("cannot save the state: {reason}");
    host::log(level::ERROR, &reason);
    host::fail(&reason);
    Some(raw::EMPTY_DOCUMENT.to_vec())
}

/// Answers `oplet_restore`.
pub(crate) fn restore<H: Handler>(handler: &mut H, input: &[u8]) -> i32 {
    let Some(state) = State::from_document(input) else {
        panic!("the host handed over no state");
    };
    match handler.restore(&state) {
        Ok(()) => 0,
        Err(error) => {
            host::fail(&reason_of(&error));
            1
        }
    }
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
    match RawDocumentBuf::try_from(doc! { "pipeline": stages }) {
        Ok(answer) => Some(answer.into_bytes()),
        Err(error) => panic!("the pipeline for {namespace} is no BSON: {error}"),
    }
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

/// What a call says that cannot be tried again.
fn reason_of(error: &Error) -> String {
    match error {
        Error::Retry(reason) | Error::Reject(reason) => reason.clone(),
        Error::RetryAfter(_) => error.to_string(),
    }
}

fn whole_ms(delay: Duration) -> i64 {
    i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)
}
