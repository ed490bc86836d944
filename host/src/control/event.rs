//! What happens while a session works, in the order in which it counts.

use std::time::Duration;

use super::{
    Error,
    delivery::Delivery,
    handle::Command,
    profiling::Due,
    session::StreamEnd,
    shards::Change,
    supervisor::{AtWork, Supervisor},
    swapping::{Loaded, Swaps},
};
use crate::flow::Word;

/// How often it is looked how versions do that took over lately.
const PROBATION_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether everything that was read is done, when nothing more is to be read.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What happened while a session worked.
pub(super) enum Event {
    Shutdown,
    Drain,
    LaneFailed,
    SaverFailed,
    SinkEnded(Error),
    BreakerOpened,
    Stream(StreamEnd),
    /// There is nothing more to do here.
    Over,
    Command(Command),
    /// A shard has joined, or left.
    Shards(Change),
    /// A version on trial has seen enough.
    TrialOver,
    /// It is time to look how versions do that took over lately.
    Probation,
    /// The time of a profile is over.
    ProfileDue(Due),
    /// Another version of a module is ready to take over, or cannot.
    Loaded(Loaded),
}

impl AtWork {
    /// What streams come to: the end of one, or of all, when everything is done. A paused run does not
    /// end by itself. Cancellation safe.
    async fn streams(&mut self, delivery: &Delivery) -> Event {
        if self.lost.is_empty()
            && let Some(end) = self.session.stream_ended().await
        {
            return Event::Stream(end);
        }
        self.gate.no_longer(Word::Closed).await;
        if !self.lost.is_empty() {
            return Event::Over;
        }
        // It can be paused for as long as there is something to do, also when nothing more is read.
        loop {
            delivery.flush().await;
            let is_done = self.session.window.in_flight().ops == 0;
            if is_done || self.session.has_lost_a_lane() {
                return Event::Over;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Supervisor<'_> {
    /// What happens next. An end goes before a command, and a command before what streams say.
    pub(super) async fn event(&mut self, at_work: &mut AtWork) -> Event {
        let saver_failed = async {
            match &self.saver {
                Some(saver) => saver.failed().await,
                None => std::future::pending().await,
            }
        };
        let drain = self.desk.drain.clone();
        let shared = at_work.shared.clone();
        let delivery = &self.assembly.delivery;
        let shards = &mut self.shards;
        let change = async {
            match shards {
                Some(shards) => shards.next().await,
                None => std::future::pending().await,
            }
        };
        let trial_over = self.swaps.trial_over.clone();
        let probation = async {
            match self.swaps.probations.is_empty() {
                true => std::future::pending().await,
                false => tokio::time::sleep(PROBATION_EVERY).await,
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Event::Shutdown,
            () = shared.failed.cancelled() => Event::LaneFailed,
            () = saver_failed => Event::SaverFailed,
            ended = delivery.ended() => Event::SinkEnded(ended.into()),
            () = drain.cancelled() => Event::Drain,
            () = trial_over.notified() => Event::TrialOver,
            () = probation => Event::Probation,
            loaded = Swaps::loaded(&mut self.swaps.loading) => Event::Loaded(loaded),
            due = self.profiles.due() => Event::ProfileDue(due),
            command = self.desk.next() => Event::Command(command),
            () = shared.breaker_opened.notified() => Event::BreakerOpened,
            change = change => Event::Shards(change),
            event = at_work.streams(delivery) => event,
        }
    }
}
