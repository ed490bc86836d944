//! What is called between ops: `oplet_flush` and `oplet_tick`.

use oplet_sdk::abi::export;

use super::error::{Class, GuestError};
use super::instance::Instance;
use super::settings::Isolation;
use super::state::Phase;

impl Instance {
    /// Whether it may hold something back until it is [flushed](Self::flush).
    #[must_use]
    pub fn gathers(&self) -> bool {
        let isolation = self.caller.module.settings().isolation;
        self.exports.flush.is_some() && isolation == Isolation::Lane
    }

    /// Lets the guest emit what it has gathered, at a batch border and before the instance is
    /// dropped. Outputs are as with [`handle`](Self::handle). Does nothing for a module without
    /// `oplet_flush`, and for one whose instances live for one op: it is flushed behind each.
    ///
    /// # Errors
    /// [`Class::GuestReported`] when the guest answers other than 0; else as the guest fails, and
    /// the instance is dead then.
    pub fn flush(&mut self) -> Result<(), GuestError> {
        let Some(flush) = self.exports.flush.as_ref().filter(|_| self.gathers()) else {
            self.clear_outputs();
            return Ok(());
        };
        let answer = self.caller.call(Phase::Flush, flush, ())?;
        self.is_zero(answer, export::FLUSH)
    }

    /// Lets the guest add to what `handle` has emitted, before it goes.
    pub(super) fn flush_behind(&mut self) -> Result<(), GuestError> {
        let Some(flush) = &self.exports.flush else {
            return Ok(());
        };
        let answer = self.caller.call(Phase::FlushBehind, flush, ())?;
        self.is_zero(answer, export::FLUSH)
    }

    /// Tells the guest what time it is, in milliseconds since 1970, for what it does by the clock.
    /// Outputs are as with [`handle`](Self::handle). Does nothing for a module without
    /// `oplet_tick`.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn tick(&mut self, now_ms: i64) -> Result<(), GuestError> {
        let Some(tick) = &self.exports.tick else {
            self.clear_outputs();
            return Ok(());
        };
        if let Some(exact) = &mut self.caller.store.data_mut().exact {
            exact.set_time(now_ms);
        }
        let answer = self.caller.call(Phase::Tick, tick, now_ms)?;
        self.is_zero(answer, export::TICK)
    }

    fn is_zero(&mut self, answer: i32, export: &str) -> Result<(), GuestError> {
        let lookup_failed = self.caller.lookup_failed();
        if answer == 0 {
            return Ok(());
        }
        let message = match self.reason() {
            reason if reason.is_empty() && lookup_failed.is_some() => reason,
            reason if reason.is_empty() => format!("`{export}` answered {answer}"),
            reason => reason,
        };
        Err(self.caller.failed(Class::GuestReported, message))
    }
}
