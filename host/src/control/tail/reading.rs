//! What is read directly beside the stream, at work.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
};

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::{Error, Giver, handle::Shared};
use crate::control::{
    self, Plan,
    direct::{Conductor, Horizon, Way, Wiring},
    session::StreamEnd,
    vitals::VitalsWatch,
};

/// The readers of a session. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    stop: CancellationToken,
    /// No reader is at work any more.
    ended: CancellationToken,
    /// Why they cannot go on; taken by who tells. The lock is held to put it there or to take it.
    failure: Arc<Mutex<Option<Error>>>,
}

impl Reading {
    /// Lets readers begin with what is not read yet.
    pub(super) fn start(shared: &Arc<Shared>, plan: &Plan, giver: &Giver) -> Self {
        let reading = Self {
            stop: shared.stop.child_token(),
            ended: CancellationToken::new(),
            failure: Arc::default(),
        };
        let window = shared.window();
        let wiring = Wiring {
            reads: &shared.reads,
            options: &shared.options.direct,
            plan,
            deployments: &shared.deployments,
            window: &window,
            ledger: None,
            bounds: &shared.bounds,
            share: None,
            stats: &Arc::new(control::Stats::default()),
            sources: &shared.stats,
            stop: &reading.stop,
            horizon: Horizon::Tail(window.clone(), VitalsWatch::start(&shared.server)),
        };
        let conductor = Conductor::new(wiring, || Way::Program(giver.clone()));
        let (shared, its) = (shared.clone(), reading.clone());
        tokio::spawn(async move {
            // Whatever happens, nobody waits for it in vain.
            let _ended = its.ended.clone().drop_guard();
            let ended = AssertUnwindSafe(conductor.run()).catch_unwind().await;
            let failure = match ended.unwrap_or(StreamEnd::Panicked) {
                StreamEnd::ReadFailed(error) => error.into(),
                StreamEnd::Panicked => Error::Panicked("a filter, or a reader,"),
                _ => return,
            };
            *its.failure.lock().expect("no holder of this lock panics") = Some(failure);
            shared.reads.give_up();
        });
        reading
    }

    /// Ends it; what is half read is left so. Cancellation safe.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        self.ended.cancelled().await;
    }

    /// Waits until no reader is at work any more, and tells why, if they could not go on. Cancellation
    /// safe.
    pub(super) async fn ended(&self) -> Result<(), Error> {
        self.ended.cancelled().await;
        let failure = self.failure.lock().expect("no holder panics").take();
        failure.map_or(Ok(()), Err)
    }

    /// Waits until it has come to an end before everything was read. Cancellation safe.
    pub(super) async fn broken_off(&self, shared: &Shared) {
        self.ended.cancelled().await;
        if !shared.reads.are_given_up() {
            std::future::pending::<()>().await;
        }
    }
}
