//! A batch of ops as it came from the server.

use bytes::Bytes;

use super::{Cluster, Op, OpIndex, Operation, Origin, Position, Timestamp};

/// Where a part of an op lies: in the server's reply, or among the parts that the source made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub(super) start: u32,
    pub(super) len: u32,
}

/// The bit of [`Span::start`] that tells the two buffers apart; neither ever reaches 2 GiB.
const IN_EXTRA: u32 = 1 << 31;

/// A value whose BSON type is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    /// BSON type byte.
    pub kind: u8,
    /// The value's bytes.
    pub span: Span,
}

/// One op, as places in its batch.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// What happened.
    pub operation: Operation,
    /// An update that replaced the whole document.
    pub replace: bool,
    /// The document of this update must be looked up.
    pub pending: bool,
    /// Cluster time.
    pub timestamp: Timestamp,
    /// Which op of that cluster time.
    pub index: OpIndex,
    /// The op comes from a sharded cluster, where a cluster time does not name one entry.
    pub sharded: bool,
    /// Text: `db.coll`, or `db`.
    pub namespace: Span,
    /// The document's `_id`; none for commands.
    pub id: Option<Value>,
    /// Shard key and `_id`, when there is more than `_id`.
    pub document_key: Option<Span>,
    /// The document, or the command.
    pub data: Option<Span>,
    /// What an update changed.
    pub update_description: Option<Span>,
    /// The pre-image.
    pub before: Option<Span>,
    /// The server's wall clock, in milliseconds since 1970.
    pub wall_time_ms: Option<i64>,
    /// Session (a document) and number of the transaction that the op was part of.
    pub txn: Option<(Span, i64)>,
}

impl Record {
    /// A record with nothing but what every op has.
    #[must_use]
    pub const fn new(operation: Operation, namespace: Span, timestamp: Timestamp) -> Self {
        Self {
            operation,
            replace: false,
            pending: false,
            timestamp,
            index: OpIndex::Known(0),
            sharded: false,
            namespace,
            id: None,
            document_key: None,
            data: None,
            update_description: None,
            before: None,
            wall_time_ms: None,
            txn: None,
        }
    }
}

/// The place of all that was appended behind `start`.
pub(super) fn span_behind(start: usize, extra: &[u8]) -> Span {
    Span {
        start: start as u32 | IN_EXTRA,
        len: (extra.len() - start) as u32,
    }
}

/// Ops in source order, over the reply that they came in, and where the source stands after them.
#[derive(Debug)]
pub struct Batch {
    pub(super) body: Bytes,
    pub(super) extra: Bytes,
    pub(super) records: Vec<Record>,
    pub(super) source: Origin,
    pub(super) position: Position,
    pub(super) caught_up: bool,
    /// Whether there may be commands among the ops.
    pub(super) has_commands: bool,
    /// Where several deployments are read, the one that it comes from.
    pub(super) cluster: Option<Cluster>,
    /// Bytes that it counts with: less than it holds, where others hold the same.
    pub(super) bytes: usize,
}

impl Batch {
    /// How many ops there are; a batch of none only moves the position.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no op.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes held by the batch; of those that it shares with a batch that was [split
    /// off](Self::split_to), its part.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes + self.records.len() * size_of::<Record>()
    }

    /// Where the source stands when all these ops are done.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Which reader the ops came through.
    #[must_use]
    pub fn source(&self) -> Origin {
        self.source
    }

    /// The deployment that it comes from, where several are read.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Says which of several deployments it comes from: its ops then carry that, and have other ids.
    pub fn set_cluster(&mut self, cluster: Cluster) {
        self.cluster = Some(cluster);
    }

    /// Whether the source had nothing more to give when it gave this.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.caught_up
    }

    /// The op of that place.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn op(&self, index: usize) -> Op<'_> {
        Op::new(self, &self.records[index])
    }

    /// The ops in source order.
    pub fn ops(&self) -> impl ExactSizeIterator<Item = Op<'_>> {
        self.records.iter().map(|record| Op::new(self, record))
    }

    /// The places of the commands among the ops, in order. Costs nothing where there is none.
    pub fn commands(&self) -> impl Iterator<Item = usize> + '_ {
        let records = match self.has_commands {
            true => &self.records[..],
            false => &[],
        };
        let is_command = |record: &Record| record.operation == Operation::Command;
        let records = records.iter().enumerate();
        records.filter_map(move |(place, record)| is_command(record).then_some(place))
    }

    /// Leaves only the ops that are to be kept, and tells how many others there were. They count as
    /// passed: the position stays.
    pub fn retain(&mut self, mut keep: impl FnMut(&Op<'_>) -> bool) -> usize {
        let mut records = std::mem::take(&mut self.records);
        let before = records.len();
        // The batch's bytes are all that an op looks at besides its record.
        records.retain(|record| keep(&Op::new(self, record)));
        self.records = records;
        before - self.records.len()
    }

    /// Leaves only the first `len` ops; the position then lies after ops that are not in the batch.
    pub fn truncate(&mut self, len: usize) {
        self.records.truncate(len);
    }

    /// Lets the batch end at an earlier position, where ops behind it were [cut off](Self::truncate).
    pub fn hold_at(&mut self, position: Position) {
        self.position = position;
    }

    /// Leaves out the first `len` ops: they are done already.
    pub fn skip(&mut self, len: usize) {
        self.records.drain(..len);
    }

    /// Leaves out the ops of these places, which are in order: they need not be handled.
    pub fn leave_out(&mut self, places: &[u32]) {
        if places.is_empty() {
            return;
        }
        let mut left_out = places.iter().peekable();
        let mut place = 0;
        self.records.retain(|_| {
            let stays = left_out.next_if_eq(&&place).is_none();
            place += 1;
            stays
        });
    }

    /// Gives ops documents that came later than they; they are there when that is
    /// [finished](Additions::finish).
    #[must_use]
    pub fn add_documents(&mut self) -> Additions<'_> {
        Additions {
            extra: self.extra.to_vec(),
            batch: self,
        }
    }

    /// Splits off the first `len` ops, as a batch that ends at `position`; what is left keeps its own.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn split_to(&mut self, len: usize, position: Position) -> Self {
        let rest = self.records.split_off(len);
        let records = std::mem::replace(&mut self.records, rest);
        let ops = records.len() + self.records.len();
        let bytes = self.bytes * records.len() / ops.max(1);
        self.bytes -= bytes;
        Self {
            body: self.body.clone(),
            extra: self.extra.clone(),
            records,
            source: self.source,
            position,
            caught_up: false,
            has_commands: self.has_commands,
            cluster: self.cluster.clone(),
            bytes,
        }
    }

    pub(super) fn slice(&self, span: Span) -> &[u8] {
        let (buffer, start) = match span.start & IN_EXTRA {
            0 => (&self.body[..], span.start),
            _ => (&self.extra[..], span.start & !IN_EXTRA),
        };
        &buffer[start as usize..(start + span.len) as usize]
    }
}

/// Documents that are given to ops of a batch.
#[derive(Debug)]
pub struct Additions<'a> {
    batch: &'a mut Batch,
    extra: Vec<u8>,
}

impl Additions<'_> {
    /// The op of that place, without what was added.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn op(&self, place: usize) -> Op<'_> {
        self.batch.op(place)
    }

    /// Gives an update its document, which `write` appends: it need not be looked up then. When that
    /// fails, the op is as it was.
    ///
    /// # Errors
    /// What `write` answers.
    ///
    /// # Panics
    /// When there is no op of that place.
    pub fn set_data<E>(
        &mut self,
        place: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.extra.len();
        if let Err(error) = write(&mut self.extra) {
            self.extra.truncate(start);
            return Err(error);
        }
        let record = &mut self.batch.records[place];
        record.data = Some(span_behind(start, &self.extra));
        record.pending = false;
        Ok(())
    }

    /// Gives an op its document before the change.
    ///
    /// # Panics
    /// When there is no op of that place.
    pub fn set_before(&mut self, place: usize, document: &[u8]) {
        let start = self.extra.len();
        self.extra.extend_from_slice(document);
        self.batch.records[place].before = Some(span_behind(start, &self.extra));
    }

    /// From now on the ops have what was added.
    pub fn finish(self) {
        let Self { batch, extra } = self;
        batch.bytes += extra.len() - batch.extra.len();
        batch.extra = extra.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{BatchBuilder, SourceKind};

    /// A batch of one op per second, from 0 on.
    fn batch(len: u32) -> Batch {
        let mut builder = BatchBuilder::new(Vec::new().into());
        let namespace = builder.make(|extra| extra.extend_from_slice(b"a.b"));
        for second in 0..len {
            let time = Timestamp::new(second, 1);
            builder.push(Record::new(Operation::Insert, namespace, time));
        }
        let position = Position::Time(Timestamp::new(len, 1));
        builder.finish(SourceKind::Oplog, position, true)
    }

    fn seconds(batch: &Batch) -> Vec<u32> {
        assert!(batch.ops().all(|op| op.namespace() == "a.b"));
        batch.ops().map(|op| op.timestamp().seconds).collect()
    }

    #[test]
    fn ops_are_left_out_by_their_places() {
        for (places, expected) in [
            (&[][..], &[0, 1, 2, 3][..]),
            (&[0], &[1, 2, 3]),
            (&[1, 3], &[0, 2]),
            (&[0, 1, 2, 3], &[]),
        ] {
            let mut batch = batch(4);
            batch.leave_out(places);
            assert_eq!(seconds(&batch), expected);
        }
    }

    #[test]
    fn a_part_has_its_ops_and_its_share_of_the_bytes() {
        let mut builder = BatchBuilder::new(vec![0; 1_000].into());
        for second in 0..10 {
            let namespace = builder.make(|extra| extra.extend_from_slice(b"a.b"));
            let time = Timestamp::new(second, 1);
            builder.push(Record::new(Operation::Insert, namespace, time));
        }
        let position = |second| Position::Time(Timestamp::new(second, 1));
        let mut batch = builder.finish(SourceKind::Oplog, position(9), true);
        let whole = batch.bytes();
        let first = batch.split_to(3, position(0));
        assert_eq!((first.len(), batch.len()), (3, 7));
        assert_eq!(first.op(2).timestamp(), Timestamp::new(2, 1));
        assert_eq!(batch.op(0).timestamp(), Timestamp::new(3, 1));
        assert_eq!(batch.op(0).namespace(), "a.b");
        assert_eq!(
            (first.position(), batch.position()),
            (&position(0), &position(9))
        );
        assert_eq!((first.is_caught_up(), batch.is_caught_up()), (false, true));
        assert_eq!(first.bytes() + batch.bytes(), whole);
        assert!(first.bytes() * 3 > whole * 3 / 4 && first.bytes() < whole / 2);
    }
}
