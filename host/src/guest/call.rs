//! One call into a guest: its deadline before, and what became of it after.

use std::sync::Arc;

use oplet_sdk::abi::export;
use wasmtime::{Store, Trap, TypedFunc, WasmBacktrace, WasmParams, WasmResults};

use super::backtrace;
use super::error::{Class, Failure, GuestError};
use super::log::shown;
use super::module::Module;
use super::profile::{Sampling, at_deadline};
use super::runtime::{Code, ticks};
use super::state::{HostTrap, Phase, State};

/// Characters of what the host says to a call of the guest's that it ends.
const MESSAGE_CHARACTERS_MAX: usize = 4_000;

/// A store and all that a call needs besides the function.
pub(super) struct Caller {
    pub(super) store: Store<State>,
    pub(super) module: Module,
    ticks_per_call: u64,
    /// When to look at the deadline first: at its end, or at the next tick when samples are taken.
    ticks_to_first: u64,
    /// Units of one call, where they are measured.
    fuel: Option<u64>,
    is_dead: bool,
}

impl Caller {
    /// Makes a store whose limits stand before anything of the guest runs in it.
    pub(super) fn new(module: &Module, sinks: &Arc<[String]>) -> Self {
        let settings = module.settings();
        let state = State::new(module, sinks.clone());
        let mut store = Store::new(module.instance_pre().module().engine(), state);
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_callback(at_deadline);
        if Code::of(settings) == Code::Exact {
            // What has no limit of its own has one that takes a century.
            set_fuel(&mut store, u64::MAX);
        }
        let ticks_per_call = ticks(settings.limits.call_time);
        Self {
            store,
            module: module.clone(),
            ticks_per_call,
            ticks_to_first: ticks_per_call,
            fuel: settings.fuel,
            is_dead: false,
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// Arms the deadline for what the caller runs next by other means than [`call`](Self::call).
    #[inline]
    pub(super) fn begin(&mut self, phase: Phase) {
        self.store.data_mut().begin_call(phase);
        self.store.set_epoch_deadline(self.ticks_to_first);
        if let Some(fuel) = self.fuel {
            set_fuel(&mut self.store, fuel);
        }
    }

    pub(super) fn ticks_per_call(&self) -> u64 {
        self.ticks_per_call
    }

    /// Begins or ends taking samples; the answer is what was there before.
    pub(super) fn set_sampling(
        &mut self,
        sampling: Option<Box<Sampling>>,
    ) -> Option<Box<Sampling>> {
        self.ticks_to_first = match sampling {
            Some(_) => 1,
            None => self.ticks_per_call,
        };
        std::mem::replace(&mut self.store.data_mut().sampling, sampling)
    }

    /// Fuel that the last call took; none where it is not measured.
    pub(super) fn fuel_used(&self) -> Option<u64> {
        let left = self.store.get_fuel().ok()?;
        Some(self.fuel?.saturating_sub(left))
    }

    /// Calls a function of the guest. When that fails, the instance is dead.
    #[inline]
    pub(super) fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        phase: Phase,
        function: &TypedFunc<P, R>,
        params: P,
    ) -> Result<R, GuestError> {
        if self.is_dead {
            return Err(self.ended(phase));
        }
        self.begin(phase);
        match function.call(&mut self.store, params) {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.trapped(&error)),
        }
    }

    /// Tells what ended a call, by the type of the error, never by its text.
    #[cold]
    pub(super) fn trapped(&mut self, error: &wasmtime::Error) -> GuestError {
        let limits = self.module.limits();
        let refused = self.store.data().limiter.refused();
        let (class, message) = if let Some(host) = error.downcast_ref::<HostTrap>() {
            let class = match host {
                HostTrap::Exit(code) => Class::Exit(*code),
                HostTrap::Message(_) => Class::Trap,
            };
            // It may quote the guest, who can be long-winded.
            (class, shown(&host.to_string(), MESSAGE_CHARACTERS_MAX))
        } else if let Some(trap) = error.downcast_ref::<Trap>() {
            match (trap, refused) {
                (Trap::Interrupt, _) => (
                    Class::Deadline,
                    format!("took longer than {:?}", limits.call_time),
                ),
                (Trap::OutOfFuel, _) => (
                    Class::OutOfFuel,
                    format!(
                        "took more than {} units of fuel",
                        self.fuel.unwrap_or(u64::MAX)
                    ),
                ),
                (Trap::StackOverflow, _) => (
                    Class::StackOverflow,
                    format!("used more than {} bytes of stack", limits.stack_bytes),
                ),
                (trap, Some(refused)) => (
                    Class::MemoryLimit,
                    format!(
                        "wanted {} bytes of memory, more than the limit of {}: {trap}",
                        refused.bytes, refused.limit
                    ),
                ),
                (trap, None) => (Class::Trap, trap.to_string()),
            }
        } else {
            (Class::Instantiation, format!("{error:#}"))
        };
        let backtrace = error
            .downcast_ref::<WasmBacktrace>()
            .map(backtrace::frames)
            .unwrap_or_default();
        // What the guest says about its own end is nearer to the cause than how it ended.
        let reason = self.store.data_mut().reason.take();
        let mut failure = self.failure(class, reason.unwrap_or(message));
        failure.backtrace = backtrace.texts;
        failure.location = backtrace.location;
        self.end();
        GuestError::new(failure)
    }

    /// The guest answered what it may not: it cannot be trusted with another call.
    #[cold]
    pub(super) fn bad_return(&mut self, message: String) -> GuestError {
        let failure = self.failure(Class::BadReturn, message);
        self.end();
        GuestError::new(failure)
    }

    /// A call that did not do what it should, on an instance that is as good as before.
    #[cold]
    pub(super) fn failed(&mut self, class: Class, message: String) -> GuestError {
        self.store.data_mut().outputs.clear();
        GuestError::new(self.failure(class, message))
    }

    /// How this call fails, because of a lookup.
    pub(super) fn lookup_failed(&self) -> Option<Class> {
        self.store.data().lookup.class()
    }

    #[cold]
    fn ended(&mut self, phase: Phase) -> GuestError {
        self.store.data_mut().phase = phase;
        let message = "the instance ended with an earlier failure".to_owned();
        GuestError::new(self.failure(Class::Ended, message))
    }

    pub(super) fn end(&mut self) {
        self.is_dead = true;
        self.store.data_mut().outputs.clear();
    }

    fn failure(&mut self, class: Class, message: String) -> Failure {
        let state = self.store.data_mut();
        let (class, message) = match class {
            Class::Ended => (class, message),
            // What it looked up in vain is nearer to the cause than how the call ended.
            _ => (
                state.lookup.class().unwrap_or(class),
                state.lookup.told(message),
            ),
        };
        Failure {
            module: self.module.shared_name().clone(),
            version: self.module.shared_digest().clone(),
            export: state.phase.export(),
            class,
            message,
            stderr: state.stdio.take_tail(&state.log),
            backtrace: Vec::new(),
            location: None,
        }
    }
}

fn set_fuel(store: &mut Store<State>, fuel: u64) {
    store
        .set_fuel(fuel)
        .expect("code of a module with fuel counts it");
}

/// The region of guest memory that inputs are written to. It is kept from op to op.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Region {
    ptr: u32,
    capacity: u32,
}

impl Region {
    /// A region is never smaller: small ops of different length share one.
    const BYTES_MIN: u32 = 4 << 10;
    const ALIGNMENT: u32 = 8;

    /// Writes an input, into the region if it is large enough, else into a new one.
    ///
    /// # Errors
    /// [`Class::MemoryLimit`] when the module has no room for it; the instance stays usable. A trap
    /// and a region that cannot be are as in [`Caller::call`].
    #[inline]
    pub(super) fn write(
        &mut self,
        caller: &mut Caller,
        alloc: &TypedFunc<u32, u32>,
        input: &[u8],
    ) -> Result<(u32, u32), GuestError> {
        if caller.is_dead {
            return Err(caller.ended(Phase::Alloc));
        }
        if input.len() > self.capacity as usize {
            self.grow(caller, alloc, input.len())?;
        }
        let state = caller.store.data();
        let memory = state.memory.expect("an instance has a memory");
        let start = self.ptr as usize;
        // Memory never shrinks, so what was checked when the region was taken still holds.
        memory.data_mut(&mut caller.store)[start..start + input.len()].copy_from_slice(input);
        Ok((self.ptr, input.len() as u32))
    }

    #[cold]
    fn grow(
        &mut self,
        caller: &mut Caller,
        alloc: &TypedFunc<u32, u32>,
        len: usize,
    ) -> Result<(), GuestError> {
        let limit = caller.module.limits().memory_bytes;
        let exact = match u32::try_from(len) {
            Ok(exact) if len <= limit => exact,
            _ => {
                caller.begin(Phase::Alloc);
                return Err(too_large(caller, len));
            }
        };
        // With slack, so that ops that grow slowly do not ask each time.
        let roomy = exact.saturating_add(exact / 2).max(Self::BYTES_MIN);
        for wanted in [roomy, exact] {
            // The old region is the guest's again from here on.
            *self = Self::default();
            let ptr = caller.call(Phase::Alloc, alloc, wanted)?;
            if ptr == 0 {
                continue;
            }
            let memory = caller
                .store
                .data()
                .memory
                .expect("an instance has a memory");
            let size = memory.data_size(&caller.store) as u64;
            if u64::from(ptr) + u64::from(wanted) > size {
                return Err(caller.bad_return(format!(
                    "`{}` answered {ptr} for {wanted} bytes, outside its memory of {size}",
                    export::ALLOC
                )));
            }
            if ptr % Self::ALIGNMENT != 0 {
                return Err(caller.bad_return(format!(
                    "`{}` answered {ptr}, which is not a multiple of {}",
                    export::ALLOC,
                    Self::ALIGNMENT
                )));
            }
            *self = Self {
                ptr,
                capacity: wanted,
            };
            return Ok(());
        }
        Err(too_large(caller, len))
    }
}

#[cold]
fn too_large(caller: &mut Caller, len: usize) -> GuestError {
    let limit = caller.module.limits().memory_bytes;
    caller.failed(
        Class::MemoryLimit,
        format!("an input of {len} bytes is too large for the module's memory limit of {limit}"),
    )
}
