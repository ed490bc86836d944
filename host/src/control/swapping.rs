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

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{
    Absent, Error, FailurePolicy, ModuleSpec, Origin, Plan, Rollout, RunState, Swap, SwapAnswer,
    SwapError, Swapped,
    begin::{self, Begin},
    ending::Commands,
    instances::States,
    orders::{Order, Served},
    shared::{Shared, Standing},
    supervisor::{AtWork, COMMAND_TIME, Next, Reply, Supervisor},
    versions::Versions,
};
use crate::{
    checkpoint::{self, VersionKey},
    flow::{Panicked, Word},
    guest::{Module, Settings},
};

/// How long lanes get to come to the end of the op that they are at, and of what they pass on.
const LANE_TIME: Duration = Duration::from_secs(10);

/// How long what was read may take to be finished before sources are opened again. What is left then is
/// read again.
const REOPEN_TIME: Duration = Duration::from_secs(10);

/// What is asked about modules, and what is being made ready.
#[derive(Debug, Default)]
pub(super) struct Swaps {
    waiting: VecDeque<Request>,
    loading: JoinSet<Loaded>,
}

#[derive(Debug)]
enum Request {
    Swap(Swap, SwapAnswer),
    Rollback(String, SwapAnswer),
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
struct Ready {
    plan: Arc<Plan>,
    /// The bytes of a version that comes from outside.
    wasm: Option<Arc<[u8]>>,
    /// An instance for each lane, where the lanes can switch by themselves.
    fresh: Option<Vec<Served>>,
    step: Step,
}

/// What a request does to the versions of its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing: the version works already.
    Stay,
    /// Another version, which may be what the file of the run holds now.
    Forward(Origin),
    Back,
    Add,
    Remove,
}

/// What a session that begins with other modules goes back to when it cannot.
pub(super) struct Reopening {
    module: String,
    step: Step,
    answer: SwapAnswer,
    before: (Arc<Plan>, Arc<[Arc<Standing>]>, Vec<Begin>),
}

impl Swaps {
    /// The next version that is ready, or cannot be made so. Cancellation safe.
    pub(super) async fn loaded(&mut self) -> Loaded {
        loop {
            match self.loading.join_next().await {
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

    /// The same with the version before.
    pub(super) fn load_before(&mut self, module: &str, answer: SwapAnswer) {
        let request = Request::Rollback(module.to_owned(), answer);
        self.swaps.waiting.push_back(request);
        self.load_next();
    }

    /// The same without the module.
    pub(super) fn load_without(&mut self, module: &str, answer: SwapAnswer) {
        let request = Request::Remove(module.to_owned(), answer);
        self.swaps.waiting.push_back(request);
        self.load_next();
    }

    fn load_next(&mut self) {
        while self.swaps.loading.is_empty()
            && let Some(request) = self.swaps.waiting.pop_front()
        {
            let (module, answer, making) = match request {
                Request::Swap(swap, answer) => {
                    let module = swap.module.clone();
                    (module, answer, self.making(swap))
                }
                Request::Rollback(module, answer) => {
                    let making = self.making_before(&module);
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

    fn making(&self, swap: Swap) -> Result<Making, SwapError> {
        if swap.rollout != Rollout::AtOnce {
            return Err(SwapError::Refused(
                "canaries and shadows are not there yet".into(),
            ));
        }
        let plan = self.assembly.plan.clone();
        let at = plan.find(&swap.module);
        if at.is_none() && swap.absent == Absent::Refuse {
            return Err(no_such(&plan, &swap.module));
        }
        Ok(Making {
            step: match at {
                Some(_) => Step::Forward(swap.origin),
                None => Step::Add,
            },
            what: What::Bytes(swap),
            at,
            plan,
            lanes: self.assembly.options.workers,
        })
    }

    fn making_before(&self, module: &str) -> Result<Making, SwapError> {
        let plan = self.assembly.plan.clone();
        let at = plan.find(module).ok_or_else(|| no_such(&plan, module))?;
        let before = self.assembly.standings[at].versions().before().cloned();
        let Some(before) = before else {
            let module = module.to_owned();
            return Err(SwapError::NoVersionBefore { module });
        };
        Ok(Making {
            step: Step::Back,
            what: What::Spec(before),
            at: Some(at),
            plan,
            lanes: self.assembly.options.workers,
        })
    }

    fn making_without(&self, module: &str) -> Result<Making, SwapError> {
        let plan = self.assembly.plan.clone();
        let at = plan.find(module).ok_or_else(|| no_such(&plan, module))?;
        if plan.modules.len() == 1 {
            let module = module.to_owned();
            return Err(SwapError::LastModule { module });
        }
        Ok(Making {
            step: Step::Remove,
            what: What::Nothing,
            at: Some(at),
            plan,
            lanes: self.assembly.options.workers,
        })
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
        if ready.step == Step::Stay {
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
            }));
            self.load_next();
            return Ok(None);
        }
        if let Err(error) = self.keep(&module, &ready).await {
            self.refuse_swap(&module, answer, error);
            return Ok(None);
        }
        let Some(fresh) = ready.fresh else {
            return self
                .reopen(at_work, module, answer, ready.plan, ready.step)
                .await;
        };
        match self.switch_lanes(at_work, &module, fresh).await {
            Ok(pause) => {
                self.assembly.plan = ready.plan;
                self.taken_over(&module, ready.step, false, pause, answer)
                    .await;
            }
            Err(error) => self.refuse_swap(&module, answer, error),
        }
        Ok(None)
    }

    /// Keeps the bytes of a version before it takes over: after a crash the ops that come again are to
    /// meet it.
    async fn keep(&mut self, module: &str, ready: &Ready) -> Result<(), SwapError> {
        let (Some(store), Some(wasm)) = (self.store.clone(), ready.wasm.clone()) else {
            return Ok(());
        };
        let Some(at) = ready.plan.find(module) else {
            return Ok(());
        };
        let key = VersionKey {
            name: self.assembly.options.name.clone(),
            module: module.to_owned(),
            digest: ready.plan.modules[at].module.digest().to_owned(),
        };
        let kept = timeout(
            COMMAND_TIME,
            async move { store.keep_version(&key, wasm).await },
        );
        let reason = match self.desk.hold_while(kept).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => checkpoint::chain(&error),
            Err(_) => "the store does not answer".to_owned(),
        };
        Err(SwapError::Refused(format!(
            "the version cannot be kept, and after a crash it would be missed: {reason}"
        )))
    }

    fn refuse_swap(&mut self, module: &str, answer: SwapAnswer, error: SwapError) {
        if let Some(standing) = self.standing(module) {
            standing.swaps.refused();
        }
        warn!(module, %error, "the modules stay as they are");
        let _ = answer.send(Err(error));
        self.load_next();
    }

    fn standing(&self, module: &str) -> Option<&Arc<Standing>> {
        let at = self.assembly.plan.find(module)?;
        self.assembly.standings.get(at)
    }

    /// Every lane switches, or none.
    async fn switch_lanes(
        &mut self,
        at_work: &AtWork,
        name: &str,
        fresh: Vec<Served>,
    ) -> Result<Duration, SwapError> {
        let Some(module) = self.assembly.plan.find(name) else {
            return Err(no_such(&self.assembly.plan, name));
        };
        let shared: &Shared = &at_work.shared;
        let swaps = self.assembly.standings[module].clone();
        let lanes = fresh.len();
        let mut answers = Vec::with_capacity(lanes);
        for (lane, fresh) in fresh.into_iter().enumerate() {
            let (answer, answered) = oneshot::channel();
            let fresh = Box::new(fresh);
            let order = Order::Switch {
                module,
                fresh,
                answer,
            };
            shared.orders.give(lane, order);
            answers.push(answered);
        }
        at_work.session.wake_lanes();
        let switched = async {
            let mut longest = Duration::ZERO;
            for answered in answers {
                match answered.await {
                    Ok(Ok(pause)) => {
                        swaps.swaps.paused(pause);
                        longest = longest.max(pause);
                    }
                    Ok(Err(failed)) => {
                        return Err(SwapError::Lane {
                            what: failed.what,
                            source: Arc::new(failed.source),
                        });
                    }
                    // The lane has ended.
                    Err(_) => return Err(SwapError::Ended),
                }
            }
            Ok(longest)
        };
        let asked_to_end = self.asked_to_end();
        let switched = async {
            tokio::select! {
                switched = timeout(LANE_TIME, switched) => switched
                    .unwrap_or(Err(SwapError::Late { waited: LANE_TIME })),
                () = asked_to_end => Err(SwapError::Ended),
            }
        };
        let switched = self.desk.hold_while(switched).await;
        let last = match &switched {
            Ok(_) => Order::Settle,
            // A lane that comes to it later does both.
            Err(_) => Order::Undo,
        };
        for lane in 0..lanes {
            shared.orders.give(lane, last(module));
        }
        at_work.session.wake_lanes();
        switched
    }

    /// Another version works: notes, saves and tells that.
    async fn taken_over(
        &mut self,
        name: &str,
        step: Step,
        reopened: bool,
        pause: Duration,
        answer: SwapAnswer,
    ) {
        let mut swapped = Swapped {
            module: name.to_owned(),
            from: None,
            to: None,
            trial: None,
            reopened,
            pause_us: u64::try_from(pause.as_micros()).unwrap_or(u64::MAX),
        };
        if let (Some(at), Some(standing)) = (self.assembly.plan.find(name), self.standing(name)) {
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
                Step::Back => versions.roll_back(),
                Step::Stay | Step::Add | Step::Remove => {}
            }
            let version = versions.version();
            drop(versions);
            match step {
                Step::Back => standing.swaps.rolled_back(version.generation),
                _ => standing.swaps.done(version.generation),
            }
            swapped.to = Some(version);
            // The failures of the version before are not its own.
            standing.breaker.half_open();
        }
        if let Some(saver) = &self.saver {
            let assembly = &self.assembly;
            let template = begin::template(&assembly.plan, assembly.options, &assembly.standings);
            saver.describe(template);
            // An op that comes again meets the version that it met.
            self.save(COMMAND_TIME).await;
        }
        let digest = |version: &Option<super::Version>| {
            version
                .as_ref()
                .map(|version| version.digest.chars().take(12).collect::<String>())
        };
        info!(
            module = name,
            from = digest(&swapped.from),
            to = digest(&swapped.to),
            reopened,
            ?pause,
            generation = swapped.to.as_ref().map(|version| version.generation),
            "modules are swapped"
        );
        let _ = answer.send(Ok(swapped));
        self.load_next();
    }

    /// Ends the session at a border, and lets another one begin there with these modules.
    async fn reopen(
        &mut self,
        at_work: &mut AtWork,
        module: String,
        answer: SwapAnswer,
        plan: Arc<Plan>,
        step: Step,
    ) -> Result<Option<Next>, Error> {
        let lanes = self.assembly.options.workers;
        *at_work.shared.handover() = Some(vec![States::new(); lanes]);
        let word = match self.desk.board.state() {
            RunState::Paused => Word::Closed,
            _ => Word::Open,
        };
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
        if self.shutdown.is_cancelled() || self.desk.drain.is_cancelled() {
            let _ = answer.send(Err(SwapError::Ended));
            return Ok(Some(Next::End));
        }
        self.states = at_work.shared.handover().take().unwrap_or_default();
        let frontiers = at_work.session.window.frontiers();
        let before = self.assembly.plan.clone();
        let begins = begin::go_on(&frontiers, (&before, &plan), self.assembly.options)?;
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

    /// The session with other modules is at work: answers who asked for it.
    pub(super) async fn reopened(&mut self, reopening: Reopening) {
        let Reopening {
            module,
            step,
            answer,
            ..
        } = reopening;
        self.taken_over(&module, step, true, Duration::ZERO, answer)
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

fn no_such(plan: &Plan, module: &str) -> SwapError {
    let known = plan.modules.iter().map(|spec| spec.module.name());
    SwapError::NoSuchModule {
        module: module.to_owned(),
        known: known.map(|name| format!("`{name}`")).collect(),
    }
}

/// What it takes to make a version ready. It may take as long as compiling does.
struct Making {
    step: Step,
    what: What,
    /// Which module.
    at: Option<usize>,
    plan: Arc<Plan>,
    lanes: usize,
}

enum What {
    Bytes(Swap),
    Spec(Arc<ModuleSpec>),
    Nothing,
}

impl Making {
    fn make(self) -> Result<Ready, SwapError> {
        let Self {
            step,
            what,
            at,
            plan,
            lanes,
        } = self;
        let present = at.map(|at| &plan.modules[at]);
        let wasm = match &what {
            What::Bytes(swap) => Some(swap.wasm.clone()),
            What::Spec(_) | What::Nothing => None,
        };
        let spec = match what {
            What::Bytes(swap) => Some(Arc::new(load(&plan, present, &swap)?)),
            What::Spec(spec) => Some(spec),
            What::Nothing => None,
        };
        let digest = |spec: &Arc<ModuleSpec>| spec.module.digest().to_owned();
        if spec.is_some() && spec.as_ref().map(digest) == present.map(digest) {
            return Ok(Ready {
                plan,
                wasm: None,
                fresh: None,
                step: Step::Stay,
            });
        }
        let mut modules = plan.modules.clone();
        match (at, &spec) {
            (Some(at), Some(spec)) => modules[at] = spec.clone(),
            (Some(at), None) => drop(modules.remove(at)),
            (None, Some(spec)) => modules.push(spec.clone()),
            (None, None) => {}
        }
        let refused = |error| SwapError::Plan(Arc::new(error));
        let next = plan.with_modules(modules).map_err(refused)?;
        let fresh = match (&spec, at) {
            (Some(spec), Some(_)) if next.streams == plan.streams => {
                let fresh = (0..lanes).map(|_| Served::fresh(spec, plan.sinks()));
                let fresh: Result<Vec<_>, _> = fresh.collect();
                Some(fresh.map_err(|source| SwapError::Lane {
                    what: "an instance for a lane cannot be made",
                    source: Arc::new(source),
                })?)
            }
            _ => None,
        };
        Ok(Ready {
            plan: Arc::new(next),
            wasm,
            fresh,
            step,
        })
    }
}

/// Checks and compiles a version; a module that is added is like the first one but for its settings.
fn load(
    plan: &Plan,
    present: Option<&Arc<ModuleSpec>>,
    swap: &Swap,
) -> Result<ModuleSpec, SwapError> {
    let refused = |error| SwapError::Load(Arc::new(error));
    if let Some(present) = present {
        return Ok(ModuleSpec {
            module: present.module.load_version(&swap.wasm).map_err(refused)?,
            config: present.config.clone(),
            policy: present.policy.clone(),
        });
    }
    let engine = plan.modules[0].module.engine();
    Ok(ModuleSpec {
        module: Module::load(engine, &swap.module, &swap.wasm, Settings::default())
            .map_err(refused)?,
        config: None,
        policy: FailurePolicy::default(),
    })
}
