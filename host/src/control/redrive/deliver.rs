//! Where the outputs of a redriven letter go.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::mpsc;

use crate::{
    dead_letters::{DeadLetter, RejectedOutput, kind},
    op::{Ack, Acknowledge, Batch, BatchTicket, batch_of},
    sink::{Cause, Chunk, Context, Ended, OpenError, Output, Rejected, SinkSender, Sinks, Spec},
};

/// How many refused documents may wait; they are looked at while the others are delivered.
const REFUSED_MAX: usize = 64;

/// A document that a module emitted for a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RedrivenOutput {
    /// Number of the sink.
    pub(super) sink: u32,
    /// Which of the documents of its cause, from 0.
    pub(super) number: u32,
    pub(super) cause: Cause,
    /// The document, BSON.
    pub(super) document: Vec<u8>,
}

/// Why outputs were not delivered.
#[derive(Debug)]
pub(super) enum Undelivered {
    /// They will not be, as they are: the letter stays.
    Refused {
        /// One of [`kind`].
        class: &'static str,
        /// Which sink said what, for people.
        message: String,
    },
    /// A sink takes no more: the redrive ends.
    Ended(Ended),
}

/// The sinks of a redrive. They are given the outputs of letters, in the letters' order, with the
/// keys that these had, or would have had, when the op was handled first.
#[derive(Debug)]
pub struct RedriveSinks {
    names: Arc<[String]>,
    sinks: Sinks,
    senders: Arc<[SinkSender]>,
    refused: mpsc::Receiver<Rejected>,
    refusals: Vec<Rejected>,
}

impl RedriveSinks {
    /// Opens sinks. One that is away is no error: letters wait until it is back.
    ///
    /// A transactional one is delivered to as if it were not: its transactions are those of a run's
    /// checkpoint, and a redrive has none. Its keys make it harmless that a letter comes twice.
    ///
    /// # Errors
    /// When a sink can never work.
    pub async fn open(specs: &[Spec], context: &Context) -> Result<Self, OpenError> {
        // One worker keeps the letters' order; what is not there yet is not worth waiting for.
        let alone = |spec: &Spec| {
            let mut spec = spec.clone();
            spec.workers = 1;
            spec.batching.age_max = Duration::ZERO;
            spec
        };
        let specs: Vec<Spec> = specs.iter().map(alone).collect();
        let (reject, refused) = mpsc::channel(REFUSED_MAX);
        let sinks = Sinks::open(&specs, context, reject).await?;
        Ok(Self {
            names: Sinks::names(&specs),
            senders: sinks.senders(),
            sinks,
            refused,
            refusals: Vec::new(),
        })
    }

    /// Names of the sinks that the module can ask for, by their number; 0 is the default.
    #[must_use]
    pub fn names(&self) -> Arc<[String]> {
        self.names.clone()
    }

    /// Hands the outputs that a version had for one letter to their sinks; waits while there is no room.
    pub(super) async fn send(
        &mut self,
        letter: &DeadLetter,
        digest: &str,
        outputs: &[RedrivenOutput],
    ) -> Result<Sent, Undelivered> {
        let (sent, chunks) = self.chunks(letter, digest, outputs)?;
        for (sink, chunk) in chunks {
            let room = self.senders[sink].send(0, chunk);
            let room = while_refused(&mut self.refused, &mut self.refusals, room);
            if room.await.is_err() {
                return Err(Undelivered::Ended(self.sinks.ended().await));
            }
        }
        Ok(sent)
    }

    /// Waits until everything that was sent is accepted or refused, also while a sink is away; or until
    /// a sink has ended. Cancellation safe.
    pub(super) async fn flush(&mut self) {
        let flushed = async {
            tokio::select! {
                biased;
                () = self.sinks.flush() => {}
                _ = self.sinks.ended() => {}
            }
        };
        while_refused(&mut self.refused, &mut self.refusals, flushed).await;
        while let Ok(rejected) = self.refused.try_recv() {
            self.refusals.push(rejected);
        }
    }

    /// What became of a letter's outputs, as far as that is known. `Ok` means that all of them are where
    /// they belong.
    pub(super) fn verdict(&self, sent: &Sent) -> Option<Result<(), Undelivered>> {
        if sent.accepted.0.load(Relaxed) {
            return Some(Ok(()));
        }
        let is_of = |rejected: &&Rejected| Arc::ptr_eq(&rejected.chunk.batch, &sent.batch);
        let mut refused = self.refusals.iter().filter(is_of);
        let first = refused.next()?;
        Some(Err(Undelivered::Refused {
            class: kind::SINK,
            message: describe(first, refused.count()),
        }))
    }

    /// Forgets what was refused, when all that was sent has its verdict.
    pub(super) fn forget(&mut self) {
        self.refusals.clear();
    }

    /// Waits until a sink takes no more, for good.
    pub(super) async fn ended(&self) -> Ended {
        self.sinks.ended().await
    }

    /// The outputs by sink, all with a part of one duty.
    fn chunks(
        &self,
        letter: &DeadLetter,
        digest: &str,
        outputs: &[RedrivenOutput],
    ) -> Result<(Sent, BTreeMap<usize, Chunk>), Undelivered> {
        let accepted = Arc::new(Accepted::default());
        let unwritable = |message| Undelivered::Refused {
            class: kind::OUTPUT,
            message,
        };
        let batch =
            batch_of(letter.op.as_bytes()).map_err(|error| unwritable(error.to_string()))?;
        let batch = Arc::new(batch);
        let modules: Arc<[String]> = [letter.module.clone()].into();
        let versions: Arc<[String]> = [digest.to_owned()].into();
        let ticket = BatchTicket {
            stream: 0,
            sequence: 0,
        };
        let ack = Ack::new(accepted.clone(), ticket, vec![0]);
        let mut chunks = BTreeMap::new();
        let mut line = String::new();
        for output in outputs {
            let sink = output.sink as usize;
            let chunk = chunks
                .entry(sink)
                .or_insert_with(|| empty(&batch, (&modules, &versions), &ack));
            let written =
                self.senders[sink]
                    .encoding()
                    .write(&output.document, &mut line, &mut chunk.bytes);
            written.map_err(|error| unwritable(format!("an output cannot be written: {error}")))?;
            chunk.outputs.push(Output {
                place: 0,
                module: 0,
                version: 0,
                number: output.number,
                cause: output.cause,
                end: u32::try_from(chunk.bytes.len())
                    .map_err(|_| unwritable("the outputs are too large".to_owned()))?,
            });
        }
        ack.done();
        Ok((Sent { accepted, batch }, chunks))
    }
}

/// Waits for something, and meanwhile takes what sinks refuse: they wait for that.
async fn while_refused<T>(
    refused: &mut mpsc::Receiver<Rejected>,
    refusals: &mut Vec<Rejected>,
    done: impl Future<Output = T>,
) -> T {
    tokio::pin!(done);
    loop {
        tokio::select! {
            Some(rejected) = refused.recv() => refusals.push(rejected),
            done = &mut done => return done,
        }
    }
}

fn empty(
    batch: &Arc<Batch>,
    (modules, versions): (&Arc<[String]>, &Arc<[String]>),
    ack: &Ack,
) -> Chunk {
    Chunk {
        batch: batch.clone(),
        modules: modules.clone(),
        versions: versions.clone(),
        outputs: Vec::new(),
        bytes: Vec::new(),
        ack: ack.split(),
    }
}

fn describe(first: &Rejected, others: usize) -> String {
    let number = first.chunk.outputs[first.index].number;
    let others = match others {
        0 => String::new(),
        others => format!(" (and {others} more)"),
    };
    let (sink, reason) = (&first.sink, &first.reason);
    format!("the sink `{sink}` refuses the output {number}: {reason}{others}")
}

/// Outputs of one letter that were handed over.
#[derive(Debug)]
pub(super) struct Sent {
    accepted: Arc<Accepted>,
    /// The op, which no other letter's outputs share.
    batch: Arc<Batch>,
}

/// Whether all outputs of a letter were accepted. One that is refused leaves its part undone.
#[derive(Debug, Default)]
struct Accepted(AtomicBool);

impl Acknowledge for Accepted {
    fn acknowledge(&self, _: BatchTicket, _: &[u32]) {
        self.0.store(true, Relaxed);
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
        cause: match rejected.is_flush {
            true => Cause::Flush,
            false => Cause::Op,
        },
        document: document.as_bytes().to_vec(),
    })
}
