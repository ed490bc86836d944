//! Where commands arrive.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    CommandError, SwapError,
    board::Board,
    handle::{Answer, Command},
};

/// Where commands arrive, and those wait that are answered at the end.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) board: Board,
    inbox: mpsc::Receiver<Command>,
    /// Commands that came while one was carried out. Each has somebody who waits for its answer.
    held: VecDeque<Command>,
    /// Who asked for a drain.
    drainers: Vec<Answer>,
    /// Cancelled when somebody has asked for a drain.
    pub(super) drain: CancellationToken,
}

impl Desk {
    pub(super) fn new(board: Board, inbox: mpsc::Receiver<Command>) -> Self {
        Self {
            board,
            inbox,
            held: VecDeque::new(),
            drainers: Vec::new(),
            drain: CancellationToken::new(),
        }
    }

    /// The next command that the desk cannot answer by itself: to pause, resume or seek. Cancellation
    /// safe.
    pub(super) async fn next(&mut self) -> Command {
        if let Some(command) = self.held.pop_front() {
            return command;
        }
        self.arrived().await
    }

    /// As [`next`](Self::next), but for those that are held. Cancellation safe.
    pub(super) async fn arrived(&mut self) -> Command {
        loop {
            match self.inbox.recv().await {
                Some(Command::Status(answer)) => {
                    // Who asked may have stopped waiting.
                    let _ = answer.send(Box::new(self.board.status()));
                }
                Some(Command::Drain(answer)) => {
                    self.drainers.push(answer);
                    self.drain.cancel();
                }
                Some(command) => return command,
                // Nobody has a handle any more.
                None => std::future::pending().await,
            }
        }
    }

    /// Waits for something while no session is at work that could be paused.
    pub(super) async fn serve_while<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                command = self.next() => self.refuse(command),
            }
        }
    }

    /// Waits for something while commands have to wait for their turn.
    pub(super) async fn hold_while<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                command = self.arrived() => self.held.push_back(command),
            }
        }
    }

    /// Puts a command off.
    pub(super) fn hold(&mut self, command: Command) {
        self.held.push_back(command);
    }

    pub(super) fn refuse(&self, command: Command) {
        let (verb, answer) = match command {
            Command::Pause(answer) => ("pause", answer),
            Command::Resume(answer) => ("resume", answer),
            Command::Seek(_, answer) => ("seek", answer),
            Command::Snapshot(_, answer) => ("snapshot", answer),
            Command::Swap(_, answer)
            | Command::Rollback(_, answer)
            | Command::Remove(_, answer) => {
                let state = self.board.state().as_str();
                let refused = format!("modules cannot be changed while the run is {state}");
                let _ = answer.send(Err(SwapError::Refused(refused)));
                return;
            }
            Command::Profile(_, _, answer) => {
                let verb = "profile";
                let state = self.board.state();
                let _ = answer.send(Err(CommandError::State { verb, state }.into()));
                return;
            }
            Command::Drain(_) | Command::Status(_) => return,
        };
        let state = self.board.state();
        let _ = answer.send(Err(CommandError::State { verb, state }));
    }

    /// Answers who asked for the end.
    pub(super) fn end(&mut self, saved: bool) {
        for answer in self.drainers.drain(..) {
            let _ = answer.send(Ok(self.board.reached(saved)));
        }
    }
}
