//! A guest's memory as the imports see it: never a byte without a check.

use wasmtime::{Caller, Extern, Memory};

use oplet_sdk::abi::export;

use super::state::{State, trap};

/// The caller's memory and state.
///
/// # Errors
/// A trap when the module has no memory, which loading refuses.
#[inline]
pub(super) fn split<'a>(
    caller: &'a mut Caller<'_, State>,
) -> wasmtime::Result<(&'a mut [u8], &'a mut State)> {
    let memory = match caller.data().memory {
        Some(memory) => memory,
        None => by_name(caller)?,
    };
    Ok(memory.data_and_store_mut(caller))
}

/// While the start section runs, the instance is not known to anybody yet.
#[cold]
fn by_name(caller: &mut Caller<'_, State>) -> wasmtime::Result<Memory> {
    caller
        .get_export(export::MEMORY)
        .and_then(Extern::into_memory)
        .ok_or_else(|| trap("the module has no memory"))
}

/// The bytes that a guest points to.
///
/// # Errors
/// A trap when they lie outside its memory: that is a bug of the guest's, not a condition.
#[inline]
pub(super) fn slice<'a>(
    memory: &'a [u8],
    import: &'static str,
    ptr: u32,
    len: u32,
) -> wasmtime::Result<&'a [u8]> {
    let start = ptr as usize;
    match start.checked_add(len as usize) {
        Some(end) if end <= memory.len() => Ok(&memory[start..end]),
        _ => Err(outside(memory, import, ptr, len)),
    }
}

/// As [`slice`], to write to.
pub(super) fn slice_mut<'a>(
    memory: &'a mut [u8],
    import: &'static str,
    ptr: u32,
    len: u32,
) -> wasmtime::Result<&'a mut [u8]> {
    let start = ptr as usize;
    match start.checked_add(len as usize) {
        Some(end) if end <= memory.len() => Ok(&mut memory[start..end]),
        _ => Err(outside(memory, import, ptr, len)),
    }
}

/// Reads a number that a guest points to.
pub(super) fn read_u32(memory: &[u8], import: &'static str, ptr: u32) -> wasmtime::Result<u32> {
    let bytes = slice(memory, import, ptr, 4)?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// Writes to where a guest points to.
pub(super) fn write(
    memory: &mut [u8],
    import: &'static str,
    ptr: u32,
    bytes: &[u8],
) -> wasmtime::Result<()> {
    slice_mut(memory, import, ptr, bytes.len() as u32)?.copy_from_slice(bytes);
    Ok(())
}

#[cold]
fn outside(memory: &[u8], import: &'static str, ptr: u32, len: u32) -> wasmtime::Error {
    trap(format_args!(
        "`{import}` got a pointer outside memory: {len} bytes at {ptr}, of {}",
        memory.len()
    ))
}
