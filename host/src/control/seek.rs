//! Going on from another position.

use std::sync::Arc;

use tokio::time::timeout;

use super::{
    CommandError, Error, RunState,
    assembly::Assembly,
    begin::{self, Begin},
    handle::Answer,
    supervisor::{AtWork, COMMAND_TIME, Next, Reply, Supervisor},
};
use crate::{
    flow::{Panicked, Word},
    mongo::Server,
    op::{Since, Timestamp},
    source::{self, Start, Window},
};

const VERB: &str = "seek";

impl Supervisor<'_> {
    /// Ends the session between two ops, and goes on elsewhere; or goes on here, when that cannot be
    /// done, or the run is to end.
    pub(super) async fn seek(
        &mut self,
        at_work: &mut AtWork,
        to: &Since,
        answer: Answer,
    ) -> Result<Option<Next>, Error> {
        let starts = match self.seek_starts(to).await {
            Ok(starts) => starts,
            Err(error) => {
                let _ = answer.send(Err(error));
                return Ok(None);
            }
        };
        let word = match self.desk.board.state() {
            RunState::Paused => Word::Closed,
            _ => Word::Open,
        };
        let Assembly {
            deployments, plan, ..
        } = &self.assembly;
        let begins = begin::everywhere(deployments, plan, &starts);
        // What was emitted arrives before what is read anew.
        at_work.gate.close();
        if !self.is_delivered(at_work).await && is_forward(&begins, at_work) {
            // Behind the new position nobody would deliver it after a crash.
            if word == Word::Open {
                at_work.gate.open();
            }
            let reason = "the sinks have not taken everything that was emitted before".into();
            let _ = answer.send(Err(CommandError::Failed { verb: VERB, reason }));
            return Ok(None);
        }
        if self.shutdown.is_cancelled() || self.desk.drain.is_cancelled() {
            if word == Word::Open {
                at_work.gate.open();
            }
            let _ = answer.send(Err(CommandError::Ended));
            return Ok(None);
        }
        self.save(COMMAND_TIME).await;
        at_work.gate.throw();
        let finished = self.desk.hold_while(at_work.session.finish()).await;
        finished.map_err(|Panicked| Error::Panicked("a lane"))?;
        self.check_failure(at_work).await?;
        // What was covered by documents that were read is asked for again.
        let reads = &self.assembly.reads;
        reads.put_back(&at_work.session.window.look());
        reads.forget();
        Ok(Some(Next::Session(
            begins,
            word,
            Some(Reply::Position(answer)),
        )))
    }

    /// Waits until no lane is at work and the sinks have taken everything; tells whether they have.
    async fn is_delivered(&mut self, at_work: &AtWork) -> bool {
        let delivery = Arc::clone(&self.assembly.delivery);
        let gate = at_work.gate.clone();
        let rested = async move {
            gate.at_rest().await;
            delivery.flush().await;
        };
        let asked_to_end = self.asked_to_end();
        let delivered = async {
            tokio::select! {
                rested = timeout(COMMAND_TIME, rested) => rested.is_ok(),
                () = asked_to_end => false,
            }
        };
        self.desk.hold_while(delivered).await
    }

    /// Where a seek leads to in each deployment, if the histories reach so far.
    async fn seek_starts(&mut self, to: &Since) -> Result<Vec<Start>, CommandError> {
        let mut starts = Vec::new();
        for deployment in self.assembly.deployments.read().to_vec() {
            starts.push(self.seek_start(&deployment.server, to).await?);
        }
        Ok(starts)
    }

    async fn seek_start(&mut self, server: &Server, to: &Since) -> Result<Start, CommandError> {
        let options = self.assembly.options;
        let asked = async {
            let namespace = &options.oplog_namespace;
            // `now` is not when the run connected.
            let server = server
                .refreshed()
                .await
                .map_err(|source| source::Error::Refused {
                    what: "ask the server for its time".into(),
                    source,
                })?;
            let start = source::resolve(to, options.source, &server, namespace).await?;
            let window = Window::ask(options.source, &server, namespace).await?;
            Ok::<_, source::Error>((start, window))
        };
        let asked = timeout(COMMAND_TIME, asked);
        let (start, window) = match self.desk.hold_while(asked).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(error)) => {
                let reason = error.to_string();
                return Err(CommandError::Failed { verb: VERB, reason });
            }
            Err(_) => {
                let reason = "the server does not answer".into();
                return Err(CommandError::Failed { verb: VERB, reason });
            }
        };
        if !window.contains(&start) {
            let show = |timestamp: Option<Timestamp>| {
                timestamp.map_or_else(|| "?".into(), |timestamp| timestamp.to_string())
            };
            return Err(CommandError::OutsideWindow {
                to: to.to_string(),
                oldest: show(window.oldest()),
                newest: show(window.newest()),
            });
        }
        Ok(start)
    }
}

/// Whether ops are passed over that are not all done.
fn is_forward(begins: &[Begin], at_work: &AtWork) -> bool {
    let frontiers = at_work.session.window.frontiers().into_iter();
    frontiers
        .zip(begins)
        .any(|(frontier, to)| frontier.position.timestamp() < to.start.position().timestamp())
}
