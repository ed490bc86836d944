//! A thread that writes.

use std::sync::mpsc;

use tokio::sync::oneshot;

use super::{DeliverError, OutputBatch};

/// Writes documents somewhere, and blocks while it does.
pub(super) trait Write: Send + 'static {
    /// Writes whole documents, one behind the other, and makes them safe.
    fn write(&mut self, documents: &[u8]) -> Result<(), DeliverError>;
}

/// A thread of its own for what blocks.
///
/// Not one of the runtime's: those are waited for when the runtime ends, and a pipe that nobody reads
/// from would keep the process from ending. Nobody waits for this one; it ends by itself when the
/// sink is gone and it has written what it was given.
#[derive(Debug)]
pub(super) struct Writer {
    /// Not bounded: the sink has one worker, which gives one batch at a time.
    jobs: mpsc::Sender<Job>,
}

type Job = (Vec<u8>, oneshot::Sender<Result<(), DeliverError>>);

impl Writer {
    /// Starts the thread.
    pub(super) fn start(name: &str, mut write: impl Write) -> Result<Self, DeliverError> {
        let (jobs, receiver) = mpsc::channel::<Job>();
        let started = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                for (documents, reply) in receiver {
                    // Who gave up waiting does not want to know.
                    let _ = reply.send(write.write(&documents));
                }
            });
        started.map_err(|error| DeliverError::Passing {
            message: format!("cannot start a thread: {error}"),
            retry_after: None,
        })?;
        Ok(Self { jobs })
    }

    /// Has a batch written.
    pub(super) async fn write(&self, batch: &OutputBatch) -> Result<(), DeliverError> {
        let mut documents = Vec::with_capacity(batch.bytes());
        for index in 0..batch.len() {
            documents.extend_from_slice(batch.document(index));
        }
        let gone = || DeliverError::Ended {
            message: "the thread that writes has ended".to_owned(),
            is_closed: false,
        };
        let (reply, answer) = oneshot::channel();
        self.jobs.send((documents, reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Clumsy;

    impl Write for Clumsy {
        fn write(&mut self, _: &[u8]) -> Result<(), DeliverError> {
            panic!("told to");
        }
    }

    #[tokio::test]
    async fn a_thread_that_panics_does_not_leave_anybody_waiting() {
        let writer = Writer::start("clumsy", Clumsy).unwrap();
        for _ in 0..2 {
            let answer = writer.write(&OutputBatch::default()).await;
            assert!(
                matches!(answer, Err(DeliverError::Ended { .. })),
                "{answer:?}"
            );
        }
    }
}
