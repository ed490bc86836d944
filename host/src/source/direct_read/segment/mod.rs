//! Reading one range of keys.

mod give;
mod open;

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Error, ReadOptions, Target,
    command::AsOf,
    cursor::{Cursor, Mode},
    decode::{Held, Salt},
};
use crate::{
    backoff::Backoff,
    mongo::Server,
    op::{Batch, Key, KeyRange, Timestamp},
    source::Stats,
};

/// What comes next of a segment.
#[derive(Debug)]
pub enum Read {
    /// Documents, as inserts, in the order of their keys.
    Batch(Batch),
    /// The segment ends before its range does.
    Cut(Cut),
    /// Every document of the range was given.
    End,
}

/// Why a segment ends early, and where: all documents of its range before the key were given, and
/// none from there on. What is left of the range is for a new reader, which reads it at a newer time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// It has grown long enough.
    Full(Key),
    /// The server no longer has the time of the segment, or would not when all of it was read. Without a
    /// key, what was given of it does not count, and all of the range is to be read anew. The next
    /// segments should be shorter, and no [scans](ReadOptions::may_scan).
    SnapshotLost(Option<Key>),
}

/// Reads the documents of one range, as they stood at one cluster time.
#[derive(Debug)]
pub struct SegmentReader {
    server: Server,
    target: Arc<Target>,
    options: ReadOptions,
    stats: Arc<Stats>,
    mode: Mode,
    salt: Salt,
    what: String,
    /// A scan: which member it is of.
    member: Option<String>,
    /// What is still to be received.
    rest: KeyRange,
    /// The time of the segment, once it is open.
    at: Timestamp,
    /// The newest time that anything given may be of.
    until: Timestamp,
    opened: Instant,
    cursor: Option<Cursor>,
    /// Stages: where the segment ends before its range does.
    boundary: Option<Key>,
    /// The last document that was received, where reading can go on from it.
    held: Option<Held>,
    /// Documents and bytes that were given.
    given: (u64, u64),
    backoff: Backoff,
    ended: Option<Ended>,
}

#[derive(Debug, Clone)]
enum Ended {
    Cut(Cut),
    End,
}

impl SegmentReader {
    /// A reader of that range; nothing is asked before [`open`](Self::open). Where the target
    /// [has no ranges](Target::has_ranges), or the stages need all documents at once, the range must be
    /// all keys.
    #[must_use]
    pub fn new(
        server: &Server,
        target: Arc<Target>,
        range: KeyRange,
        options: ReadOptions,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            server: server.clone(),
            mode: Mode::of(server, &target, &range, &options),
            member: None,
            salt: Salt::new(&target, options.started),
            what: format!("read {}", target.namespace),
            target,
            options,
            stats,
            rest: range,
            at: Timestamp::default(),
            until: Timestamp::default(),
            opened: Instant::now(),
            cursor: None,
            boundary: None,
            held: None,
            given: (0, 0),
            backoff: Backoff::new(),
            ended: None,
        }
    }

    /// Begins: finds the time of the segment, which is at or after `after`, and is returned. Of an
    /// [inexact](Target::inexact) target it is a time before the first document is read.
    ///
    /// Passing faults are waited out. Not cancellation safe: after a dropped call, drop the reader, too.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open(&mut self, after: Timestamp) -> Result<Timestamp, Error> {
        loop {
            let as_of = match self.target.inexact() {
                None => AsOf::After(after),
                Some(_) => {
                    let newest = self.server.newest_time().await.unwrap_or_default();
                    AsOf::Current(newest.max(after))
                }
            };
            match self.try_open(as_of).await {
                Ok(()) => break,
                Err(error) => self.judge(error).await?,
            }
        }
        if self.mode == Mode::Scan {
            self.member = self.primary().await;
        }
        self.opened = Instant::now();
        self.check_identity().await?;
        Ok(self.at)
    }

    /// The time of the segment, as [`open`](Self::open) returned it.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The newest time that what was given may be of: that of the segment itself, or, of an
    /// [inexact](Target::inexact) target, one after its last document was read.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.until.max(self.at)
    }

    /// Documents and bytes that were given so far.
    #[must_use]
    pub fn given(&self) -> (u64, u64) {
        self.given
    }

    /// What comes next. After a [`Read::Cut`] or [`Read::End`], the same again.
    ///
    /// A passing fault is waited out, and reading goes on at the same time behind the last document that
    /// was given; where stages take the `_id`s away, or there is no order, from the beginning. Not
    /// cancellation safe: after a dropped call, drop the reader, too.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn next(&mut self) -> Result<Read, Error> {
        loop {
            match &self.ended {
                Some(Ended::Cut(cut)) => return Ok(Read::Cut(cut.clone())),
                Some(Ended::End) => return Ok(Read::End),
                None => {}
            }
            let Some(cursor) = &mut self.cursor else {
                self.reopen().await?;
                continue;
            };
            match cursor.next().await {
                Some(Ok(reply)) => {
                    if cursor.has_gone_on {
                        self.backoff.reset();
                    }
                    if let Some(batch) = self.take(&reply).map_err(Error::broken_reply)? {
                        if let Some(pace) = &self.options.pace {
                            pace.take(batch.len()).await;
                        }
                        return Ok(Read::Batch(batch));
                    }
                }
                Some(Err(error)) => self.break_off(error).await?,
                None => {
                    let error = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                    self.break_off(error.into()).await?;
                }
            }
        }
    }
}
