//! The ops of a recording, whatever it holds.

use oplet::{
    op::{DocumentState, Namespace, Scope},
    replay::{self, Chunk, Content, Recording},
    source::oplog::Dump,
};
use oplet_sdk::{abi::field, raw::Walk};

/// Reads ops, in order, as far as they are wanted.
pub(super) struct Ops {
    recording: Recording,
    dump: Dump,
    /// What is wanted, unless that is everything.
    scope: Option<Scope>,
}

impl Ops {
    pub(super) fn new(recording: Recording, scope: Scope) -> Self {
        let is_everything = scope.namespaces() == [Namespace::Deployment];
        Self {
            recording,
            dump: Dump::new(scope.clone()),
            scope: (!is_everything).then_some(scope),
        }
    }

    /// The next ops, at least one; none at the end. Entries that cannot be decoded are told and passed
    /// over, as in a run.
    pub(super) fn next(&mut self) -> Result<Option<Chunk>, replay::Error> {
        loop {
            let Some(mut chunk) = self.recording.next()? else {
                return Ok(None);
            };
            match (chunk.content(), &self.scope) {
                (Content::OplogEntries, _) => chunk = self.decode(&chunk),
                (Content::Ops, Some(scope)) => chunk.retain(|op| is_within(op, scope)),
                (Content::Ops, None) => {}
            }
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }

    fn decode(&mut self, entries: &Chunk) -> Chunk {
        let mut ops = Vec::new();
        for (entry, _) in entries.documents() {
            let batches = match self.dump.entry(entry) {
                Ok(batches) => batches,
                Err(error) => {
                    let cause = &error.fault;
                    tracing::warn!(%error, %cause, "an entry is passed over");
                    continue;
                }
            };
            for op in batches.iter().flat_map(|batch| batch.ops()) {
                let mut bytes = Vec::new();
                op.encode(DocumentState::NotAsked, &mut bytes);
                ops.push((bytes, op.is_pending()));
            }
        }
        Chunk::of_ops(ops)
    }
}

fn is_within(op: &[u8], scope: &Scope) -> bool {
    let namespace = Walk::find(op, field::NAMESPACE).ok().flatten();
    let namespace = namespace.and_then(|element| element.text());
    namespace.is_some_and(|namespace| scope.contains(namespace))
}
