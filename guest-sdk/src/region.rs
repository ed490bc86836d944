//! The region that the host writes its inputs into.

use std::cell::RefCell;

thread_local! {
    /// Words, so that the region is aligned to eight bytes.
    static REGION: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

const OUTSIDE: &str = "the host's input lies outside of what oplet_alloc gave";

const WORD: usize = size_of::<u64>();

/// Gives the address of at least `len` bytes, `0` when there is not so much memory. They hold until the next call.
pub(crate) fn reserve(len: usize) -> usize {
    REGION.with_borrow_mut(|region| {
        let words = len.div_ceil(WORD).max(1);
        if region.len() < words {
            // The old region first: an op may need most of the memory that the module is allowed.
            *region = Vec::new();
            if region.try_reserve_exact(words).is_err() {
                return 0;
            }
            region.resize(words, 0);
        }
        region.as_ptr() as usize
    })
}

/// Calls `call` with the input at `ptr`.
///
/// # Panics
/// When that is not within the region: the host's mistake.
pub(crate) fn read<R>(ptr: usize, len: usize, call: impl FnOnce(&[u8]) -> R) -> R {
    REGION.with_borrow(|region| {
        let start = ptr.wrapping_sub(region.as_ptr() as usize);
        let input = bytes(region).get(start..).and_then(|rest| rest.get(..len));
        call(input.expect(OUTSIDE))
    })
}

/// The highest bit of an op's length, which no op has set. `filter` leaves it in what it has kept; the host writes over
/// it with the next op, and with this one when it adds its document.
const STAMP: u64 = u64::from_ne_bytes([0, 0, 0, 0x80, 0, 0, 0, 0]);

/// Calls `call` with the op at `ptr`, and marks it when `call` says so. `call` is told whether it was marked before: then
/// it is the same op as then, byte for byte.
///
/// # Panics
/// As [`read`].
pub(crate) fn read_op<R>(
    ptr: usize,
    len: usize,
    call: impl FnOnce(&[u8], bool) -> (R, Marked),
) -> R {
    REGION.with_borrow_mut(|region| {
        let start = ptr.wrapping_sub(region.as_ptr() as usize);
        let was_marked = match region.first_mut() {
            Some(head) if *head & STAMP != 0 => {
                *head &= !STAMP;
                start == 0
            }
            _ => false,
        };
        let input = bytes(region).get(start..).and_then(|rest| rest.get(..len));
        let input = input.expect(OUTSIDE);
        let (answer, marked) = call(input, was_marked);
        // Anywhere else than where a host writes that keeps the region, there is nothing to mark.
        if marked == Marked::Yes
            && start == 0
            && let Some(head) = region.first_mut()
        {
            *head |= STAMP;
        }
        answer
    })
}

/// Whether an op is to be known again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marked {
    Yes,
    No,
}

fn bytes(words: &[u64]) -> &[u8] {
    // SAFETY: every byte of an integer is initialised, and bytes need no alignment.
    #[expect(unsafe_code, reason = "words viewed as bytes")]
    unsafe {
        std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_kept_while_it_is_large_enough() {
        let first = reserve(100);
        assert_eq!((first % 8, reserve(20)), (0, first));
        assert_eq!(reserve(104), first, "rounded up to words");
        reserve(1 << 20);
        let large = reserve(0);
        read(large + 1, (1 << 20) - 1, |input| {
            assert_eq!(input.len(), (1 << 20) - 1)
        });
        assert_eq!(reserve(usize::MAX - 8), 0, "refused");
        assert_ne!(reserve(8), 0, "and usable again");
    }

    #[test]
    #[should_panic(expected = "outside of what oplet_alloc gave")]
    fn nothing_else_is_read() {
        let start = reserve(16);
        read(start - 1, 2, |_| ());
    }

    #[test]
    fn an_op_is_known_again_until_it_is_written_again() {
        let at = reserve(64);
        let op = [64, 0, 0, 0, 2, 3, 4, 5];
        let write = || REGION.with_borrow_mut(|region| region[0] = u64::from_ne_bytes(op));
        let was_marked = |at, marked| {
            read_op(at, 8, |input, was_marked| {
                assert!(at % 8 != 0 || input == op, "no mark is seen");
                (was_marked, marked)
            })
        };
        write();
        assert!(!was_marked(at, Marked::Yes));
        read(at, 8, |input| assert_ne!(input, op));
        assert!(was_marked(at, Marked::No));
        assert!(!was_marked(at, Marked::Yes));
        write();
        assert!(!was_marked(at, Marked::Yes), "it may be another one");
        assert!(!was_marked(at + 1, Marked::Yes), "it is another one");
        assert!(!was_marked(at, Marked::No));
    }
}
