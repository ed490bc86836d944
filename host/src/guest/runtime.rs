//! A wasmtime engine with its linker and its ticker.

use std::time::Duration;

use wasmparser::WasmFeatures;
use wasmtime::{
    Cache, Config, Enabled, EngineWeak, InstanceAllocationStrategy, Linker, ModuleVersionStrategy,
    OptLevel, PoolingAllocationConfig, WasmBacktraceDetails,
};

use super::engine::Options;
use super::error::Error;
use super::limits::{Limits, MEMORIES};
use super::settings::Settings;
use super::state::State;
use super::{host_calls, wasi};

/// Time between two epoch ticks. A deadline is late by at most two of them; a tick costs the hot
/// path nothing but a cache line that is read again.
pub(super) const TICK: Duration = Duration::from_millis(5);

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

/// Which code is made of a module. It holds for a whole engine of wasmtime, so there are two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// The fastest.
    Plain,
    /// Code that counts its fuel, and whose NaNs have one form: for modules that asked for either.
    /// Two kinds are enough, as nobody asks for one of them to have the other at full speed.
    Exact,
}

impl Code {
    pub(super) fn of(settings: &Settings) -> Self {
        match settings.deterministic || settings.fuel.is_some() {
            true => Self::Exact,
            false => Self::Plain,
        }
    }
}

/// An engine of wasmtime, and what modules compiled by it are linked with.
pub(super) struct Runtime {
    pub(super) wasmtime: wasmtime::Engine,
    pub(super) linker: Linker<State>,
    pub(super) is_pooled: bool,
}

impl Runtime {
    pub(super) fn new(options: &Options, cache: Option<Cache>, code: Code) -> Result<Self, Error> {
        let config = config(&options.limits, cache, code).map_err(Error::engine)?;
        let (wasmtime, is_pooled) = reserve(config, options).map_err(Error::engine)?;
        let mut linker = Linker::new(&wasmtime);
        host_calls::link(&mut linker).map_err(Error::engine)?;
        wasi::link(&mut linker).map_err(Error::engine)?;
        start_ticker(wasmtime.weak()).map_err(Error::Ticker)?;
        Ok(Self {
            wasmtime,
            linker,
            is_pooled,
        })
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

fn config(limits: &Limits, cache: Option<Cache>, code: Code) -> wasmtime::Result<Config> {
    let is_exact = code == Code::Exact;
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(FEATURES, true)
        .cranelift_opt_level(OptLevel::Speed)
        // Beside fuel too: it stops what costs little fuel and much time, such as filling memory.
        .epoch_interruption(true)
        .consume_fuel(is_exact)
        .cranelift_nan_canonicalization(is_exact)
        .max_wasm_stack(limits.stack_bytes)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
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
