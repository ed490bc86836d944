//! The versions of modules that a run goes on with after a restart.

use std::sync::Arc;

use tracing::{error, info, warn};

use super::{Error, ModuleSpec, Plan, shared::Standing, versions::Versions};
use crate::checkpoint::{Checkpoint, ModuleRef, Store, VersionKey};

/// What a run begins with.
pub(super) struct Restored {
    pub(super) plan: Arc<Plan>,
    pub(super) standings: Arc<[Arc<Standing>]>,
}

impl Restored {
    /// The modules as they were given.
    pub(super) fn as_given(plan: Arc<Plan>) -> Self {
        let standings = plan.modules.iter().map(|spec| {
            let versions = Versions::begin(spec.clone(), 1);
            Arc::new(Standing::new(&spec.policy, versions))
        });
        Self {
            standings: standings.collect(),
            plan,
        }
    }

    /// The modules as they worked last: an op that comes again meets the version that it met. Where
    /// another file is given than then, that one counts.
    ///
    /// # Errors
    /// When the store does not answer, or a module cannot be asked for its pipeline.
    pub(super) async fn after(
        plan: Arc<Plan>,
        store: &Store,
        saved: &Checkpoint,
    ) -> Result<Self, Error> {
        let mut modules = Vec::new();
        let mut standings = Vec::new();
        for spec in &plan.modules {
            let mut worked = saved.modules.iter();
            let worked = worked.find(|module| module.name == spec.module.name());
            let versions = match worked {
                Some(worked) => after(spec, worked, store, &saved.name).await?,
                None => Versions::begin(spec.clone(), 1),
            };
            modules.push(versions.present().clone());
            standings.push(Arc::new(Standing::new(&spec.policy, versions)));
        }
        let is_given = |(spec, given): (&Arc<ModuleSpec>, _)| Arc::ptr_eq(spec, given);
        let plan = match modules.iter().zip(&plan.modules).all(is_given) {
            true => plan,
            false => {
                let asked = tokio::task::spawn_blocking(move || plan.with_modules(modules)).await;
                let asked = asked.map_err(|_| Error::Panicked("a module"))?;
                Arc::new(asked.map_err(Error::Plan)?)
            }
        };
        Ok(Self {
            plan,
            standings: standings.into(),
        })
    }
}

async fn after(
    given: &Arc<ModuleSpec>,
    worked: &ModuleRef,
    store: &Store,
    name: &str,
) -> Result<Versions, Error> {
    let module = given.module.name();
    let generation = worked.generation;
    if worked.given != given.module.digest() || worked.digest == worked.given {
        let is_new = worked.digest != given.module.digest();
        if is_new {
            info!(
                module,
                digest = short(given.module.digest()),
                "another version is given than worked last"
            );
        }
        return Ok(Versions::begin(
            given.clone(),
            generation + u64::from(is_new),
        ));
    }
    let key = VersionKey {
        name: name.to_owned(),
        module: module.to_owned(),
        digest: worked.digest.clone(),
    };
    let Some(wasm) = store.version(&key).await? else {
        warn!(
            module,
            digest = short(&worked.digest),
            "the version that worked last is not kept any more; going on with the one that is given"
        );
        return Ok(Versions::begin(given.clone(), generation + 1));
    };
    let base = given.clone();
    let loaded = tokio::task::spawn_blocking(move || base.module.load_version(&wasm)).await;
    match loaded.map_err(|_| Error::Panicked("a module"))? {
        Ok(loaded) => {
            info!(
                module,
                digest = short(&worked.digest),
                generation,
                "going on with the version that worked last"
            );
            let spec = ModuleSpec {
                module: loaded,
                ..ModuleSpec::clone(given)
            };
            Ok(Versions::restored(
                given.clone(),
                Arc::new(spec),
                generation,
            ))
        }
        Err(reason) => {
            error!(module, digest = short(&worked.digest), error = %reason,
                "the version that worked last cannot be loaded; going on with the one that is given");
            Ok(Versions::begin(given.clone(), generation + 1))
        }
    }
}

/// The first digits of a digest.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
