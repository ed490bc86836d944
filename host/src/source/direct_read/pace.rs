//! How fast documents are read at most.

use std::{num::NonZeroU32, sync::Mutex, time::Duration};

use tokio::time::{Instant, sleep_until};

/// A rate that several readers share.
#[derive(Debug)]
pub struct Pace {
    documents_per_second: NonZeroU32,
    /// When the next document has its turn. Guards one number.
    free_at: Mutex<Option<Instant>>,
}

impl Pace {
    /// That many documents a second, over all readers that share it.
    #[must_use]
    pub fn new(documents_per_second: NonZeroU32) -> Self {
        Self {
            documents_per_second,
            free_at: Mutex::new(None),
        }
    }

    /// The rate.
    #[must_use]
    pub fn documents_per_second(&self) -> u32 {
        self.documents_per_second.get()
    }

    /// Waits until these documents may have been read. A wait that is dropped still counts.
    pub async fn take(&self, documents: usize) {
        let turn = self.turn(documents, Instant::now());
        sleep_until(turn).await;
    }

    fn turn(&self, documents: usize, now: Instant) -> Instant {
        let rate = f64::from(self.documents_per_second.get());
        let mut free_at = self.free_at.lock().expect("no holder of this lock panics");
        let begin = free_at.map_or(now, |free_at| free_at.max(now));
        let end = begin + Duration::from_secs_f64(documents as f64 / rate);
        *free_at = Some(end);
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_the_rate_and_nobody_saves_up() {
        let pace = Pace::new(NonZeroU32::new(100).unwrap());
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(pace.turn(100, start), at(1));
        assert_eq!(pace.turn(200, start), at(3));
        assert_eq!(pace.turn(100, at(10)), at(11));
    }
}
