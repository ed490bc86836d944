//! Runs dead letters through a module again.
//!
//! Letters are taken in the order of their ops, and one that succeeds is removed: when its outputs
//! were accepted, or when the module's filter does not want its op any more. One that fails stays, with
//! its latest failure and one attempt more, and so do the later letters of the same document, since
//! their order must not change. What happened after these ops has been handled long ago: a handler
//! sees the op as it was then.

mod caller;
mod deliver;
mod pending;
mod state;
mod under_way;

use std::{sync::Arc, time::Duration};

use mongodb::Client;
use oplet_sdk::{abi::field, raw::Walk};
use tokio_util::sync::CancellationToken;

use self::caller::{Answer, Caller, Failed};
use super::{ModuleSpec, lookups::ServerLookups};
use crate::{
    dead_letters::{self, DeadLetter, Filter, Store, kind},
    guest::GuestError,
    op::DocumentKey,
    sink::Ended,
};

pub use deliver::RedriveSinks;
use deliver::{RedrivenOutput, Undelivered};
use state::State;
use under_way::UnderWay;

/// How long a delivery may go on when the redrive is asked to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Why a redrive ended early. What was done until then is settled, unless the store is the reason.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] dead_letters::Error),
    /// The module cannot be started.
    #[error("the module `{module}` cannot be started")]
    Module {
        /// The module's name.
        module: String,
        /// How it failed.
        source: GuestError,
    },
    /// The thread that calls the module cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The document of an update cannot be looked up.
    #[error("cannot look up a document in {namespace}")]
    Lookup {
        /// Where it was looked for.
        namespace: String,
        /// What the driver says.
        source: mongodb::error::Error,
    },
    /// A sink takes no more.
    #[error("the sink `{sink}` takes no more: {message}")]
    SinkEnded {
        /// Its name.
        sink: String,
        /// What it says.
        message: String,
        /// Nobody reads it any more: a normal end.
        is_closed: bool,
    },
}

impl From<Ended> for RedriveError {
    fn from(ended: Ended) -> Self {
        Self::SinkEnded {
            sink: ended.sink,
            message: ended.message,
            is_closed: ended.is_closed,
        }
    }
}

/// What became of the letters so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RedriveSummary {
    /// Letters that succeeded, and were removed.
    pub succeeded: u64,
    /// Of those, letters whose ops the module's filter does not want any more.
    pub unwanted: u64,
    /// Letters that failed again.
    pub failed: u64,
    /// Letters that were left alone, since an earlier one of their document failed.
    pub held_back: u64,
    /// Documents that were delivered.
    pub delivered: u64,
}

impl RedriveSummary {
    /// How many letters were seen.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.succeeded + self.failed + self.held_back
    }
}

/// What a redrive works with.
#[derive(Debug)]
pub struct Redrive<'a> {
    /// Where the letters are.
    pub store: &'a Store,
    /// Which of them are meant. Its module is the one that is given here, whatever it says.
    pub filter: Filter,
    /// The module as it is now, loaded under the name that the letters have.
    pub module: ModuleSpec,
    /// Where documents of updates are looked up that had not been yet; without one, such letters fail.
    pub client: Option<&'a Client>,
    /// Asks for an end, between two letters.
    pub shutdown: &'a CancellationToken,
}

/// What the module made of one letter.
enum Handled {
    Emitted(Vec<RedrivenOutput>),
    Unwanted,
    Failed(Failed),
    /// The redrive was asked to stop meanwhile.
    LeftAlone,
}

/// What one letter came to.
enum End {
    Delivered(u64),
    Unwanted,
    Failed(Failed),
}

impl Redrive<'_> {
    /// Runs the letters through the module, and tells of each step.
    ///
    /// The summary is also good when the redrive ended early.
    pub async fn run(
        mut self,
        sinks: &mut RedriveSinks,
        mut on_step: impl FnMut(&RedriveSummary),
    ) -> (RedriveSummary, Result<(), RedriveError>) {
        self.filter.module = Some(self.module.module.name().to_owned());
        let mut state = State::new(self.store);
        let done = self.run_all(sinks, &mut state, &mut on_step).await;
        let settled = state.settle().await;
        (state.summary, done.and(settled))
    }

    async fn run_all(
        &self,
        sinks: &mut RedriveSinks,
        state: &mut State<'_>,
        on_step: &mut impl FnMut(&RedriveSummary),
    ) -> Result<(), RedriveError> {
        let mut under_way = UnderWay::default();
        let done = self
            .run_letters(sinks, &mut under_way, state, on_step)
            .await;
        let finished = self.finish(sinks, &mut under_way, state).await;
        on_step(&state.summary);
        done.and(finished)
    }

    async fn run_letters(
        &self,
        sinks: &mut RedriveSinks,
        under_way: &mut UnderWay,
        state: &mut State<'_>,
        on_step: &mut impl FnMut(&RedriveSummary),
    ) -> Result<(), RedriveError> {
        let digest = self.module.module.digest();
        let names = sinks.names();
        let mut caller = Caller::start(self.module_at_work(), names.clone()).await?;
        let mut letters = self.store.list(self.filter.clone());
        let mut next = letters.next().await?;
        while let Some(first) = next.take() {
            // An op of which a sink refused several documents has a letter for each.
            let mut group = vec![first];
            next = loop {
                match letters.next().await? {
                    Some(letter) if is_same_call(&group[0], &letter) => group.push(letter),
                    other => break other,
                }
            };
            if self.shutdown.is_cancelled() {
                return Ok(());
            }
            let key = order_key(&group[0]);
            if under_way.is_due() || under_way.holds(&key) {
                self.finish(sinks, under_way, state).await?;
            }
            if state.is_due() {
                state.settle().await?;
            }
            on_step(&state.summary);
            if state.held_back.contains(&key) {
                state.summary.held_back += group.len() as u64;
                continue;
            }
            let handled = self.run_one(&mut caller, &names, &group[0]).await?;
            let outputs = match handled {
                Handled::Emitted(outputs) => outputs,
                Handled::Unwanted => {
                    state.note(group, End::Unwanted, digest);
                    continue;
                }
                Handled::Failed(failed) => {
                    state.note(group, End::Failed(failed), digest);
                    continue;
                }
                Handled::LeftAlone => return Ok(()),
            };
            match self.in_time(sinks.send(&group[0], digest, &outputs)).await {
                Some(Ok(sent)) => under_way.push(group, key, outputs.len(), sent),
                Some(Err(Undelivered::Refused { class, message })) => {
                    state.note(group, End::Failed(Failed::new(class, &message)), digest);
                }
                Some(Err(Undelivered::Ended(ended))) => return Err(ended.into()),
                None => {
                    // What is not known by now is not waited for once more.
                    under_way.note(sinks, state, digest);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The module, which looks up where the documents of updates are looked up.
    fn module_at_work(&self) -> ModuleSpec {
        let mut spec = self.module.clone();
        if let Some(client) = self.client {
            // A letter may be of another deployment, whose cluster times say nothing here.
            let lookups = ServerLookups::new(client.clone(), false);
            spec.module = spec.module.with_lookups(Arc::new(lookups));
        }
        spec
    }

    /// Waits for the letters that are under way, and notes what became of them.
    async fn finish(
        &self,
        sinks: &mut RedriveSinks,
        under_way: &mut UnderWay,
        state: &mut State<'_>,
    ) -> Result<(), RedriveError> {
        if under_way.is_empty() {
            return Ok(());
        }
        let is_cut_off = self.in_time(sinks.flush()).await.is_none();
        let unknown = under_way.note(sinks, state, self.module.module.digest());
        if unknown > 0 && !is_cut_off {
            // Neither accepted nor refused: somebody has given up.
            return Err(sinks.ended().await.into());
        }
        Ok(())
    }

    /// Waits for something, but not for long once the redrive is asked to stop.
    async fn in_time<T>(&self, done: impl Future<Output = T>) -> Option<T> {
        let too_long = async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            done = done => Some(done),
            () = too_long => None,
        }
    }

    async fn run_one(
        &self,
        caller: &mut Caller,
        sinks: &[String],
        letter: &DeadLetter,
    ) -> Result<Handled, RedriveError> {
        // What was gathered from several ops cannot be gathered again from one: it is delivered as
        // it was.
        let gathered = letter
            .rejected
            .as_ref()
            .filter(|rejected| rejected.is_flush);
        if let Some(rejected) = gathered {
            return Ok(match deliver::as_it_was(rejected, sinks) {
                Ok(output) => Handled::Emitted(vec![output]),
                Err(message) => Handled::Failed(Failed::new(kind::SINK, &message)),
            });
        }
        if letter.truncated {
            let message = "the op was too large to be kept whole";
            return Ok(Handled::Failed(Failed::new(&letter.kind, message)));
        }
        let mut op = letter.op.as_bytes().to_vec();
        let mut is_pending = pending::is_pending(&op);
        let mut ask_filter = true;
        loop {
            match caller.call(op.clone(), is_pending, ask_filter).await? {
                Answer::Unwanted => return Ok(Handled::Unwanted),
                Answer::Emitted(outputs) => return Ok(Handled::Emitted(outputs)),
                Answer::Failed(failed) => return Ok(Handled::Failed(failed)),
                Answer::NeedsDocument { ask_again } => {
                    let Some(client) = self.client else {
                        let message = "the document was not looked up yet, which takes a server: give its --uri";
                        return Ok(Handled::Failed(Failed::new(&letter.kind, message)));
                    };
                    op = pending::with_document(client, &letter.namespace, &op).await?;
                    (is_pending, ask_filter) = (false, ask_again);
                }
                Answer::Later(delay) => tokio::select! {
                    biased;
                    () = self.shutdown.cancelled() => return Ok(Handled::LeftAlone),
                    () = tokio::time::sleep(delay) => {}
                },
            }
        }
    }
}

/// Whether two letters stand for one call of `handle`.
fn is_same_call(first: &DeadLetter, letter: &DeadLetter) -> bool {
    let is_flush = |letter: &DeadLetter| {
        letter
            .rejected
            .as_ref()
            .is_some_and(|rejected| rejected.is_flush)
    };
    first.name == letter.name
        && first.op_id == letter.op_id
        && !is_flush(first)
        && !is_flush(letter)
}

/// Whose order must not change: the changes of one document, as one run saw them.
type OrderKey = (String, String, Option<DocumentKey>);

fn order_key(letter: &DeadLetter) -> OrderKey {
    let id = Walk::find(letter.op.as_bytes(), field::ID).ok().flatten();
    let key = id.map(|id| DocumentKey::new(id.kind, id.value));
    (letter.name.clone(), letter.namespace.clone(), key)
}
