//! The exported functions of a module, and the line that makes them.

/// Makes a module of a [`Handler`](crate::Handler); once in a crate of type `cdylib`.
///
/// A handler is made by `Default`, or from its configuration: the module's `config` table in the host, as a type that
/// serde reads. Then the handler is made by `From` or `TryFrom` that type; what it refuses, the host refuses to start
/// with, and an absent table counts as an empty one.
///
/// ```
/// use oplet_sdk::{Handler, Op};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Config {
///     total_min: f64,
/// }
///
/// struct Large {
///     total_min: f64,
/// }
///
/// impl TryFrom<Config> for Large {
///     type Error = String;
///
///     fn try_from(config: Config) -> Result<Self, String> {
///         if config.total_min < 0.0 {
///             return Err(format!("total_min is {}, which every order reaches", config.total_min));
///         }
///         Ok(Self { total_min: config.total_min })
///     }
/// }
///
/// impl Handler for Large {
///     fn filter(&self, op: &Op) -> bool {
///         op.get_f64("data.total").is_some_and(|total| total >= self.total_min)
///     }
/// }
///
/// oplet_sdk::export!(Large, config = Config);
/// ```
///
/// On other targets than wasm the line only checks the types. A crate that forbids `unsafe_code` may use it: the
/// attributes that name the exports are the macro's own.
#[macro_export]
macro_rules! export {
    ($handler:ty $(,)?) => {
        const _: fn() = || {
            fn check<H: $crate::Handler + ::core::default::Default>() {}
            check::<$handler>();
        };
        $crate::export!(@exports $handler, <$handler as ::core::default::Default>::default, {});
    };
    ($handler:ty, config = $config:ty $(,)?) => {
        const _: fn() = || {
            fn check<H: $crate::Handler>() {}
            check::<$handler>();
            let _ = $crate::__private::from_config::<$handler, $config>;
        };
        $crate::export!(@exports $handler, $crate::__private::from_no_config::<$handler, $config>, {
            #[unsafe(no_mangle)]
            extern "C" fn oplet_configure(ptr: usize, len: usize) -> i32 {
                HANDLER.with(|slot| $crate::__private::configure::<$handler, $config>(slot, ptr, len))
            }
        });
    };
    (@exports $handler:ty, $make:expr, { $($configure:item)* }) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            ::std::thread_local! {
                static HANDLER: $crate::__private::Slot<$handler> = const { $crate::__private::Slot::new($make) };
            }

            #[unsafe(no_mangle)]
            extern "C" fn oplet_abi_v1() {}

            #[unsafe(no_mangle)]
            extern "C" fn _initialize() {
                $crate::__private::initialize();
            }

            #[unsafe(no_mangle)]
            extern "C" fn oplet_alloc(len: usize) -> usize {
                $crate::__private::alloc(len)
            }

            #[unsafe(no_mangle)]
            extern "C" fn filter(ptr: usize, len: usize) -> i32 {
                HANDLER.with(|slot| $crate::__private::filter(slot, ptr, len))
            }

            #[unsafe(no_mangle)]
            extern "C" fn handle(ptr: usize, len: usize) -> i32 {
                HANDLER.with(|slot| $crate::__private::handle(slot, ptr, len))
            }

            #[unsafe(no_mangle)]
            extern "C" fn pipeline(ptr: usize, len: usize) -> i64 {
                HANDLER.with(|slot| $crate::__private::pipeline(slot, ptr, len))
            }

            #[unsafe(no_mangle)]
            extern "C" fn oplet_flush() -> i32 {
                HANDLER.with(|slot| $crate::__private::flush(slot))
            }

            #[unsafe(no_mangle)]
            extern "C" fn oplet_tick(now_ms: i64) -> i32 {
                HANDLER.with(|slot| $crate::__private::tick(slot, now_ms))
            }

            #[unsafe(no_mangle)]
            extern "C" fn oplet_save() -> i64 {
                HANDLER.with(|slot| $crate::__private::save(slot))
            }

            #[unsafe(no_mangle)]
            extern "C" fn oplet_restore(ptr: usize, len: usize) -> i32 {
                HANDLER.with(|slot| $crate::__private::restore(slot, ptr, len))
            }

            $($configure)*
        };
    };
}

#[cfg(target_family = "wasm")]
pub use module::{Slot, alloc, filter, flush, handle, initialize, pipeline, restore, save, tick};

#[cfg(all(target_family = "wasm", feature = "serde"))]
pub use module::configure;

#[cfg(target_family = "wasm")]
mod module {
    use std::cell::RefCell;

    use crate::{
        Handler,
        abi::{self, verdict},
        calls,
        fields::Offsets,
        host,
        region::{self, Marked},
    };

    /// Holds a module's one handler, made when it is first needed.
    pub struct Slot<H> {
        handler: RefCell<Option<H>>,
        make: fn() -> H,
        /// Of the op that was filtered last.
        offsets: Offsets,
    }

    impl<H> Slot<H> {
        /// An empty slot; `make` fills it.
        pub const fn new(make: fn() -> H) -> Self {
            Self {
                handler: RefCell::new(None),
                make,
                offsets: Offsets::new(),
            }
        }

        fn with<R>(&self, call: impl FnOnce(&mut H) -> R) -> R {
            call(self.handler.borrow_mut().get_or_insert_with(self.make))
        }
    }

    /// Constructors, then the panic hook.
    pub fn initialize() {
        #[expect(unsafe_code, reason = "the linker's function")]
        {
            unsafe extern "C" {
                fn __wasm_call_ctors();
            }
            // SAFETY: the linker makes it, and this, once per instance, is the only call. Without a call anywhere the
            // linker would take the module for a command and run the constructors around each exported function.
            unsafe { __wasm_call_ctors() };
        }
        // The text must reach the host before the trap; what the panic leaves behind does not matter, since the
        // instance is never used again.
        std::panic::set_hook(Box::new(|panic| host::fail(&panic_text(panic))));
    }

    fn panic_text(panic: &std::panic::PanicHookInfo<'_>) -> String {
        let message = panic.payload_as_str().unwrap_or("panicked");
        match panic.location() {
            Some(location) => format!("{message} at {location}"),
            None => message.to_owned(),
        }
    }

    /// Room for an input, see `oplet_alloc`.
    pub fn alloc(len: usize) -> usize {
        region::reserve(len)
    }

    /// Answers `filter`.
    pub fn filter<H: Handler>(slot: &Slot<H>, ptr: usize, len: usize) -> i32 {
        region::read_op(ptr, len, |input, _| {
            let verdict = slot.with(|handler| calls::filter(handler, input, &slot.offsets));
            match verdict {
                verdict::KEEP => (verdict, Marked::Yes),
                _ => (verdict, Marked::No),
            }
        })
    }

    /// Answers `handle`.
    pub fn handle<H: Handler>(slot: &Slot<H>, ptr: usize, len: usize) -> i32 {
        region::read_op(ptr, len, |input, was_filtered| {
            // What `filter` found holds as long as the host has not written since.
            if !was_filtered {
                slot.offsets.forget();
            }
            let outcome = slot.with(|handler| calls::handle(handler, input, &slot.offsets));
            (outcome, Marked::No)
        })
    }

    /// Answers `oplet_flush`.
    pub fn flush<H: Handler>(slot: &Slot<H>) -> i32 {
        slot.with(calls::flush)
    }

    /// Answers `oplet_tick`.
    pub fn tick<H: Handler>(slot: &Slot<H>, now_ms: i64) -> i32 {
        slot.with(|handler| calls::tick(handler, now_ms))
    }

    /// Answers `oplet_save`.
    pub fn save<H: Handler>(slot: &Slot<H>) -> i64 {
        returned(slot.with(|handler| calls::save(handler)))
    }

    /// Answers `oplet_restore`.
    pub fn restore<H: Handler>(slot: &Slot<H>, ptr: usize, len: usize) -> i32 {
        region::read(ptr, len, |input| {
            slot.with(|handler| calls::restore(handler, input))
        })
    }

    /// Answers `pipeline`.
    pub fn pipeline<H: Handler>(slot: &Slot<H>, ptr: usize, len: usize) -> i64 {
        returned(region::read(ptr, len, |input| {
            slot.with(|handler| calls::pipeline(handler, input))
        }))
    }

    /// Keeps a document that is answered where it is until the next one.
    fn returned(document: Option<Vec<u8>>) -> i64 {
        thread_local! {
            static ANSWER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let Some(document) = document else { return 0 };
        ANSWER.with_borrow_mut(|kept| {
            *kept = document;
            abi::pack(kept.as_ptr() as u32, kept.len() as u32)
        })
    }

    /// Answers `oplet_configure`.
    #[cfg(feature = "serde")]
    pub fn configure<H, C>(slot: &Slot<H>, ptr: usize, len: usize) -> i32
    where
        H: TryFrom<C, Error: std::fmt::Display>,
        C: serde::de::DeserializeOwned,
    {
        match region::read(ptr, len, crate::config::from_config) {
            Ok(handler) => {
                slot.handler.replace(Some(handler));
                0
            }
            Err(reason) => {
                host::fail(&reason);
                1
            }
        }
    }
}
