//! Instances that live for one op.

use std::mem;
use std::sync::Arc;

use super::error::GuestError;
use super::instance::Instance;
use super::module::Module;
use super::settings::Isolation;

/// What a fresh instance is made from.
pub(super) struct Renewal {
    sinks: Arc<[String]>,
    config: Option<Vec<u8>>,
    /// It has seen an op.
    is_used: bool,
}

impl Renewal {
    /// What it takes to renew instances of that module; none where they live as long as their lane.
    pub(super) fn of(
        module: &Module,
        sinks: &Arc<[String]>,
        config: Option<&[u8]>,
    ) -> Option<Box<Self>> {
        (module.settings().isolation == Isolation::Op).then(|| {
            Box::new(Self {
                sinks: sinks.clone(),
                config: config.map(<[u8]>::to_vec),
                is_used: false,
            })
        })
    }

    /// Notes that an op comes, and tells whether one came before.
    #[inline]
    pub(super) fn begin_op(&mut self) -> bool {
        mem::replace(&mut self.is_used, true)
    }
}

impl Instance {
    /// Puts a fresh instance in the place of this one, which keeps what it has counted. One that is
    /// dead stays so.
    pub(super) fn renew(&mut self) -> Result<(), GuestError> {
        let Some(renewal) = self.renewal.take().filter(|_| !self.is_dead()) else {
            return Ok(());
        };
        let config = renewal.config.as_deref();
        let made = Self::new(&self.caller.module, &renewal.sinks, config);
        match made {
            Ok(mut fresh) => {
                let old = self.caller.store.data_mut();
                let new = fresh.caller.store.data_mut();
                // Lines that it left open are said.
                old.stdio.take_tail(&old.log);
                new.counters.absorb(mem::take(&mut old.counters));
                let sampling = self.caller.set_sampling(None);
                *self = fresh;
                self.caller.set_sampling(sampling);
            }
            Err(error) => {
                self.caller.end();
                return Err(error);
            }
        }
        self.renewal = Some(renewal);
        Ok(())
    }
}
