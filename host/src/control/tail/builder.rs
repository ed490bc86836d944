//! Options, one by one.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use bson::RawDocumentBuf;

use super::{
    Acknowledgement, Begin, Change, Deployment, Error, OnRefusal, Options, Saving, Tail, tail,
};
use crate::{
    checkpoint::Checkpoint,
    control::OnPositionLost,
    op::{Namespace, Op, Since, SourceKind},
    source::{Reading, Updates},
};

/// Says what is tailed, and how, in the words of [`Options`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use oplet::{TailBuilder, op::Since};
///
/// let tail = TailBuilder::new("mongodb://localhost:27017")
///     .watch("users.users".parse()?)
///     .since("90m".parse()?)
///     .filter(|change| change.is_insert())
///     .save_as("users-inserted")
///     .start()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is tailed before `start`"]
pub struct TailBuilder {
    from: Deployment,
    options: Options,
}

impl TailBuilder {
    /// Everything in that deployment, from now on.
    pub fn new(from: impl Into<Deployment>) -> Self {
        Self::with(from, Options::default())
    }

    /// Begins with those options.
    pub fn with(from: impl Into<Deployment>, options: Options) -> Self {
        Self {
            from: from.into(),
            options,
        }
    }

    /// Watches this; may be said several times.
    pub fn watch(mut self, namespace: Namespace) -> Self {
        self.options.watch.push(namespace);
        self
    }

    /// Reads by this kind of reader.
    pub fn source(mut self, source: SourceKind) -> Self {
        self.options.source = source;
        self
    }

    /// Begins there, also when a position is kept.
    pub fn since(mut self, since: Since) -> Self {
        self.options.begin = Begin::At(since);
        self
    }

    /// Goes on where that checkpoint says.
    pub fn resume_from(mut self, checkpoint: Checkpoint) -> Self {
        self.options.begin = Begin::Checkpoint(Box::new(checkpoint));
        self
    }

    /// Ends behind that position.
    pub fn until(mut self, until: Since) -> Self {
        self.options.end.until = Some(until);
        self
    }

    /// Ends after so many changes, counted before the filters.
    pub fn max_ops(mut self, max_ops: u64) -> Self {
        self.options.end.max_ops = Some(max_ops);
        self
    }

    /// Ends when everything that had happened at the start has been read.
    pub fn until_idle(mut self) -> Self {
        self.options.end.when_idle = true;
        self
    }

    /// Reads what lies in this collection or view, and then gives its changes; may be said several times.
    /// It has to be watched for its changes to follow.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut ops = oplet::TailBuilder::new("mongodb://localhost:27017")
    ///     .watch("shop.orders".parse()?)
    ///     .direct_read("shop.orders".parse()?)
    ///     .save_as("orders-mirrored")
    ///     .start()
    ///     .await?
    ///     .ops();
    /// while let Some(change) = ops.next().await {
    ///     let change = change?;
    ///     println!("{} {}", change.op_id(), change.is_direct_read());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn direct_read(mut self, namespace: Namespace) -> Self {
        self.options.direct.namespaces.push(namespace);
        self
    }

    /// Reads it as [`direct_read`](Self::direct_read), and has the server apply these stages to its
    /// documents.
    pub fn direct_read_through(
        mut self,
        namespace: Namespace,
        stages: impl IntoIterator<Item = RawDocumentBuf>,
    ) -> Self {
        let stages = stages.into_iter().collect();
        self.options
            .direct_pipelines
            .push((namespace.clone(), stages));
        self.direct_read(namespace)
    }

    /// Cuts each collection that is read into so many segments more than one; 0 goes by its size, a
    /// negative number cuts none.
    pub fn direct_read_split(mut self, split: i32) -> Self {
        self.options.direct.split = split;
        self
    }

    /// Reads with so many cursors side by side, over all collections.
    pub fn direct_read_concurrency(mut self, cursors: usize) -> Self {
        self.options.direct.concurrency = cursors;
        self
    }

    /// Reads no document whose `_id` is beyond the largest one at the start: it comes as a change.
    pub fn direct_read_bounded(mut self) -> Self {
        self.options.direct.bounded = true;
        self
    }

    /// Reads so many documents a second, at most.
    pub fn direct_read_rate(mut self, documents_per_second: NonZeroU32) -> Self {
        self.options.direct.documents_per_second = Some(documents_per_second);
        self
    }

    /// Has the server apply these stages to the events of a change stream.
    pub fn pipeline(mut self, stages: impl IntoIterator<Item = RawDocumentBuf>) -> Self {
        self.options.pipeline.extend(stages);
        self
    }

    /// Reads like that: which commands, which documents.
    pub fn reading(mut self, reading: Reading) -> Self {
        self.options.reading = reading;
        self
    }

    /// Gives updates of the oplog with such a document, or with what they changed alone.
    pub fn updates(mut self, updates: Updates) -> Self {
        self.options.reading.updates = updates;
        self
    }

    /// Gives only changes that this accepts, which it sees before their documents are looked up. Those
    /// that are said first are asked first.
    pub fn namespace_filter(
        mut self,
        filter: impl for<'a> Fn(&Op<'a>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.options.namespace_filters.push(Arc::new(filter));
        self
    }

    /// Gives only changes that this accepts, which it sees with their documents. Those that are said
    /// first are asked first; one that refuses is the last.
    pub fn filter(mut self, filter: impl Fn(&Change) -> bool + Send + Sync + 'static) -> Self {
        self.options.filters.push(Arc::new(filter));
        self
    }

    /// Takes a change for done when its `ack` was called, and only then.
    pub fn explicit_acks(mut self) -> Self {
        self.options.acknowledgement = Acknowledgement::Explicit;
        self
    }

    /// Holds at most so many bytes of what is read and not done; a batch that is larger goes alone.
    pub fn bytes_max(mut self, bytes: usize) -> Self {
        self.options.window.bytes_max = bytes;
        self
    }

    /// Holds at most so many changes that are read and not done.
    pub fn ops_max(mut self, ops: u64) -> Self {
        self.options.window.ops_max = ops;
        self
    }

    /// Asks for at most so many entries or events per reply.
    pub fn batch_size(mut self, batch_size: u32) -> Self {
        self.options.batch_size = batch_size;
        self
    }

    /// Keeps the position under that name in Oplet's own collection, and goes on there.
    pub fn save_as(self, name: impl Into<String>) -> Self {
        self.saving(Saving::new(name))
    }

    /// Keeps the position, and goes on there.
    pub fn saving(mut self, saving: Saving) -> Self {
        self.options.saving = Some(saving);
        self
    }

    /// Does that when what follows the position is gone.
    pub fn on_position_lost(mut self, policy: OnPositionLost) -> Self {
        self.options.on_position_lost = policy;
        self
    }

    /// Does that when the server does not let the user read.
    pub fn on_refusal(mut self, policy: OnRefusal) -> Self {
        self.options.on_refusal = policy;
        self
    }

    /// Gives up looking for a server after this long.
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.options.connect_timeout = Some(time);
        self
    }

    /// Reads this collection as the oplog.
    pub fn oplog_namespace(mut self, database: &str, collection: &str) -> Self {
        self.options.oplog_namespace = (database.to_owned(), collection.to_owned());
        self
    }

    /// The options, for what has no word here.
    pub fn options(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Begins to tail; as [`tail`](super::tail).
    ///
    /// # Errors
    /// As [`tail`](super::tail).
    pub async fn start(self) -> Result<Tail, Error> {
        tail(self.from, self.options).await
    }
}
