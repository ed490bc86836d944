//! The engine: what compiles modules and stops the calls that take too long.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wasmparser::WasmFeatures;
use wasmtime::{
    Cache, CacheConfig, Config, Enabled, EngineWeak, InstanceAllocationStrategy, Linker,
    ModuleVersionStrategy, OptLevel, PoolingAllocationConfig, WasmBacktraceDetails,
};

use super::error::Error;
use super::limits::{Limits, MEMORIES};
use super::state::State;
use super::{cache_directory, host_calls, wasi};

/// Time between two epoch ticks. A deadline is late by at most two of them; a tick costs the hot
/// path nothing but a cache line that is read again.
const TICK: Duration = Duration::from_millis(5);

/// Frames kept of a trap. Capturing them is the larger part of what a trap costs.
const BACKTRACE_FRAMES_MAX: usize = 32;

/// Memory of a pool slot that stays resident when an instance is dropped, in bytes. With
/// `pagemap_scan` only the pages that were touched are reset.
const KEEP_RESIDENT_BYTES: usize = 2 << 20;

/// The proposals that modules may use: what compilers emit today. Left out, as surface without use:
/// threads, memory64, multi-memory, relaxed SIMD, GC and its types, exceptions, components, stack
/// switching.
pub(super) const FEATURES: WasmFeatures = WasmFeatures::FLOATS
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST);

/// How an [`Engine`] is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where compiled modules are kept; without one each start compiles. The directory is made when
    /// it is missing, for its owner alone, and refused when others can write to it: what lies there
    /// is run as native code.
    pub cache_directory: Option<PathBuf>,
    /// What its modules may have at most, see [`Limits::within`].
    pub limits: Limits,
    /// Instances that may live at the same time, over all modules: lanes by modules, twice during a
    /// swap, and some to spare.
    pub instances_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_directory: None,
            limits: Limits::default(),
            instances_max: 64,
        }
    }
}

/// Compiles modules, and interrupts calls at their deadline. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    wasmtime: wasmtime::Engine,
    linker: Linker<State>,
    limits: Limits,
    cache: Option<Cache>,
    pooled: bool,
}

impl Engine {
    /// Sets up an engine and starts its ticker thread, which ends by itself when the engine and all
    /// its modules are gone.
    ///
    /// # Errors
    /// [`Error::CacheDirectory`] and [`Error::CacheDirectoryOpen`] for a directory that cannot be
    /// used or trusted; [`Error::Engine`] when wasmtime refuses the settings on this machine;
    /// [`Error::Ticker`] when no thread can be started.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let cache = options
            .cache_directory
            .as_deref()
            .map(|path| {
                let mut config = CacheConfig::new();
                config.with_directory(cache_directory::prepare(path)?);
                Cache::new(config).map_err(Error::engine)
            })
            .transpose()?;
        let config = config(&options.limits, cache.clone()).map_err(Error::engine)?;
        let (wasmtime, pooled) = reserve(config, options).map_err(Error::engine)?;

        let mut linker = Linker::new(&wasmtime);
        host_calls::link(&mut linker).map_err(Error::engine)?;
        wasi::link(&mut linker).map_err(Error::engine)?;
        start_ticker(wasmtime.weak()).map_err(Error::Ticker)?;

        Ok(Self {
            inner: Arc::new(Inner {
                wasmtime,
                linker,
                limits: options.limits.clone(),
                cache,
                pooled,
            }),
        })
    }

    /// What its modules may have at most, see [`Limits::within`].
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Modules taken from the cache, compiled earlier. `0` without a cache.
    #[must_use]
    pub fn cache_hits(&self) -> usize {
        self.inner.cache.as_ref().map_or(0, Cache::cache_hits)
    }

    /// Modules that had to be compiled and went into the cache. `0` without a cache.
    #[must_use]
    pub fn cache_misses(&self) -> usize {
        self.inner.cache.as_ref().map_or(0, Cache::cache_misses)
    }

    /// Whether instances come from a pool that was reserved at the start, or are made on demand.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.inner.pooled
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner.wasmtime
    }

    pub(super) fn linker(&self) -> &Linker<State> {
        &self.inner.linker
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("limits", &self.inner.limits)
            .field("pooled", &self.inner.pooled)
            .finish_non_exhaustive()
    }
}

/// Ticks after which a call of that length is interrupted; one more than fit, as the first is
/// already running.
pub(super) fn ticks(time: Duration) -> u64 {
    let ticks = time.as_nanos().div_ceil(TICK.as_nanos()) + 1;
    u64::try_from(ticks).unwrap_or(u64::MAX / 2)
}

/// Whole ticks in that time.
pub(super) fn whole_ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX / 2)
}

fn config(limits: &Limits, cache: Option<Cache>) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(FEATURES, true)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .max_wasm_stack(limits.stack_bytes)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(BACKTRACE_FRAMES_MAX.try_into().ok())
        .module_version(ModuleVersionStrategy::WasmtimeVersion)?
        .cache(cache);
    Ok(config)
}

/// Reserves the pool's address space (4 GiB a slot, none of it memory yet); where the system does
/// not give it, instances are made on demand, which costs some microseconds each.
fn reserve(mut config: Config, options: &Options) -> wasmtime::Result<(wasmtime::Engine, bool)> {
    let limits = &options.limits;
    let tables = u32::try_from(limits.tables).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(options.instances_max)
        .total_memories(options.instances_max)
        .total_tables(options.instances_max.saturating_mul(tables))
        .max_memories_per_module(MEMORIES as u32)
        .max_tables_per_module(tables)
        .max_memory_size(limits.memory_bytes)
        .table_elements(limits.table_elements)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);

    let mut pooled = config.clone();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    match wasmtime::Engine::new(&pooled) {
        Ok(engine) => Ok((engine, true)),
        Err(error) => {
            tracing::info!(
                error = format!("{error:#}"),
                instances = options.instances_max,
                "no address space for a pool of instances; making them on demand"
            );
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            Ok((wasmtime::Engine::new(&config)?, false))
        }
    }
}

/// Moves the epoch on. Sleeping between ticks, rather than until a time, skips what was missed while
/// the process stood still: a guest is not charged for a suspended machine.
fn start_ticker(engine: EngineWeak) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("oplet-epoch".into())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                // A strong engine kept over the sleep would make this thread the last owner.
                drop(engine);
                std::thread::sleep(TICK);
            }
        })
        .map(|_detached| ())
}
