//! How much a guest may take.

use std::time::Duration;

/// Limits of one module; each instance has them for itself. The defaults are those of the guest ABI.
///
/// Those of an [`Engine`](super::Engine) say what it reserves and compiles for, and bound those of its
/// modules: see [`within`](Self::within).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of an instance, in bytes. Growth beyond it fails inside the guest.
    pub memory_bytes: usize,
    /// Time that one call may take. Time spent waiting inside imports does not count. The grain is
    /// the epoch tick, about 5 ms.
    pub call_time: Duration,
    /// Stack of the guest's functions, in bytes; one value for a whole engine.
    pub stack_bytes: usize,
    /// Documents that one op may emit.
    pub outputs_documents: usize,
    /// Bytes that one op may emit.
    pub outputs_bytes: usize,
    /// Log lines a second, over all instances of a module.
    pub log_lines_per_second: u32,
    /// Bytes of one log line; the rest is cut off.
    pub log_line_bytes: usize,
    /// Size of a module, in bytes of wasm.
    pub module_bytes: usize,
    /// Time that it may take to compile a module. What is known to take long is refused before.
    pub compile_time: Duration,
    /// Elements of a table.
    pub table_elements: usize,
    /// Tables of a module. Compilers make one.
    pub tables: usize,
    /// Names of a module's own counters.
    pub counters: usize,
    /// Documents that one lookup may find.
    pub lookup_documents: usize,
    /// Bytes of one lookup's answer.
    pub lookup_bytes: usize,
    /// Time that the server may take for one lookup. Those of one call may take ten times as long
    /// together; none of it counts as time of the call.
    pub lookup_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            call_time: Duration::from_secs(1),
            stack_bytes: 512 << 10,
            outputs_documents: 1_000,
            outputs_bytes: 16 << 20,
            log_lines_per_second: 100,
            log_line_bytes: 8 << 10,
            module_bytes: 10 << 20,
            compile_time: Duration::from_secs(60),
            table_elements: 20_000,
            tables: 4,
            counters: 100,
            lookup_documents: 1_000,
            lookup_bytes: 1 << 20,
            lookup_time: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// These limits as far as an engine with those can keep them: `stack_bytes` is the engine's,
    /// memory and tables are no larger than the slots of its pool, and the module than it compiles.
    #[must_use]
    pub fn within(&self, engine: &Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.min(engine.memory_bytes),
            stack_bytes: engine.stack_bytes,
            module_bytes: self.module_bytes.min(engine.module_bytes),
            table_elements: self.table_elements.min(engine.table_elements),
            tables: self.tables.min(engine.tables),
            ..self.clone()
        }
    }
}

/// Memories and instances of a module: one each, by the ABI.
pub(super) const MEMORIES: usize = 1;
pub(super) const INSTANCES: usize = 1;

/// Says no to growth beyond the limits, and remembers that it did: a trap that follows is then told
/// as a breach of the memory limit.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_bytes: usize,
    table_elements: usize,
    tables: usize,
    refused: Option<RefusedGrowth>,
}

/// Growth of the memory that was not granted.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefusedGrowth {
    /// Bytes that the memory would have had.
    pub(super) bytes: usize,
    /// Bytes that it may have: the host's limit, or the memory's own maximum if that is less.
    pub(super) limit: usize,
}

impl Limiter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            tables: limits.tables,
            refused: None,
        }
    }

    /// The growth that was refused last in this call.
    pub(super) fn refused(&self) -> Option<RefusedGrowth> {
        self.refused
    }

    /// Forgets an earlier refusal: the guest has lived with it.
    pub(super) fn begin_call(&mut self) {
        self.refused = None;
    }
}

impl wasmtime::ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = maximum.map_or(self.memory_bytes, |own| own.min(self.memory_bytes));
        let allowed = desired <= limit;
        if !allowed {
            self.refused = Some(RefusedGrowth {
                bytes: desired,
                limit,
            });
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_elements)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}
