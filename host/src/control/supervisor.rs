//! The one owner of a run's state: starts and ends sessions, carries out commands.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{
    Error, OnPositionLost, Reached, RunState,
    assembly::Assembly,
    begin::{self, Begin},
    desk::Desk,
    event::Event,
    handle::{Answer, Command},
    instances::States,
    lost::Lost,
    profiling::Profiles,
    reopening::Reopening,
    saver::Saver,
    session::{Session, StreamEnd},
    shards::ShardWatch,
    shared::Shared,
    swapping::Swaps,
};
use crate::{
    checkpoint::Store,
    flow::{Gate, Word},
};

/// How long a command waits for sinks and the store: it answers with what was reached until then.
pub(super) const COMMAND_TIME: Duration = Duration::from_secs(5);

/// How much of that a pause gives the lanes and sinks; the rest is for the store.
const REST_TIME: Duration = Duration::from_secs(4);

/// Runs sessions until one ends for good.
pub(super) struct Supervisor<'a> {
    pub(super) assembly: Assembly<'a>,
    pub(super) desk: &'a mut Desk,
    /// What the lanes of the session before have handed over, for the next one.
    pub(super) states: Vec<States>,
    pub(super) swaps: Swaps,
    pub(super) profiles: Profiles,
    /// Which shards come and go, where those of a cluster are read.
    pub(super) shards: Option<ShardWatch>,
    pub(super) saver: Option<Arc<Saver>>,
    pub(super) store: Option<Store>,
    pub(super) shutdown: &'a CancellationToken,
}

/// What follows a session.
pub(super) enum Next {
    /// Nothing.
    End,
    /// Another one, from there on; who asked for it is answered when it stands.
    Session(Vec<Begin>, Word, Option<Reply>),
}

/// What is said when a session stands that somebody has asked for.
pub(super) enum Reply {
    /// To who asked for the position.
    Position(Answer),
    /// To who asked for other modules.
    Swap(Box<Reopening>),
}

/// A session at work.
pub(super) struct AtWork {
    pub(super) session: Session,
    pub(super) shared: Arc<Shared>,
    pub(super) gate: Gate,
    /// Streams whose position is lost, and that go on elsewhere when the run is not paused.
    pub(super) lost: Vec<Lost>,
    /// Streams of deployments that leave, which have given all that was left.
    pub(super) left: Vec<usize>,
}

impl Supervisor<'_> {
    /// Works until the end, and tells why that came, and whether the last position is saved.
    pub(super) async fn run(&mut self, begins: Vec<Begin>) -> Result<(), Error> {
        let mut next = Next::Session(begins, Word::Open, None);
        while let Next::Session(begins, word, answer) = next {
            next = self.session(begins, word, answer).await?;
        }
        Ok(())
    }

    async fn session(
        &mut self,
        begins: Vec<Begin>,
        word: Word,
        reply: Option<Reply>,
    ) -> Result<Next, Error> {
        if !self.has_written_outputs().await {
            return Ok(Next::End);
        }
        let mut at_work = match (self.start(&begins, word), reply) {
            (Ok(at_work), Some(Reply::Position(answer))) => {
                // The position is a promise: a crash must not go back behind it.
                let saved = self.save(COMMAND_TIME).await;
                let _ = answer.send(Ok(self.desk.board.reached(saved)));
                at_work
            }
            (Ok(at_work), Some(Reply::Swap(reopening))) => {
                self.reopened(*reopening).await;
                at_work
            }
            (Err(error), Some(Reply::Swap(reopening))) => {
                let begins = self.go_back(*reopening, error);
                self.start(&begins, word)?
            }
            (started, _) => started?,
        };
        loop {
            match self.event(&mut at_work).await {
                Event::Shutdown => {
                    let grace_period = self.assembly.options.grace_period;
                    info!(?grace_period, "stopping: the lanes finish what they have");
                    return self.end(&mut at_work, Ok(())).await;
                }
                Event::Drain => {
                    // A pause ends where somebody asks to finish; not so one by a breaker.
                    if at_work.shared.open_breaker().is_none() {
                        at_work.gate.open();
                    }
                    return self.end(&mut at_work, Ok(())).await;
                }
                Event::LaneFailed | Event::Stream(StreamEnd::LaneEnded) => {
                    return self.end(&mut at_work, Ok(())).await;
                }
                Event::Over if !at_work.lost.is_empty() => return self.pass_over(at_work).await,
                Event::Over => return self.end(&mut at_work, Ok(())).await,
                Event::Stream(StreamEnd::Done) => {}
                Event::Stream(StreamEnd::Left { stream }) => {
                    if let Some(next) = self.stream_left(&mut at_work, stream).await? {
                        return Ok(next);
                    }
                }
                Event::Shards(change) => {
                    if let Some(next) = self.shards_changed(&mut at_work, change).await? {
                        return Ok(next);
                    }
                }
                Event::Stream(StreamEnd::Panicked) => {
                    let ended = Err(Error::Panicked("a stream"));
                    return self.end(&mut at_work, ended).await;
                }
                Event::Stream(StreamEnd::ReadFailed(error)) => {
                    return self.end(&mut at_work, Err(error)).await;
                }
                Event::Stream(StreamEnd::Failed { stream, error }) => {
                    let Some(lost) = Lost::of(stream, &error) else {
                        return self.end(&mut at_work, Err(error.into())).await;
                    };
                    self.record(&lost).await;
                    if self.assembly.options.on_position_lost == OnPositionLost::Fail {
                        let text = error.to_string();
                        self.desk.board.enter(RunState::PositionLost, Some(text));
                        return self.end(&mut at_work, Err(error.into())).await;
                    }
                    at_work.lost.push(lost);
                }
                Event::SinkEnded(error) => {
                    at_work.gate.throw();
                    return self.end(&mut at_work, Err(error)).await;
                }
                Event::SaverFailed => {
                    // What is handled from now on another process handles as well.
                    at_work.gate.throw();
                    return self.end(&mut at_work, Ok(())).await;
                }
                Event::BreakerOpened => {
                    self.breaker_opened(&at_work.shared);
                    self.look_at_probations();
                }
                Event::TrialOver => self.look_at_trials(&at_work),
                Event::Probation => self.look_at_probations(),
                Event::Command(Command::Pause(answer)) => self.pause(&at_work, answer),
                Event::Command(Command::Resume(answer)) => self.resume(&at_work.shared, answer),
                Event::Command(Command::Seek(to, answer)) => {
                    if let Some(next) = self.seek(&mut at_work, &to, answer).await? {
                        return Ok(next);
                    }
                }
                Event::Command(Command::Snapshot(namespace, answer)) => {
                    if let Some(next) = self.snapshot(&mut at_work, &namespace, answer).await? {
                        return Ok(next);
                    }
                }
                Event::Command(Command::Swap(swap, answer)) => self.load(swap, answer),
                Event::Command(Command::Rollback(module, answer)) => {
                    self.load_before(&module, answer);
                }
                Event::Command(Command::Remove(module, answer)) => {
                    self.load_without(&module, answer);
                }
                Event::Command(Command::Profile(module, time, answer)) => {
                    self.begin_profile(&at_work, module, time, answer);
                }
                Event::ProfileDue(due) => self.end_profile(&at_work, due),
                Event::Loaded(loaded) => {
                    if let Some(next) = self.apply(&mut at_work, loaded).await? {
                        return Ok(next);
                    }
                }
                Event::Command(Command::Drain(_) | Command::Status(_)) => {}
            }
        }
    }

    fn start(&mut self, begins: &[Begin], word: Word) -> Result<AtWork, Error> {
        // Those of the last session are read again, or passed over.
        for standing in self.assembly.standings.iter() {
            standing.stats.parked.store(0, Relaxed);
        }
        self.drop_trials();
        let gate = Gate::new(word);
        let (session, shared) = self.assembly.start(begins, &gate, &self.states)?;
        // A session that is read again from elsewhere begins anew.
        self.states.clear();
        if let Some(saver) = &self.saver {
            let Assembly {
                deployments,
                plan,
                options,
                standings,
                ..
            } = &self.assembly;
            let template = begin::template(deployments, plan, options, standings);
            saver.follow(session.window.clone(), template);
        }
        let board = &self.desk.board;
        board.show_session(session.window.clone(), shared.clone());
        match word {
            Word::Open => board.enter(RunState::Streaming, None),
            // The reason of a pause outlives a seek.
            Word::Closed | Word::Thrown => board.enter(RunState::Paused, board.reason()),
        }
        Ok(AtWork {
            session,
            shared,
            gate,
            lost: Vec::new(),
            left: Vec::new(),
        })
    }

    pub(super) fn breaker_opened(&self, shared: &Shared) {
        if shared.gate.is_open() {
            // Somebody has said `resume` since.
            return;
        }
        let open = shared.open_breaker();
        let reason = open.map(|(module, error)| {
            format!("the module `{module}` failed on one op after the other, last with: {error}")
        });
        error!(reason, "paused by a breaker; `oplet resume` goes on");
        self.desk.board.enter(RunState::Paused, reason);
    }

    /// Closes the gate at once; the answer follows when no op is under way and all is saved.
    fn pause(&self, at_work: &AtWork, answer: Answer) {
        at_work.gate.close();
        let board = self.desk.board.clone();
        if board.state() != RunState::Paused {
            board.enter(RunState::Paused, None);
        }
        let gate = at_work.gate.clone();
        let delivery = self.assembly.delivery.clone();
        let saver = self.saver.clone();
        tokio::spawn(async move {
            let end = Instant::now() + COMMAND_TIME;
            let rested = async {
                gate.at_rest().await;
                delivery.flush().await;
            };
            tokio::select! {
                _ = timeout(REST_TIME, rested) => {}
                // Somebody else has said `resume`, or the run ends.
                _ = gate.no_longer(Word::Closed) => {}
            }
            let saved = match saver {
                Some(saver) => timeout_at(end, saver.save_now()).await.unwrap_or(false),
                None => false,
            };
            let _ = answer.send(Ok(board.reached(saved)));
        });
    }

    pub(super) fn resume(&self, shared: &Shared, answer: Answer) {
        shared.half_open_breakers();
        shared.gate.open();
        let board = &self.desk.board;
        board.enter(RunState::Streaming, None);
        let _ = answer.send(Ok(board.reached(board.is_saved())));
    }

    /// Saves what is done, within that time; tells whether it is durable.
    pub(super) async fn save(&mut self, time: Duration) -> bool {
        let Some(saver) = self.saver.clone() else {
            return false;
        };
        let saved = timeout(time, async move { saver.save_now().await });
        self.desk.hold_while(saved).await.unwrap_or(false)
    }

    /// Waits until somebody asks for the end. Cancellation safe.
    pub(super) fn asked_to_end(&self) -> impl Future<Output = ()> + use<> {
        let (shutdown, drain) = (self.shutdown.clone(), self.desk.drain.clone());
        async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = drain.cancelled() => {}
            }
        }
    }
}

/// What an answer needs to know of the end.
pub(super) fn last_word(desk: &mut Desk) -> Reached {
    let saved = desk.board.is_saved();
    desk.board.enter(RunState::Stopped, None);
    desk.end(saved);
    desk.board.reached(saved)
}
