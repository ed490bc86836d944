//! A module that was checked, compiled and linked, ready to be instantiated.

use std::fmt;
use std::sync::Arc;

use oplet_sdk::abi::export;
use wasmtime::InstancePre;

use super::compiling::GivenUp;
use super::engine::Engine;
use super::error::{Error, GuestError};
use super::findings::Finding;
use super::inspect::Inspection;
use super::instance::Instance;
use super::limits::Limits;
use super::log::Log;
use super::lookup::{Lookups, NoLookups};
use super::runtime::Code;
use super::settings::Settings;
use super::state::State;
use super::warnings::Warning;

/// A loaded module. Cheap to clone; all clones share one compiled code, one budget of log lines and
/// one set of counters.
#[derive(Clone)]
pub struct Module {
    inner: Arc<Inner>,
    lookups: Arc<dyn Lookups>,
}

struct Inner {
    engine: Engine,
    name: Arc<str>,
    digest: Arc<str>,
    settings: Arc<Settings>,
    pre: InstancePre<State>,
    log: Arc<Log>,
    has_filter: bool,
    has_handle: bool,
    has_pipeline: bool,
    has_tick: bool,
    has_save: bool,
    has_restore: bool,
    warnings: Vec<Warning>,
}

impl Module {
    /// Checks the bytes against ABI and limits, compiles them, or takes the compiled form from the
    /// engine's cache, and links them. `name` is what logs and errors call the module; `settings`
    /// hold [as far as the engine can keep them](Limits::within). Runs nothing of the module.
    ///
    /// Compiling takes tens of milliseconds for a small module and seconds for a large one: it is
    /// nothing for a lane.
    ///
    /// # Errors
    /// [`Error::Refused`] with everything that is wrong with the module; [`Error::CompileTime`]. For the first module that
    /// asks for fuel or is deterministic also what [`Engine::new`] may fail with.
    pub fn load(
        engine: &Engine,
        name: &str,
        wasm: &[u8],
        settings: Settings,
    ) -> Result<Self, Error> {
        let limits = settings.limits.within(engine.limits());
        let settings = Settings { limits, ..settings };
        let name: Arc<str> = name.into();
        let log = Arc::new(Log::new(name.clone(), &settings.limits));
        Self::make(engine, name, wasm, Arc::new(settings), log)
    }

    /// Loads other bytes as the next version of this module: of the same name, under the same
    /// settings, by the same engine, with the same lookups, budget of log lines and counters.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_version(&self, wasm: &[u8]) -> Result<Self, Error> {
        let Inner {
            engine,
            name,
            settings,
            log,
            ..
        } = &*self.inner;
        let version = Self::make(engine, name.clone(), wasm, settings.clone(), log.clone())?;
        Ok(version.with_lookups(self.lookups.clone()))
    }

    fn make(
        engine: &Engine,
        name: Arc<str>,
        wasm: &[u8],
        settings: Arc<Settings>,
        log: Arc<Log>,
    ) -> Result<Self, Error> {
        let limits = &settings.limits;
        let runtime = engine.runtime(Code::of(&settings))?;
        let refused = |findings| Error::Refused {
            module: name.to_string(),
            findings,
        };
        let inspection = Inspection::scan(wasm, limits);
        if !inspection.findings.is_empty() {
            // What is refused anyway is not compiled, but an invalid body is told along.
            return Err(refused(Inspection::new(wasm, limits).findings));
        }
        let invalid = |error: wasmtime::Error| {
            // The validator's own words are shorter than the compiler's.
            let findings = Inspection::new(wasm, limits).findings;
            refused(if findings.is_empty() {
                vec![Finding::invalid(&format_args!("{error:#}"))]
            } else {
                findings
            })
        };
        let (compiler, bytes) = (runtime.wasmtime.clone(), Box::<[u8]>::from(wasm));
        let compiled = engine
            .compilers()
            .run(limits.compile_time, move || {
                wasmtime::Module::from_binary(&compiler, &bytes)
            })
            .map_err(|given_up| match given_up {
                GivenUp::TooLong => Error::CompileTime {
                    module: name.to_string(),
                    limit: limits.compile_time,
                },
                GivenUp::NoThread(error) => Error::Engine(error.into()),
            })?
            .map_err(invalid)?;
        let pre = runtime.linker.instantiate_pre(&compiled).map_err(invalid)?;

        Ok(Self {
            inner: Arc::new(Inner {
                engine: engine.clone(),
                digest: inspection.sha256.as_str().into(),
                pre,
                log,
                name,
                has_filter: inspection.has_export(export::FILTER),
                has_handle: inspection.has_export(export::HANDLE),
                has_pipeline: inspection.has_export(export::PIPELINE),
                has_tick: inspection.has_export(export::TICK),
                has_save: inspection.has_export(export::SAVE),
                has_restore: inspection.has_export(export::RESTORE),
                settings,
                warnings: inspection.warnings,
            }),
            lookups: Arc::new(NoLookups),
        })
    }

    /// Makes an instance: start section, `_initialize` and `oplet_configure` have run when it is
    /// there, each under the limits. `sinks` are the names that the guest can ask for, sink 0 first.
    /// `config` is a BSON document; without one, a module that can be configured gets an empty one.
    ///
    /// # Errors
    /// [`Class::Refused`](super::Class::Refused) when the module refuses its configuration, or was
    /// given one that is not empty and takes none;
    /// [`Class::Instantiation`](super::Class::Instantiation) when the pool is used up; any other
    /// class as the guest fails.
    pub fn instantiate(
        &self,
        sinks: &Arc<[String]>,
        config: Option<&[u8]>,
    ) -> Result<Instance, GuestError> {
        Instance::new(self, sinks, config)
    }

    /// The same module, whose instances look up documents there. Without this they look up
    /// [nothing](NoLookups).
    #[must_use]
    pub fn with_lookups(mut self, lookups: Arc<dyn Lookups>) -> Self {
        self.lookups = lookups;
        self
    }

    /// The name that it was loaded under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// SHA-256 digest of its bytes, in hex: its version.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    /// Whether it exports `filter`; without one it wants every op.
    #[must_use]
    pub fn has_filter(&self) -> bool {
        self.inner.has_filter
    }

    /// Whether it exports `handle`; without one it passes on what its filter keeps.
    #[must_use]
    pub fn has_handle(&self) -> bool {
        self.inner.has_handle
    }

    /// Whether it exports `pipeline`.
    #[must_use]
    pub fn has_pipeline(&self) -> bool {
        self.inner.has_pipeline
    }

    /// Whether it exports `oplet_tick`.
    #[must_use]
    pub fn has_tick(&self) -> bool {
        self.inner.has_tick
    }

    /// Whether it exports `oplet_save`: it has state to hand over to the next version.
    #[must_use]
    pub fn has_save(&self) -> bool {
        self.inner.has_save
    }

    /// Whether it exports `oplet_restore`: it can go on with the state of the version before.
    #[must_use]
    pub fn has_restore(&self) -> bool {
        self.inner.has_restore
    }

    /// What it is held to and granted; the limits are those that hold.
    #[must_use]
    pub fn settings(&self) -> &Arc<Settings> {
        &self.inner.settings
    }

    /// What could be better about it, as in [`Inspection::warnings`].
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.inner.warnings
    }

    /// Log lines of its instances that were over the limit and left out, since it was loaded.
    #[must_use]
    pub fn log_lines_suppressed(&self) -> u64 {
        self.inner.log.suppressed()
    }

    /// The engine that it was compiled by.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(super) fn lookups(&self) -> &Arc<dyn Lookups> {
        &self.lookups
    }

    pub(super) fn instance_pre(&self) -> &InstancePre<State> {
        &self.inner.pre
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.inner.settings.limits
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        &self.inner.log
    }

    pub(super) fn shared_name(&self) -> &Arc<str> {
        &self.inner.name
    }

    pub(super) fn shared_digest(&self) -> &Arc<str> {
        &self.inner.digest
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("name", &self.inner.name)
            .field("digest", &self.inner.digest)
            .finish_non_exhaustive()
    }
}
