//! From a segment's replies to what is given of it.

use oplet_sdk::raw::{EMPTY_DOCUMENT, Malformed, kind};

use super::{Cut, Ended, SegmentReader};
use crate::{
    mongo::Reply,
    op::{Batch, BatchBuilder, Key, Origin, Position},
    source::direct_read::{
        command::is_of_max_key,
        cursor::Mode,
        decode::{Filler, Held},
    },
};

impl SegmentReader {
    /// Whether the last document is held back until it is known what follows it: where reading must
    /// go on, or ends early, is then the key of a document that was not given.
    pub(super) fn holds(&self) -> bool {
        match self.mode {
            Mode::Keys => true,
            Mode::Staged => self.options.stages.keeps_id(),
            Mode::Scan | Mode::Whole => false,
        }
    }

    /// Turns a reply into a batch, if that has anything to give, and notes how the segment goes on.
    pub(super) fn take(&mut self, reply: &Reply) -> Result<Option<Batch>, Malformed> {
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
            let cursor = self.cursor.take();
            let is_limited = cursor.is_some_and(|cursor| cursor.limit == Some(cursor.received));
            if !is_limited && self.is_short_of_max_key() {
                self.rest.from = Some(Key::new(kind::MAX_KEY, &[]));
                self.held = held;
            } else {
                let (last, ended) = self.end(held, is_limited);
                if let Some(last) = last {
                    filler.add_held(&last);
                }
                self.ended = Some(ended);
            }
        } else {
            self.held = held;
        }
        self.given.0 += builder.len() as u64;
        if self.ended.is_none() {
            self.cut_when_full();
        }
        let is_empty = builder.is_empty();
        let batch = builder.finish(Origin::DirectRead, Position::Time(self.at), false);
        Ok((!is_empty).then_some(batch))
    }

    /// How the segment ends when its cursor has, and the document that is still to be given.
    fn end(&self, held: Option<Held>, is_limited: bool) -> (Option<Held>, Ended) {
        match (held, &self.boundary) {
            (Some(held), _) if is_limited => (None, Ended::Cut(Cut::Full(held.key))),
            (last, Some(boundary)) => (last, Ended::Cut(Cut::Full(boundary.clone()))),
            (last, None) => (last, Ended::End),
        }
    }

    /// Whether what was read ends just before the greatest key, and the range does not.
    fn is_short_of_max_key(&self) -> bool {
        let is_open = self.rest.from.is_some() && self.rest.to.is_none();
        self.mode == Mode::Keys && is_open && !is_of_max_key(&self.rest)
    }

    /// Whether a scan will not be at its end in time, as far as can be told by now.
    fn is_slow(&self) -> bool {
        let (elapsed, time_max) = (self.opened.elapsed(), self.options.time_max);
        let documents = self.target.documents.unwrap_or_default().max(1);
        let done = self.given.0 as f64 / documents as f64;
        elapsed >= time_max / 4 && elapsed.as_secs_f64() > time_max.as_secs_f64() * done
    }

    /// Ends the segment where it has become too long: before the document that is held back. One of
    /// several documents at least has been given, so that there is an end to cutting.
    fn cut_when_full(&mut self) {
        if self.mode == Mode::Scan && self.is_slow() {
            tracing::info!(what = self.what, "one scan would take too long");
            self.ended = Some(Ended::Cut(Cut::SnapshotLost(None)));
            self.cursor = None;
            return;
        }
        let is_full = self.given.1 >= self.options.bytes_max
            || self.opened.elapsed() >= self.options.time_max;
        let may_cut = self.given.0 > 0 && self.target.inexact().is_none();
        if let Some(held) = self.held.take_if(|_| is_full && may_cut) {
            self.ended = Some(Ended::Cut(Cut::Full(held.key)));
            self.cursor = None;
        }
    }
}
