//! The runner, with sinks that do what they are told.

mod delivery;
mod faults;
mod files;
mod open;
mod order;

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::op::{
    Ack, Acknowledge, BatchBuilder, BatchTicket, Operation, Position, Record, SourceKind, Timestamp,
};

/// How long a test waits for what has to happen.
const LONG: Duration = Duration::from_secs(20);

/// How long a test waits for what must not happen.
const A_WHILE: Duration = Duration::from_millis(80);

/// The numbers of the chunks that were acknowledged.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<u64>>);

impl Acknowledge for Heard {
    fn acknowledge(&self, ticket: BatchTicket, places: &[u32]) {
        assert_eq!(places, [0]);
        self.0.lock().unwrap().push(ticket.sequence);
    }
}

impl Heard {
    fn all(&self) -> Vec<u64> {
        self.0.lock().unwrap().clone()
    }

    async fn has(&self, count: usize) {
        let done = async {
            while self.all().len() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(LONG, done).await.expect("acks come");
    }
}

/// A chunk of that number with these documents.
fn chunk(heard: &Arc<Heard>, number: u64, documents: &[String]) -> Chunk {
    let mut builder = BatchBuilder::new(Vec::new().into());
    let namespace = builder.make(|extra| extra.extend_from_slice(b"a.b"));
    let time = Timestamp::new(u32::try_from(number).unwrap() + 1, 1);
    builder.push(Record::new(Operation::Insert, namespace, time));
    let batch = builder.finish(SourceKind::Oplog, Position::Time(time), false);
    let mut bytes = Vec::new();
    let mut outputs = Vec::new();
    for (document, number) in documents.iter().zip(0..) {
        bytes.extend_from_slice(document.as_bytes());
        outputs.push(Output {
            place: 0,
            module: 0,
            version: 0,
            number,
            cause: Cause::Op,
            end: bytes.len() as u32,
        });
    }
    let ticket = BatchTicket {
        stream: 0,
        sequence: number,
    };
    Chunk {
        batch: Arc::new(batch),
        modules: Arc::new(["m".to_owned()]),
        versions: Arc::from(["0123456789abcdef".to_owned()]),
        outputs,
        bytes,
        ack: Ack::new(heard.clone(), ticket, vec![0]),
    }
}

/// A chunk of that number with one document that holds the number.
fn single(heard: &Arc<Heard>, number: u64) -> Chunk {
    chunk(heard, number, &[format!("{{\"n\":{number}}}\n")])
}

/// What a sink is told to do with an attempt.
#[derive(Debug, Clone)]
enum Answer {
    Accept,
    Fail,
    FailUntil(Duration),
    Reject(Vec<usize>),
    End,
    Hang,
    Panic,
}

/// Does what it is told, and accepts when it is told nothing. It begins an attempt only with a permit.
#[derive(Debug)]
struct Scripted {
    answers: Mutex<VecDeque<Answer>>,
    /// The documents of each batch that was accepted.
    accepted: Mutex<Vec<Vec<String>>>,
    go: Semaphore,
}

impl Scripted {
    fn new(answers: &[Answer]) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new(answers.iter().cloned().collect()),
            accepted: Mutex::default(),
            go: Semaphore::new(Semaphore::MAX_PERMITS / 2),
        })
    }

    /// It waits until it is given permits.
    fn stuck() -> Arc<Self> {
        let mut sink = Self::new(&[]);
        Arc::get_mut(&mut sink).unwrap().go = Semaphore::new(0);
        sink
    }

    fn batches(&self) -> Vec<Vec<String>> {
        self.accepted.lock().unwrap().clone()
    }

    async fn attempt(&self, batch: &OutputBatch) -> Result<Vec<Rejection>, DeliverError> {
        self.go.acquire().await.unwrap().forget();
        let passing = |retry_after| {
            Err(DeliverError::Passing {
                message: "told to".to_owned(),
                retry_after,
            })
        };
        let answer = self.answers.lock().unwrap().pop_front();
        let rejected = match answer.unwrap_or(Answer::Accept) {
            Answer::Accept => Vec::new(),
            Answer::Reject(rejected) => rejected,
            Answer::Fail => return passing(None),
            Answer::FailUntil(after) => return passing(Some(after)),
            Answer::Hang => pending().await,
            Answer::Panic => panic!("told to"),
            Answer::End => {
                return Err(DeliverError::Ended {
                    message: "told to".to_owned(),
                    is_closed: true,
                });
            }
        };
        let text = |index| String::from_utf8(batch.document(index).to_vec()).unwrap();
        let taken = (0..batch.len()).filter(|index| !rejected.contains(index));
        self.accepted
            .lock()
            .unwrap()
            .push(taken.map(text).collect());
        let rejection = |index| Rejection {
            index,
            reason: "told to".to_owned(),
        };
        Ok(rejected.into_iter().map(rejection).collect())
    }
}

impl Sink for Scripted {
    fn deliver<'a>(
        &'a self,
        batch: &'a OutputBatch,
    ) -> BoxFuture<'a, Result<Vec<Rejection>, DeliverError>> {
        Box::pin(self.attempt(batch))
    }
}

/// A run's only sink.
struct Scene {
    sinks: Sinks,
    sender: SinkSender,
    heard: Arc<Heard>,
    rejected: mpsc::Receiver<Rejected>,
}

fn scene(settings: &str, sink: Arc<dyn Sink>) -> Scene {
    let mut spec: Spec = format!("null#{settings}").parse().unwrap();
    spec.retry.backoff_min = spec.retry.backoff_min.min(Duration::from_millis(2));
    let (reject, rejected) = mpsc::channel(1);
    let sinks = Sinks::start(vec![OpenSink { spec, sink }], &reject);
    Scene {
        sender: sinks.senders()[0].clone(),
        sinks,
        heard: Arc::new(Heard::default()),
        rejected,
    }
}

impl Scene {
    async fn send(&self, worker: usize, number: u64) {
        self.sender
            .send(worker, single(&self.heard, number))
            .await
            .unwrap();
    }
}
