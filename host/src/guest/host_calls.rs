//! What the host provides to a guest: the imports of module `oplet`, and `env.abort`.
//!
//! Each checks every pointer and length before it reads, and none calls back into the guest.

use std::time::Duration;

use oplet_sdk::abi::{IMPORT_MODULE, emitted, import};
use oplet_sdk::raw;
use wasmtime::{Caller, Linker};

use super::log::escape;
use super::lookup;
use super::memory::{read_u32, slice, split};
use super::signature::Signature;
use super::state::{State, trap};

/// The imports of module `oplet`.
pub(super) const IMPORTS: [(&str, Signature); 8] = [
    (import::SINK, Signature::new("ii", "i")),
    (import::EMIT, Signature::new("iii", "i")),
    (import::LOG, Signature::new("iii", "")),
    (import::FAIL, Signature::new("ii", "")),
    (import::RETRY_AFTER, Signature::new("I", "")),
    (import::COUNT, Signature::new("iiI", "")),
    (import::LOOKUP, Signature::new("ii", "i")),
    (import::REPLY, Signature::new("ii", "i")),
];

/// Where AssemblyScript imports its `abort` from.
pub(super) const ENV_MODULE: &str = "env";
pub(super) const ABORT: &str = "abort";
pub(super) const ABORT_SIGNATURE: Signature = Signature::new("iiii", "");

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(IMPORT_MODULE, import::SINK, sink)?;
    linker.func_wrap(IMPORT_MODULE, import::EMIT, emit)?;
    linker.func_wrap(IMPORT_MODULE, import::LOG, log)?;
    linker.func_wrap(IMPORT_MODULE, import::FAIL, fail)?;
    linker.func_wrap(IMPORT_MODULE, import::RETRY_AFTER, retry_after)?;
    linker.func_wrap(IMPORT_MODULE, import::COUNT, count)?;
    linker.func_wrap(IMPORT_MODULE, import::LOOKUP, lookup::lookup)?;
    linker.func_wrap(IMPORT_MODULE, import::REPLY, lookup::reply)?;
    linker.func_wrap(ENV_MODULE, ABORT, abort)?;
    Ok(())
}

fn sink(mut caller: Caller<'_, State>, ptr: u32, len: u32) -> wasmtime::Result<i32> {
    let (memory, state) = split(&mut caller)?;
    let name = slice(memory, import::SINK, ptr, len)?;
    let number = state.sinks.iter().position(|sink| sink.as_bytes() == name);
    Ok(number
        .and_then(|number| i32::try_from(number).ok())
        .unwrap_or(-1))
}

fn emit(mut caller: Caller<'_, State>, sink: u32, ptr: u32, len: u32) -> wasmtime::Result<i32> {
    let (memory, state) = split(&mut caller)?;
    if !state.phase.may_emit() {
        return Err(trap(format_args!(
            "`{}` may not emit: only `handle`, `oplet_flush` and `oplet_tick` may",
            state.phase.export()
        )));
    }
    let document = slice(memory, import::EMIT, ptr, len)?;
    if sink as usize >= state.sinks.len() {
        return Ok(emitted::NO_SUCH_SINK);
    }
    // Before anything that takes time or memory in proportion to what the guest says.
    if !state.outputs.has_room(document.len()) {
        return Ok(emitted::OVER_LIMIT);
    }
    if raw::validate(document).is_err() {
        return Ok(emitted::NOT_BSON);
    }
    state.outputs.push(sink, document);
    Ok(emitted::TAKEN)
}

fn log(mut caller: Caller<'_, State>, level: i32, ptr: u32, len: u32) -> wasmtime::Result<()> {
    let (memory, state) = split(&mut caller)?;
    let text = slice(memory, import::LOG, ptr, len)?;
    state.waited += state.log.write(level, text);
    Ok(())
}

fn fail(mut caller: Caller<'_, State>, ptr: u32, len: u32) -> wasmtime::Result<()> {
    let (memory, state) = split(&mut caller)?;
    let text = slice(memory, import::FAIL, ptr, len)?;
    state.reason = Some(escape(&state.log.readable(text)).into_owned());
    Ok(())
}

fn retry_after(mut caller: Caller<'_, State>, ms: i64) {
    // A delay in the past is over.
    let ms = u64::try_from(ms).unwrap_or(0);
    caller.data_mut().retry_after = Some(Duration::from_millis(ms));
}

fn count(mut caller: Caller<'_, State>, ptr: u32, len: u32, delta: i64) -> wasmtime::Result<()> {
    let (memory, state) = split(&mut caller)?;
    let name = slice(memory, import::COUNT, ptr, len)?;
    if !state.counters.add(name, delta)
        && let Some(name) = state.log.counter(name)
    {
        state.counters.insert(name, delta);
    }
    Ok(())
}

/// AssemblyScript's `abort(message, file, line, column)`.
fn abort(
    mut caller: Caller<'_, State>,
    message: u32,
    file: u32,
    line: u32,
    column: u32,
) -> wasmtime::Result<()> {
    let (memory, _state) = split(&mut caller)?;
    let message = assemblyscript_text(memory, message)?;
    let file = assemblyscript_text(memory, file)?;
    let message = if message.is_empty() {
        "abort"
    } else {
        message.as_str()
    };
    Err(trap(if file.is_empty() {
        message.to_owned()
    } else {
        format!("{message} at {file}:{line}:{column}")
    }))
}

/// Reads a string of AssemblyScript: UTF-16, its length in bytes in the four bytes before it; `0` is
/// none.
fn assemblyscript_text(memory: &[u8], ptr: u32) -> wasmtime::Result<String> {
    const CHARACTERS_MAX: usize = 1_000;
    if ptr == 0 {
        return Ok(String::new());
    }
    let length_at = ptr
        .checked_sub(4)
        .ok_or_else(|| trap("`abort` got a pointer that is no string"))?;
    let len = read_u32(memory, ABORT, length_at)?;
    let bytes = slice(memory, ABORT, ptr, len)?;
    let units = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text: String = char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .take(CHARACTERS_MAX)
        .collect();
    Ok(escape(&text).into_owned())
}
