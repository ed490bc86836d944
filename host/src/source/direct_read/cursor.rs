//! One cursor over a segment.

use std::time::Duration;

use mongodb::options::{ReadPreference, SelectionCriteria};

use super::{
    Kind, ReadOptions, Target,
    command::{self, Amount, AsOf},
    error::ANSWER_TIME,
};
use crate::{
    mongo::{Reader, ReaderOptions, Reply, Server, Topology, only_reply},
    op::{Key, KeyRange, Timestamp},
};

/// How many bytes a reply is to have, about: enough that its fixed cost does not show.
const REPLY_BYTES: u64 = 2 << 20;

/// Documents per reply: at least, at most, and where their length is not known.
const BATCH: (u64, u64, u64) = (16, 10_000, 1_000);

/// How long stages that look at all documents may take before the first comes out.
const WHOLE_TIME: Duration = Duration::from_secs(3600);

/// How a segment is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Documents as they are, in the order of their keys.
    Keys,
    /// What stages make of the documents of a range, in the same order.
    Staged,
    /// Documents as they are, in the order in which a member keeps them: twice as fast for the server,
    /// which need not look each of them up. It means nothing to another member.
    Scan,
    /// Everything at once, in no order that can be gone on from.
    Whole,
}

impl Mode {
    pub(super) fn of(
        server: &Server,
        target: &Target,
        range: &KeyRange,
        options: &ReadOptions,
    ) -> Self {
        let is_whole = *range == KeyRange::all() && options.scans(target);
        match (target.has_ranges(), &options.stages) {
            (true, stages) if stages.is_empty() && is_whole && is_of_primary(server) => Self::Scan,
            (true, stages) if stages.is_empty() => Self::Keys,
            (true, stages) if stages.is_per_document() => Self::Staged,
            _ => Self::Whole,
        }
    }
}

/// Whether all is read from one member of a replica set.
fn is_of_primary(server: &Server) -> bool {
    let is_primary = match server.client.selection_criteria() {
        None => true,
        Some(SelectionCriteria::ReadPreference(preference)) => {
            matches!(preference, ReadPreference::Primary)
        }
        Some(_) => false,
    };
    is_primary && matches!(server.topology, Topology::ReplicaSet(_))
}

/// Documents of a range that are being read.
#[derive(Debug)]
pub(super) struct Cursor {
    reader: Reader,
    first: Option<Reply>,
    /// At most so many documents come.
    pub(super) limit: Option<u64>,
    /// So many have come.
    pub(super) received: u64,
    /// Whether more than the first reply has come.
    pub(super) has_gone_on: bool,
}

/// What is to be opened.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    pub(super) server: &'a Server,
    pub(super) target: &'a Target,
    pub(super) options: &'a ReadOptions,
    pub(super) mode: Mode,
    pub(super) range: &'a KeyRange,
    pub(super) as_of: AsOf,
    /// Documents, at most.
    pub(super) limit: u64,
    /// A scan: so many documents are passed over.
    pub(super) skip: u64,
}

impl Opening<'_> {
    /// The key behind the first `limit` documents of the range, if there are more, and the time of the
    /// snapshot in which that is so: stages leave out documents, so theirs cannot be counted.
    pub(super) async fn find_boundary(
        &self,
    ) -> mongodb::error::Result<(Option<Key>, Option<Timestamp>)> {
        let amount = Amount {
            batch: 1,
            limit: Some(1),
        };
        let command = command::find_keys(self.target, self.range, self.as_of, self.limit, amount);
        let database = self.server.client.database(self.target.database());
        let reply = only_reply(&database, command, ANSWER_TIME).await?;
        let documents = reply.documents().map_err(mongodb::error::Error::custom)?;
        let first = oplet_sdk::raw::Walk::new(documents)
            .into_iter()
            .flatten()
            .flatten()
            .next();
        let at = reply
            .at_cluster_time()
            .map_err(mongodb::error::Error::custom)?;
        Ok((first.and_then(|first| Key::of_document(first.value)), at))
    }

    /// Opens a cursor, and waits for its first reply.
    pub(super) async fn open(&self) -> mongodb::error::Result<Cursor> {
        let batch = self.batch();
        let (command, limit) = match self.mode {
            Mode::Keys => {
                let limit = Some(self.limit);
                let amount = Amount { batch, limit };
                let find = command::find(self.target, self.range, self.as_of, amount);
                (find, limit)
            }
            Mode::Whole if self.options.stages.is_empty() => {
                (command::scan(self.target, self.as_of, 0, batch), None)
            }
            Mode::Scan => (
                command::scan(self.target, self.as_of, self.skip, batch),
                None,
            ),
            Mode::Staged | Mode::Whole => {
                let ReadOptions {
                    stages,
                    allow_disk_use,
                    ..
                } = self.options;
                let (range, as_of) = (self.range, self.as_of);
                let aggregate =
                    command::aggregate(self.target, range, as_of, stages, batch, *allow_disk_use);
                (aggregate, None)
            }
        };
        let reply_time_max = match self.mode {
            Mode::Whole => WHOLE_TIME,
            Mode::Keys | Mode::Staged | Mode::Scan => ANSWER_TIME,
        };
        let options = ReaderOptions {
            batch_size: Some(batch),
            await_time: None,
            tailable: false,
        };
        let database = self.server.client.database(self.target.database());
        let mut reader = Reader::open_patient(database, command, options, reply_time_max);
        let first = match reader.next().await {
            Some(reply) => Some(reply?),
            None => None,
        };
        Ok(Cursor {
            reader,
            first,
            limit,
            received: 0,
            has_gone_on: false,
        })
    }

    /// Documents per reply.
    fn batch(&self) -> u32 {
        let average = match self.target.kind {
            // What its average is about is buckets.
            Kind::TimeSeries => None,
            _ => self.target.average_bytes,
        };
        let documents = average.and_then(|average| REPLY_BYTES.checked_div(average));
        let documents = documents.unwrap_or(BATCH.2).clamp(BATCH.0, BATCH.1);
        // A slow read is to be even, too: no more than the documents of a second at once.
        let pace = self.options.pace.as_ref();
        let second = pace.map_or(u64::MAX, |pace| pace.documents_per_second().into());
        documents.min(second) as u32
    }
}

impl Cursor {
    /// The first reply, for what it says of the cursor.
    pub(super) fn first(&self) -> Option<&Reply> {
        self.first.as_ref()
    }

    /// The next reply; `None` when there is none.
    pub(super) async fn next(&mut self) -> Option<mongodb::error::Result<Reply>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        self.has_gone_on = true;
        self.reader.next().await
    }
}
