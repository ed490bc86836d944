//! Events that a server sends in fragments.
//!
//! With `$changeStreamSplitLargeEvent` an event over 16 MB comes as several documents, one behind the
//! other. Each has a resume token of its own and some of the event's top-level fields, none of which
//! is divided:
//!
//! ```json
//! {"_id": {"_data": "82...1"}, "splitEvent": {"fragment": 1, "of": 2}, "operationType": "update", "clusterTime": ...,
//!  "ns": ..., "documentKey": {"_id": 7}, "fullDocument": {"_id": 7, ...}}
//! {"_id": {"_data": "82...2"}, "splitEvent": {"fragment": 2, "of": 2}, "updateDescription": {...}}
//! ```
//!
//! Source: the page "$changeStreamSplitLargeEvent (aggregation)" of the server's manual.

use bytes::Bytes;
use oplet_sdk::raw::{Malformed, Walk, Writer};

/// What an event is part of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Of nothing: it is whole.
    Whole,
    /// Of an event whose other fragments are yet to come.
    Fragment,
    /// It is the last fragment of this event, which has the fragment's resume token.
    Last(Bytes),
    /// It is the last fragment of an event whose beginning was not seen.
    Torn,
}

/// The fragments of one event, as far as they came.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    /// From the first on, without one that is missing.
    so_far: Vec<Vec<u8>>,
}

impl Fragments {
    /// Takes what may be a fragment.
    ///
    /// # Errors
    /// [`Malformed`] for one that does not say which it is.
    pub(super) fn take(&mut self, event: &[u8]) -> Result<Part, Malformed> {
        let Some(split) = Walk::find(event, "splitEvent")? else {
            return Ok(Part::Whole);
        };
        let numbers = split.document().and_then(|split| {
            let number = |field| Walk::find(split, field).ok()??.int64();
            Some((number("fragment")?, number("of")?))
        });
        let (fragment, of) = numbers.ok_or(Malformed { at: split.at })?;
        if fragment == 1 {
            self.clear();
        }
        if fragment != self.so_far.len() as i64 + 1 {
            self.clear();
            return Ok(match fragment == of {
                true => Part::Torn,
                false => Part::Fragment,
            });
        }
        self.so_far.push(event.to_vec());
        match fragment == of {
            true => Ok(Part::Last(self.join()?.into())),
            false => Ok(Part::Fragment),
        }
    }

    /// Whether an event has begun that is not whole yet.
    pub(super) fn is_open(&self) -> bool {
        !self.so_far.is_empty()
    }

    /// Forgets what has come: the stream begins again before that event.
    pub(super) fn clear(&mut self) {
        self.so_far.clear();
    }

    /// The event, whose resume token is that of its last fragment.
    fn join(&mut self) -> Result<Vec<u8>, Malformed> {
        let fragments = std::mem::take(&mut self.so_far);
        let mut event = Vec::with_capacity(fragments.iter().map(Vec::len).sum());
        let mut writer = Writer::new(&mut event);
        for (index, fragment) in fragments.iter().enumerate() {
            let is_last = index + 1 == fragments.len();
            for element in Walk::new(fragment)? {
                let element = element?;
                let is_of_fragment = element.key == b"_id" && !is_last;
                if !is_of_fragment && element.key != b"splitEvent" {
                    writer.raw(element.key, element.kind, element.value);
                }
            }
        }
        writer.finish();
        Ok(event)
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, RawDocumentBuf, doc};

    use super::*;

    /// Takes one after the other, each a number, of how many, and fields.
    fn take(fragments: &mut Fragments, event: (i32, i32, Document)) -> Part {
        let (fragment, of, fields) = event;
        let mut event = doc! { "_id": { "_data": format!("82{fragment}") } };
        event.insert("splitEvent", doc! { "fragment": fragment, "of": of });
        event.extend(fields);
        let event = RawDocumentBuf::try_from(&event).unwrap();
        fragments.take(event.as_bytes()).unwrap()
    }

    fn last(part: Part) -> Document {
        let Part::Last(event) = part else {
            panic!("{part:?}");
        };
        Document::try_from(RawDocumentBuf::from_bytes(event.to_vec()).unwrap()).unwrap()
    }

    #[test]
    fn fragments_become_the_event() {
        let mut fragments = Fragments::default();
        for round in 0..2 {
            let first = doc! { "operationType": "update", "ns": { "db": "shop" } };
            assert_eq!(take(&mut fragments, (1, 3, first)), Part::Fragment);
            assert!(fragments.is_open());
            let second = doc! { "fullDocument": { "n": round } };
            assert_eq!(take(&mut fragments, (2, 3, second)), Part::Fragment);
            let third = doc! { "updateDescription": { "n": round } };
            let event = last(take(&mut fragments, (3, 3, third)));
            let expected = doc! {
                "operationType": "update", "ns": { "db": "shop" }, "fullDocument": { "n": round },
                "_id": { "_data": "823" }, "updateDescription": { "n": round },
            };
            assert_eq!(event, expected);
            assert!(!fragments.is_open());
        }
        let event = last(take(&mut fragments, (1, 1, doc! { "n": 1 })));
        assert_eq!(event, doc! { "_id": { "_data": "821" }, "n": 1 });
    }

    #[test]
    fn what_is_not_split_is_left_alone() {
        let event = RawDocumentBuf::try_from(&doc! { "operationType": "insert" }).unwrap();
        let mut fragments = Fragments::default();
        assert_eq!(fragments.take(event.as_bytes()), Ok(Part::Whole));
        let odd = RawDocumentBuf::try_from(&doc! { "splitEvent": 1 }).unwrap();
        assert!(fragments.take(odd.as_bytes()).is_err());
    }

    #[test]
    fn an_event_without_its_beginning_is_told_once() {
        let mut fragments = Fragments::default();
        assert_eq!(take(&mut fragments, (2, 3, doc! {})), Part::Fragment);
        assert!(!fragments.is_open());
        assert_eq!(take(&mut fragments, (3, 3, doc! {})), Part::Torn);
        // One that begins again is whole.
        assert_eq!(
            take(&mut fragments, (1, 2, doc! { "a": 1 })),
            Part::Fragment
        );
        assert_eq!(
            take(&mut fragments, (1, 2, doc! { "b": 1 })),
            Part::Fragment
        );
        let event = last(take(&mut fragments, (2, 2, doc! { "c": 1 })));
        assert!(!event.contains_key("a") && event.contains_key("b"));
    }
}
