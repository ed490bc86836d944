//! The end of a session: what was read is finished, as far as that goes.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;
use tracing::warn;

use super::{
    Error, RunState,
    handle::Command,
    supervisor::{AtWork, COMMAND_TIME, Next, Supervisor},
};
use crate::{
    flow::{Panicked, Word},
    sink::Ended,
};

/// In the first part of the grace period the lanes finish what they have, and the sinks take it; in
/// the rest the lanes only finish the op that they are at.
const FINISH_SHARE: f64 = 0.8;

/// How long the last save may take at least once the run was told to stop.
const LAST_SAVE_TIME: Duration = Duration::from_millis(700);

/// How soon it is tried again to write what has to be written.
const UNSAVED_PAUSE: Duration = Duration::from_millis(100);

/// What becomes of commands while a session is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commands {
    /// There will be no session that they could be about.
    Refused,
    /// They are about the session that follows. But a breaker can pause this one, which has to be
    /// finished: then it is resumed.
    Wait,
}

impl Supervisor<'_> {
    /// Finishes what was read, unless the run is paused, and tells why the run ends.
    pub(super) async fn end(
        &mut self,
        at_work: &mut AtWork,
        ended: Result<(), Error>,
    ) -> Result<Next, Error> {
        if at_work.gate.word() == Word::Closed {
            // Nothing is handled while it is paused; it is read again later.
            at_work.gate.throw();
        }
        if self.desk.board.state() != RunState::PositionLost {
            self.desk.board.enter(RunState::Draining, None);
        }
        let finished = self.finish(at_work, Commands::Refused).await;
        // The first failure explains what followed.
        if ended.is_ok() || at_work.shared.failed.is_cancelled() {
            self.check_failure(at_work).await?;
        }
        ended.and(finished).map(|()| Next::End)
    }

    /// Why lanes could not go on, or a sink takes no more.
    pub(super) async fn check_failure(&self, at_work: &AtWork) -> Result<(), Error> {
        if let Some(failure) = at_work.shared.take_failure() {
            return Err(failure);
        }
        let ended = self.assembly.delivery.ended();
        let ended = match at_work.shared.failed.is_cancelled() {
            // A lane has found a sink closed, and that one is about to say why.
            true => tokio::time::timeout(COMMAND_TIME, ended).await.ok(),
            false => ended.now_or_never(),
        };
        ended.map_or(Ok(()), |ended| Err(ended.into()))
    }

    /// Lets the lanes finish what they have and the sinks take it, and saves that. Once an end was
    /// asked for, they have the grace period for it.
    pub(super) async fn finish(
        &mut self,
        at_work: &mut AtWork,
        commands: Commands,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        let finished = self.let_finish(at_work, commands).await;
        finished.map_err(|Panicked| Error::Panicked("a lane"))?;
        let time = match self.shutdown.is_cancelled() {
            true => {
                let left = self.assembly.options.grace_period;
                let left = left.saturating_sub(begun.elapsed());
                left.clamp(LAST_SAVE_TIME, COMMAND_TIME)
            }
            false => COMMAND_TIME,
        };
        self.save(time).await;
        Ok(())
    }

    /// Outputs that are written with the checkpoint are forgotten where another session begins, and their ops
    /// are done: so they are written before, however long that takes. Not so only where the run is to end.
    pub(super) async fn has_written_outputs(&mut self) -> bool {
        let Some(saver) = self.saver.clone() else {
            return true;
        };
        let is_first = self.desk.board.window().is_none();
        if is_first || self.assembly.delivery.ledger.is_none() {
            return true;
        }
        while !self.save(COMMAND_TIME).await {
            if self.is_ending() || saver.failed().now_or_never().is_some() {
                return false;
            }
            tokio::time::sleep(UNSAVED_PAUSE).await;
        }
        true
    }

    async fn let_finish(
        &mut self,
        at_work: &mut AtWork,
        commands: Commands,
    ) -> Result<(), Panicked> {
        let (gate, shared) = (at_work.gate.clone(), at_work.shared.clone());
        let grace_is_over = self.grace_is_over(gate.clone());
        let delivery = self.assembly.delivery.clone();
        let saver = self.saver.clone();
        let asked_to_end = self.asked_to_end();
        let finishing = at_work.session.finish();
        let work = async {
            finishing.await?;
            tokio::select! {
                () = delivery.flush() => {}
                // A sink that is at its end takes nothing more.
                _ = delivery.ended() => {}
            }
            Ok(())
        };
        let saver_failed = async {
            match &saver {
                Some(saver) => saver.failed().await,
                None => std::future::pending().await,
            }
        };
        let finished = async {
            tokio::select! {
                finished = work => finished,
                () = grace_is_over => Ok(()),
                () = saver_failed => Ok(()),
            }
        };
        let mut finished = std::pin::pin!(finished);
        let mut asked_to_end = std::pin::pin!(asked_to_end.fuse());
        loop {
            tokio::select! {
                biased;
                finished = &mut finished => return finished,
                () = &mut asked_to_end, if commands == Commands::Wait => {
                    // Nobody says `resume` any more.
                    if gate.word() == Word::Closed {
                        gate.throw();
                    }
                }
                () = shared.breaker_opened.notified() => match commands {
                    _ if gate.is_open() => {}
                    Commands::Wait if !self.is_ending() => self.breaker_opened(&shared),
                    // Paused for good: what is left is read again.
                    _ => gate.throw(),
                },
                command = self.desk.arrived() => match (commands, command) {
                    (Commands::Refused, command) => self.desk.refuse(command),
                    (Commands::Wait, Command::Resume(answer)) => self.resume(&shared, answer),
                    (Commands::Wait, command) => self.desk.hold(command),
                },
            }
        }
    }

    fn is_ending(&self) -> bool {
        self.shutdown.is_cancelled() || self.desk.drain.is_cancelled()
    }

    fn grace_is_over(&self, gate: crate::flow::Gate) -> impl Future<Output = ()> + use<> {
        let shutdown = self.shutdown.clone();
        let grace_period = self.assembly.options.grace_period;
        async move {
            shutdown.cancelled().await;
            tokio::time::sleep(grace_period.mul_f64(FINISH_SHARE)).await;
            warn!("the grace period is nearly over: ops that have not begun are left alone");
            gate.throw();
            tokio::time::sleep(grace_period.mul_f64(1.0 - FINISH_SHARE)).await;
            warn!("the grace period is over: what is not finished is left behind");
        }
    }
}

impl From<Ended> for Error {
    fn from(ended: Ended) -> Self {
        Self::SinkEnded {
            sink: ended.sink,
            message: ended.message,
            is_closed: ended.is_closed,
        }
    }
}
