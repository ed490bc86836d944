//! From replies of a stream to ops.

use bson::RawDocumentBuf;
use bytes::Bytes;
use oplet_sdk::raw::{Malformed, Walk};
use tracing::{error, warn};

use super::{
    Commands,
    decode::{Decoded, Decoder},
    fragments::{Fragments, Part},
    lean,
    token::token_time,
};
use crate::{
    mongo::{Capabilities, Reply},
    op::{BatchBuilder, Scope, SourceKind},
    source::{Stats, Undecodable},
};

/// What a reply came to.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Ops in the order of the stream, each part with the token that it ends at; none where it ends
    /// at where it began. All parts but the last are there because of an event that came in fragments.
    pub(super) parts: Vec<(BatchBuilder, Option<RawDocumentBuf>)>,
    /// Whether there was any event, also one that is not delivered.
    pub(super) has_events: bool,
    /// Whether parts of an event were left out.
    pub(super) is_lean: bool,
    /// The token of the event that ended the stream.
    pub(super) invalidated: Option<RawDocumentBuf>,
    /// Events that could not be decoded.
    pub(super) undecodable: Vec<Undecodable>,
}

/// Takes the events out of replies, and joins those that came in fragments.
#[derive(Debug)]
pub(super) struct Gatherer {
    scope: Scope,
    commands: Commands,
    sharded: bool,
    expanded: bool,
    /// Only of a server that splits events.
    fragments: Option<Fragments>,
}

/// The events of one reply, as they become ops.
struct Reading<'a> {
    decoder: Decoder<'a>,
    stats: &'a Stats,
    gathered: Gathered,
}

impl Gatherer {
    /// Of a stream on a server that knows this.
    pub(super) fn new(
        scope: Scope,
        commands: Commands,
        sharded: bool,
        capabilities: Capabilities,
    ) -> Self {
        Self {
            scope,
            commands,
            sharded,
            expanded: capabilities.expanded_events,
            fragments: capabilities.splits_large_events.then(Fragments::default),
        }
    }

    /// The stream begins again: what has come of an event comes once more.
    pub(super) fn begin_again(&mut self) {
        if let Some(fragments) = &mut self.fragments {
            fragments.clear();
        }
    }

    /// Takes a reply.
    ///
    /// # Errors
    /// [`Malformed`] for one that is no list of documents. What is wrong with an event is counted and
    /// told, and the event is passed over.
    pub(super) fn take(&mut self, reply: &Reply, stats: &Stats) -> Result<Gathered, Malformed> {
        let mut reading = Reading {
            decoder: Decoder::new(&self.scope, self.commands, self.sharded, self.expanded),
            stats,
            gathered: Gathered::default(),
        };
        let mut builder = BatchBuilder::new(reply.bytes().clone());
        // Of the last event that is whole.
        let mut last_token = None;
        for element in Walk::new(reply.documents()?)? {
            let event = element?.value;
            let token = token_of(event);
            reading.gathered.has_events = true;
            let part = match &mut self.fragments {
                Some(fragments) => fragments.take(event),
                None => Ok(Part::Whole),
            };
            match part {
                Ok(Part::Whole) => reading.decode(event, token, &mut builder),
                Ok(Part::Fragment) => continue,
                Ok(Part::Last(event)) => {
                    let before = BatchBuilder::new(reply.bytes().clone());
                    reading.end_part(std::mem::replace(&mut builder, before), last_token);
                    reading.decode_joined(event, token);
                }
                Ok(Part::Torn) => reading.pass_over(
                    event,
                    token,
                    "it begins before the position, which lies inside of it",
                ),
                Err(malformed) => reading.pass_over(event, token, malformed),
            }
            last_token = token.or(last_token);
        }
        // The reply's own token lies behind the fragments that it ends with, and theirs is no place to
        // begin at: the event would never be whole.
        let after = match self.fragments.as_ref().is_some_and(Fragments::is_open) {
            true => last_token,
            false => reply.post_batch_resume_token()?.or(last_token),
        };
        reading.end_part(builder, after);
        Ok(reading.gathered)
    }
}

impl Reading<'_> {
    fn decode(&mut self, event: &[u8], token: Option<&[u8]>, builder: &mut BatchBuilder) {
        match self.decoder.decode(event, builder) {
            Ok(Decoded::Op | Decoded::Skipped) => {}
            Ok(Decoded::Lean) => {
                self.gathered.is_lean = true;
                self.stats.count_oversized();
                let at = token.and_then(token_time).unwrap_or_default();
                let left_out = lean::left_out(event);
                warn!(timestamp = %at, left_out, "a change is too large for the server to send whole");
            }
            Ok(Decoded::Invalidate) => self.gathered.invalidated = token.and_then(owned),
            Err(error) => self.pass_over(event, token, error),
        }
    }

    /// Adds the op of an event that came in fragments, as a part of its own: it does not lie in the
    /// reply.
    fn decode_joined(&mut self, event: Bytes, token: Option<&[u8]>) {
        self.decoder.forget_namespace();
        let mut builder = BatchBuilder::new(event.clone());
        self.decode(&event, token, &mut builder);
        self.decoder.forget_namespace();
        self.end_part(builder, token);
    }

    fn end_part(&mut self, ops: BatchBuilder, after: Option<&[u8]>) {
        self.gathered.parts.push((ops, after.and_then(owned)));
    }

    fn pass_over(&mut self, event: &[u8], token: Option<&[u8]>, reason: impl std::fmt::Display) {
        self.stats.count_undecodable();
        let at = token.and_then(token_time);
        let told = at.unwrap_or_default();
        error!(timestamp = %told, error = %reason, "an event could not be decoded and is passed over");
        self.gathered.undecodable.push(Undecodable {
            kind: SourceKind::ChangeStream,
            timestamp: at,
            reason: reason.to_string(),
            bytes: Bytes::copy_from_slice(event),
        });
    }
}

fn token_of(event: &[u8]) -> Option<&[u8]> {
    Walk::find(event, "_id").ok()??.document()
}

fn owned(token: &[u8]) -> Option<RawDocumentBuf> {
    RawDocumentBuf::from_bytes(token.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;
    use crate::op::{Position, Timestamp};

    fn token(name: &str) -> Document {
        doc! { "_data": name }
    }

    /// The delete of a document whose `_id` is also the event's token.
    fn event(name: &str) -> Document {
        doc! {
            "_id": token(name), "operationType": "delete", "clusterTime": bson::Timestamp { time: 9, increment: 1 },
            "ns": { "db": "shop", "coll": "orders" }, "documentKey": { "_id": name },
        }
    }

    /// The two fragments of one.
    fn fragments(name: &str) -> [Document; 2] {
        let mut first = event(name);
        let key = first.remove("documentKey");
        first.insert("_id", token(&format!("{name}1")));
        first.insert("splitEvent", doc! { "fragment": 1, "of": 2 });
        let second = doc! { "_id": token(name), "splitEvent": { "fragment": 2, "of": 2 }, "documentKey": key };
        [first, second]
    }

    /// Takes a reply of these events; gives the `_id`s of each part's ops, and the token behind it.
    fn take(
        gatherer: &mut Gatherer,
        stats: &Stats,
        events: &[Document],
        last: &str,
    ) -> Vec<(Vec<String>, String)> {
        let cursor = doc! { "nextBatch": events, "postBatchResumeToken": token(last) };
        let reply = Reply::crafted(&doc! { "cursor": cursor });
        let gathered = gatherer.take(&reply, stats).unwrap();
        let parts = gathered.parts.into_iter().map(|(ops, after)| {
            let position = Position::Time(Timestamp::default());
            let batch = ops.finish(SourceKind::ChangeStream, position, true);
            let ids = batch.ops().map(|op| {
                let (_, id) = op.document_id().unwrap();
                String::from_utf8(id[4..id.len() - 1].to_vec()).unwrap()
            });
            let after = after.map(|token| token.get_str("_data").unwrap().to_owned());
            (ids.collect(), after.unwrap_or_default())
        });
        parts.collect()
    }

    fn gatherer() -> Gatherer {
        Gatherer::new(
            Scope::new([]),
            Commands::Data,
            false,
            Capabilities::of_version("7.0.0"),
        )
    }

    fn part(ids: &[&str], after: &str) -> (Vec<String>, String) {
        (ids.iter().map(ToString::to_string).collect(), after.into())
    }

    #[test]
    fn an_event_in_fragments_is_one_op_between_its_neighbours() {
        let [first, second] = fragments("b");
        let events = [event("a"), first, second, event("c")];
        let parts = take(&mut gatherer(), &Stats::default(), &events, "end");
        let expected = [part(&["a"], "a"), part(&["b"], "b"), part(&["c"], "end")];
        assert_eq!(parts, expected);
    }

    #[test]
    fn a_position_never_lies_inside_of_an_event() {
        let (mut gatherer, stats) = (gatherer(), Stats::default());
        let [first, second] = fragments("b");
        let parts = take(&mut gatherer, &stats, &[event("a"), first.clone()], "b1");
        assert_eq!(parts, [part(&["a"], "a")]);
        let parts = take(&mut gatherer, &stats, &[], "b1");
        assert_eq!(parts, [part(&[], "")], "it is still open");
        // The stream breaks off, and begins again before the event.
        gatherer.begin_again();
        take(&mut gatherer, &stats, &[first], "b1");
        let parts = take(&mut gatherer, &stats, &[second, event("c")], "end");
        let expected = [part(&[], ""), part(&["b"], "b"), part(&["c"], "end")];
        assert_eq!(parts, expected);
        assert_eq!(
            stats.undecodable.load(std::sync::atomic::Ordering::Relaxed),
            0
        );
    }

    #[test]
    fn an_event_whose_beginning_lies_behind_is_passed_over_and_counted() {
        let (mut gatherer, stats) = (gatherer(), Stats::default());
        let [_, second] = fragments("b");
        let parts = take(&mut gatherer, &stats, &[second, event("c")], "end");
        assert_eq!(parts, [part(&["c"], "end")]);
        assert_eq!(
            stats.undecodable.load(std::sync::atomic::Ordering::Relaxed),
            1
        );
    }

    /// gtm's row A25, as far as change streams go.
    #[test]
    fn an_event_that_cannot_be_decoded_is_passed_over_and_counted() {
        let stats = Stats::default();
        let mut broken = event("b");
        broken.remove("documentKey");
        let events = [event("a"), broken, event("c")];
        let parts = take(&mut gatherer(), &stats, &events, "end");
        assert_eq!(parts, [part(&["a", "c"], "end")]);
        assert_eq!(
            stats.undecodable.load(std::sync::atomic::Ordering::Relaxed),
            1
        );
    }
}
