//! Sources are opened again for other modules, at the same position.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::warn;

use super::{
    Error, Plan, RunState, SwapAnswer, SwapError,
    assembly::Assembly,
    begin::{self, Begin},
    ending::Commands,
    instances::States,
    shared::Standing,
    supervisor::{AtWork, Next, Reply, Supervisor},
    swapping::Step,
    switching::Switched,
    versions::Versions,
};
use crate::flow::{Panicked, Word};

/// How long what was read may take to be finished before sources are opened again. What is left then is
/// read again.
const REOPEN_TIME: Duration = Duration::from_secs(10);

/// What a session that begins with other modules goes back to when it cannot.
pub(super) struct Reopening {
    module: String,
    step: Step,
    answer: SwapAnswer,
    before: (Arc<Plan>, Arc<[Arc<Standing>]>, Vec<Begin>),
}

impl Supervisor<'_> {
    /// Ends the session at a border, and lets another one begin there with these modules.
    pub(super) async fn reopen(
        &mut self,
        at_work: &mut AtWork,
        module: String,
        answer: SwapAnswer,
        plan: Arc<Plan>,
        step: Step,
    ) -> Result<Option<Next>, Error> {
        let mut word = self.close(at_work).await?;
        if step == (Step::Back { resumes: true }) {
            word = Word::Open;
        }
        if self.shutdown.is_cancelled() || self.desk.drain.is_cancelled() {
            let _ = answer.send(Err(SwapError::Ended));
            return Ok(Some(Next::End));
        }
        let frontiers = at_work.session.window.frontiers();
        let before = self.assembly.plan.clone();
        let Assembly {
            deployments,
            options,
            ..
        } = &self.assembly;
        let begins = begin::go_on(&frontiers, deployments, (&before, &plan), options)?;
        self.swaps.removed = match step {
            Step::Remove => self
                .standing(&module)
                .map(|standing| standing.versions().version()),
            _ => None,
        };
        let standings = plan.modules.iter().map(|spec| {
            let present = self.standing(spec.module.name()).cloned();
            present.unwrap_or_else(|| {
                let versions = Versions::begin(spec.clone(), 1);
                Arc::new(Standing::new(&spec.policy, versions))
            })
        });
        let standings = standings.collect();
        let reopening = Reopening {
            module,
            step,
            answer,
            before: (
                std::mem::replace(&mut self.assembly.plan, plan),
                std::mem::replace(&mut self.assembly.standings, standings),
                frontiers.into_iter().map(Begin::after).collect(),
            ),
        };
        Ok(Some(Next::Session(
            begins,
            word,
            Some(Reply::Swap(Box::new(reopening))),
        )))
    }

    /// Ends the session at a border, for another one to go on with the states that are handed over, and
    /// behind such a gate.
    pub(super) async fn close(&mut self, at_work: &mut AtWork) -> Result<Word, Error> {
        let lanes = self.assembly.options.workers;
        *at_work.shared.handover() = Some(vec![States::new(); lanes]);
        let is_paused = self.desk.board.state() == RunState::Paused;
        let word = if is_paused { Word::Closed } else { Word::Open };
        match word {
            Word::Open => {
                let gate = at_work.gate.clone();
                let impatience = tokio::spawn(async move {
                    sleep(REOPEN_TIME).await;
                    warn!("what was read is not finished in time: the rest is read again");
                    gate.throw();
                });
                let finished = self.finish(at_work, Commands::Wait).await;
                impatience.abort();
                finished?;
            }
            Word::Closed | Word::Thrown => {
                // What has not begun is read again.
                at_work.gate.throw();
                let finished = self.desk.hold_while(at_work.session.finish()).await;
                finished.map_err(|Panicked| Error::Panicked("a lane"))?;
            }
        }
        self.check_failure(at_work).await?;
        self.states = at_work.shared.handover().take().unwrap_or_default();
        Ok(word)
    }

    /// The session with other modules is at work: answers who asked for it.
    pub(super) async fn reopened(&mut self, reopening: Reopening) {
        let Reopening {
            module,
            step,
            answer,
            ..
        } = reopening;
        self.taken_over(&module, step, true, Switched::default(), answer)
            .await;
    }

    /// The session with other modules could not begin: the modules are those before, and begin where
    /// they ended.
    pub(super) fn go_back(&mut self, reopening: Reopening, error: Error) -> Vec<Begin> {
        let Reopening {
            module,
            answer,
            before: (plan, standings, begins),
            ..
        } = reopening;
        self.assembly.plan = plan;
        self.assembly.standings = standings;
        let error = match error {
            Error::Start(source) => SwapError::Lane {
                what: "the modules cannot begin",
                source: Arc::new(source),
            },
            other => SwapError::Refused(other.to_string()),
        };
        self.refuse_swap(&module, answer, error);
        begins
    }
}
