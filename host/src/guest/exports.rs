//! The functions of an instance, looked up once: by name, a call would cost fifteen times as much.

use oplet_sdk::abi::export;
use wasmtime::{Instance, Store, TypedFunc, WasmParams, WasmResults};

use super::state::State;

/// The exports that are called for as long as the instance lives.
pub(super) struct Exports {
    pub(super) alloc: TypedFunc<u32, u32>,
    pub(super) filter: Option<TypedFunc<(u32, u32), i32>>,
    pub(super) handle: Option<TypedFunc<(u32, u32), i32>>,
    pub(super) pipeline: Option<TypedFunc<(u32, u32), i64>>,
    pub(super) flush: Option<TypedFunc<(), i32>>,
    pub(super) tick: Option<TypedFunc<i64, i32>>,
    pub(super) save: Option<TypedFunc<(), i64>>,
    pub(super) restore: Option<TypedFunc<(u32, u32), i32>>,
}

impl Exports {
    pub(super) fn new(instance: &Instance, store: &mut Store<State>) -> Self {
        Self {
            alloc: typed(instance, store, export::ALLOC)
                .expect("loading checked that there is an `oplet_alloc`"),
            filter: typed(instance, store, export::FILTER),
            handle: typed(instance, store, export::HANDLE),
            pipeline: typed(instance, store, export::PIPELINE),
            flush: typed(instance, store, export::FLUSH),
            tick: typed(instance, store, export::TICK),
            save: typed(instance, store, export::SAVE),
            restore: typed(instance, store, export::RESTORE),
        }
    }
}

/// An export that may be absent; that its signature is right was checked when the module was loaded.
pub(super) fn typed<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut Store<State>,
    name: &str,
) -> Option<TypedFunc<P, R>> {
    instance.get_typed_func(store, name).ok()
}
