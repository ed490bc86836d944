//! The one handle of a run, for the admin API, signals and tests.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::{
    profiling::{ProfileAnswer, ProfileError},
    state::{RunState, ShownPosition, Status},
    swap::{Swap, SwapAnswer, SwapError, Swapped},
};
use crate::{
    guest::Profile,
    op::{Namespace, Since},
};

/// What a run is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Stop between two ops, and save.
    Pause(Answer),
    /// Go on.
    Resume(Answer),
    /// Go on from another position.
    Seek(Since, Answer),
    /// Read a collection directly, from its beginning.
    Snapshot(Namespace, Answer),
    /// Finish what was read, save, and end.
    Drain(Answer),
    /// Let another version of a module take over, or add a module.
    Swap(Swap, SwapAnswer),
    /// Let the version before take over again; what is on trial is let go instead.
    Rollback(String, SwapAnswer),
    /// Let go of a module.
    Remove(String, SwapAnswer),
    /// Sample a module's calls for that long.
    Profile(String, Duration, ProfileAnswer),
    /// Tell how it stands.
    Status(oneshot::Sender<Box<Status>>),
}

/// Where a command's answer goes.
pub type Answer = oneshot::Sender<Result<Reached, CommandError>>;

/// What a command led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reached {
    /// The state that the run is in now.
    pub state: RunState,
    /// Up to where everything is done.
    pub position: ShownPosition,
    /// Whether that position is in the checkpoint.
    pub saved: bool,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Not in this state.
    #[error("cannot {verb} while the run is {}", .state.as_str())]
    State {
        /// What was asked.
        verb: &'static str,
        /// The state.
        state: RunState,
    },
    /// The position is not one that this source can go to.
    #[error("cannot go to {to}: the oplog reaches from {oldest} to {newest}")]
    OutsideWindow {
        /// Where to.
        to: String,
        /// The oldest position that the oplog has.
        oldest: String,
        /// The newest.
        newest: String,
    },
    /// The server could not be asked about the position.
    #[error("cannot {verb}: {reason}")]
    Failed {
        /// What was asked.
        verb: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// The run has ended, or does before it can answer.
    #[error("the run has ended")]
    Ended,
}

/// How a run is controlled while it works. Cheap to clone; any thread may use it.
///
/// Every command is idempotent, takes effect between two ops, also on an idle source, and answers
/// with the state and position that were reached. Cancelling the call does not take the command back.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
}

/// Commands that may wait for the run; who asks waits beyond that.
const COMMANDS_MAX: usize = 16;

impl Handle {
    /// A handle, and what the run receives its commands from. Whoever receives them answers each.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        (Self { commands }, receiver)
    }

    /// Stops between two ops; answers when no op is under way and the checkpoint is saved.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn pause(&self) -> Result<Reached, CommandError> {
        self.ask(Command::Pause).await
    }

    /// Goes on after a pause; closes open breakers.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn resume(&self) -> Result<Reached, CommandError> {
        self.ask(Command::Resume).await
    }

    /// Goes on from another position: backwards reads again, forwards passes over. What was read and
    /// not begun is dropped. A run that was paused stays so.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn seek(&self, to: Since) -> Result<Reached, CommandError> {
        self.ask(|answer| Command::Seek(to, answer)).await
    }

    /// Reads a collection or view directly, also when that was done before; answers when it has begun.
    /// [`status`](Self::status) shows how far it is.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn snapshot(&self, namespace: Namespace) -> Result<Reached, CommandError> {
        self.ask(|answer| Command::Snapshot(namespace, answer))
            .await
    }

    /// Finishes what was read, saves, and ends the run; answers when all that is done.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn drain(&self) -> Result<Reached, CommandError> {
        self.ask(Command::Drain).await
    }

    /// Lets another version of a module take over between two ops of each lane, or adds a module;
    /// answers when it is done, or undone. Only with a canary or a shadow it answers when that has
    /// begun.
    ///
    /// # Errors
    /// [`SwapError`]; then nothing has changed.
    pub async fn swap(&self, swap: Swap) -> Result<Swapped, SwapError> {
        self.ask_swap(|answer| Command::Swap(swap, answer)).await
    }

    /// Lets the version before take over again; where one is on trial, that is let go instead.
    ///
    /// # Errors
    /// [`SwapError`]; then nothing has changed.
    pub async fn rollback(&self, module: &str) -> Result<Swapped, SwapError> {
        self.ask_swap(|answer| Command::Rollback(module.to_owned(), answer))
            .await
    }

    /// Lets go of a module: what comes from now on it does not see.
    ///
    /// # Errors
    /// [`SwapError`]; then nothing has changed.
    pub async fn remove(&self, module: &str) -> Result<Swapped, SwapError> {
        self.ask_swap(|answer| Command::Remove(module.to_owned(), answer))
            .await
    }

    async fn ask_swap(
        &self,
        command: impl FnOnce(SwapAnswer) -> Command,
    ) -> Result<Swapped, SwapError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(command(answer)).await;
        sent.map_err(|_| SwapError::Ended)?;
        answered.await.map_err(|_| SwapError::Ended)?
    }

    /// Samples a module's calls for that long, in every lane; the profile is that of the lane which was
    /// seen to work most. The run goes on meanwhile, a little slower.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub async fn profile(&self, module: &str, time: Duration) -> Result<Profile, ProfileError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Profile(module.to_owned(), time, answer);
        let sent = self.commands.send(command).await;
        sent.map_err(|_| CommandError::Ended)?;
        answered.await.map_err(|_| CommandError::Ended)?
    }

    /// How the run stands.
    ///
    /// # Errors
    /// [`CommandError::Ended`].
    pub async fn status(&self) -> Result<Status, CommandError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(Command::Status(answer)).await;
        sent.map_err(|_| CommandError::Ended)?;
        let status = answered.await.map_err(|_| CommandError::Ended)?;
        Ok(*status)
    }

    async fn ask(&self, command: impl FnOnce(Answer) -> Command) -> Result<Reached, CommandError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(command(answer)).await;
        sent.map_err(|_| CommandError::Ended)?;
        answered.await.map_err(|_| CommandError::Ended)?
    }
}
