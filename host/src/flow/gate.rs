//! The word to stop between two ops, for a while or for good.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst},
};

use tokio::sync::watch;

/// A gate that every lane passes between two ops. It can be closed and opened, any number of times,
/// and thrown once: then what has not begun is left alone for good.
///
/// Looking at it costs next to nothing, so that a lane can do it between any two ops.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The same as `word`, for who only looks.
    state: AtomicU8,
    word: watch::Sender<Word>,
    /// How many lanes are at work.
    busy: AtomicUsize,
    /// Told whenever `busy` has come down to none.
    rest: watch::Sender<()>,
}

/// What the gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Go on.
    Open,
    /// Wait between two ops.
    Closed,
    /// Leave alone what has not begun.
    Thrown,
}

impl Word {
    const fn of(state: u8) -> Self {
        match state {
            0 => Self::Open,
            1 => Self::Closed,
            _ => Self::Thrown,
        }
    }
}

impl Gate {
    /// A gate that is open, or closed.
    #[must_use]
    pub fn new(word: Word) -> Self {
        Self(Arc::new(Inner {
            state: AtomicU8::new(word as u8),
            word: watch::Sender::new(word),
            busy: AtomicUsize::new(0),
            rest: watch::Sender::new(()),
        }))
    }

    /// What it says now.
    #[must_use]
    pub fn word(&self) -> Word {
        Word::of(self.0.state.load(SeqCst))
    }

    /// Whether lanes may go on: a look between two ops.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.word() == Word::Open
    }

    /// Whether it was thrown.
    #[must_use]
    pub fn is_thrown(&self) -> bool {
        self.word() == Word::Thrown
    }

    /// Closes it; does nothing when it was thrown.
    pub fn close(&self) {
        self.set(Word::Closed);
    }

    /// Opens it; does nothing when it was thrown.
    pub fn open(&self) {
        self.set(Word::Open);
    }

    /// Throws it, for good.
    pub fn throw(&self) {
        self.set(Word::Thrown);
    }

    fn set(&self, word: Word) {
        self.0.word.send_if_modified(|present| {
            if *present == Word::Thrown || *present == word {
                return false;
            }
            *present = word;
            self.0.state.store(word as u8, SeqCst);
            true
        });
    }

    /// Waits until it says something other than that. Cancellation safe.
    pub async fn no_longer(&self, word: Word) -> Word {
        let mut words = self.0.word.subscribe();
        let changed = words.wait_for(|present| *present != word).await;
        changed.map_or(Word::Thrown, |word| *word)
    }

    /// Waits until it is thrown. Cancellation safe.
    pub async fn thrown(&self) {
        // The sender lives as long as we do.
        let _ = self
            .0
            .word
            .subscribe()
            .wait_for(|word| *word == Word::Thrown)
            .await;
    }

    /// A lane begins to work; `None` when the gate is not open. Working ends when the pass is dropped.
    #[must_use]
    pub fn enter(&self) -> Option<Pass> {
        // First counted, then looked: who closes the gate and then counts misses nobody.
        self.0.busy.fetch_add(1, SeqCst);
        let pass = Pass(self.clone());
        self.is_open().then_some(pass)
    }

    /// Waits until no lane is at work. Only sure to come while the gate is not open. Cancellation
    /// safe.
    pub async fn at_rest(&self) {
        let mut rest = self.0.rest.subscribe();
        while self.0.busy.load(SeqCst) > 0 {
            if rest.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(Word::Open)
    }
}

/// A lane is at work.
#[derive(Debug)]
pub struct Pass(Gate);

impl Drop for Pass {
    fn drop(&mut self) {
        if self.0.0.busy.fetch_sub(1, SeqCst) == 1 {
            self.0.0.rest.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_gate_lets_nobody_in_and_waits_for_who_is_inside() {
        let gate = Gate::default();
        let pass = gate.enter().unwrap();
        gate.close();
        assert!(gate.enter().is_none());
        let waiter = tokio::spawn({
            let gate = gate.clone();
            async move { gate.at_rest().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(pass);
        waiter.await.unwrap();
        gate.open();
        assert!(gate.enter().is_some());
    }

    #[tokio::test]
    async fn a_thrown_gate_stays_thrown() {
        let gate = Gate::new(Word::Closed);
        gate.throw();
        gate.open();
        assert!(gate.is_thrown());
        gate.thrown().await;
        assert_eq!(gate.no_longer(Word::Closed).await, Word::Thrown);
    }
}
