//! Where a run ends by itself.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio_util::sync::CancellationToken;

use super::{Deployments, Options};
use crate::{
    mongo::Server,
    op::{Batch, Since, SourceKind, Timestamp},
    source,
};

/// Where a run ends by itself, as a user says it.
#[derive(Debug, Clone, Default)]
pub struct End {
    /// Stop behind this position.
    pub until: Option<Since>,
    /// Stop after this many ops.
    pub max_ops: Option<u64>,
    /// Stop when the source has nothing more to give.
    pub when_idle: bool,
}

/// Ends of a run; those of several streams share the number of ops.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    /// Stop behind this cluster time.
    pub until: Option<Timestamp>,
    /// How many ops may still be given.
    pub ops_left: Option<Arc<OpsLeft>>,
    /// What is given is counted by others, who know what of it need not be given.
    pub counts_later: bool,
    /// Stop when the source is beyond this cluster time, or stands at it with nothing more to give.
    pub idle_at: Option<Timestamp>,
}

/// How many ops may still be given, by whoever of a run gives any.
#[derive(Debug)]
pub struct OpsLeft {
    left: AtomicU64,
    spent: CancellationToken,
}

impl OpsLeft {
    pub(super) fn new(ops: u64) -> Self {
        let all = Self {
            left: ops.into(),
            spent: CancellationToken::new(),
        };
        all.take(0);
        all
    }

    /// Takes so many of them, or what is left, and returns how many that were.
    fn take(&self, ops: u64) -> u64 {
        let left = self
            .left
            .fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(ops)))
            .expect("the closure never refuses");
        if left <= ops {
            self.spent.cancel();
        }
        left.min(ops)
    }
}

impl Bounds {
    /// Finds where the ends lie on this server.
    ///
    /// # Errors
    /// As [`source::resolve`].
    pub async fn resolve(
        end: &End,
        kind: SourceKind,
        server: &Server,
        oplog_namespace: &(String, String),
    ) -> Result<Self, source::Error> {
        let resolve = |since: Since| async move {
            let start = source::resolve(&since, kind, server, oplog_namespace).await?;
            Ok::<_, source::Error>(start.position().timestamp().unwrap_or_default())
        };
        let until = match &end.until {
            Some(until) => Some(resolve(until.clone()).await?),
            None => None,
        };
        let idle_at = match end.when_idle {
            true => Some(resolve(Since::Now).await?),
            false => None,
        };
        let ops_left = end.max_ops.map(|max_ops| Arc::new(OpsLeft::new(max_ops)));
        Ok(Self {
            until,
            ops_left,
            counts_later: false,
            idle_at,
        })
    }

    /// The same for each deployment of a run: each by its own clock and history, the number of ops over
    /// all.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub(super) async fn resolve_all(
        deployments: &Deployments,
        options: &Options,
    ) -> Result<Vec<Self>, source::Error> {
        let mut all: Vec<Self> = Vec::new();
        for deployment in deployments.read() {
            let mut bounds = Self::of(&deployment.server, options).await?;
            if let Some(first) = all.first() {
                bounds.ops_left.clone_from(&first.ops_left);
            }
            all.push(bounds);
        }
        Ok(all)
    }

    /// Where the ends of a run lie in one deployment.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub(super) async fn of(server: &Server, options: &Options) -> Result<Self, source::Error> {
        let Options {
            end,
            source,
            oplog_namespace,
            ..
        } = options;
        Self::resolve(end, *source, server, oplog_namespace).await
    }

    /// Waits until no more ops may be given; for ever where any number may. One who waits for a change
    /// has to know when others, a direct read say, have given the last.
    pub async fn spent(&self) {
        match &self.ops_left {
            Some(ops_left) => ops_left.spent.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Cuts off what lies beyond the bounds, and tells whether the source has reached one.
    #[must_use]
    pub fn apply(&self, batch: &mut Batch, kind: SourceKind) -> bool {
        let mut reached = false;
        if let Some(until) = self.until {
            let first_beyond = batch.ops().position(|op| op.timestamp() > until);
            if let Some(first_beyond) = first_beyond {
                batch.truncate(first_beyond);
                reached = true;
            }
            // An oplog entry is given whole; of a change stream, more events of that very cluster
            // time may follow for as long as it is not caught up.
            reached |= batch
                .position()
                .timestamp()
                .is_some_and(|position| match kind {
                    SourceKind::Oplog => position >= until,
                    SourceKind::ChangeStream => {
                        position > until || (position == until && batch.is_caught_up())
                    }
                });
        }
        if let Some(ops_left) = self.ops_left.as_ref().filter(|_| !self.counts_later) {
            batch.truncate(ops_left.take(batch.len() as u64) as usize);
            reached |= ops_left.spent.is_cancelled();
        }
        if let Some(idle_at) = self.idle_at {
            // Under load there is always more to give: being caught up decides only where more ops of
            // that very cluster time may follow.
            reached |= match batch.position().timestamp() {
                Some(position) if position > idle_at => true,
                Some(position) => position == idle_at && batch.is_caught_up(),
                None => batch.is_caught_up(),
            };
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{BatchBuilder, Operation, Position, Record};

    /// A batch of one op per given second.
    fn batch(seconds: &[u32], position: u32, caught_up: bool) -> Batch {
        let mut builder = BatchBuilder::new(Vec::new().into());
        let namespace = builder.make(|extra| extra.extend_from_slice(b"a.b"));
        for &second in seconds {
            builder.push(Record::new(
                Operation::Insert,
                namespace,
                Timestamp::new(second, 1),
            ));
        }
        builder.finish(
            SourceKind::Oplog,
            Position::Time(Timestamp::new(position, 1)),
            caught_up,
        )
    }

    fn check(bounds: &Bounds, kind: SourceKind, mut batch: Batch, expected: (usize, bool)) {
        let reached = bounds.apply(&mut batch, kind);
        assert_eq!((batch.len(), reached), expected, "{bounds:?} {kind:?}");
    }

    #[test]
    fn until_keeps_what_is_at_the_bound() {
        let bounds = Bounds {
            until: Some(Timestamp::new(5, 1)),
            ..Bounds::default()
        };
        for kind in [SourceKind::Oplog, SourceKind::ChangeStream] {
            check(&bounds, kind, batch(&[3, 4], 4, true), (2, false));
            check(&bounds, kind, batch(&[4, 5, 6], 6, false), (2, true));
            check(&bounds, kind, batch(&[], 6, false), (0, true));
        }
        check(&bounds, SourceKind::Oplog, batch(&[5], 5, false), (1, true));
        check(
            &bounds,
            SourceKind::ChangeStream,
            batch(&[5], 5, false),
            (1, false),
        );
        check(
            &bounds,
            SourceKind::ChangeStream,
            batch(&[5], 5, true),
            (1, true),
        );
    }

    #[test]
    fn the_number_of_ops_is_shared() {
        let bounds = Bounds {
            ops_left: Some(Arc::new(OpsLeft::new(3))),
            ..Bounds::default()
        };
        check(
            &bounds,
            SourceKind::Oplog,
            batch(&[1, 2], 2, false),
            (2, false),
        );
        check(
            &bounds.clone(),
            SourceKind::Oplog,
            batch(&[1, 2], 2, false),
            (1, true),
        );
        check(&bounds, SourceKind::Oplog, batch(&[1], 1, false), (0, true));
    }

    #[test]
    fn idle_means_caught_up_with_what_was_there_at_the_start() {
        let bounds = Bounds {
            idle_at: Some(Timestamp::new(5, 1)),
            ..Bounds::default()
        };
        check(&bounds, SourceKind::Oplog, batch(&[], 4, true), (0, false));
        check(
            &bounds,
            SourceKind::Oplog,
            batch(&[5], 5, false),
            (1, false),
        );
        check(&bounds, SourceKind::Oplog, batch(&[], 5, true), (0, true));
        check(&bounds, SourceKind::Oplog, batch(&[6], 6, false), (1, true));
    }
}
