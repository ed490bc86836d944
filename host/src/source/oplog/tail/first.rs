//! What the first entry of a cursor shows: whether this oplog holds what we have read of it.

use tracing::{info, warn};

use super::{Link, Tail};
use crate::{
    op::{OpTime, Position, Timestamp},
    source::{Error, oldest_entry},
};

/// What the first entry of a cursor has to show. A cursor is opened *at* the position, not behind it:
/// a server whose oplog no longer reaches back to it would else begin at its oldest entry, and say
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// It was seen to be right, or anything is.
    Any,
    /// It is this entry, and is behind us.
    Entry(OpTime),
    /// It is at this time, and behind us; or later, and then the oplog must reach back to this time.
    At(Timestamp),
}

/// What an entry turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It follows the position.
    New,
    /// It is the one at the position, and is done.
    Behind,
    /// It belongs to another history than the position; the tail has stepped back, and the cursor is
    /// to be opened again.
    Diverged,
}

impl Tail {
    /// Looks at the first entry of a cursor.
    pub(super) async fn look_at_first(&mut self, entry: &[u8]) -> Result<Seen, Error> {
        let found = match Link::read(entry) {
            Ok(link) => link.op_time,
            // It cannot be decoded later either, and is counted then.
            Err(_) => return Ok(Seen::New),
        };
        self.waits = false;
        let (expected, exact) = match std::mem::replace(&mut self.first, First::Any) {
            First::Any => return Ok(Seen::New),
            First::Entry(op_time) if op_time == found => return Ok(Seen::Behind),
            First::At(timestamp) if timestamp == found.timestamp => return Ok(Seen::Behind),
            First::Entry(op_time) => (op_time.timestamp, Some(op_time)),
            First::At(timestamp) => (timestamp, None),
        };
        let oldest = oldest_entry(&self.client, &self.options.oplog_namespace).await?;
        match (oldest, exact) {
            (Some(oldest), Some(_)) if oldest.timestamp > expected => {
                Err(self.rolled_over(oldest.timestamp))
            }
            // Nothing can lie between a time and the next one: that is how a run that began at the
            // oldest entry, and has not done it yet, comes back.
            (Some(oldest), None) if oldest.timestamp > expected.next() && !oldest.is_beginning => {
                Err(self.rolled_over(oldest.timestamp))
            }
            (_, None) => Ok(Seen::New),
            (oldest, Some(op_time)) => {
                let oldest = oldest.map(|oldest| oldest.timestamp);
                self.step_back(op_time, oldest).await?;
                Ok(Seen::Diverged)
            }
        }
    }

    fn rolled_over(&self, oldest: Timestamp) -> Error {
        Error::PositionLost {
            position: self.position.clone(),
            oldest: Some(oldest),
            reason: "the oplog no longer reaches back to it".to_owned(),
        }
    }

    /// Nothing is there at or after the position: a member that lags behind has yet to come to it.
    pub(super) fn wait_for_first(&mut self) {
        if let First::Entry(_) = self.first
            && !std::mem::replace(&mut self.waits, true)
        {
            info!(position = %self.position,
                "the server has not come to the position yet; waiting for it");
        }
    }

    /// The entry at our position is not in this oplog, which has older and newer ones: its history is
    /// another one, and what we have read last was rolled back. Goes back to the last entry that both
    /// histories have.
    ///
    /// That is the newest before the position with no higher term. Where it is of our own term: a term
    /// has one primary, whose entries each member has without a gap, so what is older than our entry
    /// was before it in both histories. Where it is of an older term, the same holds for all that a
    /// majority ever acknowledged, and we read nothing else: only a set that lost a majority of its
    /// members (reconfigured by force, or restored from a backup) comes here at all.
    async fn step_back(&mut self, lost: OpTime, oldest: Option<Timestamp>) -> Result<(), Error> {
        let before = bson::Timestamp::from(lost.timestamp);
        let filter = bson::doc! { "ts": { "$lt": before }, "t": { "$lte": lost.term } };
        let newest = bson::doc! { "$natural": -1 };
        let common = self.find_entry(filter, Some(newest)).await?;
        let common = common.and_then(|entry| Link::read(entry.as_bytes()).ok());
        let Some(Link { op_time, .. }) = common else {
            return Err(Error::PositionLost {
                position: self.position.clone(),
                oldest,
                reason:
                    "the entry there is another one, and nothing older is left: it was rolled back"
                        .to_owned(),
            });
        };
        warn!(position = %lost.timestamp, term = lost.term, back_to = %op_time.timestamp,
            "the entry at the position was rolled back: what was read behind the last common entry never \
             happened, and what is there instead is read now");
        self.position = Position::Oplog(op_time);
        self.pushed = self.position.clone();
        self.behind.forget();
        Ok(())
    }
}
