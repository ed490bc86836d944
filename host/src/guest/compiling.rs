//! Compiling, for which nobody waits for ever.
//!
//! What is known to take long is refused before (`complexity`, `contents`); this is for what is not
//! known. Compiling cannot be stopped: whoever gives up leaves its thread behind, and few threads may
//! compile at a time, so that no number of modules keeps more cores busy than that. When such a thread
//! comes to its end, the compiled form lies in the cache, if there is one.

use std::{
    io, panic,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

/// How many modules are compiled at a time. One that nobody waits for any more counts.
const THREADS_MAX: usize = 4;

/// The compiler recurses, by its input: as much as the main thread has.
const STACK_BYTES: usize = 8 << 20;

/// Threads that compile. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Compilers(Arc<Slots>);

#[derive(Debug, Default)]
struct Slots {
    /// How many threads there are. The lock is held to look at or change that.
    busy: Mutex<usize>,
    freed: Condvar,
}

/// Why nothing came of it.
#[derive(Debug)]
pub(super) enum GivenUp {
    /// It took longer than that.
    TooLong,
    /// The machine has no thread for it.
    NoThread(io::Error),
}

/// The place of one thread.
struct Slot(Arc<Slots>);

impl Compilers {
    /// Does this on a thread of its own, and waits for it, as long as that.
    pub(super) fn run<T: Send + 'static>(
        &self,
        time: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, GivenUp> {
        let end = Instant::now() + time;
        let slot = self.slot(end)?;
        let (sender, done) = mpsc::sync_channel(1);
        let compile = move || {
            let _slot = slot;
            // Who asked may have given up.
            let _ = sender.send(work());
        };
        let thread = thread::Builder::new()
            .name("oplet-compile".into())
            .stack_size(STACK_BYTES);
        let thread = thread.spawn(compile).map_err(GivenUp::NoThread)?;
        let left = end.saturating_duration_since(Instant::now());
        match done.recv_timeout(left) {
            Ok(done) => Ok(done),
            Err(RecvTimeoutError::Timeout) => Err(GivenUp::TooLong),
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Ok(()) => unreachable!("who ends without a panic has sent"),
                Err(panic) => panic::resume_unwind(panic),
            },
        }
    }

    fn slot(&self, end: Instant) -> Result<Slot, GivenUp> {
        let left = end.saturating_duration_since(Instant::now());
        let freed = &self.0.freed;
        let waited = freed.wait_timeout_while(self.0.busy(), left, |busy| *busy >= THREADS_MAX);
        let (mut busy, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *busy >= THREADS_MAX {
            return Err(GivenUp::TooLong);
        }
        *busy += 1;
        Ok(Slot(self.0.clone()))
    }
}

impl Slots {
    fn busy(&self) -> MutexGuard<'_, usize> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.busy() -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_takes_too_long_is_left_and_few_are_left_at_a_time() {
        let compilers = Compilers::default();
        assert_eq!(compilers.run(LONG, || 7).unwrap(), 7);
        let (ends, end) = mpsc::channel::<()>();
        let end = Arc::new(Mutex::new(end));
        for _ in 0..THREADS_MAX {
            let end = end.clone();
            let endless = move || end.lock().unwrap().recv();
            let left = compilers.run(Duration::from_millis(20), endless);
            assert!(matches!(left, Err(GivenUp::TooLong)));
        }
        // There is no room, and nothing begins.
        let begins = || panic!("there is no room");
        let left: Result<(), _> = compilers.run(Duration::from_millis(20), begins);
        assert!(matches!(left, Err(GivenUp::TooLong)));
        // One comes to its end.
        ends.send(()).unwrap();
        assert_eq!(compilers.run(LONG, || 8).unwrap(), 8);
    }
}
