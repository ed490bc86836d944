//! The host's functions: imports in a module, a recorder in a native test.

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::recorder::{count, emit, fail, log, lookup, retry_after, sink};
#[cfg(target_family = "wasm")]
pub(crate) use imports::{count, emit, fail, log, lookup, retry_after, sink};

#[cfg(target_family = "wasm")]
#[expect(unsafe_code, reason = "imports are foreign functions")]
mod imports {
    mod oplet {
        // The names are those of `abi::import`.
        #[link(wasm_import_module = "oplet")]
        unsafe extern "C" {
            pub(super) fn sink(name: *const u8, name_len: usize) -> i32;
            pub(super) fn emit(sink: i32, document: *const u8, document_len: usize) -> i32;
            pub(super) fn log(level: i32, line: *const u8, line_len: usize);
            pub(super) fn fail(reason: *const u8, reason_len: usize);
            pub(super) safe fn retry_after(ms: i64);
            pub(super) fn count(name: *const u8, name_len: usize, delta: i64);
            pub(super) fn lookup(query: *const u8, query_len: usize) -> i32;
            pub(super) fn reply(buffer: *mut u8, capacity: usize) -> i32;
        }
    }

    pub(crate) fn sink(name: &str) -> i32 {
        // SAFETY: the host reads `name.len()` bytes from there during the call, and keeps nothing.
        unsafe { oplet::sink(name.as_ptr(), name.len()) }
    }

    pub(crate) fn emit(sink: i32, document: &[u8]) -> i32 {
        // SAFETY: as in `sink`.
        unsafe { oplet::emit(sink, document.as_ptr(), document.len()) }
    }

    pub(crate) fn log(level: i32, line: &str) {
        // SAFETY: as in `sink`.
        unsafe { oplet::log(level, line.as_ptr(), line.len()) }
    }

    pub(crate) fn fail(reason: &str) {
        // SAFETY: as in `sink`.
        unsafe { oplet::fail(reason.as_ptr(), reason.len()) }
    }

    pub(crate) fn retry_after(ms: i64) {
        oplet::retry_after(ms);
    }

    pub(crate) fn count(name: &str, delta: i64) {
        // SAFETY: as in `sink`.
        unsafe { oplet::count(name.as_ptr(), name.len(), delta) }
    }
    /// The answer, or why there is none: one of [`looked_up`](crate::abi::looked_up).
    pub(crate) fn lookup(query: &[u8]) -> Result<Vec<u8>, i32> {
        // SAFETY: as in `sink`.
        let len = unsafe { oplet::lookup(query.as_ptr(), query.len()) };
        let mut answer = vec![0; usize::try_from(len).map_err(|_| len)?];
        // SAFETY: the host writes at most `answer.len()` bytes there, during the call.
        let copied = unsafe { oplet::reply(answer.as_mut_ptr(), answer.len()) };
        assert_eq!(copied, len, "the host's answer is not as long as it said");
        Ok(answer)
    }
}
