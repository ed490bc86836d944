//! Where the outputs of a redriven letter go.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::{
    dead_letters::{DeadLetter, RejectedOutput},
    op::{Format, write_json},
    sink::{self, Broken, Stdout},
};

/// A document that a module emitted for a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedrivenOutput {
    /// Number of the sink, in [`Deliver::sinks`].
    pub sink: u32,
    /// Which of the documents of its cause, from 0.
    pub number: u32,
    /// It was emitted by `oplet_flush`.
    pub is_flush: bool,
    /// The document, BSON.
    pub document: Vec<u8>,
}

/// The key of an output, the same as when the op was handled first; see
/// [`Chunk::key`](crate::sink::Chunk::key).
#[must_use]
pub fn output_key(letter: &DeadLetter, output: &RedrivenOutput) -> String {
    let flush = if output.is_flush { "flush#" } else { "" };
    format!(
        "{}#{}#{flush}{}",
        letter.op_id, letter.module, output.number
    )
}

/// Why outputs were not delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliverFailure {
    /// They will not be, as they are: the letter stays.
    #[error("{message}")]
    Refused {
        /// Which sink said what, for people.
        message: String,
    },
    /// Nothing is taken any more: the redrive ends.
    #[error(transparent)]
    Ended(Broken),
}

/// Where the outputs of redriven letters go.
pub trait Deliver: Send {
    /// Names of the sinks that the module can ask for, by their number; 0 is the default.
    fn sinks(&self) -> Arc<[String]>;

    /// Delivers the outputs of one letter, in order; waits while a sink is away. `Ok` means that all
    /// of them are where they belong. Dropped when the redrive has to end; the same outputs may come
    /// again later, with the same [keys](output_key).
    ///
    /// # Errors
    /// [`DeliverFailure`].
    fn deliver<'a>(
        &'a mut self,
        letter: &'a DeadLetter,
        outputs: &'a [RedrivenOutput],
    ) -> BoxFuture<'a, Result<(), DeliverFailure>>;
}

/// Prints outputs on the standard output, one line each.
#[derive(Debug, Clone, Copy, Default)]
pub struct StdoutDelivery {
    /// How documents are printed.
    pub format: Format,
}

impl Deliver for StdoutDelivery {
    fn sinks(&self) -> Arc<[String]> {
        sink::NAMES.map(str::to_owned).to_vec().into()
    }

    fn deliver<'a>(
        &'a mut self,
        _letter: &'a DeadLetter,
        outputs: &'a [RedrivenOutput],
    ) -> BoxFuture<'a, Result<(), DeliverFailure>> {
        let mut lines = String::new();
        for output in outputs {
            if let Err(error) = write_json(&output.document, self.format, &mut lines) {
                let message = format!("an output cannot be written: {error}");
                return Box::pin(async { Err(DeliverFailure::Refused { message }) });
            }
            lines.push('\n');
        }
        Box::pin(async {
            // On a thread of its own: one that nobody reads must not keep a signal from being heard.
            let write = tokio::task::spawn_blocking(move || Stdout.write(&lines));
            let written = write.await.expect("writing does not panic");
            written.map_err(DeliverFailure::Ended)
        })
    }
}

/// The document that a sink refused, to be delivered as it was.
pub(super) fn as_it_was(
    rejected: &RejectedOutput,
    sinks: &[String],
) -> Result<RedrivenOutput, String> {
    let sink = sinks.iter().position(|name| *name == rejected.sink);
    let sink = sink.ok_or_else(|| format!("there is no sink `{}`", rejected.sink))?;
    let document = rejected.document.as_ref();
    let document = document.ok_or("the document was too large to be kept")?;
    Ok(RedrivenOutput {
        sink: u32::try_from(sink).unwrap_or(u32::MAX),
        number: rejected.number,
        is_flush: rejected.is_flush,
        document: document.as_bytes().to_vec(),
    })
}
