//! Changes without modules: for Rust programs, and for `oplet tail`.

use std::{ops::Range, sync::Arc};

use super::Bounds;
use crate::{
    flow::{Documents, Lookup},
    mongo::Server,
    op::{Batch, DocumentState, Op, Position, Scope, SourceKind},
    source::{self, Error, Source, Start},
};

/// What is tailed.
#[derive(Debug, Clone)]
pub struct TailOptions {
    /// Which reader.
    pub source: SourceKind,
    /// What is watched.
    pub scope: Scope,
    /// Where to begin.
    pub start: Start,
    /// Where to end.
    pub bounds: Bounds,
    /// Entries or events per reply, at most.
    pub batch_size: u32,
    /// The collection that is read as the oplog.
    pub oplog_namespace: (String, String),
    /// How the source reads.
    pub reading: source::Reading,
}

impl TailOptions {
    /// Everything that is watched by `scope`, from `start` on, without an end.
    #[must_use]
    pub fn new(source: SourceKind, scope: Scope, start: Start) -> Self {
        Self {
            source,
            scope,
            start,
            bounds: Bounds::default(),
            batch_size: source::BATCH_SIZE,
            oplog_namespace: source::default_oplog_namespace(),
            reading: source::Reading::default(),
        }
    }
}

/// A stream of changes, in the server's order.
#[derive(Debug)]
pub struct Tail {
    source: Source,
    kind: SourceKind,
    bounds: Bounds,
    lookup: Lookup,
    stats: Arc<source::Stats>,
    /// What was read and not given yet.
    rest: Option<(Arc<Batch>, usize)>,
    /// Where the stream stands before `rest`.
    position: Position,
    is_over: bool,
}

/// Some changes, with the documents of their updates.
#[derive(Debug)]
pub struct TailBatch {
    batch: Arc<Batch>,
    places: Range<usize>,
    documents: Documents,
    position: Position,
}

/// Tails a deployment. Nothing is opened before the first [`Tail::next`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use oplet::{mongo, op::{Scope, Since, SourceKind}, source, tail, TailOptions};
///
/// let uri = mongo::parse_uri("mongodb://localhost:27017")?;
/// let server = mongo::Server::connect(&uri, &mongo::Options::default()).await?;
/// let oplog = source::default_oplog_namespace();
/// let start = source::resolve(&Since::Now, SourceKind::ChangeStream, &server, &oplog).await?;
/// let scope = Scope::new(["shop.orders".parse()?]);
/// let mut changes = tail(&server, TailOptions::new(SourceKind::ChangeStream, scope, start));
/// while let Some(batch) = changes.next().await? {
///     for (op, _document) in batch.ops() {
///         println!("{} {}", op.id(), op.namespace());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn tail(server: &Server, options: TailOptions) -> Tail {
    let stats = Arc::new(source::Stats::default());
    let is_causal = options.oplog_namespace == source::default_oplog_namespace();
    let position = options.start.position();
    let source_options = source::Options {
        scope: options.scope,
        start: options.start,
        behind: None,
        pipeline: Vec::new(),
        batch_size: options.batch_size,
        oplog_namespace: options.oplog_namespace,
        reading: options.reading,
    };
    Tail {
        source: Source::new(options.source, server, source_options, stats.clone()),
        kind: options.source,
        bounds: options.bounds,
        lookup: Lookup::new(server.client.clone(), is_causal),
        stats,
        rest: None,
        position,
        is_over: false,
    }
}

impl Tail {
    /// The next changes; `None` when a bound was reached. Waits for some as long as nothing happens,
    /// but gives an empty batch about every second, whose position has moved.
    ///
    /// Not cancellation safe: after a dropped call, drop the tail, too.
    ///
    /// # Errors
    /// [`Error`]: the tail is at its end.
    pub async fn next(&mut self) -> Result<Option<TailBatch>, Error> {
        let (batch, from) = match self.rest.take() {
            Some(rest) => rest,
            None if self.is_over => return Ok(None),
            None => {
                let mut batch = self.source.next().await?;
                self.is_over = self.bounds.apply(&mut batch, self.kind);
                (Arc::new(batch), 0)
            }
        };
        let mut documents = Documents::default();
        let pending: Vec<Op<'_>> = (from..batch.len())
            .map(|place| batch.op(place))
            .filter(Op::is_pending)
            .collect();
        if !pending.is_empty() {
            let fetched = self.lookup.fetch(&pending, &mut documents).await;
            fetched.map_err(|source| Error::Refused {
                what: "look up the documents of updates".into(),
                source,
            })?;
        }
        // The documents of a whole batch may be more than is fetched in one go: the rest comes next.
        let is_complete = |place: &usize| {
            let op = batch.op(*place);
            !op.is_pending() || documents.get(&op).is_some()
        };
        let end = (from..batch.len())
            .take_while(is_complete)
            .last()
            .map_or(from, |last| last + 1);
        if end == batch.len() {
            self.position = batch.position().clone();
        } else {
            self.rest = Some((batch.clone(), end));
        }
        Ok(Some(TailBatch {
            batch,
            places: from..end,
            documents,
            position: self.position.clone(),
        }))
    }

    /// What happened besides changes.
    #[must_use]
    pub fn stats(&self) -> &source::Stats {
        &self.stats
    }
}

impl TailBatch {
    /// The changes, each with what is known of its document.
    pub fn ops(&self) -> impl ExactSizeIterator<Item = (Op<'_>, DocumentState<'_>)> {
        self.places.clone().map(|place| {
            let op = self.batch.op(place);
            let document = match op.is_pending() {
                true => DocumentState::LookedUp(self.documents.get(&op).flatten()),
                false => DocumentState::NotAsked,
            };
            (op, document)
        })
    }

    /// Where everything up to these changes is behind.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }
}
