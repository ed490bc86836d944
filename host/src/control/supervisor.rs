//! The one owner of a run's state: starts and ends sessions, carries out commands.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{
    CommandError, Error, OnPositionLost, Reached, RunState, ShownGap, ShownPosition,
    assembly::Assembly,
    begin::Begin,
    desk::Desk,
    handle::{Answer, Command},
    saver::Saver,
    session::{Session, StreamEnd},
    shared::Shared,
};
use crate::{
    checkpoint::{Gap, Store},
    flow::{Gate, Panicked, Word},
    op::{Position, Since, Timestamp},
    source::{self, Start, Window},
};

/// In the first part of the grace period the lanes finish what they have, and the sinks take it; in
/// the rest the lanes only finish the op that they are at.
const FINISH_SHARE: f64 = 0.8;

/// How long a command waits for sinks and the store: it answers with what was reached until then.
const COMMAND_TIME: Duration = Duration::from_secs(5);

/// How long the last save may take once the run was told to stop.
const LAST_SAVE_TIME: Duration = Duration::from_millis(700);

/// Runs sessions until one ends for good.
pub(super) struct Supervisor<'a> {
    pub(super) assembly: Assembly<'a>,
    pub(super) desk: &'a mut Desk,
    pub(super) saver: Option<Arc<Saver>>,
    pub(super) store: Option<Store>,
    pub(super) shutdown: &'a CancellationToken,
}

/// What follows a session.
enum Next {
    /// Nothing.
    End,
    /// Another one, from there on; who asked for it is answered when it stands.
    Session(Vec<Begin>, Word, Option<Answer>),
}

/// A session at work.
struct AtWork {
    session: Session,
    shared: Arc<Shared>,
    gate: Gate,
}

/// What happened while a session worked.
enum Event {
    Shutdown,
    Drain,
    LaneFailed,
    SaverFailed,
    SinkEnded(Error),
    BreakerOpened,
    Stream(Option<StreamEnd>),
    Command(Command),
}

impl Supervisor<'_> {
    /// Works until the end, and tells why that came, and whether the last position is saved.
    pub(super) async fn run(&mut self, begins: Vec<Begin>) -> Result<(), Error> {
        let mut next = Next::Session(begins, Word::Open, None);
        while let Next::Session(begins, word, answer) = next {
            next = self.session(&begins, word, answer).await?;
        }
        Ok(())
    }

    async fn session(
        &mut self,
        begins: &[Begin],
        word: Word,
        answer: Option<Answer>,
    ) -> Result<Next, Error> {
        let gate = Gate::new(word);
        let (session, shared) = self.assembly.start(begins, &gate)?;
        if let Some(saver) = &self.saver {
            saver.follow(session.window.clone());
        }
        let board = &self.desk.board;
        board.show_session(session.window.clone(), shared.clone());
        let state = match word {
            Word::Open => RunState::Streaming,
            Word::Closed | Word::Thrown => RunState::Paused,
        };
        board.enter(state, None);
        if let Some(answer) = answer {
            // The position is a promise: a crash must not go back behind it.
            let saved = self.save(COMMAND_TIME).await;
            let _ = answer.send(Ok(self.desk.board.reached(saved)));
        }
        let mut at_work = AtWork {
            session,
            shared,
            gate,
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
                Event::LaneFailed | Event::Stream(None) => {
                    return self.end(&mut at_work, Ok(())).await;
                }
                Event::Stream(Some(StreamEnd::Done)) => {}
                Event::Stream(Some(StreamEnd::Panicked)) => {
                    let ended = Err(Error::Panicked("a stream"));
                    return self.end(&mut at_work, ended).await;
                }
                Event::Stream(Some(StreamEnd::Failed { stream, error })) => {
                    return match error.is_position_lost() {
                        true => self.position_lost(&mut at_work, stream, error).await,
                        false => self.end(&mut at_work, Err(error.into())).await,
                    };
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
                Event::BreakerOpened => self.breaker_opened(&at_work),
                Event::Command(Command::Pause(answer)) => self.pause(&at_work, answer),
                Event::Command(Command::Resume(answer)) => self.resume(&at_work, answer),
                Event::Command(Command::Seek(to, answer)) => match self.seek_start(&to).await {
                    Ok(start) => return self.seek(&mut at_work, start, answer).await,
                    Err(error) => {
                        let _ = answer.send(Err(error));
                    }
                },
                Event::Command(Command::Drain(_) | Command::Status(_)) => {}
            }
        }
    }

    /// What happens next. An end goes before a command, and a command before what streams say.
    async fn event(&mut self, at_work: &mut AtWork) -> Event {
        let saver_failed = async {
            match &self.saver {
                Some(saver) => saver.failed().await,
                None => std::future::pending().await,
            }
        };
        let drain = self.desk.drain.clone();
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Event::Shutdown,
            () = at_work.shared.failed.cancelled() => Event::LaneFailed,
            () = saver_failed => Event::SaverFailed,
            ended = self.assembly.delivery.ended() => Event::SinkEnded(Error::SinkEnded {
                sink: ended.sink,
                message: ended.message,
                is_closed: ended.is_closed,
            }),
            () = drain.cancelled() => Event::Drain,
            command = self.desk.next() => Event::Command(command),
            () = at_work.shared.breaker_opened.notified() => Event::BreakerOpened,
            end = at_work.session.stream_ended() => Event::Stream(end),
        }
    }

    fn breaker_opened(&self, at_work: &AtWork) {
        let open = at_work.shared.open_breaker();
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
            let rested = async {
                gate.at_rest().await;
                delivery.flush().await;
            };
            tokio::select! {
                _ = tokio::time::timeout(COMMAND_TIME, rested) => {}
                // Somebody else has said `resume`, or the run ends.
                _ = gate.no_longer(Word::Closed) => {}
            }
            let saved = match saver {
                Some(saver) => save(&saver, COMMAND_TIME).await,
                None => false,
            };
            let _ = answer.send(Ok(board.reached(saved)));
        });
    }

    fn resume(&self, at_work: &AtWork, answer: Answer) {
        at_work.shared.half_open_breakers();
        at_work.gate.open();
        let board = &self.desk.board;
        board.enter(RunState::Streaming, None);
        let _ = answer.send(Ok(board.reached(board.is_saved())));
    }

    /// Where a seek leads to, if the history reaches so far.
    async fn seek_start(&mut self, to: &Since) -> Result<Start, CommandError> {
        let verb = "seek";
        let options = self.assembly.options;
        let server = self.assembly.server;
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
        let asked = tokio::time::timeout(COMMAND_TIME, asked);
        let (start, window) = match asked.await {
            Ok(Ok(answers)) => answers,
            Ok(Err(error)) => {
                let reason = error.to_string();
                return Err(CommandError::Failed { verb, reason });
            }
            Err(_) => {
                let reason = "the server does not answer".into();
                return Err(CommandError::Failed { verb, reason });
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

    /// Ends the session between two ops, and goes on elsewhere.
    async fn seek(
        &mut self,
        at_work: &mut AtWork,
        start: Start,
        answer: Answer,
    ) -> Result<Next, Error> {
        let word = match self.desk.board.state() {
            RunState::Paused => Word::Closed,
            _ => Word::Open,
        };
        // What was emitted arrives before what is read anew.
        at_work.gate.close();
        let delivery = self.assembly.delivery.clone();
        let gate = at_work.gate.clone();
        let rested = async {
            gate.at_rest().await;
            delivery.flush().await;
        };
        let _ = self
            .desk
            .serve_while(tokio::time::timeout(COMMAND_TIME, rested))
            .await;
        self.save(COMMAND_TIME).await;
        at_work.gate.throw();
        let finished = self.desk.serve_while(at_work.session.finish()).await;
        finished.map_err(|Panicked| Error::Panicked("a lane"))?;
        if let Some(failure) = at_work.shared.take_failure() {
            return Err(failure);
        }
        let begins = vec![Begin::at(start); self.assembly.plan.streams.len()];
        Ok(Next::Session(begins, word, Some(answer)))
    }

    /// Records the gap, shows it, and does what the policy says.
    async fn position_lost(
        &mut self,
        at_work: &mut AtWork,
        stream: usize,
        error: source::Error,
    ) -> Result<Next, Error> {
        let source::Error::PositionLost {
            position,
            oldest,
            reason,
        } = &error
        else {
            return self.end(at_work, Err(error.into())).await;
        };
        let policy = self.assembly.options.on_position_lost;
        let (from, to) = (position.clone(), *oldest);
        self.record_gap(stream, &from, to, reason, policy).await;
        if policy != OnPositionLost::Skip {
            let text = error.to_string();
            self.desk.board.enter(RunState::PositionLost, Some(text));
            return self.end(at_work, Err(error.into())).await;
        }
        // What was read before the gap is finished first.
        self.finish(at_work).await?;
        let frontiers = at_work.session.window.frontiers();
        let mut begins: Vec<_> = frontiers.into_iter().map(Begin::after).collect();
        let options = self.assembly.options;
        let (server, namespace) = (self.assembly.server, &options.oplog_namespace);
        let oldest = source::resolve(&Since::Oldest, options.source, server, namespace);
        begins[stream] = Begin::at(oldest.await?);
        Ok(Next::Session(begins, Word::Open, None))
    }

    async fn record_gap(
        &self,
        stream: usize,
        from: &Position,
        to: Option<Timestamp>,
        reason: &str,
        policy: OnPositionLost,
    ) {
        let options = self.assembly.options;
        let scope = &self.assembly.plan.streams[stream].scope;
        let namespaces: Vec<_> = scope.namespaces().iter().map(ToString::to_string).collect();
        self.desk.board.show_gap(ShownGap {
            from: ShownPosition::of(from),
            to: ShownPosition::of_time(to),
            namespaces: namespaces.clone(),
            reason: reason.to_owned(),
        });
        let oldest = to.map(|to| to.to_string());
        error!(name = options.name, %from, to = oldest, namespaces = namespaces.join(", "), reason,
            policy = policy.as_str(), "the position is lost: changes between these two were not seen");
        let Some(store) = &self.store else { return };
        let gap = Gap {
            name: options.name.clone(),
            source: options.source,
            from: from.clone(),
            to,
            namespaces,
            reason: reason.to_owned(),
            policy: policy.as_str().to_owned(),
            at_ms: bson::DateTime::now().timestamp_millis(),
        };
        let recorded = tokio::time::timeout(COMMAND_TIME, store.record_gap(&gap)).await;
        match recorded {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the gap cannot be recorded"),
            Err(_) => warn!("the gap cannot be recorded: the store does not answer"),
        }
    }

    /// Finishes what was read, unless the run is paused, and tells why the run ends.
    async fn end(&mut self, at_work: &mut AtWork, ended: Result<(), Error>) -> Result<Next, Error> {
        if at_work.gate.word() == Word::Closed {
            // Nothing is handled while it is paused; it is read again later.
            at_work.gate.throw();
        }
        if self.desk.board.state() != RunState::PositionLost {
            self.desk.board.enter(RunState::Draining, None);
        }
        let finished = self.finish(at_work).await;
        // The first failure explains what followed.
        if let Some(failure) = at_work.shared.take_failure() {
            return Err(failure);
        }
        ended.and(finished).map(|()| Next::End)
    }

    /// Lets the lanes finish what they have and the sinks take it. Once an end was asked for, they
    /// have the grace period for it.
    async fn finish(&mut self, at_work: &mut AtWork) -> Result<(), Error> {
        let AtWork { session, gate, .. } = at_work;
        let delivery = self.assembly.delivery.clone();
        let saver = self.saver.clone();
        let shutdown = self.shutdown;
        let grace_period = self.assembly.options.grace_period;
        let work = async {
            session.finish().await?;
            tokio::select! {
                () = delivery.flush() => {}
                // A sink that is at its end takes nothing more.
                _ = delivery.ended() => {}
            }
            Ok(())
        };
        let grace_is_over = async {
            shutdown.cancelled().await;
            tokio::time::sleep(grace_period.mul_f64(FINISH_SHARE)).await;
            warn!("the grace period is nearly over: ops that have not begun are left alone");
            gate.throw();
            tokio::time::sleep(grace_period.mul_f64(1.0 - FINISH_SHARE)).await;
            warn!("the grace period is over: what is not finished is left behind");
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
        let finished = self.desk.serve_while(finished).await;
        finished.map_err(|Panicked| Error::Panicked("a lane"))?;
        let time = match self.shutdown.is_cancelled() {
            true => LAST_SAVE_TIME,
            false => COMMAND_TIME,
        };
        self.save(time).await;
        Ok(())
    }

    /// Saves what is done, within that time; tells whether it is durable.
    pub(super) async fn save(&mut self, time: Duration) -> bool {
        match self.saver.clone() {
            Some(saver) => {
                self.desk
                    .serve_while(async move { save(&saver, time).await })
                    .await
            }
            None => false,
        }
    }
}

async fn save(saver: &Saver, time: Duration) -> bool {
    tokio::time::timeout(time, saver.save_now())
        .await
        .unwrap_or(false)
}

/// What an answer needs to know of the end.
pub(super) fn last_word(desk: &mut Desk) -> Reached {
    let saved = desk.board.is_saved();
    desk.board.enter(RunState::Stopped, None);
    desk.end(saved);
    desk.board.reached(saved)
}
