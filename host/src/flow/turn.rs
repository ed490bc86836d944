//! A lane's leave to work.

use std::future::pending;

use tokio::runtime::Handle;

use super::{Gate, Pass, Word};

/// A lane's leave to work: its [`Pass`], taken when the [`Gate`] is open and given back for as long as
/// the lane waits for anything, so that a pause has to wait for none of that.
#[derive(Debug)]
pub struct Turn {
    gate: Gate,
    runtime: Handle,
    pass: Option<Pass>,
}

/// What came of waiting for the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// The lane may work.
    Yes,
    /// The gate was thrown: what has not begun is left alone.
    Never,
    /// Something else came first: the gate is closed.
    Interrupted,
}

impl Turn {
    /// The leave of one lane, which is at rest. The runtime is where it waits.
    #[must_use]
    pub fn new(gate: Gate, runtime: Handle) -> Self {
        Self {
            gate,
            runtime,
            pass: None,
        }
    }

    /// Whether the lane may work as it is: a look between two ops.
    #[must_use]
    pub fn may_go_on(&self) -> bool {
        self.pass.is_some() && self.gate.is_open()
    }

    /// Waits until the lane may work; `false` when the gate was thrown: what has not begun is left
    /// alone.
    #[must_use]
    pub fn begin(&mut self) -> bool {
        self.begin_unless(pending()) == Begun::Yes
    }

    /// As [`begin`](Self::begin), unless something else comes first while the gate is closed.
    #[must_use]
    pub fn begin_unless(&mut self, other: impl Future<Output = ()>) -> Begun {
        let mut other = std::pin::pin!(other);
        loop {
            if self.may_go_on() {
                return Begun::Yes;
            }
            self.pass = None;
            self.pass = self.gate.enter();
            if self.pass.is_some() {
                continue;
            }
            let word = self.runtime.block_on(async {
                tokio::select! {
                    biased;
                    word = self.gate.no_longer(Word::Closed) => Some(word),
                    () = &mut other => None,
                }
            });
            match word {
                Some(Word::Thrown) => return Begun::Never,
                Some(_) => {}
                None => return Begun::Interrupted,
            }
        }
    }

    /// The lane waits for work.
    pub fn rest(&mut self) {
        self.pass = None;
    }

    /// Rests until that has come; `None` when the gate was thrown first. What is there at once comes
    /// also from behind a thrown gate.
    pub fn wait<T>(&mut self, what: impl Future<Output = T>) -> Option<T> {
        self.rest();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                come = what => Some(come),
                () = self.gate.thrown() => None,
            }
        })
    }

    /// Rests until that has come; `None` when the gate was closed or thrown first: then it is given
    /// up.
    pub fn wait_while_open<T>(&mut self, what: impl Future<Output = T>) -> Option<T> {
        self.rest();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                // First: a lane that was left behind has no timers any more.
                _ = self.gate.no_longer(Word::Open) => None,
                come = what => Some(come),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{future, time::Duration};

    use tokio::{task::spawn_blocking, time::timeout};

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lane_that_waits_does_not_hold_up_a_pause() {
        let gate = Gate::default();
        let mut turn = Turn::new(gate.clone(), Handle::current());
        assert!(turn.begin() && turn.may_go_on());
        let lane = spawn_blocking(move || turn.wait(future::pending::<()>()));
        gate.close();
        timeout(LONG, gate.at_rest()).await.unwrap();
        assert!(!lane.is_finished());
        gate.throw();
        assert_eq!(timeout(LONG, lane).await.unwrap().unwrap(), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lane_goes_on_when_the_gate_is_opened_again() {
        let gate = Gate::new(Word::Closed);
        let mut turn = Turn::new(gate.clone(), Handle::current());
        let (tell, told) = tokio::sync::oneshot::channel();
        let lane = spawn_blocking(move || {
            let came = turn.wait_while_open(async { 1 });
            tell.send(()).unwrap();
            (came, turn.begin(), turn.may_go_on())
        });
        // A thread that comes later would find the gate open.
        timeout(LONG, told).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!lane.is_finished());
        gate.open();
        let (came, began, may) = timeout(LONG, lane).await.unwrap().unwrap();
        assert_eq!(came, None, "it was given up when the gate was closed");
        assert!(began && may);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_thrown_gate_lets_nobody_begin() {
        let gate = Gate::default();
        gate.throw();
        let mut turn = Turn::new(gate, Handle::current());
        let lane = spawn_blocking(move || {
            let at_once = turn.wait(async { 1 });
            (at_once, turn.wait(future::pending::<()>()), turn.begin())
        });
        assert_eq!(lane.await.unwrap(), (Some(1), None, false));
    }
}
