//! Runs a handler natively, over the code that the exported functions run.
//!
//! Here in place of the host stands a recorder, one for each thread: what a handler emits, logs and counts comes back
//! as a [`Run`].
//!
//! ```
//! use oplet_sdk::{Handler, Op, Outcome, bson::doc, count, testing};
//!
//! #[derive(Default)]
//! struct Large;
//!
//! impl Handler for Large {
//!     fn filter(&self, op: &Op) -> bool {
//!         op.get_i64("data.n").is_some_and(|n| n > 10)
//!     }
//!
//!     fn handle(&mut self, _: &Op) -> Outcome {
//!         count("large", 1);
//!         Ok(())
//!     }
//! }
//!
//! let small = Op::insert("shop.orders", doc! {"_id": 1, "n": 10});
//! assert!(!testing::run(&mut Large, &small).kept);
//!
//! let updated = Op::update("shop.orders", doc! {"_id": 1, "n": 11}).updated(doc! {"n": 11}).pending();
//! let run = testing::run(&mut Large, &updated);
//! assert!(run.kept && run.asked_again);
//! assert_eq!(run.counts["large"], 1);
//! ```
//!
//! | the host calls | here |
//! |---|---|
//! | `filter`, then `handle` | [`run`] |
//! | `oplet_flush`, `oplet_tick` | [`flush`], [`tick`] |
//! | `oplet_save` on the old version, `oplet_restore` on the new | [`hand_over`], or one at a time [`save`] and [`restore`] |
//! | `pipeline` | [`pipeline`] |
//! | `oplet_configure` | [`configure`] |
//!
//! Sinks are named by [`set_sinks`]. [`lookup`](crate::lookup()) finds what [`set_collection`] or [`set_lookup`] said, and fails by
//! [`set_unavailable`]; any other namespace has no grant, and panics where the host would trap.

mod lookups;
mod op;
pub(crate) mod recorder;

use std::{collections::BTreeMap, time::Duration};

use bson::{DateTime, Document, RawDocument, RawDocumentBuf, doc};

pub use lookups::{set_collection, set_lookup, set_unavailable};
pub use op::{TestOp, command, delete, insert, replace, update};

use crate::{
    Error, Handler, Level, Outcome, Source, State,
    abi::{outcome, verdict},
    calls,
    fields::Offsets,
};

/// What a handler did with an op.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Whether the filter kept the op; if not, it was not handled.
    pub kept: bool,
    /// Whether the filter wanted to see the document of a pending op, and was asked again with it.
    pub asked_again: bool,
    /// What `handle` answered; `Ok` for an op that was not kept.
    pub outcome: Outcome,
    /// What the host would deliver: nothing unless the outcome is `Ok`.
    pub outputs: Vec<Output>,
    /// Lines logged, in order.
    pub logs: Vec<(Level, String)>,
    /// What was added to each counter.
    pub counts: BTreeMap<String, i64>,
    /// What was looked up, in order: `{namespace, filter, projection, limit}`.
    pub lookups: Vec<Document>,
}

/// A document that was emitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The sink's name; `None` is the default one.
    pub sink: Option<String>,
    /// The document.
    pub document: Document,
}

impl Run {
    /// The documents that went to the default sink.
    #[must_use]
    pub fn documents(&self) -> Vec<&Document> {
        self.outputs
            .iter()
            .filter(|output| output.sink.is_none())
            .map(|output| &output.document)
            .collect()
    }

    /// The documents that went to the sink of that name.
    #[must_use]
    pub fn documents_to(&self, sink: &str) -> Vec<&Document> {
        let to_sink = self
            .outputs
            .iter()
            .filter(|output| output.sink.as_deref() == Some(sink));
        to_sink.map(|output| &output.document).collect()
    }

    fn of(answer: i32) -> Self {
        let recording = recorder::take();
        let reason = recording.reason.unwrap_or_default();
        let outcome = match answer {
            outcome::DONE => Ok(()),
            outcome::RETRY => Err(Error::Retry(reason)),
            outcome::RETRY_AFTER => Err(Error::RetryAfter(Duration::from_millis(
                recording.retry_after_ms.unwrap_or_default() as u64,
            ))),
            _ => Err(Error::Reject(reason)),
        };
        Self {
            kept: true,
            asked_again: false,
            outputs: if outcome.is_ok() {
                recording.outputs
            } else {
                Vec::new()
            },
            outcome,
            logs: recording.logs,
            counts: recording.counts,
            lookups: recording.lookups,
        }
    }
}

/// Lets a handler see an op: filter, the document if that is wanted, then handle.
///
/// # Panics
/// When the handler panics, or does what the host does not allow: emit in `filter`, name a counter wrongly.
pub fn run<H: Handler>(handler: &mut H, op: &TestOp) -> Run {
    let (first, whole) = (op.to_pending_bytes(), op.to_bytes());
    let offsets = Offsets::new();
    recorder::start(Some("filter"));
    let mut answer = calls::filter(handler, &first, &offsets);
    let asked_again = answer == verdict::ASK_AGAIN;
    if asked_again {
        answer = calls::filter(handler, &whole, &offsets);
    }
    let kept = answer == verdict::KEEP;
    recorder::let_emit();
    let answer = if kept {
        // As in a module: what the filter found holds, unless the document came after it.
        if op.is_pending() && !asked_again {
            offsets.forget();
        }
        calls::handle(handler, &whole, &offsets)
    } else {
        outcome::DONE
    };
    Run {
        kept,
        asked_again,
        ..Run::of(answer)
    }
}

/// Ends a batch of ops: what the handler aggregated comes as the outputs.
pub fn flush<H: Handler>(handler: &mut H) -> Run {
    recorder::start(None);
    Run::of(calls::flush(handler))
}

/// Tells the handler the time, as the host does every now and then: what it emits comes as the outputs.
pub fn tick<H: Handler>(handler: &mut H, now: DateTime) -> Run {
    recorder::start(None);
    Run::of(calls::tick(handler, now.timestamp_millis()))
}

/// The state that the handler would hand to the next version: `{v, state}`, `None` for none.
///
/// # Errors
/// Why it cannot be saved.
///
/// # Panics
/// When the handler panics, emits or looks up.
pub fn save<H: Handler>(handler: &H) -> Result<Option<Document>, String> {
    recorder::start(Some("oplet_save"));
    let answer = calls::save(handler);
    match recorder::take().reason {
        Some(reason) => Err(reason),
        None => Ok(answer.map(|state| document(&state))),
    }
}

/// Hands a state `{v, state}` to the handler.
///
/// # Errors
/// Why the handler refuses it.
///
/// # Panics
/// When the state is no such document, or the handler panics, emits or looks up.
pub fn restore<H: Handler>(handler: &mut H, state: &Document) -> Result<(), String> {
    let state = RawDocumentBuf::try_from(state).expect("the state is BSON");
    assert!(
        State::from_document(state.as_bytes()).is_some(),
        "a state is a document {{v: int32, state: any}}"
    );
    recorder::start(Some("oplet_restore"));
    match calls::restore(handler, state.as_bytes()) {
        0 => Ok(()),
        _ => Err(recorder::take().reason.unwrap_or_default()),
    }
}

/// Swaps a handler for its next version: what the old one saves, the new one takes.
///
/// # Errors
/// Why the old one cannot save, or the new one refuses.
///
/// # Panics
/// As [`save`] and [`restore`].
pub fn hand_over<A: Handler, B: Handler>(old: &A, new: &mut B) -> Result<(), String> {
    match save(old)? {
        Some(state) => restore(new, &state),
        None => Ok(()),
    }
}

/// The stages that the handler answers for a namespace.
///
/// # Panics
/// When the handler panics or emits.
pub fn pipeline<H: Handler>(handler: &H, namespace: &str, source: Source) -> Option<Vec<Document>> {
    recorder::start(Some("pipeline"));
    let question = doc! { "namespace": namespace, "source": source.as_str() };
    let question = RawDocumentBuf::try_from(question).expect("the question is BSON");
    let answer = document(&calls::pipeline(handler, question.as_bytes())?);
    let stages = answer
        .get_array("pipeline")
        .expect("the answer has stages")
        .iter();
    Some(
        stages
            .map(|stage| stage.as_document().expect("a stage is a document").clone())
            .collect(),
    )
}

/// Makes a handler from its configuration, as `oplet_configure` does.
///
/// # Errors
/// The reason that the host would be told.
///
/// # Panics
/// When the configuration is no BSON.
#[cfg(feature = "serde")]
pub fn configure<H, C>(config: &Document) -> Result<H, String>
where
    H: TryFrom<C, Error: std::fmt::Display>,
    C: serde::de::DeserializeOwned,
{
    recorder::start(Some("oplet_configure"));
    let config = RawDocumentBuf::try_from(config).expect("the configuration is BSON");
    crate::config::from_config(config.as_bytes())
}

/// Says which sinks there are besides the default one, for this thread; if not said, every name is one.
pub fn set_sinks(names: &[&str]) {
    recorder::set_sinks(names);
}

fn document(bytes: &[u8]) -> Document {
    let raw = RawDocument::from_bytes(bytes).expect("the handler's answer is a document");
    Document::try_from(raw).expect("of valid BSON")
}
