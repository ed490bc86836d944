//! Versions are made ready, aside: checked, compiled, asked for their pipeline, and given an instance for
//! each lane.

use std::sync::Arc;

use super::{
    Absent, Canary, FailurePolicy, ModuleSpec, Origin, Plan, Rollout, Shadow, Swap, SwapError,
    orders::Served,
    supervisor::Supervisor,
    swapping::{Ready, Step},
};
use crate::guest::{Module, Settings};

impl Supervisor<'_> {
    pub(super) fn making(&self, swap: Swap) -> Result<Making, SwapError> {
        check(swap.rollout)?;
        let plan = self.assembly.plan.clone();
        let at = plan.find(&swap.module);
        if at.is_some_and(|at| self.open_trial(at).is_some()) {
            let refused = format!(
                "another version of `{}` is on trial: let it end, or roll it back",
                swap.module
            );
            return Err(SwapError::Refused(refused));
        }
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

    pub(super) fn making_before(&self, module: &str, resumes: bool) -> Result<Making, SwapError> {
        let plan = self.assembly.plan.clone();
        let at = plan.find(module).ok_or_else(|| no_such(&plan, module))?;
        if let Some(trial) = self.open_trial(at) {
            return Ok(Making {
                step: Step::EndTrial,
                what: What::Spec(trial.spec.clone()),
                at: Some(at),
                plan,
                lanes: 0,
            });
        }
        let before = self.assembly.standings[at].versions().before().cloned();
        let Some(before) = before else {
            let module = module.to_owned();
            return Err(SwapError::NoVersionBefore { module });
        };
        Ok(Making {
            step: Step::Back { resumes },
            what: What::Spec(before),
            at: Some(at),
            plan,
            lanes: self.assembly.options.workers,
        })
    }

    /// A version that was made ready before.
    pub(super) fn making_of(
        &self,
        module: &str,
        spec: Arc<ModuleSpec>,
    ) -> Result<Making, SwapError> {
        let plan = self.assembly.plan.clone();
        let at = plan.find(module).ok_or_else(|| no_such(&plan, module))?;
        Ok(Making {
            step: Step::Forward(Origin::Request),
            what: What::Spec(spec),
            at: Some(at),
            plan,
            lanes: self.assembly.options.workers,
        })
    }

    pub(super) fn making_without(&self, module: &str) -> Result<Making, SwapError> {
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
}

pub(super) fn no_such(plan: &Plan, module: &str) -> SwapError {
    SwapError::NoSuchModule {
        module: module.to_owned(),
        known: plan.names(),
    }
}

fn check(rollout: Rollout) -> Result<(), SwapError> {
    let refused = match rollout {
        Rollout::Canary(canary) if !(canary.share > 0.0 && canary.share <= 1.0) => {
            "the share of a canary is above 0 and at most 1"
        }
        Rollout::Canary(Canary { ops: 0, .. }) | Rollout::Shadow(Shadow { ops: 0 }) => {
            "a version is tried with one op at least"
        }
        _ => return Ok(()),
    };
    Err(SwapError::Refused(refused.to_owned()))
}

/// What it takes to make a version ready. It may take as long as compiling does.
pub(super) struct Making {
    step: Step,
    what: What,
    /// Which module.
    at: Option<usize>,
    plan: Arc<Plan>,
    lanes: usize,
}

pub(super) enum What {
    Bytes(Swap),
    Spec(Arc<ModuleSpec>),
    Nothing,
}

impl Making {
    pub(super) fn make(self) -> Result<Ready, SwapError> {
        let Self {
            step,
            what,
            at,
            plan,
            lanes,
        } = self;
        let present = at.map(|at| &plan.modules[at]);
        let (wasm, rollout) = match &what {
            What::Bytes(swap) => (Some(swap.wasm.clone()), swap.rollout),
            What::Spec(_) | What::Nothing => (None, Rollout::AtOnce),
        };
        if step == Step::EndTrial {
            return Ok(Ready {
                plan,
                wasm: None,
                fresh: None,
                step,
                rollout,
            });
        }
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
                rollout: Rollout::AtOnce,
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
            (Some(spec), Some(_)) if next.is_wired_as(&plan) => {
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
            rollout,
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
