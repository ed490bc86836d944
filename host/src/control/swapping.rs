//! Other versions of modules take over while a run works.
//!
//! ```text
//! asked -> loaded aside: checked, compiled, asked for its pipeline, an instance made for each lane
//!       -> the same streams: each lane switches between two ops     -> all have: settled
//!                                                                   -> one could not: all undone
//!       -> other streams: the session ends at a batch border, and another one begins there
//! ```
//! Requests are carried out one after the other, so that each finds the modules as the one before
//! has left them.

use std::{collections::VecDeque, sync::Arc};

use tokio::{
    sync::{Notify, oneshot},
    task::JoinSet,
};
use tracing::{info, warn};

use super::{
    Error, ModuleSpec, Origin, Plan, Rollout, RunState, Swap, SwapAnswer, SwapError, Swapped,
    Version, begin,
    orders::Served,
    probation::Probation,
    shared::Standing,
    supervisor::{AtWork, COMMAND_TIME, Next, Supervisor},
    switching::Switched,
};
/// What is asked about modules, and what is being made ready.
#[derive(Debug, Default)]
pub(super) struct Swaps {
    waiting: VecDeque<Request>,
    pub(super) loading: JoinSet<Loaded>,
    /// Told when a trial has seen enough.
    pub(super) trial_over: Arc<Notify>,
    /// Versions that took over lately.
    pub(super) probations: Vec<Probation>,
    /// The version that worked of a module that is being removed.
    pub(super) removed: Option<Version>,
}

#[derive(Debug)]
enum Request {
    Swap(Swap, SwapAnswer),
    /// A version that has done well on trial.
    Promote(String, Arc<ModuleSpec>, SwapAnswer),
    Rollback {
        module: String,
        resumes: bool,
        answer: SwapAnswer,
    },
    Remove(String, SwapAnswer),
}

/// What came of making a version ready.
pub(super) struct Loaded {
    module: String,
    answer: SwapAnswer,
    ready: Result<Ready, SwapError>,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("module", &self.module)
            .finish_non_exhaustive()
    }
}

/// A version that is ready to take over.
pub(super) struct Ready {
    pub(super) plan: Arc<Plan>,
    /// The bytes of a version that comes from outside.
    pub(super) wasm: Option<Arc<[u8]>>,
    /// An instance for each lane, where the lanes can switch by themselves.
    pub(super) fresh: Option<Vec<Served>>,
    pub(super) step: Step,
    pub(super) rollout: Rollout,
}

/// What a request does to the versions of its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: the version works already.
    Stay,
    /// Another version, which may be what the file of the run holds now.
    Forward(Origin),
    Back {
        /// The run goes on then: a breaker has paused it for the version that is left.
        resumes: bool,
    },
    /// Nothing: the version that is tried is let go.
    EndTrial,
    Add,
    Remove,
}

impl Swaps {
    /// The next version that is ready, or cannot be made so. Cancellation safe.
    pub(super) async fn loaded(loading: &mut JoinSet<Loaded>) -> Loaded {
        loop {
            match loading.join_next().await {
                Some(Ok(loaded)) => return loaded,
                Some(Err(error)) => {
                    // Who asked has lost the answer, and is told that the run has ended.
                    tracing::error!(%error, "making a module ready has failed");
                }
                None => return std::future::pending().await,
            }
        }
    }
}

impl Supervisor<'_> {
    /// Makes a version ready, aside.
    pub(super) fn load(&mut self, swap: Swap, answer: SwapAnswer) {
        self.swaps.waiting.push_back(Request::Swap(swap, answer));
        self.load_next();
    }

    /// The same with a version that was on trial.
    pub(super) fn promote(&mut self, module: &str, spec: Arc<ModuleSpec>) {
        let (answer, _) = oneshot::channel();
        let request = Request::Promote(module.to_owned(), spec, answer);
        self.swaps.waiting.push_back(request);
        self.load_next();
    }

    /// The same with the version before, since the present one fails; the run goes on then, if that has
    /// paused it.
    pub(super) fn give_way(&mut self, module: &str, resumes: bool) {
        let tried = self.assembly.plan.find(module);
        if tried.is_some_and(|module| self.open_trial(module).is_some()) {
            // To go back is first to let go of what is tried.
            let (answer, _) = oneshot::channel();
            self.load_before(module, answer);
        }
        let (answer, _) = oneshot::channel();
        self.roll_back(module, resumes, answer);
    }

    /// The same with the version before.
    pub(super) fn load_before(&mut self, module: &str, answer: SwapAnswer) {
        self.roll_back(module, false, answer);
    }

    fn roll_back(&mut self, module: &str, resumes: bool, answer: SwapAnswer) {
        self.swaps.waiting.push_back(Request::Rollback {
            module: module.to_owned(),
            resumes,
            answer,
        });
        self.load_next();
    }

    /// The same without the module.
    pub(super) fn load_without(&mut self, module: &str, answer: SwapAnswer) {
        let request = Request::Remove(module.to_owned(), answer);
        self.swaps.waiting.push_back(request);
        self.load_next();
    }

    pub(super) fn load_next(&mut self) {
        while self.swaps.loading.is_empty()
            && let Some(request) = self.swaps.waiting.pop_front()
        {
            let (module, answer, making) = match request {
                Request::Swap(swap, answer) => {
                    let module = swap.module.clone();
                    (module, answer, self.making(swap))
                }
                Request::Promote(module, spec, answer) => {
                    let making = self.making_of(&module, spec);
                    (module, answer, making)
                }
                Request::Rollback {
                    module,
                    resumes,
                    answer,
                } => {
                    let making = self.making_before(&module, resumes);
                    (module, answer, making)
                }
                Request::Remove(module, answer) => {
                    let making = self.making_without(&module);
                    (module, answer, making)
                }
            };
            let making = match making {
                Ok(making) => making,
                Err(error) => {
                    let _ = answer.send(Err(error));
                    continue;
                }
            };
            self.swaps.loading.spawn_blocking(move || Loaded {
                module,
                answer,
                ready: making.make(),
            });
        }
    }

    /// Lets a version that is ready take over. A session that has to end for it is followed by another.
    pub(super) async fn apply(
        &mut self,
        at_work: &mut AtWork,
        loaded: Loaded,
    ) -> Result<Option<Next>, Error> {
        let Loaded {
            module,
            answer,
            ready,
        } = loaded;
        let ready = match ready {
            Ok(ready) => ready,
            Err(error) => {
                self.refuse_swap(&module, answer, error);
                return Ok(None);
            }
        };
        if ready.step == Step::EndTrial {
            self.end_trial(at_work, &module);
        }
        if matches!(ready.step, Step::Stay | Step::EndTrial) {
            let version = self
                .standing(&module)
                .map(|standing| standing.versions().version());
            let _ = answer.send(Ok(Swapped {
                module,
                from: version.clone(),
                to: version,
                trial: None,
                reopened: false,
                pause_us: 0,
                lanes_without_state: 0,
            }));
            self.load_next();
            return Ok(None);
        }
        if let Err(error) = self.keep(&module, &ready).await {
            self.refuse_swap(&module, answer, error);
            return Ok(None);
        }
        if ready.rollout != Rollout::AtOnce {
            self.begin_trial(at_work, module, answer, ready).await;
            return Ok(None);
        }
        let Some(fresh) = ready.fresh else {
            return self
                .reopen(at_work, module, answer, ready.plan, ready.step)
                .await;
        };
        match self.switch_lanes(at_work, &module, fresh, None).await {
            Ok(switched) => {
                self.assembly.plan = ready.plan;
                self.assembly.reads.take_pipelines(&self.assembly.plan);
                self.taken_over(&module, ready.step, false, switched, answer)
                    .await;
                if ready.step == (Step::Back { resumes: true }) {
                    at_work.gate.open();
                    self.desk.board.enter(RunState::Streaming, None);
                }
            }
            Err(error) => self.refuse_swap(&module, answer, error),
        }
        Ok(None)
    }

    pub(super) fn refuse_swap(&mut self, module: &str, answer: SwapAnswer, error: SwapError) {
        if let Some(standing) = self.standing(module) {
            standing.swaps.refused();
        }
        warn!(module, %error, "the modules stay as they are");
        let _ = answer.send(Err(error));
        self.load_next();
    }

    pub(super) fn standing(&self, module: &str) -> Option<&Arc<Standing>> {
        let at = self.assembly.plan.find(module)?;
        self.assembly.standings.get(at)
    }

    /// Another version works: notes, saves and tells that.
    pub(super) async fn taken_over(
        &mut self,
        name: &str,
        step: Step,
        reopened: bool,
        switched: Switched,
        answer: SwapAnswer,
    ) {
        let pause = switched.pause;
        let mut swapped = Swapped {
            module: name.to_owned(),
            from: self.swaps.removed.take(),
            to: None,
            trial: None,
            reopened,
            pause_us: switched.pause_us(),
            lanes_without_state: switched.lanes_without_state,
        };
        if let (Some(at), Some(standing)) =
            (self.assembly.plan.find(name), self.standing(name).cloned())
        {
            let spec = &self.assembly.plan.modules[at];
            let mut versions = standing.versions();
            if step != Step::Add {
                swapped.from = Some(versions.version());
            }
            match step {
                Step::Forward(origin) => {
                    versions.take_over(spec.clone());
                    if origin == Origin::File {
                        versions.is_given();
                    }
                }
                Step::Back { .. } => versions.roll_back(),
                Step::Stay | Step::EndTrial | Step::Add | Step::Remove => {}
            }
            let version = versions.version();
            drop(versions);
            match step {
                Step::Back { .. } => standing.swaps.rolled_back(version.generation),
                _ => standing.swaps.done(version.generation),
            }
            self.swaps.probations.retain(|other| other.module != name);
            if matches!(step, Step::Forward(_)) {
                let time = self.assembly.options.probation;
                let probation = Probation::begin(name, &standing, time);
                self.swaps.probations.push(probation);
            }
            swapped.to = Some(version);
            // The failures of the version before are not its own.
            standing.breaker.half_open();
        }
        if let Some(saver) = &self.saver {
            let assembly = &self.assembly;
            let (deployments, standings) = (&assembly.deployments, &assembly.standings);
            let template =
                begin::template(deployments, &assembly.plan, assembly.options, standings);
            saver.describe(template);
            // An op that comes again meets the version that it met.
            self.save(COMMAND_TIME).await;
        }
        let digest = |version: &Option<Version>| {
            version
                .as_ref()
                .map(|version| version.digest.chars().take(12).collect::<String>())
        };
        if swapped.lanes_without_state > 0 {
            warn!(
                module = name,
                lanes = swapped.lanes_without_state,
                "a version has taken over without the state of the one before, which had failed there"
            );
        }
        let grants = self.standing(name).and_then(|standing| {
            let versions = standing.versions();
            versions.present().module.settings().grants()
        });
        info!(
            module = name,
            from = digest(&swapped.from),
            to = digest(&swapped.to),
            reopened,
            ?pause,
            generation = swapped.to.as_ref().map(|version| version.generation),
            grants,
            "modules are swapped"
        );
        let _ = answer.send(Ok(swapped));
        self.load_next();
    }
}
