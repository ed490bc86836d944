//! Stage 4: where the documents that handlers emit go.
//!
//! Enters: [`Chunk`]s, the documents that modules emitted for some ops of one batch, encoded as the sink
//! wants them ([`SinkSender::encoding`]). Each carries an [`Ack`](crate::op::Ack), the duty to tell that
//! these ops are done. Leaves: the documents, through a [`Sink`]: to the [standard output](StdoutSink),
//! to [files](FileSink), to [MongoDB](mongodb), over [HTTP](http), or [nowhere](NullSink).
//!
//! ```text
//! lane --SinkSender::send--> queue (bounded in bytes) --> worker: batch, deliver, retry --> Sink
//!                                                            |-- accepted: ack.done()
//!                                                            `-- rejected: Rejected --> dead letters
//! ```
//!
//! Promised:
//!
//! - **An ack is given** when every document of its chunk is where it belongs, as safely as the sink can
//!   make it, or is kept among the dead letters. Not before, and exactly once.
//! - **Nothing is dropped.** A sink that is away is tried again until it is back, with growing delays;
//!   meanwhile documents wait, up to the queue's bound, and then whoever has more waits. What waits when
//!   the process ends was not acknowledged, and comes again.
//! - **Order** is kept among the documents that are given to the same worker, over batches and retries.
//! - **Again** is possible: after an attempt that failed half way, and after a restart, the same
//!   documents come once more with the same [keys](OutputBatch::key).
//!
//! A [`Spec`] says how a sink is set up; [`Sinks`] are the sinks of a run at work. A
//! [transactional](Spec::is_transactional) one is not among them: what it writes, `control` writes in
//! one transaction with the checkpoint ([`MongodbSink::deliver_in`](mongodb::MongodbSink::deliver_in)). Errors: a spec that
//! cannot be ([`SpecError`]), a sink that can never be opened ([`OpenError`]), a sink that takes no more
//! ([`Ended`]), such as a standard output that nobody reads. Everything else passes.

mod chunk;
mod deliver;
mod file;
pub mod http;
mod late;
pub mod mongodb;
mod null;
mod option;
mod parse;
mod pending;
mod place;
mod queue;
mod runner;
mod settings;
mod spec;
mod state;
mod stdout;
#[cfg(test)]
mod tests;
mod worker;
mod writer;

pub use chunk::{Cause, Chunk, Encoding, Output};
pub use deliver::{DeliverError, OutputBatch, Rejection, Sink};
pub use file::FileSink;
pub use null::NullSink;
pub use option::OptionError;
pub use queue::{Closed, SinkSender};
pub use runner::{Context, Ended, Environment, OpenError, OpenSink, Rejected, Sinks};
pub use settings::SpecError;
pub use spec::{Batching, FileOptions, Kind, Retry, Spec, StdoutOptions};
pub use state::{LATENCY_BOUNDS, Latency, SinkState};
pub use stdout::{Broken, Stdout, StdoutSink};
