//! Modules are swapped while a run works.

mod faces;
mod load;
mod profile;
mod refused;
mod reopen;
mod trials;

use std::sync::Arc;

use oplet::control::{Absent, Origin, Rollout, Swap};

/// The same module in another version: a custom section makes its bytes others.
fn version(wasm: &[u8], number: u32) -> Arc<[u8]> {
    let name = b"version";
    let data = number.to_le_bytes();
    let mut bytes = wasm.to_vec();
    let len = u8::try_from(1 + name.len() + data.len()).unwrap();
    bytes.extend_from_slice(&[0, len, u8::try_from(name.len()).unwrap()]);
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(&data);
    bytes.into()
}

/// A swap of the module of that name, at once.
fn swap(module: &str, wasm: impl Into<Arc<[u8]>>) -> Swap {
    Swap {
        module: module.to_owned(),
        wasm: wasm.into(),
        origin: Origin::Request,
        absent: Absent::Refuse,
        rollout: Rollout::AtOnce,
    }
}
