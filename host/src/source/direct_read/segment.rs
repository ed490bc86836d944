//! Reading one range of keys.

use std::sync::Arc;

use oplet_sdk::raw::EMPTY_DOCUMENT;
use tokio::time::Instant;

use super::{
    Error, ReadOptions, Target,
    command::AsOf,
    cursor::{Cursor, Mode, Opening},
    decode::{Filler, Held, Salt},
    error::wait_or_fail,
    target::is_there,
};
use crate::{
    backoff::Backoff,
    mongo::{Reply, Server, code, has_code},
    op::{Batch, BatchBuilder, Key, KeyRange, Origin, Position, Timestamp},
    source::Stats,
};

/// The server no longer has the time of a snapshot.
const SNAPSHOT_LOST: [i32; 2] = [code::SNAPSHOT_TOO_OLD, code::SNAPSHOT_UNAVAILABLE];

/// The collection may be another one by now, or none.
const PERHAPS_GONE: [i32; 3] = [
    code::NAMESPACE_NOT_FOUND,
    code::QUERY_PLAN_KILLED,
    code::COLLECTION_UUID_MISMATCH,
];

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
    /// The server no longer has the time of the segment. Without a key, what was given of it does not
    /// count, and all of the range is to be read anew. The next segments should be shorter.
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
            mode: Mode::of(&target, &options),
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

    async fn try_open(&mut self, mut as_of: AsOf) -> mongodb::error::Result<()> {
        let mut range = self.rest.clone();
        let mut opening = Opening {
            server: &self.server,
            target: &self.target,
            options: &self.options,
            mode: self.mode,
            range: &self.rest,
            as_of,
            // One more shows where the next segment begins.
            limit: self
                .options
                .documents_max
                .saturating_sub(self.given.0)
                .max(1)
                + 1,
        };
        if self.mode == Mode::Staged {
            if self.boundary.is_none() && self.given.0 == 0 {
                opening.limit = self.options.documents_max.max(1);
                let (boundary, at) = opening.find_boundary().await?;
                if let (AsOf::After(_), Some(at)) = (as_of, at) {
                    as_of = AsOf::At(at);
                }
                self.boundary = boundary;
            }
            range.to = self.boundary.clone().or(range.to);
        }
        opening.range = &range;
        opening.as_of = as_of;
        let cursor = opening.open().await?;
        let told = cursor.first().map(Reply::at_cluster_time).transpose();
        let told = told.map_err(mongodb::error::Error::custom)?.flatten();
        self.at = match as_of {
            AsOf::At(at) | AsOf::Current(at) => at,
            AsOf::After(after) => match told {
                Some(at) => at,
                None => {
                    let text = format!("the server read no snapshot after {after}");
                    return Err(mongodb::error::Error::custom(text));
                }
            },
        };
        self.cursor = Some(cursor);
        Ok(())
    }

    /// Servers before 6.0 read whatever has the name now.
    async fn check_identity(&self) -> Result<(), Error> {
        let is_told = self.target.checks_uuid || self.target.uuid.is_none();
        match is_told || is_there(&self.server, &self.target).await? {
            true => Ok(()),
            false => Err(self.gone()),
        }
    }

    async fn reopen(&mut self) -> Result<(), Error> {
        let as_of = match self.target.inexact() {
            None => AsOf::At(self.at),
            Some(_) => AsOf::Current(self.at),
        };
        match self.try_open(as_of).await {
            Ok(()) => self.check_identity().await,
            Err(error) => self.break_off(error).await,
        }
    }

    /// Decides what becomes of a segment whose cursor is gone.
    async fn break_off(&mut self, error: mongodb::error::Error) -> Result<(), Error> {
        self.cursor = None;
        self.stats.count_reopened();
        if let Some(held) = self.held.take() {
            self.rest.from = Some(held.key);
        } else if !self.holds() && self.given.0 > 0 {
            tracing::warn!(
                what = self.what,
                "reading begins again, and gives documents again"
            );
        }
        if has_code(&error, &SNAPSHOT_LOST) && self.target.inexact().is_none() {
            // Before the first document was given, nothing shows how far it has come.
            let is_begun = self.holds() && self.given.0 > 0;
            let at = self.rest.from.clone().filter(|_| is_begun);
            self.ended = Some(Ended::Cut(Cut::SnapshotLost(at)));
            return Ok(());
        }
        self.judge(error).await
    }

    /// Waits after a passing fault; everything else is the end.
    async fn judge(&mut self, error: mongodb::error::Error) -> Result<(), Error> {
        if has_code(&error, &PERHAPS_GONE) && !is_there(&self.server, &self.target).await? {
            return Err(self.gone());
        }
        wait_or_fail(error, &self.what, &mut self.backoff).await
    }

    fn gone(&self) -> Error {
        Error::Gone {
            namespace: self.target.namespace.clone(),
        }
    }

    /// Whether the last document is held back until it is known what follows it: where reading must
    /// go on, or ends early, is then the key of a document that was not given.
    fn holds(&self) -> bool {
        match self.mode {
            Mode::Keys => true,
            Mode::Staged => self.options.stages.keeps_id(),
            Mode::Whole => false,
        }
    }

    /// Turns a reply into a batch, if that has anything to give, and notes how the segment goes on.
    fn take(&mut self, reply: &Reply) -> Result<Option<Batch>, oplet_sdk::raw::Malformed> {
        let bytes = reply.bytes().len();
        self.stats.count_reply(bytes);
        self.given.1 += bytes as u64;
        if self.target.inexact().is_some() {
            self.until = reply.operation_time()?.unwrap_or_default().max(self.until);
        }
        let mut builder = BatchBuilder::new(reply.bytes().clone());
        let namespace = self.target.namespace.to_string();
        let mut filler = Filler::new(&mut builder, &namespace, self.at, self.salt);
        let mut held = self.held.take();
        if reply.documents()?.len() > EMPTY_DOCUMENT.len() {
            if let Some(held) = &held {
                filler.add_held(held);
            }
            let (count, last) = filler.add_reply(reply, self.holds())?;
            held = last;
            if let Some(cursor) = &mut self.cursor {
                cursor.received += count;
            }
        }
        if reply.is_last()? {
            let is_limited = self
                .cursor
                .take()
                .is_some_and(|cursor| cursor.limit == Some(cursor.received));
            self.ended = Some(match (held, &self.boundary) {
                (Some(held), _) if is_limited => Ended::Cut(Cut::Full(held.key)),
                (last, boundary) => {
                    if let Some(last) = last {
                        filler.add_held(&last);
                    }
                    let cut = |key: &Key| Ended::Cut(Cut::Full(key.clone()));
                    boundary.as_ref().map_or(Ended::End, cut)
                }
            });
        } else {
            self.held = held;
        }
        self.given.0 += builder.len() as u64;
        self.cut_when_full();
        let is_empty = builder.is_empty();
        let batch = builder.finish(Origin::DirectRead, Position::Time(self.at), false);
        Ok((!is_empty).then_some(batch))
    }

    /// Ends the segment before the document that is held back, where it has become too long. One of
    /// several documents at least has been given, so that there is an end to cutting.
    fn cut_when_full(&mut self) {
        let ReadOptions {
            bytes_max,
            time_max,
            ..
        } = self.options;
        let is_full = self.given.1 >= bytes_max || self.opened.elapsed() >= time_max;
        if is_full && self.given.0 > 0 && self.target.inexact().is_none() {
            if let Some(held) = self.held.take() {
                self.ended = Some(Ended::Cut(Cut::Full(held.key)));
                self.cursor = None;
            }
        }
    }
}
