//! WASI preview 1, as much of it as a module without files needs.
//!
//! A shim of our own: the stock implementation lets a guest sleep past its deadline, and cannot be
//! called from a thread that belongs to an async runtime. Here nothing waits. There are a clock,
//! random bytes, stdout and stderr, which go to the log, and the environment variables that the module
//! was granted; no arguments, no files, no sockets. The rest is there and answers `ENOSYS`, so that a library that merely could open a
//! file loads all the same.
//!
//! Layouts and numbers: <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md>.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wasmtime::{Caller, Linker, Val};

use super::memory::{read_u32, slice, slice_mut, split, write};
use super::signature::Signature;
use super::state::{HostTrap, State, trap};
use super::stdio::Stream;

/// The module that the functions are imported from.
pub(super) const MODULE: &str = "wasi_snapshot_preview1";

const SUCCESS: i32 = 0;
const EBADF: i32 = 8;
const EINVAL: i32 = 28;
const ENOSYS: i32 = 52;

/// Bytes that one `fd_write` takes. The guest's library writes the rest with another call; between
/// the two its deadline is looked at.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// Buffers that one `fd_write` looks at, as many as a system call would.
const WRITE_BUFFERS_MAX: u32 = 1024;

/// Bytes that one `random_get` may ask for; more is no key and no seed.
const RANDOM_BYTES_MAX: u32 = 1 << 20;

/// All functions of preview 1.
pub(super) const IMPORTS: [(&str, Signature); 46] = [
    ("args_get", Signature::new("ii", "i")),
    ("args_sizes_get", Signature::new("ii", "i")),
    ("environ_get", Signature::new("ii", "i")),
    ("environ_sizes_get", Signature::new("ii", "i")),
    ("clock_res_get", Signature::new("ii", "i")),
    ("clock_time_get", Signature::new("iIi", "i")),
    ("fd_advise", Signature::new("iIIi", "i")),
    ("fd_allocate", Signature::new("iII", "i")),
    ("fd_close", Signature::new("i", "i")),
    ("fd_datasync", Signature::new("i", "i")),
    ("fd_fdstat_get", Signature::new("ii", "i")),
    ("fd_fdstat_set_flags", Signature::new("ii", "i")),
    ("fd_fdstat_set_rights", Signature::new("iII", "i")),
    ("fd_filestat_get", Signature::new("ii", "i")),
    ("fd_filestat_set_size", Signature::new("iI", "i")),
    ("fd_filestat_set_times", Signature::new("iIIi", "i")),
    ("fd_pread", Signature::new("iiiIi", "i")),
    ("fd_prestat_get", Signature::new("ii", "i")),
    ("fd_prestat_dir_name", Signature::new("iii", "i")),
    ("fd_pwrite", Signature::new("iiiIi", "i")),
    ("fd_read", Signature::new("iiii", "i")),
    ("fd_readdir", Signature::new("iiiIi", "i")),
    ("fd_renumber", Signature::new("ii", "i")),
    ("fd_seek", Signature::new("iIii", "i")),
    ("fd_sync", Signature::new("i", "i")),
    ("fd_tell", Signature::new("ii", "i")),
    ("fd_write", Signature::new("iiii", "i")),
    ("path_create_directory", Signature::new("iii", "i")),
    ("path_filestat_get", Signature::new("iiiii", "i")),
    ("path_filestat_set_times", Signature::new("iiiiIIi", "i")),
    ("path_link", Signature::new("iiiiiii", "i")),
    ("path_open", Signature::new("iiiiiIIii", "i")),
    ("path_readlink", Signature::new("iiiiii", "i")),
    ("path_remove_directory", Signature::new("iii", "i")),
    ("path_rename", Signature::new("iiiiii", "i")),
    ("path_symlink", Signature::new("iiiii", "i")),
    ("path_unlink_file", Signature::new("iii", "i")),
    ("poll_oneoff", Signature::new("iiii", "i")),
    ("proc_exit", Signature::new("i", "")),
    ("proc_raise", Signature::new("i", "i")),
    ("sched_yield", Signature::new("", "i")),
    ("random_get", Signature::new("ii", "i")),
    ("sock_accept", Signature::new("iii", "i")),
    ("sock_recv", Signature::new("iiiiii", "i")),
    ("sock_send", Signature::new("iiiii", "i")),
    ("sock_shutdown", Signature::new("ii", "i")),
];

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    // First what every function answers, then those that do something.
    linker.allow_shadowing(true);
    for (name, signature) in IMPORTS {
        let answer = if name.starts_with("fd_") || name.starts_with("path_") {
            EBADF
        } else {
            ENOSYS
        };
        let ty = signature.func_type(linker.engine());
        linker.func_new(MODULE, name, ty, move |_caller, _params, results| {
            if let Some(result) = results.first_mut() {
                *result = Val::I32(answer);
            }
            Ok(())
        })?;
    }
    linker.func_wrap(MODULE, "args_get", |_: u32, _: u32| SUCCESS)?;
    linker.func_wrap(MODULE, "args_sizes_get", args_sizes_get)?;
    linker.func_wrap(MODULE, "environ_get", environ_get)?;
    linker.func_wrap(MODULE, "environ_sizes_get", environ_sizes_get)?;
    linker.func_wrap(MODULE, "clock_res_get", clock_res_get)?;
    linker.func_wrap(MODULE, "clock_time_get", clock_time_get)?;
    linker.func_wrap(MODULE, "fd_fdstat_get", fd_fdstat_get)?;
    linker.func_wrap(MODULE, "fd_write", fd_write)?;
    linker.func_wrap(MODULE, "poll_oneoff", poll_oneoff)?;
    linker.func_wrap(MODULE, "proc_exit", proc_exit)?;
    linker.func_wrap(MODULE, "random_get", random_get)?;
    linker.func_wrap(MODULE, "sched_yield", || SUCCESS)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn args_sizes_get(mut caller: Caller<'_, State>, count: u32, bytes: u32) -> wasmtime::Result<i32> {
    let (memory, _state) = split(&mut caller)?;
    write(memory, "args_sizes_get", count, &[0; 4])?;
    write(memory, "args_sizes_get", bytes, &[0; 4])?;
    Ok(SUCCESS)
}

/// A variable as C has it: `NAME=VALUE`, ended by a zero.
fn c_strings(state: &State) -> impl Iterator<Item = Vec<u8>> {
    let variables = state.settings.variables.iter();
    variables.map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat())
}

fn environ_sizes_get(
    mut caller: Caller<'_, State>,
    count: u32,
    bytes: u32,
) -> wasmtime::Result<i32> {
    const NAME: &str = "environ_sizes_get";
    let (memory, state) = split(&mut caller)?;
    let sizes: Vec<usize> = c_strings(state).map(|string| string.len()).collect();
    let total: usize = sizes.iter().sum();
    write(memory, NAME, count, &(sizes.len() as u32).to_le_bytes())?;
    write(memory, NAME, bytes, &(total as u32).to_le_bytes())?;
    Ok(SUCCESS)
}

fn environ_get(mut caller: Caller<'_, State>, pointers: u32, bytes: u32) -> wasmtime::Result<i32> {
    const NAME: &str = "environ_get";
    let (memory, state) = split(&mut caller)?;
    // In wider numbers than the guest's: an address beyond its own does not come round.
    let (mut pointers, mut bytes) = (u64::from(pointers), u64::from(bytes));
    for string in c_strings(state) {
        let address = |at: u64| {
            u32::try_from(at).map_err(|_| trap("`environ_get` got a pointer outside memory"))
        };
        write(
            memory,
            NAME,
            address(pointers)?,
            &address(bytes)?.to_le_bytes(),
        )?;
        write(memory, NAME, address(bytes)?, &string)?;
        pointers += 4;
        bytes += string.len() as u64;
    }
    Ok(SUCCESS)
}

/// Nanoseconds on that clock: since 1970 on the first, since the process began to look on the
/// others.
fn clock(id: u32) -> Option<u64> {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let nanoseconds = match id {
        0 => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()?
            .as_nanos(),
        // Monotonic, and the two of processor time, which nobody keeps for a guest.
        1..=3 => START.elapsed().as_nanos(),
        _ => return None,
    };
    u64::try_from(nanoseconds).ok()
}

fn clock_res_get(mut caller: Caller<'_, State>, id: u32, out: u32) -> wasmtime::Result<i32> {
    let (memory, _state) = split(&mut caller)?;
    if clock(id).is_none() {
        return Ok(EINVAL);
    }
    write(memory, "clock_res_get", out, &1_u64.to_le_bytes())?;
    Ok(SUCCESS)
}

fn clock_time_get(
    mut caller: Caller<'_, State>,
    id: u32,
    _precision: u64,
    out: u32,
) -> wasmtime::Result<i32> {
    let (memory, state) = split(&mut caller)?;
    let Some(mut now) = clock(id) else {
        return Ok(EINVAL);
    };
    if let Some(exact) = &state.exact {
        now = exact.now_nanoseconds();
    }
    write(memory, "clock_time_get", out, &now.to_le_bytes())?;
    Ok(SUCCESS)
}

fn random_get(mut caller: Caller<'_, State>, ptr: u32, len: u32) -> wasmtime::Result<i32> {
    let (memory, state) = split(&mut caller)?;
    let buffer = slice_mut(memory, "random_get", ptr, len)?;
    if len > RANDOM_BYTES_MAX {
        return Ok(EINVAL);
    }
    if let Some(exact) = &mut state.exact {
        exact.fill(buffer);
        return Ok(SUCCESS);
    }
    getrandom::fill(buffer)
        .map_err(|error| trap(format_args!("no random bytes to be had: {error}")))?;
    Ok(SUCCESS)
}

fn stream(fd: u32) -> Option<Stream> {
    match fd {
        1 => Some(Stream::Out),
        2 => Some(Stream::Err),
        _ => None,
    }
}

/// stdout and stderr are terminals: so C's library writes line by line, and nothing stays behind in
/// a buffer that nobody flushes.
fn fd_fdstat_get(mut caller: Caller<'_, State>, fd: u32, out: u32) -> wasmtime::Result<i32> {
    const CHARACTER_DEVICE: u8 = 2;
    const RIGHT_FD_WRITE: u64 = 1 << 6;
    let (memory, _state) = split(&mut caller)?;
    if stream(fd).is_none() {
        return Ok(EBADF);
    }
    let mut fdstat = [0; 24];
    fdstat[0] = CHARACTER_DEVICE;
    fdstat[8..16].copy_from_slice(&RIGHT_FD_WRITE.to_le_bytes());
    write(memory, "fd_fdstat_get", out, &fdstat)?;
    Ok(SUCCESS)
}

fn fd_write(
    mut caller: Caller<'_, State>,
    fd: u32,
    buffers: u32,
    buffers_len: u32,
    written: u32,
) -> wasmtime::Result<i32> {
    const NAME: &str = "fd_write";
    let (memory, state) = split(&mut caller)?;
    let Some(stream) = stream(fd) else {
        return Ok(EBADF);
    };
    if buffers_len > WRITE_BUFFERS_MAX {
        return Ok(EINVAL);
    }
    let list = slice(memory, NAME, buffers, buffers_len * 8)?;
    let mut total = 0;
    for at in (0..list.len() as u32).step_by(8) {
        let ptr = read_u32(list, NAME, at)?;
        let len = read_u32(list, NAME, at + 4)?;
        let bytes = slice(memory, NAME, ptr, len)?;
        let taken = &bytes[..bytes.len().min(WRITE_BYTES_MAX - total)];
        state.waited += state.stdio.write(stream, taken, &state.log);
        total += taken.len();
        if total == WRITE_BYTES_MAX {
            break;
        }
    }
    write(memory, NAME, written, &(total as u32).to_le_bytes())?;
    Ok(SUCCESS)
}

/// Returns at once, whatever is waited for: clocks have run out, files are not there. So a sleep
/// takes no time, and a guest cannot sleep past its deadline.
fn poll_oneoff(
    mut caller: Caller<'_, State>,
    subscriptions: u32,
    events: u32,
    count: u32,
    stored: u32,
) -> wasmtime::Result<i32> {
    const NAME: &str = "poll_oneoff";
    const SUBSCRIPTION_BYTES: u32 = 48;
    const EVENT_BYTES: u32 = 32;
    const COUNT_MAX: u32 = 1024;
    const CLOCK: u8 = 0;
    let (memory, _state) = split(&mut caller)?;
    if count == 0 || count > COUNT_MAX {
        return Ok(EINVAL);
    }
    slice(memory, NAME, subscriptions, count * SUBSCRIPTION_BYTES)?;
    slice(memory, NAME, events, count * EVENT_BYTES)?;
    for number in 0..count {
        let from = slice(memory, NAME, subscriptions + number * SUBSCRIPTION_BYTES, 9)?;
        let kind = from[8];
        let mut event = [0; EVENT_BYTES as usize];
        event[..8].copy_from_slice(&from[..8]);
        if kind != CLOCK {
            event[8..10].copy_from_slice(&(EBADF as u16).to_le_bytes());
        }
        event[10] = kind;
        write(memory, NAME, events + number * EVENT_BYTES, &event)?;
    }
    write(memory, NAME, stored, &count.to_le_bytes())?;
    Ok(SUCCESS)
}

fn proc_exit(code: i32) -> wasmtime::Result<()> {
    Err(wasmtime::Error::new(HostTrap::Exit(code)))
}
