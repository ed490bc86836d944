//! Whether a read will be over before the oplog no longer reaches back to where the streams are.

use std::time::Duration;

use tokio::time::Instant;

use super::DirectReadStatus;
use crate::op::Timestamp;

/// How long it is looked at how fast everything goes before that is told.
const LOOK: Duration = Duration::from_secs(20);

/// Compares how long the reading will take with how long the oplog will last. Warns once.
#[derive(Debug, Default)]
pub(super) struct Forecast {
    first: Option<Seen>,
    has_warned: bool,
}

/// How far everything was at one moment.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    documents: u64,
    left: u64,
    done: Timestamp,
    oldest: Timestamp,
}

impl Forecast {
    /// Looks how far everything is; `done` is where the streams are, and `oldest` what the oplog still
    /// has. What to tell people, if it will not do.
    pub(super) fn look(
        &mut self,
        at: Instant,
        reads: &[DirectReadStatus],
        done: Option<Timestamp>,
        oldest: Option<Timestamp>,
    ) -> Option<String> {
        let is_open = |read: &&DirectReadStatus| matches!(read.state, "planned" | "reading");
        let open = || reads.iter().filter(is_open);
        let left = |read: &DirectReadStatus| {
            let expected = read.documents_expected.unwrap_or_default();
            expected.saturating_sub(read.documents)
        };
        let seen = Seen {
            at,
            documents: reads.iter().map(|read| read.documents).sum(),
            left: open().map(left).sum(),
            done: done?,
            oldest: oldest?,
        };
        let first = *self.first.get_or_insert(seen);
        if self.has_warned || at - first.at < LOOK {
            return None;
        }
        let text = warning(&first, &seen)?;
        self.has_warned = true;
        Some(text)
    }
}

fn warning(first: &Seen, seen: &Seen) -> Option<String> {
    let seconds = (seen.at - first.at).as_secs_f64();
    let rate = seen.documents.saturating_sub(first.documents) as f64 / seconds;
    let needed = seen.left as f64 / rate;
    // Of each second, the streams handle so many; and the oplog loses so many at its end.
    let pace = |from: Timestamp, to: Timestamp| {
        (f64::from(to.seconds) - f64::from(from.seconds)) / seconds
    };
    let handled = pace(first.done, seen.done);
    let lost = pace(first.oldest, seen.oldest).max(0.0);
    let window = f64::from(seen.done.seconds) - f64::from(seen.oldest.seconds);
    let lasts = window / (lost - handled);
    let is_short = lost > handled && needed > lasts;
    is_short.then(|| {
        format!(
            "the direct read may outlast the oplog: {} documents are left, which takes about {} at {rate:.0} \
             documents/s, but at this pace the oplog reaches back to the streams' position for {} only; enlarge \
             the oplog (`replSetResizeOplog`), give the run more lanes or a faster sink, or set \
             `--direct-read-rate` so that the changes keep up",
            seen.left,
            time(needed),
            time(lasts),
        )
    })
}

fn time(seconds: f64) -> String {
    match Duration::try_from_secs_f64(seconds.round()) {
        Ok(time) => humantime::format_duration(time).to_string(),
        Err(_) => "for ever".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(documents: u64) -> DirectReadStatus {
        DirectReadStatus {
            cluster: None,
            namespace: "a.b".into(),
            modules: vec![],
            state: "reading",
            documents,
            documents_expected: Some(1_000_000),
            segments: 10,
            segments_read: 0,
            seconds: None,
            reason: None,
        }
    }

    /// Looks twice, half a minute apart.
    fn check(documents: u64, done: (u32, u32), oldest: (u32, u32)) -> Option<String> {
        let mut forecast = Forecast::default();
        let at = Instant::now();
        let time = |seconds| Some(Timestamp::new(seconds, 1));
        let first = forecast.look(at, &[read(0)], time(done.0), time(oldest.0));
        assert_eq!(first, None, "one look shows no pace");
        let at = at + Duration::from_secs(30);
        let reads = [read(documents)];
        let second = forecast.look(at, &reads, time(done.1), time(oldest.1));
        let third = forecast.look(at + LOOK, &reads, time(done.1), time(oldest.1));
        assert_eq!(third, None, "it is told once");
        second
    }

    #[test]
    fn warns_when_the_oplog_will_not_last() {
        // 100 documents a second, which takes 9,970 seconds; the position loses 1 of 1,000 seconds each.
        let text = check(3_000, (2_000, 2_000), (1_000, 1_030)).unwrap();
        for part in [
            "997000 documents",
            "2h 46m 10s",
            "100 documents/s",
            "16m 10s",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn is_silent_when_the_streams_keep_up_or_there_is_time() {
        for (documents, done, oldest) in [
            (3_000, (2_000, 2_030), (1_000, 1_030)),
            (3_000, (2_000, 2_000), (1_000, 1_000)),
            (3_000, (2_000, 2_029), (1_000, 1_030)),
            (900_000, (2_000, 2_000), (1_000, 1_030)),
        ] {
            assert_eq!(
                check(documents, done, oldest),
                None,
                "{documents} {done:?} {oldest:?}"
            );
        }
    }

    #[test]
    fn what_stands_still_never_ends() {
        let text = check(0, (2_000, 2_000), (1_000, 1_030)).unwrap();
        assert!(text.contains("for ever"), "{text}");
    }
}
