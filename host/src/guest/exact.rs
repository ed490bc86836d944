//! Clock and random of a deterministic module: they come from the op.
//!
//! All clocks stand at the op's wall time, and random bytes follow from its `opId`: the same op finds
//! the same on every redelivery. Before the first op, the clocks stand at 1970.

use oplet_sdk::raw::Walk;
use xxhash_rust::xxh3::xxh3_64;

/// What there is of time and chance while an op is handled.
#[derive(Debug, Clone, Default)]
pub(super) struct Exact {
    now_ms: i64,
    /// State of a SplitMix64 generator (Steele, Lea and Flood 2014): any state is a good one.
    random: u64,
}

impl Exact {
    /// Goes by that op from here on.
    pub(super) fn begin_op(&mut self, op: &[u8]) {
        let find = |key| Walk::find(op, key).ok().flatten();
        let wall_time = find("wallTime").and_then(|field| field.date_ms());
        // Oplog entries of old servers have no wall time; their timestamps are seconds.
        let timestamp = || find("timestamp").and_then(|field| field.timestamp());
        self.now_ms = wall_time
            .or_else(|| timestamp().map(|(seconds, _)| i64::from(seconds) * 1000))
            .unwrap_or(0);
        let id = find("opId").and_then(|field| field.text()).unwrap_or("");
        self.random = xxh3_64(id.as_bytes());
    }

    /// Goes by that time from here on.
    pub(super) fn set_time(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
    }

    /// The time on all clocks, in nanoseconds.
    pub(super) fn now_nanoseconds(&self) -> u64 {
        let ms = u64::try_from(self.now_ms).unwrap_or(0);
        ms.saturating_mul(1_000_000)
    }

    /// The next random bytes.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.random;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use bson::{DateTime, Document, RawDocumentBuf, Timestamp, doc};

    use super::*;

    fn of(op: Document) -> (u64, [u8; 20]) {
        let mut exact = Exact::default();
        let op = RawDocumentBuf::try_from(&op).unwrap().into_bytes();
        exact.begin_op(&op);
        let mut random = [0; 20];
        exact.fill(&mut random);
        (exact.now_nanoseconds(), random)
    }

    #[test]
    fn time_and_chance_follow_from_the_op() {
        let timestamp = Timestamp {
            time: 9,
            increment: 2,
        };
        let op = doc! {"opId": "9:2:0", "timestamp": timestamp, "wallTime": DateTime::from_millis(9_500)};
        let (time, random) = of(op.clone());
        assert_eq!(time, 9_500_000_000);
        assert_eq!(of(op), (time, random));
        let (time, other) = of(doc! {"opId": "9:2:1", "timestamp": timestamp});
        assert_eq!(time, 9_000_000_000);
        assert_ne!(random, other);
        assert_ne!(random[..8], random[8..16]);
        assert_eq!(of(Document::new()).0, 0);
        assert_eq!(of(doc! {"wallTime": DateTime::from_millis(-5)}).0, 0);
    }
}
